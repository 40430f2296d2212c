"""Which crops of a picture a network is asked about."""

from typing import Protocol

from PIL.Image import Image
from torch import Tensor

from deeper.augment import views
from deeper.augment.crops import Crop, FixedCrop, Picture


class Looks(Protocol):
    """A protocol, built for a size: how it sees a picture."""

    def __call__(self, picture: Image | Picture, /) -> Tensor:
        """uint8 [3, size, size], or [V, 3, size, size] where it has `views` of them."""


def crops(looks: object) -> int:
    """Views of each picture; somebody's own protocol without the attribute has one."""
    return int(getattr(looks, "views", 1))


class Single(Crop):
    """One central square: shorter side to size / `crop`, then size × size (224 of 256 for 0.875).

    The paper does not define its single crop; this is the field's.
    """

    views = 1

    def __init__(self, size: int, crop: float = 0.875) -> None:
        self._crop = FixedCrop(size, crop, place="center")

    def __call__(self, picture: Image | Picture) -> Tensor:
        return self._crop(picture)


class Ten(Crop):
    """Four corners and the centre of the picture with its shorter side at size / `crop`; mirrors."""

    views = 10

    def __init__(self, size: int, crop: float = 0.875) -> None:
        if not 0 < crop <= 1:
            raise ValueError(f"crop={crop}: the share of the shorter side that is kept, in 0..1")
        self.size, self.crop = size, crop

    def __call__(self, picture: Image | Picture) -> Tensor:
        """uint8 [10, 3, size, size]"""
        return views.cut(picture, views.ten(*picture.size, self.size, self.crop), self.size)


class Paper144(Crop):
    """§5: 4 scales × 3 squares × (4 corners, centre, whole) × mirror."""

    views = 144

    def __init__(self, size: int, crop: float = 0.875) -> None:
        """`crop` changes nothing: the scales are the protocol's own."""
        self.size = size

    def __call__(self, picture: Image | Picture) -> Tensor:
        """uint8 [144, 3, size, size]"""
        return views.cut(picture, views.paper144(*picture.size, self.size), self.size)
