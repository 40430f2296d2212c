"""Photometric distortions against their formulas."""

import collections
import random
import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from deeper.augment.color import PCA_VALUES, PCA_VECTORS, STEPS, Photometric


def noise(side=8):
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side), np.uint8)
    return torch.from_numpy(pixels)


def test_nothing_asked_nothing_done():
    for seed in range(20):
        random.seed(seed)
        assert torch.equal(Photometric(0, 0)(noise()), noise())


def expected(image, seed, amount):
    """Brightness, contrast and saturation in float64, in the order and with the factors of the seed."""
    random.seed(seed)
    steps = ["brightness", "contrast", "saturation"]
    random.shuffle(steps)
    x = image.double()
    for step in steps:
        factor = random.uniform(1 - amount, 1 + amount)
        grey = (torch.tensor([0.2989, 0.587, 0.114]).double().view(3, 1, 1) * x).sum(0)
        other = {"brightness": 0 * grey, "contrast": grey.mean() + 0 * grey, "saturation": grey}
        x = (factor * x + (1 - factor) * other[step]).clamp(0, 255)
    return x


@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_the_three_factors(amount):
    """Whole values at the end."""
    for seed in range(30):
        target = expected(noise(), seed, amount)
        random.seed(seed)
        result = Photometric(amount, 0)(noise())
        assert result.dtype == torch.uint8
        assert (result - target).abs().max() <= 0.501, seed


@pytest.mark.parametrize("step", ["brightness", "contrast", "color"])
def test_each_step_is_the_one_that_howard_used(step):
    """He had Pillow's ImageEnhance: a blend with black, with the mean grey, with the grey picture."""
    enhancer = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "color": ImageEnhance.Color,
    }[step]
    place = ["brightness", "contrast", "color"].index(step)
    for seed in range(40):
        image, factor = photo_like(seed), random.Random(seed).uniform(0.5, 1.5)
        result = by_step(image, STEPS[place], factor)
        expected = enhancer(Image.fromarray(image.permute(1, 2, 0).numpy())).enhance(factor)
        off = result - torch.from_numpy(np.array(expected)).permute(2, 0, 1).int()
        assert off.abs().max() <= 2, seed  # whole values, rounded here and cut off there


def by_step(image, step, factor):
    pixels = image.permute(1, 2, 0).float().flatten(0, 1)
    return step(pixels, factor).clamp(0, 255).view(*image.shape[1:], 3).permute(2, 0, 1)


def photo_like(seed, side=24):
    """Smooth, and of one tint more than of others."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
    pixels = np.array(coarse.resize((side, side), Image.Resampling.BICUBIC))
    pixels = (pixels * random.uniform(0.4, 1, 3)).astype(np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def test_any_order_of_the_three_comes_equally():
    orders = collections.Counter()
    for seed in range(1200):
        random.seed(seed)
        steps = list(range(3))
        random.shuffle(steps)
        orders[tuple(steps)] += 1
        factors = [random.uniform(0.5, 1.5) for _ in range(3)]
        expected = photo_like(seed % 5)
        for step, factor in zip(steps, factors, strict=True):
            expected = by_step(expected, STEPS[step], factor)
        random.seed(seed)
        assert torch.equal(Photometric(0.5, 0)(photo_like(seed % 5)), expected.round().byte())
    assert len(orders) == 6
    assert all(abs(count - 200) < 52 for count in orders.values())  # 4 deviations


def test_noise_moves_all_pixels_along_the_principal_components():
    grey = torch.full((3, 2, 2), 128, dtype=torch.uint8)
    torch.manual_seed(0)
    shifts = []
    for _ in range(2000):
        result = Photometric(0, 0.5)(grey)
        assert (result == result[:, :1, :1]).all()
        shifts.append(result[:, 0, 0].double() - 128)
    vectors = torch.tensor(PCA_VECTORS).double()
    components = torch.stack(shifts) @ vectors / (255 * 0.5)
    # Whole values add a deviation of 1/√12 of 255, which drowns the third component alone.
    assert components.std(0)[:2].tolist() == pytest.approx(PCA_VALUES[:2], rel=0.06)
    assert components.mean(0).abs().max() < 0.01
    assert vectors.T @ vectors == pytest.approx(np.eye(3), abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amount": -0.1}, "amount=-0.1: must lie in 0..1"),
        ({"amount": 1.1}, "amount=1.1: must lie in 0..1"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Photometric(**options)
