"""The squares of a picture that an evaluation looks at: a box in the scaled picture, mirrored or not."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

from deeper.augment.crops import Picture, decoded

MAX_PIXELS = 2**28
"""Of a scaled picture: one of 1 × 30,000 pixels has 300 GB with its shorter side at 352."""


class View(NamedTuple):
    box: tuple[int, int, int, int]
    """left, top, right, bottom; what is larger than a view's side is scaled to it."""
    mirrored: bool


class Scale(NamedTuple):
    size: tuple[int, int]
    """width, height to which the whole picture is scaled."""
    views: list[View]


def ten(width: int, height: int, size: int, crop: float) -> list[Scale]:
    """Krizhevsky et al.'s: corners and centre of the picture whose shorter side is `size` / `crop`, then
    those of its mirror image. Scaled and cut where torchvision's `Resize` and `TenCrop` do.
    """
    scaled = resized(width, height, round(size / crop))
    boxes = corners((0, 0, *scaled), size)
    w = scaled[0]  # the mirror image has its centre a pixel aside where the margin is odd
    mirrors = [(w - right, top, w - left, bottom) for left, top, right, bottom in boxes]
    views = [View(box, False) for box in boxes] + [View(box, True) for box in mirrors]
    return [Scale(scaled, views)]


def paper144(width: int, height: int, size: int) -> list[Scale]:
    """§5: shorter side 256, 288, 320, 352; of each the left, centre and right square (top, centre and
    bottom of a portrait); of each the corners and the centre at 224 and the whole square scaled to 224;
    and their mirrors. Other sizes in proportion. Of a square picture the three squares coincide.
    """
    scales = []
    for shorter in (round(size * side / 224) for side in (256, 288, 320, 352)):
        scaled = resized(width, height, shorter)
        views = [
            View(box, mirrored)
            for square in squares(*scaled)
            for mirrored in (False, True)
            for box in (*corners(square, size), square)
        ]
        scales.append(Scale(scaled, views))
    return scales


def resized(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Width and height with the shorter one at `shorter`, as torchvision rounds."""
    longer = int(shorter * max(width, height) / min(width, height))
    return (shorter, longer) if width <= height else (longer, shorter)


def squares(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """At the start, the middle and the end of the longer side."""
    side, spare = min(width, height), abs(width - height)
    for at in (0, round(spare / 2), spare):
        left, top = (at, 0) if width > height else (0, at)
        yield left, top, left + side, top + side


def corners(within: tuple[int, int, int, int], size: int) -> list[tuple[int, int, int, int]]:
    """Squares of `size` at the top left, top right, bottom left, bottom right, and the centre."""
    left, top, right, bottom = within
    middle = left + round((right - left - size) / 2), top + round((bottom - top - size) / 2)
    x, y = right - size, bottom - size
    places = [(left, top), (x, top), (left, y), (x, y), middle]
    return [(a, b, a + size, b + size) for a, b in places]


def cut(picture: Image.Image | Picture, scales: Sequence[Scale], size: int) -> Tensor:
    """uint8 [V, 3, size, size], channels last: the views in order. Decoded once, scaled once a scale."""
    for scale in scales:
        if scale.size[0] * scale.size[1] > MAX_PIXELS:
            raise ValueError(
                f"a picture of {picture.size[0]} × {picture.size[1]} pixels is too long for this "
                f"protocol, which scales its shorter side to {min(scale.size)}; pass protocol=single"
            )
    whole = Image.fromarray(decoded(picture, (0, 0, *picture.size), None)[0])
    out = np.empty((sum(len(scale.views) for scale in scales), size, size, 3), np.uint8)
    rows = iter(out)
    for scale in scales:
        scaled = np.asarray(whole.resize(scale.size, Resampling.BILINEAR))
        done: dict[tuple[int, int, int, int], NDArray[np.uint8]] = {}
        for box, mirrored in scale.views:
            if box not in done:
                done[box] = _square(scaled, box, size)
            next(rows)[:] = done[box][:, ::-1] if mirrored else done[box]
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def _square(
    pixels: NDArray[np.uint8], box: tuple[int, int, int, int], size: int
) -> NDArray[np.uint8]:
    left, top, right, bottom = box
    square = pixels[top:bottom, left:right]
    if square.shape[:2] == (size, size):
        return square
    image = Image.fromarray(square).resize((size, size), Resampling.BILINEAR)
    return np.asarray(image)
