"""Mixed batches against their formulas."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deeper.augment.mix import Mix

LABELS = torch.tensor([0, 2, 2, 1, 0, 3])
CLASSES = 4
BEFORE = [5, 0, 1, 2, 3, 4]
"""Neighbours in the batch."""


def images(height=20, width=30, dtype=torch.uint8):
    pixels = np.random.default_rng(0).integers(0, 256, (6, height, width, 3), np.uint8)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(dtype)


def targets(share):
    one_hot = F.one_hot(LABELS, CLASSES).float()
    return share * one_hot + (1 - share) * one_hot[BEFORE]


def test_nothing_asked_nothing_done():
    for mix in (Mix(), Mix(0.2, 1.0, prob=0)):
        batch = images()
        mixed, labels = mix(batch, LABELS, CLASSES, 1)
        assert mixed is batch
        assert labels is LABELS


def test_mixup_is_the_weighted_mean_of_each_picture_and_its_neighbour():
    shares = set()
    for seed in range(30):
        mixed, labels = Mix(mixup_alpha=0.5)(images(), LABELS, CLASSES, seed)
        share = float(labels[0, 0])  # classes 0 and 3
        expected = share * images().double() + (1 - share) * images().double()[BEFORE]
        assert mixed.dtype == labels.dtype == torch.float32
        torch.testing.assert_close(mixed.double(), expected, rtol=0, atol=1e-3)
        torch.testing.assert_close(labels, targets(share))
        shares.add(share)
    assert len(shares) == 30


def test_cutmix_puts_a_box_of_the_neighbour_where_it_was():
    for seed in range(60):
        batch = images()
        mixed, labels = Mix(cutmix_alpha=1.0)(batch, LABELS, CLASSES, seed)
        assert mixed.dtype == torch.float32
        assert torch.equal(batch, images())  # the batch itself stays what it was
        foreign = (mixed != batch).any(1)
        rows, columns = (foreign[0].any(d).nonzero().flatten() for d in (1, 0))
        if len(rows) == 0:
            assert torch.equal(labels, targets(1.0))
            continue
        box = (..., slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        assert torch.equal(mixed[box], batch[BEFORE][box].float())
        outside = torch.ones_like(foreign)
        outside[box] = False
        assert not (foreign & outside).any()
        area = (rows[-1] + 1 - rows[0]) * (columns[-1] + 1 - columns[0])
        torch.testing.assert_close(labels, targets(1 - float(area) / 600))


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_the_share_is_of_the_beta_distribution(alpha):
    """Mean 1/2 and variance 1 / (4 (2α + 1)), within 4 deviations of 2000 draws."""
    shares = [
        float(Mix(alpha)(images(2, 2), LABELS, CLASSES, seed)[1][0, 0]) for seed in range(2000)
    ]
    variance = 1 / (4 * (2 * alpha + 1))
    assert np.mean(shares) == pytest.approx(0.5, abs=4 * (variance / 2000) ** 0.5)
    assert np.var(shares) == pytest.approx(variance, rel=0.1)


def test_the_box_of_cutmix_has_its_area_where_it_fits():
    """A centre anywhere, sides √(1 − share): on average less, by what lies outside."""
    areas = []
    for seed in range(1000):
        _, labels = Mix(cutmix_alpha=1.0)(images(40, 40), LABELS, CLASSES, seed)
        areas.append(1 - float(labels[0, 0]))
    # E[clipped side / whole side] for a side s and a uniform centre is s − s²/4, and s² is uniform.
    s = np.sqrt(np.linspace(0, 1, 10_001))
    assert np.mean(areas) == pytest.approx(np.mean((s - s**2 / 4) ** 2), abs=0.03)


def test_either_kind_comes_half_of_the_time_and_prob_is_kept():
    kinds = {"none": 0, "mixup": 0, "cutmix": 0}
    for seed in range(1000):
        batch = images(4, 4)
        mixed, labels = Mix(1.0, 1.0, prob=0.6)(batch, LABELS, CLASSES, seed)
        whole = (mixed == mixed.round()).all()  # CutMix makes no new values
        kinds["none" if labels.dim() == 1 else "cutmix" if whole else "mixup"] += 1
    assert kinds["none"] == pytest.approx(400, abs=62)  # 4 deviations
    assert kinds["mixup"] == pytest.approx(300, abs=58)
    assert kinds["cutmix"] == pytest.approx(300, abs=58)


def test_the_seed_decides_and_no_generator_is_touched():
    mix = Mix(0.2, 1.0)
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    for seed in (3, 2**63 - 1):
        first, again, other = (mix(images(), LABELS, CLASSES, s) for s in (seed, seed, seed - 1))
        assert all(map(torch.equal, first, again))
        assert not torch.equal(first[1], other[1])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("mix", [Mix(0.2), Mix(cutmix_alpha=1.0)])
def test_a_batch_stays_channels_last(mix):
    for seed in range(3):
        mixed, labels = mix(images(), LABELS, CLASSES, seed)
        assert mixed.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(labels.sum(1), torch.ones(6))


def test_one_picture_is_its_own_neighbour():
    for mix in (Mix(0.2), Mix(cutmix_alpha=1.0)):
        mixed, labels = mix(images()[:1], LABELS[:1], CLASSES, 0)
        torch.testing.assert_close(mixed.float(), images()[:1].float())
        torch.testing.assert_close(labels, F.one_hot(LABELS[:1], CLASSES).float())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prob": 1.5}, "prob=1.5: the fraction of batches that are mixed; must be in 0..1"),
        ({"prob": -0.5}, "prob=-0.5: the fraction of batches that are mixed; must be in 0..1"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Mix(**options)
