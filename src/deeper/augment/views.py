"""The crops of the multi-crop protocols: boxes in resized images, mirrored or not."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

from deeper.augment.crops import decode, resized_size
from deeper.data.images.encoded import Encoded

PixelBox = tuple[int, int, int, int]
"""left, top, right, bottom, in whole pixels"""


class View(NamedTuple):
    box: PixelBox
    """In the resized image. A box larger than the network's input is resized to it."""
    mirrored: bool


class Scale(NamedTuple):
    size: tuple[int, int]
    """width, height to which the whole image is resized."""
    views: list[View]


def ten(width: int, height: int, size: int, crop: float) -> list[Scale]:
    """Krizhevsky et al.'s ten crops: corners and centre of the image with its shorter side at
    `size` / `crop`, then those of its mirror image, exactly as torchvision's `Resize` and `TenCrop`.
    """
    resized = resized_size(width, height, round(size / crop))
    boxes = corners((0, 0, *resized), size)
    w = resized[0]  # where the margin is odd, the mirror image's centre is one pixel aside
    mirrors = [(w - right, top, w - left, bottom) for left, top, right, bottom in boxes]
    views = [View(box, False) for box in boxes] + [View(box, True) for box in mirrors]
    return [Scale(resized, views)]


def paper144(width: int, height: int, size: int) -> list[Scale]:
    """§5: shorter side 256, 288, 320, 352; of each scale the left, centre and right square (top,
    centre and bottom of a portrait); of each square the corners and the centre at 224 and the whole
    square resized to 224; each also mirrored.

    Other sizes are in proportion. In a square image the three squares coincide.
    """
    scales = []
    for shorter in (round(size * side / 224) for side in (256, 288, 320, 352)):
        resized = resized_size(width, height, shorter)
        views = [
            View(box, mirrored)
            for square in squares(*resized)
            for mirrored in (False, True)
            for box in (*corners(square, size), square)
        ]
        scales.append(Scale(resized, views))
    return scales


def squares(width: int, height: int) -> Iterator[PixelBox]:
    """The squares at the start, the middle and the end of the longer side."""
    side, margin = min(width, height), abs(width - height)
    for start in (0, round(margin / 2), margin):
        left, top = (start, 0) if width > height else (0, start)
        yield left, top, left + side, top + side


def corners(within: PixelBox, size: int) -> list[PixelBox]:
    """Squares of `size` at the top left, top right, bottom left, bottom right, and the centre."""
    left, top, right, bottom = within
    center = left + round((right - left - size) / 2), top + round((bottom - top - size) / 2)
    x, y = right - size, bottom - size
    return [
        (a, b, a + size, b + size) for a, b in [(left, top), (x, top), (left, y), (x, y), center]
    ]


def cut(image: Image.Image | Encoded, scales: Sequence[Scale], size: int) -> Tensor:
    """All views in order, uint8 [V, 3, size, size], channels_last.

    The image is decoded once, and resized once for each scale.
    """
    whole = Image.fromarray(decode(image, (0, 0, *image.size), None)[0])
    out = np.empty((sum(len(scale.views) for scale in scales), size, size, 3), np.uint8)
    rows = iter(out)
    for scale in scales:
        pixels = np.asarray(whole.resize(scale.size, Resampling.BILINEAR))
        done: dict[PixelBox, NDArray[np.uint8]] = {}
        for box, mirrored in scale.views:
            if box not in done:
                done[box] = _square(pixels, box, size)
            next(rows)[:] = done[box][:, ::-1] if mirrored else done[box]
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def _square(pixels: NDArray[np.uint8], box: PixelBox, size: int) -> NDArray[np.uint8]:
    left, top, right, bottom = box
    square = pixels[top:bottom, left:right]
    if square.shape[:2] == (size, size):
        return square
    return np.asarray(Image.fromarray(square).resize((size, size), Resampling.BILINEAR))
