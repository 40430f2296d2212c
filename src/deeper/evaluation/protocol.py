"""Evaluation protocols: which crops of an image a network sees."""

from collections.abc import Callable

from PIL.Image import Image
from torch import Tensor

from deeper.augment import views
from deeper.augment.crops import CenterCrop, Crop, require_fraction
from deeper.data.images.encoded import Encoded

CropProtocol = Callable[[Image | Encoded], Tensor]
"""A protocol that was built for an input size: an image → uint8 [3, size, size], or [V, 3, size, size]
where the protocol has an attribute `views`.
"""


def crop_count(protocol: object) -> int:
    """Crops of each image; 1 for a protocol without the attribute `views`."""
    return int(getattr(protocol, "views", 1))


class Single(CenterCrop):
    """One central crop: shorter side to `size` / `crop`, then the central square (224 of 256 for 0.875).

    The paper does not define its single crop; this is the usual one.
    """


class Ten(Crop):
    """Four corners and the centre of the image with its shorter side at `size` / `crop`, each mirrored
    too.
    """

    views = 10

    def __init__(self, size: int, crop: float = 0.875) -> None:
        require_fraction(crop)
        self.size, self.crop = size, crop

    def __call__(self, image: Image | Encoded) -> Tensor:
        """uint8 [10, 3, size, size]"""
        return views.cut(image, views.ten(*image.size, self.size, self.crop), self.size)


class Paper144(Crop):
    """§5: 4 scales × 3 squares × (4 corners, centre, whole square) × mirror."""

    views = 144

    def __init__(self, size: int, crop: float = 0.875) -> None:
        """`crop` has no effect: the paper fixes the scales."""
        self.size = size

    def __call__(self, image: Image | Encoded) -> Tensor:
        """uint8 [144, 3, size, size]"""
        return views.cut(image, views.paper144(*image.size, self.size), self.size)
