"""Which crops of a picture a network is asked about."""

from PIL.Image import Image
from torch import Tensor

from deeper.augment.crops import Crop, FixedCrop, Picture


class Single(Crop):
    """One central square: shorter side to size / `crop`, then size × size (224 of 256 for 0.875).

    The paper does not define its single crop; this is the field's.
    """

    def __init__(self, size: int, crop: float = 0.875) -> None:
        self._crop = FixedCrop(size, crop, place="center")

    def __call__(self, picture: Image | Picture) -> Tensor:
        return self._crop(picture)
