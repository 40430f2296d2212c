"""The single crop is the field's: 224 of 256 for 0.875, at the centre."""

import numpy as np
import pytest
import torch
from PIL import Image

from deeper.evaluation.protocol import Single


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("size", [(256, 256), (340, 256), (256, 300)])
def test_224_of_256(size):
    image = noise(*size)
    left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
    expected = np.array(image.crop((left, top, left + 224, top + 224)))
    result = Single(224)(image)
    assert result.dtype == torch.uint8
    assert np.array_equal(result.permute(1, 2, 0).numpy(), expected)


def test_it_draws_nothing():
    single, image = Single(16, 0.5), noise(50, 40)
    assert torch.equal(single(image), single(image))


@pytest.mark.parametrize("crop", [0.5, 0.875, 1.0])
def test_a_constant_picture_stays_one(crop):
    result = Single(10, crop)(Image.new("RGB", (33, 21), (10, 20, 30)))
    assert result.shape == (3, 10, 10)
    assert (result == torch.tensor([10, 20, 30]).view(3, 1, 1)).all()
