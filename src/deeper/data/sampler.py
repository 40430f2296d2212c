"""The order of samples, as a pure function of (seed, epoch).

Samplers keep no state and save none: the samples of a step follow from its number, at any number of
workers, and at any number of processes and accumulated batches that share one global batch.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class SampleKey(NamedTuple):
    """What a sampler asks the data set for."""

    epoch: int
    index: int  # type: ignore[assignment]  # tuple has a method of this name
    valid: bool = True


@dataclass(frozen=True)
class RankSlice:
    """The part of each global batch that one process computes at a time."""

    rank: int = 0
    world_size: int = 1
    accumulate: int = 1

    def micro_batch(self, global_batch: int) -> int:
        slices = self.world_size * self.accumulate
        if global_batch < 1 or global_batch % slices:
            near = max(round(global_batch / slices), 1) * slices
            raise ValueError(
                f"data.batch_size={global_batch} is global and does not divide over "
                f"{self.world_size} processes × {self.accumulate} accumulated batches; "
                f"the nearest that does: data.batch_size={near}"
            )
        return global_batch // slices


def permutation(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(n)


class TrainBatchSampler:
    """Batches for one process: shuffled anew each epoch, without the incomplete last global batch.

    `position` is called when a pass begins, and returns the epoch and how many of its batches are done.
    """

    def __init__(
        self,
        n: int,
        seed: int,
        global_batch: int,
        ranks: RankSlice,
        position: Callable[[], tuple[int, int]],
    ) -> None:
        self.n, self.seed, self.global_batch, self.ranks = n, seed, global_batch, ranks
        self.micro_batch = ranks.micro_batch(global_batch)
        self.position = position
        if n < global_batch:
            raise ValueError(
                f"data.batch_size={global_batch} is larger than the training set of {n} images; "
                f"pass data.batch_size={max(n // 2, 1)} or less"
            )

    def __len__(self) -> int:
        return self.n // self.global_batch * self.ranks.accumulate

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, done = self.position()
        order = permutation(self.n, self.seed, epoch)
        for batch in range(done, len(self)):
            step, number = divmod(batch, self.ranks.accumulate)
            place = number * self.ranks.world_size + self.ranks.rank
            start = step * self.global_batch + place * self.micro_batch
            yield [SampleKey(epoch, int(i)) for i in order[start : start + self.micro_batch]]


class EvalBatchSampler:
    """Every sample once over all processes; padding gives all of them as many batches of equal size."""

    def __init__(self, n: int, batch: int, ranks: RankSlice) -> None:
        if n < 1:
            raise ValueError("there is no image to evaluate on")
        self.n, self.batch, self.ranks = n, min(batch, n), ranks

    def __len__(self) -> int:
        return ceil(self.n / (self.batch * self.ranks.world_size))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for number in range(len(self)):
            start = (number * self.ranks.world_size + self.ranks.rank) * self.batch
            yield [
                SampleKey(0, i % self.n, valid=i < self.n) for i in range(start, start + self.batch)
            ]


def derive_seed(*numbers: int) -> int:
    """A seed of 63 bits from some integers, unrelated for similar ones (splitmix64, Steele et al., 2014)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


_MASK = (1 << 64) - 1


def seed_sample(seed: int, key: SampleKey) -> None:
    """Seed the generators of torch, numpy and random, which a transform may use: about 10 µs.

    Each gets a seed of its own: torch's and numpy's are the same Mersenne twister, and would draw the
    same numbers. `torch.manual_seed` would cost 83 µs, since it also seeds the accelerators.
    """
    sample = derive_seed(seed, key.epoch, key.index)
    torch.default_generator.manual_seed(sample)
    np.random.seed(derive_seed(sample, 1) & 0xFFFFFFFF)
    random.seed(derive_seed(sample, 2))
