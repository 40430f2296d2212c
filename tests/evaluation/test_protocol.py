"""protocol=single is torchvision's Resize and CenterCrop to the pixel, and the centre of protocol=ten."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from deeper.evaluation.protocol import Single, Ten


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


SIZES = [
    (256, 256),
    (340, 256),
    (256, 300),
    (500, 375),
    (375, 500),
    (500, 333),
    (61, 100),
    (33, 33),
]


@pytest.mark.parametrize("image_size", SIZES)
@pytest.mark.parametrize(("size", "crop"), [(224, 0.875), (64, 0.875), (20, 0.9), (32, 1.0)])
def test_single_is_torchvisions_resize_and_center_crop(image_size, size, crop):
    image = noise(*image_size)
    steps = [v2.Resize(round(size / crop)), v2.CenterCrop(size), v2.PILToTensor()]
    found = Single(size, crop)(image)
    assert found.dtype == torch.uint8
    assert torch.equal(found, v2.Compose(steps)(image))


@pytest.mark.parametrize("image_size", SIZES)
def test_single_is_the_centre_of_ten(image_size):
    image = noise(*image_size)
    assert torch.equal(Single(64)(image), Ten(64)(image)[4])
