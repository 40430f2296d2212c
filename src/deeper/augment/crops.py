"""From a picture of any size to the square that a network sees: PIL RGB → uint8 [3, size, size]."""

import random
from collections.abc import Sequence
from typing import Literal

from PIL.Image import Image, Resampling
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

Box = tuple[float, float, float, float]

INTERPOLATIONS = {
    "bilinear": Resampling.BILINEAR,
    "area": Resampling.BOX,
    "nearest": Resampling.NEAREST,
    "bicubic": Resampling.BICUBIC,
}
"""§6: "bilinear, area, nearest neighbor and cubic, with equal probability"."""

Interpolation = Literal["bilinear", "area", "nearest", "bicubic", "random"]


def resized(
    image: Image, size: tuple[int, int], box: Box | None, interpolation: Interpolation
) -> Tensor:
    """`box` (left, top, right, bottom) of the picture, scaled to `size` (width, height)."""
    if interpolation == "random":
        resample = random.choice(list(INTERPOLATIONS.values()))
    else:
        resample = INTERPOLATIONS[interpolation]
    return F.pil_to_tensor(image.resize(size, resample, box))  # type: ignore[no-any-return]


class AreaAspectCrop:
    """§6: a patch whose area is 8–100 % of the picture and whose aspect lies in 3/4–4/3.

    Area uniform, aspect uniform in its logarithm: torchvision's sampling, with its fall-back to
    the centre after ten misses.
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
        self._sampler = v2.RandomResizedCrop(size, tuple(area), tuple(aspect))

    def __call__(self, image: Image) -> Tensor:
        p = self._sampler.make_params([image])
        box = (p["left"], p["top"], p["left"] + p["width"], p["top"] + p["height"])
        return resized(image, (self.size, self.size), box, self.interpolation)


class FixedCrop:
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

    def __call__(self, image: Image) -> Tensor:
        width, height = image.size
        shorter = min(width, height)
        whole = (shorter, shorter) if self.keep_aspect else (width, height)
        side_x, side_y = (side * self.crop for side in whole)
        random_place = self.place == "random"
        left = (width - side_x) * (random.random() if random_place else 0.5)
        top = (height - side_y) * (random.random() if random_place else 0.5)
        box = (left, top, left + side_x, top + side_y)
        return resized(image, (self.size, self.size), box, self.interpolation)


class PaddedCrop:
    """The whole picture at `size`, shifted by up to `padding` pixels over a black border: CIFAR's usual."""

    def __init__(self, size: int, padding: int = 4) -> None:
        if padding < 0:
            raise ValueError(f"padding={padding}: must be at least 0 pixels")
        self.size, self._whole = size, FixedCrop(size, crop=1.0, place="center")
        self._shift = v2.RandomCrop(size, padding=padding)

    def __call__(self, image: Image) -> Tensor:
        return self._shift(self._whole(image))  # type: ignore[no-any-return]
