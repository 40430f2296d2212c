"""Crops of an image of any size to the square that a network sees: RGB → uint8 [3, size, size].

A result is a view of [size, size, 3], the order of decoded pixels in memory, so that a batch of
results is channels_last without a copy. Random crops draw from Python's `random`.
"""

import math
import random
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor
from torchvision.transforms import v2

from deeper.data.images.encoded import Encoded
from deeper.data.images.region import Box

INTERPOLATIONS = {
    "bilinear": Resampling.BILINEAR,
    "area": Resampling.BOX,
    "nearest": Resampling.NEAREST,
    "bicubic": Resampling.BICUBIC,
}
"""§6: "bilinear, area, nearest neighbor and cubic, with equal probability"."""

Interpolation = Literal["bilinear", "area", "nearest", "bicubic", "random"]

VECTORISED = ("bilinear", "bicubic")
"""Filters that torch resizes with in a quarter of Pillow's time. 99.9 % of values are within 1 of
Pillow's, all within 2 of 255 (bicubic: 32, because torch clips overshoots in another order)."""


class Crop:
    """A transform that accepts an encoded image, which it decodes, as the first of a pipeline."""


class AreaAspectCrop(Crop):
    """§6: a random patch with 8–100 % of the image's area and an aspect ratio in 3/4–4/3.

    The area is uniform, the aspect ratio uniform in its logarithm; a patch that does not fit is drawn
    again, and after ten misses the largest patch at the centre is taken (torchvision's sampling).
    The patch is cut first, then resized.
    """

    def __init__(
        self,
        size: int,
        area: Sequence[float] = (0.08, 1.0),
        aspect: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: Interpolation = "bilinear",
    ) -> None:
        if not 0 < area[0] <= area[1] <= 1:
            raise ValueError(
                f"area={list(area)}: expected two fractions in 0..1, the smaller first"
            )
        if not 0 < aspect[0] <= aspect[1]:
            raise ValueError(
                f"aspect={list(aspect)}: expected two ratios above 0, the smaller first"
            )
        self.size, self.interpolation = size, interpolation
        self.area, self.aspect = tuple(area), tuple(aspect)

    def __call__(self, image: Image.Image | Encoded) -> Tensor:
        box: Box = self.draw(*image.size)
        name = draw_interpolation(self.interpolation)
        pixels, box = decode(image, box, self.size if name in VECTORISED else None, cut=True)
        return resize(*cut_to(pixels, box), self.size, name)

    def draw(self, width: int, height: int) -> tuple[int, int, int, int]:
        """A random box in an image of that size."""
        low, high = self.aspect
        for _ in range(10):
            area = random.uniform(*self.area) * width * height
            aspect = math.exp(random.uniform(math.log(low), math.log(high)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                left, top = random.randint(0, width - w), random.randint(0, height - h)
                return left, top, left + w, top + h
        w, h = min(width, round(height * high)), min(height, round(width / low))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h


class FixedCrop(Crop):
    """A `size` × `size` square at a random place of the image resized to shorter side `size` / `crop`.

    With `keep_aspect=False` the image is first warped to a square, as BVLC's 256×256 images were.
    """

    def __init__(
        self,
        size: int,
        crop: float = 0.875,
        keep_aspect: bool = True,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        require_fraction(crop)
        self.size, self.crop = size, crop
        self.keep_aspect, self.interpolation = keep_aspect, interpolation

    def __call__(self, image: Image.Image | Encoded) -> Tensor:
        box = self.draw(*image.size)
        name = draw_interpolation(self.interpolation)
        # Without resizing, pixels around the box don't contribute to the result.
        unscaled = box[2] - box[0] == box[3] - box[1] == self.size
        pixels, box = decode(image, box, self.size if name in VECTORISED else None, cut=unscaled)
        return resize(pixels, box, self.size, name)

    def draw(self, width: int, height: int) -> Box:
        """A random box in an image of that size."""
        shorter = min(width, height)
        whole = (shorter, shorter) if self.keep_aspect else (width, height)
        side_x, side_y = (side * self.crop for side in whole)
        left = (width - side_x) * random.random()
        top = (height - side_y) * random.random()
        if side_x == side_y == self.size:  # whole pixels avoid a resize, which would blur
            left, top = round(left), round(top)
        return left, top, left + side_x, top + side_y


class CenterCrop(Crop):
    """The central square: torchvision's `Resize(round(size / crop))` and `CenterCrop(size)`, pixel for
    pixel.

    The image is always decoded at full size. Pillow rounds the box of a partial resize to float32, so
    the whole image is resized.
    """

    def __init__(self, size: int, crop: float = 0.875) -> None:
        require_fraction(crop)
        self.size, self.crop = size, crop

    def __call__(self, image: Image.Image | Encoded) -> Tensor:
        resized = resized_size(*image.size, round(self.size / self.crop))
        left, top = (round((side - self.size) / 2) for side in resized)
        box: Box = (left, top, left + self.size, top + self.size)
        if resized == image.size:
            pixels, box = decode(image, box, None, cut=True)
        else:
            whole = Image.fromarray(decode(image, (0, 0, *image.size), None)[0])
            pixels = np.asarray(whole.resize(resized, Resampling.BILINEAR))
        return torch.from_numpy(cut_to(pixels, box)[0].copy()).permute(2, 0, 1)


class PaddedCrop(Crop):
    """The whole image at `size`, shifted by up to `padding` pixels over a border (CIFAR's usual).

    The border is black, or with `border="reflect"` the image mirrored at its edges.
    """

    def __init__(
        self, size: int, padding: int = 4, border: Literal["constant", "reflect"] = "constant"
    ) -> None:
        self._whole = CenterCrop(size, crop=1.0)
        self._shift = v2.RandomCrop(size, padding=padding, padding_mode=border)

    def __call__(self, image: Image.Image | Encoded) -> Tensor:
        return self._shift(self._whole(image))  # type: ignore[no-any-return]


def resized_size(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Width and height after resizing the shorter side to `shorter`, rounded as torchvision does."""
    longer = int(shorter * max(width, height) / min(width, height))
    return (shorter, longer) if width <= height else (longer, shorter)


def require_fraction(crop: float) -> None:
    if not 0 < crop <= 1:
        raise ValueError(
            f"crop={crop}: the fraction of the shorter side that the crop keeps; must be in 0..1"
        )


def draw_interpolation(interpolation: Interpolation) -> str:
    return random.choice(list(INTERPOLATIONS)) if interpolation == "random" else interpolation


def decode(
    image: Image.Image | Encoded, box: Box, size: int | None, cut: bool = False
) -> tuple[NDArray[np.uint8], Box]:
    """Pixels [h, w, 3], and the coordinates of `box` in them.

    `size` allows a reduced decoding scale at which `box` keeps `size` × `size` pixels; `None` decodes
    at full size. With `cut`, pixels outside `box` may be missing. At a reduced scale bilinear and
    bicubic crops are off by 1–2 of 255 on average; area and nearest would be off by much more.
    """
    if isinstance(image, Image.Image):
        return np.array(image), box
    return image.pixels(box, None if size is None else (size, size), cut)


def resize(pixels: NDArray[np.uint8], box: Box, size: int, interpolation: str) -> Tensor:
    """`box` of the pixels resized to [3, size, size], antialiased.

    Pixels around `box` contribute as far as the filter reaches, as in a crop of the resized image.
    """
    left, top, right, bottom = box
    if right - left == bottom - top == size and left == int(left) and top == int(top):
        pixels = pixels[int(top) : int(bottom), int(left) : int(right)]
        return torch.from_numpy(pixels).permute(2, 0, 1)
    if interpolation in VECTORISED and box == (0, 0, pixels.shape[1], pixels.shape[0]):
        batch = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
        return F.interpolate(batch, (size, size), mode=interpolation, antialias=True)[0]
    image = Image.fromarray(pixels).resize((size, size), INTERPOLATIONS[interpolation], box)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def cut_to(pixels: NDArray[np.uint8], box: Box) -> tuple[NDArray[np.uint8], Box]:
    """The whole pixels that `box` touches, and the coordinates of `box` in them."""
    left, top = math.floor(box[0]), math.floor(box[1])
    pixels = pixels[top : math.ceil(box[3]), left : math.ceil(box[2])]
    return pixels, (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
