"""Crops: where they lie, how they are drawn, and what Pillow makes of the same box."""

import math
import random
import re

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling

from deeper.augment import crops
from deeper.augment.crops import AreaAspectCrop, FixedCrop, PaddedCrop

SIZES = {"landscape": (64, 32), "portrait": (32, 64), "square": (32, 32)}


def ramp(width, height):
    """Red is x, green is y: a pixel says where it came from."""
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    return Image.fromarray(np.stack([x, y, np.full_like(x, 7)], -1))


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def pixels(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.fixture
def boxes(monkeypatch):
    """The boxes that are asked of Pillow, with the filter."""
    seen = []
    original = Image.Image.resize

    def resize(self, size, resample=None, box=None, *rest):
        seen.append((box, resample))
        return original(self, size, resample, box, *rest)

    monkeypatch.setattr(Image.Image, "resize", resize)
    return seen


@pytest.mark.parametrize("shape", SIZES)
def test_a_central_crop_without_scaling_is_a_cut(shape):
    """Shorter side 32 and crop 0.875 of it at 28 px: not a pixel may change."""
    width, height = SIZES[shape]
    left, top = (width - 28) // 2, (height - 28) // 2
    expected = noise(width, height).crop((left, top, left + 28, top + 28))
    result = FixedCrop(28, 0.875, "center")(noise(width, height))
    assert result.dtype == torch.uint8
    assert torch.equal(result, pixels(expected))


@pytest.mark.parametrize("crop", [0.875, 0.9, 1.0])
@pytest.mark.parametrize("size", [(100, 61), (61, 100), (77, 77)])
def test_a_central_crop_is_that_of_the_scaled_picture(size, crop):
    """The usual two steps, scale the shorter side to size / crop, then cut, land on the same place."""
    ratio = 20 / crop / min(size)
    # In two steps sides are rounded, by at most half of a pixel of the result.
    scaled = ramp(*size).resize((round(size[0] * ratio), round(size[1] * ratio)), Resampling.BOX)
    left, top = (scaled.width - 20) / 2, (scaled.height - 20) / 2
    expected = scaled.crop((round(left), round(top), round(left) + 20, round(top) + 20))
    result = FixedCrop(20, crop, "center", interpolation="area")(ramp(*size))
    assert (result.int() - pixels(expected).int()).abs().max() <= 1 + 1 / ratio


@pytest.mark.parametrize("shape", SIZES)
def test_a_warp_is_the_whole_picture(shape):
    image = noise(*SIZES[shape])
    expected = image.resize((24, 24), Resampling.BILINEAR)
    assert torch.equal(FixedCrop(24, 1.0, "random", keep_aspect=False)(image), pixels(expected))


@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("crop", [0.6, 0.875, 1.0])
@pytest.mark.parametrize("shape", SIZES)
def test_random_places_fill_the_picture(boxes, shape, crop, keep_aspect):
    width, height = SIZES[shape]
    image, crop_at = ramp(width, height), FixedCrop(8, crop, keep_aspect=keep_aspect)
    for _ in range(300):
        crop_at(image)
    for side, low, high in ((width, 0, 2), (height, 1, 3)):
        whole = min(width, height) if keep_aspect else side
        starts = np.array([box[low] for box, _ in boxes])
        ends = np.array([box[high] for box, _ in boxes])
        np.testing.assert_allclose(ends - starts, whole * crop)
        assert starts.min() >= 0
        assert ends.max() <= side + 1e-9
        free = side - whole * crop
        if free > 0:
            assert starts.min() < 0.05 * free
            assert ends.max() > side - 0.05 * free
            assert starts.mean() == pytest.approx(free / 2, abs=0.1 * free)


def ks_of_uniform(values, low, high):
    """Distance of Kolmogorov and Smirnov; √n of it is above 1.95 once in a thousand times."""
    shares = (np.sort(values) - low) / (high - low)
    n = len(shares)
    places = np.arange(n + 1) / n
    return max(np.abs(shares - places[:-1]).max(), np.abs(shares - places[1:]).max()) * math.sqrt(n)


def draw(crop, image, count):
    torch.manual_seed(0)
    made = [crop._sampler.make_params([image]) for _ in range(count)]
    width, height = (np.array([p[side] for p in made]) for side in ("width", "height"))
    return width * height / math.prod(image.size), np.log(width / height)


def test_area_and_log_aspect_are_uniform():
    # At most 0.7 of a square fits whatever the aspect, so nothing is drawn anew and distorts.
    crop = AreaAspectCrop(8, area=(0.08, 0.7))
    areas, aspects = draw(crop, Image.new("L", (1000, 1000)), 3000)
    assert ks_of_uniform(areas, 0.08, 0.7) < 1.95
    assert ks_of_uniform(aspects, math.log(3 / 4), math.log(4 / 3)) < 1.95
    assert abs(np.corrcoef(areas, aspects)[0, 1]) < 0.06


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (400, 400)])
def test_the_papers_range(size):
    areas, aspects = draw(AreaAspectCrop(8), Image.new("L", size), 2000)
    slack = 0.01  # sides are whole pixels
    assert 0.08 - slack < areas.min() < 0.1
    assert 0.9 < areas.max() <= 1
    assert math.log(3 / 4) - slack <= aspects.min() < math.log(0.77)
    assert math.log(1.3) < aspects.max() <= math.log(4 / 3) + slack


def test_a_picture_too_long_for_any_patch_gives_its_centre(boxes):
    """At 1:10 no patch of 90 % fits an aspect of 4/3."""
    result = AreaAspectCrop(8, area=(0.9, 1.0))(ramp(200, 20))
    ((left, top, right, bottom), _) = boxes[0]
    assert (top, bottom) == (0, 20)
    assert (right - left) / 20 == pytest.approx(4 / 3, abs=0.05)
    assert left + right == pytest.approx(200, abs=1)
    assert result[0].float().mean() == pytest.approx(99.5, abs=1)


@pytest.mark.parametrize(
    "crop", [AreaAspectCrop(8, interpolation="random"), FixedCrop(8, interpolation="random")]
)
def test_random_interpolation_draws_all_four_equally(boxes, crop):
    random.seed(0)
    for _ in range(800):
        crop(ramp(20, 20))
    counts = {resample: [r for _, r in boxes].count(resample) for _, resample in boxes}
    assert counts.keys() == {Resampling(i) for i in (0, 2, 3, 4)}
    assert all(abs(count - 200) < 50 for count in counts.values())  # 4 deviations


@pytest.mark.parametrize("name", crops.INTERPOLATIONS)
def test_a_named_interpolation_is_pillows(name):
    image = noise(40, 40)
    filters = {"bilinear": 2, "area": 4, "nearest": 0, "bicubic": 3}
    expected = image.resize((16, 16), filters[name])
    assert torch.equal(FixedCrop(16, 1.0, interpolation=name)(image), pixels(expected))


def test_padded_crop_shifts_by_up_to_its_padding():
    """Every shift of −3..3 either way comes, and what comes in is black."""
    picture = noise(16, 16)
    content = np.maximum(np.array(picture), 1)  # 0 means border
    picture = Image.fromarray(content)
    padded = np.pad(content, ((3, 3), (3, 3), (0, 0)))
    shifts = {
        padded[y : y + 16, x : x + 16].tobytes(): (x - 3, y - 3) for x in range(7) for y in range(7)
    }
    torch.manual_seed(0)
    crop = PaddedCrop(16, padding=3)
    seen = {shifts[crop(picture).permute(1, 2, 0).numpy().tobytes()] for _ in range(400)}
    assert len(seen) == 49


def test_no_padding_is_the_whole_picture():
    image = noise(16, 16)
    assert torch.equal(PaddedCrop(16, padding=0)(image), pixels(image))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: AreaAspectCrop(8, area=(0, 1)),
            "area=[0, 1]: two shares in 0..1, the smaller first",
        ),
        (
            lambda: AreaAspectCrop(8, area=(0.5, 0.2)),
            "area=[0.5, 0.2]: two shares in 0..1, the smaller first",
        ),
        (
            lambda: AreaAspectCrop(8, area=(0.5, 1.5)),
            "area=[0.5, 1.5]: two shares in 0..1, the smaller first",
        ),
        (
            lambda: AreaAspectCrop(8, aspect=(2, 1)),
            "aspect=[2, 1]: two ratios above 0, the smaller first",
        ),
        (
            lambda: FixedCrop(8, 0),
            "crop=0: the share of the shorter side that is kept, in 0..1",
        ),
        (
            lambda: FixedCrop(8, 1.1),
            "crop=1.1: the share of the shorter side that is kept, in 0..1",
        ),
        (lambda: PaddedCrop(8, -1), "padding=-1: must be at least 0 pixels"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
