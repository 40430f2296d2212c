"""Batches that come through shared buffers are those of a loader without processes."""

import pickle
from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deeper.data.batch import Batch, Sample, collate
from deeper.data.loader import LazyLoader, batch_loader
from deeper.data.shared import BUFFERS, PREFETCH, SharedCollate

SIZES = [3, 3, 1, 5, 2, 5, 5, 4, 3, 1]


class Numbered(Dataset[Sample]):
    """Images whose pixels are their index."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __getitem__(self, index: int) -> Sample:
        image = torch.full(self.shape, index, dtype=torch.uint8)
        image[..., 0] = index % 3  # rows and columns differ
        return Sample(image, index % 7, index, index != 4)


def loader(
    workers: int, *shape: int, persistent: bool = False, start: str | None = None
) -> LazyLoader:
    ends = torch.tensor(SIZES).cumsum(0).tolist()
    batches = [[*range(end - size, end)] for end, size in zip(ends, SIZES, strict=True)]
    return batch_loader(
        Numbered(*shape),
        batches,
        workers,
        persistent_workers=persistent,
        multiprocessing_context=start,
    )


def same(batch: Batch, expected: Batch) -> bool:
    return all(
        torch.equal(a, b) and a.dtype == b.dtype and a.stride() == b.stride()
        for a, b in zip(batch, expected, strict=True)
    )


@pytest.mark.parametrize("shape", [(3, 6, 5), (4, 3, 6, 5)])
@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_those_of_one_process_and_stay_so(workers, shape):
    expected = [*loader(0, *shape)]
    kept = [*loader(workers, *shape)]  # all at once: a buffer written again would show
    assert all(map(same, kept, expected))
    assert not any(is_shared(batch.images) for batch in kept)


def test_a_pass_after_an_abandoned_one_has_its_own_batches():
    expected, again = [*loader(0, 3, 4, 4)], loader(2, 3, 4, 4, persistent=True)
    first = [*islice(again, 3)]
    for _ in range(2):
        assert all(map(same, again, expected))
    assert all(map(same, first, expected))


def test_two_passes_at_once_do_not_mix():
    expected, twice = [*loader(0, 3, 4, 4)], loader(2, 3, 4, 4)
    for batches in zip(twice, twice, expected, strict=True):
        assert same(batches[0], batches[2])
        assert same(batches[1], batches[2])


def test_spawned_workers_send_the_same():
    assert all(map(same, loader(1, 3, 4, 4, start="spawn"), loader(0, 3, 4, 4)))


def test_few_buffers_are_received_and_those_of_ended_workers_freed():
    before = {*BUFFERS}
    for _ in range(3):
        assert len([*loader(2, 3, 4, 4)]) == len(SIZES)
        assert len({*BUFFERS} - before) <= 2 * PREFETCH


def test_images_of_another_shape_have_a_buffer_of_their_own():
    together, sent = SharedCollate(), []
    for shape in [(3, 4, 4), (3, 4, 4), (3, 2, 5), (3, 8, 8)]:
        samples = [Numbered(*shape)[index] for index in range(3)]
        sent.append(pickle.loads(pickle.dumps(together(samples))))
        assert same(sent[-1], collate(samples))


def is_shared(images: Tensor) -> bool:
    return bool(images.untyped_storage().is_shared())
