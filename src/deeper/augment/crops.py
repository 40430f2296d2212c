"""From a picture of any size to the square that a network sees: RGB → uint8 [3, size, size].

A result is a view of [size, size, 3], as pictures lie in memory, so that a batch of them is
channels_last without a turn. All random numbers are Python's.
"""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor
from torchvision.transforms import v2

Box = tuple[float, float, float, float]
"""left, top, right, bottom"""

INTERPOLATIONS = {
    "bilinear": Resampling.BILINEAR,
    "area": Resampling.BOX,
    "nearest": Resampling.NEAREST,
    "bicubic": Resampling.BICUBIC,
}
"""§6: "bilinear, area, nearest neighbor and cubic, with equal probability"."""

Interpolation = Literal["bilinear", "area", "nearest", "bicubic", "random"]

VECTORISED = ("bilinear", "bicubic")
"""What torch scales in a quarter of Pillow's time: 99.9 % of values within 1 of Pillow's, all within 2
of 255; bicubic within 32, since it clips what overshoots in another order."""


class Picture(Protocol):
    """A picture still encoded (`deeper.data.images.encoded.Encoded`), which decodes what a crop asks for."""

    @property
    def size(self) -> tuple[int, int]:
        """width, height"""

    def pixels(
        self, box: Box | None = None, size: tuple[int, int] | None = None, cut: bool = False
    ) -> tuple[NDArray[np.uint8], Box]:
        """[h, w, 3] of all of it, with `cut` of no less than `box`, at a scale at which `box` still
        has `size`; and `box` in there.
        """


class Crop(ABC):
    """A transform that may come first and get a `Picture`; any other one that does gets PIL."""

    @abstractmethod
    def __call__(self, picture: Image.Image | Picture) -> Tensor: ...


class AreaAspectCrop(Crop):
    """§6: a patch whose area is 8–100 % of the picture and whose aspect lies in 3/4–4/3.

    Area uniform, aspect uniform in its logarithm, drawn anew where the patch does not fit; after ten
    misses the largest patch in the centre: torchvision's sampling. The patch is cut, then scaled.
    """

    def __init__(
        self,
        size: int,
        area: Sequence[float] = (0.08, 1.0),
        aspect: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: Interpolation = "bilinear",
    ) -> None:
        if not 0 < area[0] <= area[1] <= 1:
            raise ValueError(f"area={list(area)}: two shares in 0..1, the smaller first")
        if not 0 < aspect[0] <= aspect[1]:
            raise ValueError(f"aspect={list(aspect)}: two ratios above 0, the smaller first")
        self.size, self.interpolation = size, interpolation
        self.area, self.aspect = tuple(area), tuple(aspect)

    def __call__(self, picture: Image.Image | Picture) -> Tensor:
        box: Box = self.draw(*picture.size)
        name = drawn(self.interpolation)
        pixels, box = decoded(picture, box, self.size if name in VECTORISED else None, cut=True)
        return scaled(*_cut(pixels, box), self.size, name)

    def draw(self, width: int, height: int) -> tuple[int, int, int, int]:
        """A box in a picture of that size."""
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
    """A square at a random or the central place of the picture scaled to shorter side size / `crop`.

    `keep_aspect=False` warps the picture to a square first, as BVLC's 256×256 images were.
    """

    def __init__(
        self,
        size: int,
        crop: float = 0.875,
        place: Literal["random", "center"] = "random",
        keep_aspect: bool = True,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        if not 0 < crop <= 1:
            raise ValueError(f"crop={crop}: the share of the shorter side that is kept, in 0..1")
        self.size, self.crop, self.place = size, crop, place
        self.keep_aspect, self.interpolation = keep_aspect, interpolation

    def __call__(self, picture: Image.Image | Picture) -> Tensor:
        box = self.draw(*picture.size)
        name = drawn(self.interpolation)
        fast = self.place == "random" and name in VECTORISED  # the centre is what is judged
        unscaled = box[2] - box[0] == box[3] - box[1] == self.size  # else what is around box counts
        pixels, box = decoded(picture, box, self.size if fast else None, cut=unscaled)
        return scaled(pixels, box, self.size, name)

    def draw(self, width: int, height: int) -> Box:
        """A box in a picture of that size."""
        shorter = min(width, height)
        whole = (shorter, shorter) if self.keep_aspect else (width, height)
        side_x, side_y = (side * self.crop for side in whole)
        random_place = self.place == "random"
        left = (width - side_x) * (random.random() if random_place else 0.5)
        top = (height - side_y) * (random.random() if random_place else 0.5)
        if side_x == side_y == self.size:  # nothing is scaled, so nothing need be blurred
            left, top = round(left), round(top)
        return left, top, left + side_x, top + side_y


class PaddedCrop(Crop):
    """The whole picture at `size`, shifted by up to `padding` pixels over a black border: CIFAR's usual."""

    def __init__(self, size: int, padding: int = 4) -> None:
        if padding < 0:
            raise ValueError(f"padding={padding}: must be at least 0 pixels")
        self.size, self._whole = size, FixedCrop(size, crop=1.0, place="center")
        self._shift = v2.RandomCrop(size, padding=padding)

    def __call__(self, picture: Image.Image | Picture) -> Tensor:
        return self._shift(self._whole(picture))  # type: ignore[no-any-return]


def drawn(interpolation: Interpolation) -> str:
    return random.choice(list(INTERPOLATIONS)) if interpolation == "random" else interpolation


def decoded(
    picture: Image.Image | Picture, box: Box, size: int | None, cut: bool = False
) -> tuple[NDArray[np.uint8], Box]:
    """Pixels [h, w, 3] of at least `size` × `size` in `box`, all there are for None; and `box` in there.
    With `cut`, what lies outside `box` may be missing.

    Decoded at a smaller scale, bilinear and bicubic crops are off by 1–2 of 255 on average; area and
    nearest would be other pictures.
    """
    if isinstance(picture, Image.Image):
        return np.array(picture), box
    return picture.pixels(box, None if size is None else (size, size), cut)


def scaled(pixels: NDArray[np.uint8], box: Box, size: int, name: str) -> Tensor:
    """`box` of the pixels as [3, size, size] by the interpolation of that name, antialiased.

    Pixels around the box count as far as the filter reaches: it is a box of the scaled picture.
    """
    left, top, right, bottom = box
    if right - left == bottom - top == size and left == int(left) and top == int(top):
        pixels = pixels[int(top) : int(bottom), int(left) : int(right)]
        return torch.from_numpy(pixels).permute(2, 0, 1)
    if name in VECTORISED and box == (0, 0, pixels.shape[1], pixels.shape[0]):
        batch = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
        return F.interpolate(batch, (size, size), mode=name, antialias=True)[0]
    image = Image.fromarray(pixels).resize((size, size), INTERPOLATIONS[name], box)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _cut(pixels: NDArray[np.uint8], box: Box) -> tuple[NDArray[np.uint8], Box]:
    """The whole pixels that `box` touches, and `box` in their coordinates."""
    left, top = math.floor(box[0]), math.floor(box[1])
    pixels = pixels[top : math.ceil(box[3]), left : math.ceil(box[2])]
    return pixels, (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
