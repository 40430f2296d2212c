"""The order against what it promises: a pure function of (seed, epoch), for any split of the work."""

import random
import re

import numpy as np
import pytest
import torch

from deeper.data.sampler import (
    EvalBatchSampler,
    RankSlice,
    SampleKey,
    TrainBatchSampler,
    derive_seed,
    permutation,
    seed_sample,
)


def train_sampler(n=53, batch=8, *, seed=1, epoch=0, done=0, rank=0, world=1, accumulate=1):
    shard = RankSlice(rank, world, accumulate)
    return TrainBatchSampler(n, seed, batch, shard, lambda: (epoch, done))


def steps(world, accumulate, n=53, batch=8, epoch=0):
    """The set of samples of each global step, over all processes and accumulated batches."""
    sets = [set() for _ in range(n // batch)]
    for rank in range(world):
        order = train_sampler(n, batch, epoch=epoch, rank=rank, world=world, accumulate=accumulate)
        for number, keys in enumerate(order):
            assert len(keys) == batch // (world * accumulate)
            sets[number // accumulate] |= {key.index for key in keys}
    return sets


def test_the_permutation_depends_on_seed_and_epoch_alone():
    first = permutation(50, 3, 4)
    for other in (np.random.seed, random.seed, torch.manual_seed):
        other(9)
        permutation(10, 0, 0)
        assert np.array_equal(permutation(50, 3, 4), first)
    assert sorted(first) == list(range(50))
    different = {permutation(50, seed, epoch).tobytes() for seed in range(9) for epoch in range(9)}
    assert len(different) == 81


@pytest.mark.parametrize(("n", "batch"), [(53, 8), (48, 8), (8, 8), (7, 1)])
def test_an_epoch_has_each_index_once_without_the_incomplete_batch(n, batch):
    order = train_sampler(n, batch, epoch=2)
    keys = [key for keys in order for key in keys]
    assert len(order) == n // batch
    assert [key.index for key in keys] == permutation(n, 1, 2)[: n // batch * batch].tolist()
    assert {(key.epoch, key.valid) for key in keys} == {(2, True)}


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize(
    ("world", "accumulate"), [(1, 2), (1, 8), (2, 1), (2, 2), (2, 4), (4, 1), (4, 2)]
)
def test_a_step_has_the_same_samples_however_it_is_divided(world, accumulate, epoch):
    whole = steps(1, 1, epoch=epoch)
    assert all(len(step) == 8 for step in whole)
    assert steps(world, accumulate, epoch=epoch) == whole


@pytest.mark.parametrize("done", [0, 1, 5, 12])
@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_a_resumed_pass_is_the_tail_of_the_whole(done, rank, world):
    options = {"epoch": 3, "rank": rank, "world": world, "accumulate": 2}
    whole = list(train_sampler(**options))
    assert len(whole) == 12
    assert list(train_sampler(done=done, **options)) == whole[done:]


def test_the_position_is_asked_when_a_pass_begins():
    position = [(0, 0)]
    order = TrainBatchSampler(16, 1, 4, RankSlice(), lambda: position[0])
    position[0] = (5, 3)
    (keys,) = order
    assert {key.epoch for key in keys} == {5}


@pytest.mark.parametrize(
    ("batch", "world", "accumulate", "near"),
    [(10, 4, 1, 8), (3, 4, 1, 4), (1, 2, 2, 4), (15, 2, 2, 16), (0, 2, 1, 2)],
)
def test_a_batch_that_does_not_divide(batch, world, accumulate, near):
    message = (
        f"data.batch_size={batch} is global and does not divide over {world} processes × "
        f"{accumulate} accumulated batches; the nearest that does: data.batch_size={near}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_sampler(batch=batch, world=world, accumulate=accumulate)
    assert RankSlice(0, world, accumulate).micro_batch(near)  # the advice holds


@pytest.mark.parametrize(("n", "advised"), [(53, 26), (1, 1)])
def test_a_batch_larger_than_the_set(n, advised):
    message = (
        f"data.batch_size=64 is larger than the training set of {n} images; "
        f"pass data.batch_size={advised} or less"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_sampler(n, 64)


@pytest.mark.parametrize("batch", [1, 4, 16])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [1, 7, 50, 101])
def test_evaluation_has_each_index_once_and_ranks_in_step(n, world, batch):
    orders = [EvalBatchSampler(n, batch, RankSlice(rank, world)) for rank in range(world)]
    passes = [list(order) for order in orders]
    keys = [key for batches in passes for keys in batches for key in keys]

    assert sorted(key.index for key in keys if key.valid) == list(range(n))
    assert all(0 <= key.index < n for key in keys)
    # A collective operation a batch would hang if one rank had a batch more.
    assert {len(batches) for batches in passes} == {len(order) for order in orders}
    assert len({len(batches) for batches in passes}) == 1
    assert {len(keys) for batches in passes for keys in batches} == {min(batch, n)}
    assert list(orders[0]) == passes[0]  # a second pass is the same


def test_nothing_to_evaluate_on():
    with pytest.raises(ValueError, match=r"^there is no image to evaluate on$"):
        EvalBatchSampler(0, 4, RankSlice())


def test_mix_does_not_collide_on_a_grid():
    seeds, epochs, indices = range(8), range(20), range(500)
    bits = {derive_seed(s, e, i) for s in seeds for e in epochs for i in indices}
    assert len(bits) == 8 * 20 * 500
    assert all(0 <= value < 1 << 63 for value in bits)
    # numpy gets the low half only: collisions stay at the rate of chance (n²/2³³ ≈ 0.7).
    assert len({value & 0xFFFFFFFF for value in bits}) >= len(bits) - 8
    assert derive_seed(1, 2) != derive_seed(2, 1)


def test_a_sample_repeats_with_every_generator():
    def draw(key):
        seed_sample(7, key)
        return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()

    first = draw(SampleKey(1, 5))
    assert draw(SampleKey(1, 5)) == first
    # Padding is the same picture: whether it counts has no part in what it looks like.
    assert draw(SampleKey(1, 5, valid=False)) == first
    for key in (SampleKey(1, 6), SampleKey(2, 5)):
        assert not any(a == b for a, b in zip(draw(key), first, strict=True))


def test_generators_of_a_sample_draw_different_numbers():
    """torch's and numpy's generators are the same Mersenne twister: equal seeds, equal numbers."""
    seed_sample(7, SampleKey(1, 5))
    ours = set(torch.empty(500, dtype=torch.int64).random_(0, 2**32).tolist())
    theirs = set(np.random.randint(0, 2**32, 1000, dtype=np.uint32).tolist())
    others = {random.getrandbits(32) for _ in range(1000)}
    assert not ours & theirs
    assert not theirs & others
    assert not ours & others
