"""Which sample stands where, as a pure function of (seed, epoch).

No state is kept and none is saved: a step's samples follow from its number, at any number of
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


class Key(NamedTuple):
    """What the order asks of the data set."""

    epoch: int
    index: int  # type: ignore[assignment]  # tuple has a method of this name
    valid: bool = True


@dataclass(frozen=True)
class Shard:
    """The part of every global batch that one process computes at a time."""

    rank: int = 0
    world_size: int = 1
    accumulate: int = 1

    def micro_batch(self, global_batch: int) -> int:
        parts = self.world_size * self.accumulate
        if global_batch < 1 or global_batch % parts:
            near = max(round(global_batch / parts), 1) * parts
            raise ValueError(
                f"data.batch_size={global_batch} is global and does not divide over "
                f"{self.world_size} processes × {self.accumulate} accumulated batches; "
                f"the nearest that does: data.batch_size={near}"
            )
        return global_batch // parts


def permutation(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(n)


class TrainBatchSampler:
    """Batches of keys for one process: shuffled anew each epoch, the incomplete last batch left out.

    `position` answers (epoch, batches of it already done) when a pass begins.
    """

    def __init__(
        self,
        n: int,
        seed: int,
        global_batch: int,
        shard: Shard,
        position: Callable[[], tuple[int, int]],
    ) -> None:
        self.n, self.seed, self.global_batch, self.shard = n, seed, global_batch, shard
        self.micro_batch = shard.micro_batch(global_batch)
        self.position = position
        if n < global_batch:
            raise ValueError(
                f"data.batch_size={global_batch} is larger than the training set of {n} images; "
                f"pass data.batch_size={max(n // 2, 1)} or less"
            )

    def __len__(self) -> int:
        return self.n // self.global_batch * self.shard.accumulate

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, done = self.position()
        order = permutation(self.n, self.seed, epoch)
        for batch in range(done, len(self)):
            step, part = divmod(batch, self.shard.accumulate)
            place = part * self.shard.world_size + self.shard.rank
            start = step * self.global_batch + place * self.micro_batch
            yield [Key(epoch, int(i)) for i in order[start : start + self.micro_batch]]


class EvalBatchSampler:
    """Every sample once over all processes; all get equally many batches of equal size, by padding."""

    def __init__(self, n: int, batch: int, shard: Shard) -> None:
        if n < 1:
            raise ValueError("there is no image to evaluate on")
        self.n, self.batch, self.shard = n, min(batch, n), shard

    def __len__(self) -> int:
        return ceil(self.n / (self.batch * self.shard.world_size))

    def __iter__(self) -> Iterator[list[Key]]:
        for number in range(len(self)):
            start = (number * self.shard.world_size + self.shard.rank) * self.batch
            yield [Key(0, i % self.n, valid=i < self.n) for i in range(start, start + self.batch)]


def derive_seed(*words: int) -> int:
    """63 well-mixed bits of some integers (splitmix64, Steele et al., 2014): near keys, far seeds."""
    state = 0
    for word in words:
        state = (state ^ (word & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


_MASK = (1 << 64) - 1


def seed_sample(seed: int, key: Key) -> None:
    """Seed every generator that a transform may use, third-party ones included: about 10 µs.

    `torch.manual_seed` would cost 83 µs, since it also visits the accelerators.
    """
    bits = derive_seed(seed, key.epoch, key.index)
    torch.default_generator.manual_seed(bits)
    np.random.seed(bits & 0xFFFFFFFF)
    random.seed(bits)
