"""Crops: their places, their random draws, and their pixels against Pillow's."""

import math
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling

from deeper.augment import crops
from deeper.augment.crops import AreaAspectCrop, CenterCrop, FixedCrop, PaddedCrop, resize
from deeper.data.images.encoded import Encoded

SIZES = {"landscape": (64, 32), "portrait": (32, 64), "square": (32, 32)}


def ramp(width, height):
    """Red is x, green is y: a pixel says where it came from."""
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    return Image.fromarray(np.stack([x, y, np.full_like(x, 7)], -1))


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def pixels(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


FULL_SIZE = 2 * 224
"""Images with a shorter side below it are never decoded at a reduced scale for a crop of 224 px."""

MOST = {"bilinear": 2, "bicubic": 32, "area": 0, "nearest": 0}
"""How far a value of 255 may be from Pillow's, by interpolation."""


def near_pillow(result, expected, name="bilinear"):
    """torch's filters against Pillow's: the same, but for rounding and rare overshoots."""
    difference = (result.int() - pixels(expected).int()).abs().float()
    assert difference.max() <= MOST[name]
    assert difference.mean() < 0.5
    return (difference > 1).float().mean() < 0.03


@pytest.mark.parametrize("shape", SIZES)
def test_a_central_crop_without_scaling_is_a_cut(shape):
    """Shorter side 32 and 0.875 of it at 28 px: no pixel may change."""
    width, height = SIZES[shape]
    left, top = (width - 28) // 2, (height - 28) // 2
    expected = noise(width, height).crop((left, top, left + 28, top + 28))
    result = CenterCrop(28, 0.875)(noise(width, height))
    assert result.dtype == torch.uint8
    assert torch.equal(result, pixels(expected))


@pytest.mark.parametrize("shape", SIZES)
def test_a_warp_is_the_whole_picture(shape):
    image = noise(*SIZES[shape])
    expected = image.resize((24, 24), Resampling.BILINEAR)
    assert near_pillow(FixedCrop(24, 1.0, keep_aspect=False)(image), expected)


@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("crop", [0.6, 0.875, 1.0])
@pytest.mark.parametrize("shape", SIZES)
def test_random_places_fill_the_picture(shape, crop, keep_aspect):
    width, height = SIZES[shape]
    random.seed(0)
    crop_at = FixedCrop(8, crop, keep_aspect=keep_aspect)
    boxes = [crop_at.draw(width, height) for _ in range(300)]
    for side, low, high in ((width, 0, 2), (height, 1, 3)):
        whole = min(width, height) if keep_aspect else side
        starts = np.array([box[low] for box in boxes])
        ends = np.array([box[high] for box in boxes])
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


def draw(crop, size, count):
    """Areas as shares, logarithms of aspects, and the boxes [count, 4]."""
    random.seed(0)
    boxes = np.array([crop.draw(*size) for _ in range(count)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return width * height / math.prod(size), np.log(width / height), boxes


def chance_to_fit(shares, width, height):
    """For each share of the area: of log aspects that are uniform in 3/4–4/3, how many fit."""
    area = shares * width * height
    low = np.maximum(math.log(3 / 4), np.log(area / height**2))
    high = np.minimum(math.log(4 / 3), np.log(width**2 / area))
    return np.maximum(high - low, 0) / math.log(16 / 9)


@pytest.mark.parametrize("size", [(5000, 3750), (3750, 5000), (4000, 4000), (6000, 4000)])
def test_the_papers_words_over_a_hundred_thousand_draws(size):
    """ "evenly between 8% and 100% of the image area", aspect "between 3/4 and 4/3" (§6).

    A patch that does not fit is drawn anew, so the density of an area is that of the paper times
    its chance to fit; up to where all fit, it is even.
    """
    areas, aspects, boxes = draw(AreaAspectCrop(8), size, 100_000)
    grid = np.linspace(0.08, 1, 20_001)
    fits = chance_to_fit(grid, *size)
    cumulative = np.concatenate([[0], np.cumsum(fits[1:] + fits[:-1])])
    assert ks_of_uniform(np.interp(areas, grid, cumulative / cumulative[-1]), 0, 1) < 1.95

    even = grid[fits > 1 - 1e-9].max()  # 0.56 for 4:3, 0.75 for a square
    inside = areas < even
    assert ks_of_uniform(areas[inside], 0.08, even) < 1.95
    assert ks_of_uniform(aspects[inside], math.log(3 / 4), math.log(4 / 3)) < 1.95
    assert abs(np.corrcoef(areas[inside], aspects[inside])[0, 1]) < 4 / math.sqrt(inside.sum())

    slack = 1e-3  # sides are whole pixels
    assert math.log(3 / 4) - slack < aspects.min()
    assert aspects.max() < math.log(4 / 3) + slack
    assert 0.08 - slack < areas.min() < 0.081
    assert areas.max() <= 1
    # Whatever its size, a patch lies anywhere that it can.
    for side, low, high in ((size[0], 0, 2), (size[1], 1, 3)):
        free = side - (boxes[:, high] - boxes[:, low])
        assert boxes[:, low].min() == 0
        assert boxes[:, high].max() == side
        places = (boxes[:, low] + np.random.default_rng(0).random(len(free))) / (free + 1)
        assert ks_of_uniform(places, 0, 1) < 1.95


def test_a_picture_too_long_for_any_patch_gives_its_centre():
    """At 1:10 no patch of 90 % fits an aspect of 4/3."""
    crop = AreaAspectCrop(8, area=(0.9, 1.0))
    result = crop(ramp(200, 20))
    left, top, right, bottom = crop.draw(200, 20)
    assert crop.draw(20, 200) == (top, left, bottom, right)
    assert (top, bottom) == (0, 20)
    assert (right - left) / 20 == pytest.approx(4 / 3, abs=0.05)
    assert left + right == pytest.approx(200, abs=1)
    assert result[0].float().mean() == pytest.approx(99.5, abs=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda name: AreaAspectCrop(8, (1, 1), (1, 1), interpolation=name),
        lambda name: FixedCrop(8, 1.0, interpolation=name),
    ],
)
def test_random_interpolation_draws_all_four_equally(make):
    random.seed(0)
    image = noise(20, 20)  # all of it, so that only the filter can differ
    results = [make("random")(image).numpy().tobytes() for _ in range(800)]
    by_name = {name: make(name)(image).numpy().tobytes() for name in crops.INTERPOLATIONS}
    assert set(results) == set(by_name.values())
    assert len(set(results)) == 4
    assert all(abs(results.count(r) - 200) < 50 for r in set(results))  # 4 deviations


@pytest.mark.parametrize("name", crops.INTERPOLATIONS)
def test_a_named_interpolation_is_pillows(name):
    image = noise(40, 40)
    filters = {"bilinear": 2, "area": 4, "nearest": 0, "bicubic": 3}
    expected = image.resize((16, 16), filters[name])
    result = FixedCrop(16, 1.0, interpolation=name)(image)
    assert near_pillow(result, expected, name)


@pytest.mark.parametrize("name", crops.INTERPOLATIONS)
def test_a_patch_is_cut_and_then_scaled(name):
    """Nothing around it bleeds in: the same as torchvision's RandomResizedCrop."""
    crop = AreaAspectCrop(16, interpolation=name)
    image = noise(60, 50)
    for seed in range(20):
        random.seed(seed)
        box = crop.draw(60, 50)
        random.seed(seed)
        filters = {"bilinear": 2, "area": 4, "nearest": 0, "bicubic": 3}
        expected = image.crop(box).resize((16, 16), filters[name])
        assert near_pillow(crop(image), expected, name)


def test_a_box_between_pixels_is_that_of_the_scaled_picture():
    """Evaluation scales, then cuts: what lies just outside of the box has its part in the border."""
    image = noise(50, 40)
    box = (9.5, 4.5, 40.5, 35.5)
    expected = image.resize((16, 16), Resampling.BILINEAR, box)
    assert torch.equal(resize(np.array(image), box, 16, "bilinear"), pixels(expected))


@pytest.mark.parametrize("crop", [FixedCrop(28, 0.875), CenterCrop(28, 0.875)])
@pytest.mark.parametrize("width", [32, 33, 47])
def test_without_resizing_nothing_is_blurred(width, crop):
    """As with images packed to a shorter side of 256 and crops of 224."""
    image = ramp(width, 32)
    for _ in range(20):
        result = crop(image)
        left, top = int(result[0, 0, 0]), int(result[1, 0, 0])
        assert torch.equal(result, pixels(image.crop((left, top, left + 28, top + 28))))
        if isinstance(crop, CenterCrop):
            assert abs(left - (width - 28) / 2) <= 0.5
            assert top == 2


class HalfSize:
    """An encoded image that is decoded at half its size where that is enough."""

    def __init__(self, image):
        self.image, self.size, self.scales = image, image.size, []

    def pixels(self, box=None, size=None, cut=False):
        half = size and (box[2] - box[0]) / 2 >= size[0] and (box[3] - box[1]) / 2 >= size[1]
        self.scales.append(2 if half else 1)
        if not half:
            return np.array(self.image), box
        return np.array(self.image.reduce(2)), tuple(side / 2 for side in box)


CROPS = {
    "area": AreaAspectCrop(8, interpolation="random"),
    "fixed": FixedCrop(8, interpolation="random"),
    "warp": FixedCrop(8, keep_aspect=False, interpolation="random"),
    "center": CenterCrop(8),
    "padded": PaddedCrop(8),
}


@pytest.mark.parametrize("name", CROPS)
def test_what_is_drawn_is_the_same_for_pictures_still_encoded(name):
    """And for one that is decoded at another scale; the next to draw finds the generators alike."""
    states = []
    for picture in (ramp(15, 14), HalfSize(ramp(15, 14)), HalfSize(ramp(30, 28))):
        random.seed(1)
        torch.manual_seed(1)
        result = CROPS[name](picture)
        assert (result.shape, result.dtype) == ((3, 8, 8), torch.uint8)
        states.append((random.random(), torch.rand(1).item()))
    assert len(set(states)) == 1


@pytest.mark.parametrize("crop", [AreaAspectCrop(8), FixedCrop(8), FixedCrop(8, keep_aspect=False)])
def test_at_another_scale_a_crop_shows_the_same_place(crop):
    """A ramp says where: the result may be off by a pixel of the smaller scale."""
    used = set()
    for seed in range(40):
        encoded, size = HalfSize(ramp(101, 90)), (101, 90)
        random.seed(seed)
        box = crop.draw(*size)
        random.seed(seed)
        result = crop(encoded).double()
        step_x, step_y = (box[2] - box[0]) / 8, (box[3] - box[1]) / 8
        x = box[0] + step_x * (torch.arange(8) + 0.5) - 0.5
        y = box[1] + step_y * (torch.arange(8) + 0.5) - 0.5
        inner = slice(1, 7)  # a filter at a border sees one side only
        assert (result[0, 3] - x)[inner].abs().max() <= 0.5 * step_x + 2
        assert (result[1, :, 3] - y)[inner].abs().max() <= 0.5 * step_y + 2
        used |= set(encoded.scales)
    assert 2 in used


@pytest.mark.parametrize(
    "crop",
    [
        AreaAspectCrop(8, interpolation="area"),
        AreaAspectCrop(8, interpolation="nearest"),
        FixedCrop(8, interpolation="nearest"),
        CenterCrop(8),
        PaddedCrop(8),
    ],
)
def test_what_is_judged_and_what_would_be_another_picture_is_decoded_whole(crop):
    encoded = HalfSize(ramp(101, 90))
    for _ in range(10):
        crop(encoded)
    assert set(encoded.scales) == {1}


@pytest.mark.parametrize("name", CROPS)
def test_results_lie_as_pictures_do(name):
    """[H, W, 3], so that nothing turns them; PaddedCrop's padding makes a copy of its own."""
    for size in ((15, 14), (200, 180), (8, 8)):
        result = CROPS[name](ramp(*size))
        assert name == "padded" or result.stride()[0] == 1


class Recorded(Encoded):
    """A photo that knows the scale at which it was decoded last: 1, 2, 4 or 8."""

    def pixels(self, box=None, size=None, cut=False):
        result, moved = super().pixels(box, size, cut)
        width = box[2] - box[0] if box else self.size[0]
        self.scale = round(width / (moved[2] - moved[0]))
        return result, moved


@pytest.fixture(scope="module")
def photos():
    root = Path(os.environ.get("IMAGENET_PHOTOS", "/nonexistent"))
    files = sorted(root.glob("train/*/*.JPEG"))
    if not files:
        pytest.skip("no photos; set IMAGENET_PHOTOS=<folder with train/<wnid>/*.JPEG>")
    return [Recorded(path.read_bytes(), str(path)) for path in files]


def differences(photos, crop, reference):
    """[n, 3, H, W] of one crop of each photo with the same random numbers, and the scales [n]."""
    found, scales = [], []
    for seed, photo in enumerate(photos):
        random.seed(seed)
        result = crop(photo).int()
        scales.append(photo.scale)
        random.seed(seed)
        found.append((result - reference(photo, crop).int()).abs())
    return torch.stack(found).float(), torch.tensor(scales)


@pytest.mark.parametrize("name", [*crops.INTERPOLATIONS, "random"])
def test_real_photos_decoded_at_full_size_give_the_same_to_the_bit(photos, name):
    for crop in (AreaAspectCrop(224, interpolation=name), FixedCrop(224, interpolation=name)):
        off, scales = differences(photos[::3], crop, lambda photo, crop: crop(photo.pil()))
        assert not off[scales == 1].any()


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_real_photos_are_scaled_as_pillow_does(photos, name):
    def by_pillow(photo, crop):
        image = photo.pil().crop(crop.draw(*photo.size))
        return pixels(image.resize((224, 224), crops.INTERPOLATIONS[name]))

    crop = AreaAspectCrop(224, (0.08, 0.9), interpolation=name)
    off, scales = differences(photos[::3], crop, by_pillow)
    if not len(off := off[scales == 1]):
        pytest.skip("every photo is decoded at a smaller size")
    assert (off > 1).float().mean() < 1e-3
    assert off.mean() < 0.05
    assert off.max() <= MOST[name]


@pytest.mark.parametrize(("name", "mean"), [("bilinear", 2), ("bicubic", 2.5)])
@pytest.mark.parametrize("size", [64, 224])
def test_real_photos_decoded_at_a_smaller_size_are_nearly_the_same(photos, name, mean, size):
    """On average within 2 of 255."""
    for crop in (AreaAspectCrop(size, interpolation=name), FixedCrop(size, interpolation=name)):
        off, scales = differences(photos[::5], crop, lambda photo, crop: crop(photo.pil()))
        if (scales > 1).any():
            assert off[scales > 1].mean() < mean


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
            "area=[0, 1]: expected two fractions in 0..1, the smaller first",
        ),
        (
            lambda: AreaAspectCrop(8, area=(0.5, 0.2)),
            "area=[0.5, 0.2]: expected two fractions in 0..1, the smaller first",
        ),
        (
            lambda: AreaAspectCrop(8, area=(0.5, 1.5)),
            "area=[0.5, 1.5]: expected two fractions in 0..1, the smaller first",
        ),
        (
            lambda: AreaAspectCrop(8, aspect=(2, 1)),
            "aspect=[2, 1]: expected two ratios above 0, the smaller first",
        ),
        (
            lambda: FixedCrop(8, 0),
            "crop=0: the fraction of the shorter side that the crop keeps; must be in 0..1",
        ),
        (
            lambda: FixedCrop(8, 1.1),
            "crop=1.1: the fraction of the shorter side that the crop keeps; must be in 0..1",
        ),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
