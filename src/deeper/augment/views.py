"""The crops of the multi-crop protocols: boxes in resized images, each also mirrored."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

from deeper.augment.crops import decode, resized_size
from deeper.data.images.encoded import Encoded

PixelBox = tuple[int, int, int, int]
"""left, top, right, bottom, in whole pixels"""


class Scale(NamedTuple):
    size: tuple[int, int]
    """width, height to which the whole image is resized."""
    boxes: list[PixelBox]
    """In the resized image. A box larger than the network's input is resized to it."""
    mirrored: list[PixelBox]
    """Boxes whose crops are mirrored."""


def ten(width: int, height: int, size: int, crop: float) -> list[Scale]:
    """Krizhevsky et al.'s ten crops: corners and centre of the image with its shorter side at `size` /
    `crop`, then those of its mirror image, exactly as torchvision's `Resize` and `TenCrop`.
    """
    resized = resized_size(width, height, round(size / crop))
    boxes = corners((0, 0, *resized), size)
    w = resized[0]  # where the margin is odd, the mirror image's centre is one pixel aside
    mirrored = [(w - right, top, w - left, bottom) for left, top, right, bottom in boxes]
    return [Scale(resized, boxes, mirrored)]


def paper144(width: int, height: int, size: int) -> list[Scale]:
    """§5: shorter side 256, 288, 320, 352; of each scale the left, centre and right square (top,
    centre and bottom of a portrait); of each square the corners and the centre at 224 and the whole
    square resized to 224; each also mirrored.

    Other sizes are in proportion. In a square image the three squares coincide.
    """
    scales = []
    for shorter in (round(size * side / 224) for side in (256, 288, 320, 352)):
        resized = resized_size(width, height, shorter)
        found = [(*corners(square, size), square) for square in squares(*resized)]
        boxes = [box for boxes in found for box in boxes]
        scales.append(Scale(resized, boxes, boxes))
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
    """Of each scale its crops and then the mirrored ones, uint8 [V, 3, size, size], channels_last.

    The image is decoded once, and resized once for each scale.
    """
    whole = Image.fromarray(decode(image, (0, 0, *image.size), None)[0])
    views = []
    for scale in scales:
        resized = whole.resize(scale.size, Resampling.BILINEAR)
        done = {
            box: np.asarray(resized.crop(box).resize((size, size), Resampling.BILINEAR))
            for box in {*scale.boxes, *scale.mirrored}
        }
        views += [done[box] for box in scale.boxes]
        views += [done[box][:, ::-1] for box in scale.mirrored]
    return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)
