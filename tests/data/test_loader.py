"""Batches ahead of the step: the order of copies, events and use."""

from types import SimpleNamespace

import pytest
import torch

from deeper.data.batch import Batch
from deeper.data.loader import LazyLoader, ahead

GPU = torch.device("cuda")


class Fake:
    """A tensor that says when it is sent, and for which stream its memory is kept."""

    def __init__(self, number, log):
        self.number, self.log = number, log

    def to(self, device, non_blocking):
        assert (device, non_blocking) == (GPU, True)
        self.log.append(("sent", self.number))
        return self

    def record_stream(self, stream):
        self.log.append((f"kept for {stream.name}", self.number))


@pytest.fixture
def log(monkeypatch):
    """What happens on a device whose streams only say so."""
    said = []

    class Stream:
        def __init__(self, device=None, name="side"):
            self.name, self.events = name, 0

        def record_event(self):
            said.append(("event", self.events))
            self.events += 1
            return self.events - 1

        def wait_event(self, event):
            said.append((f"{self.name} waits", event))

        def __enter__(self):
            said.append(("enter", self.name))

        def __exit__(self, *_):
            said.append(("leave", self.name))

    main = Stream(name="main")
    module = SimpleNamespace(Stream=Stream, stream=lambda s: s, current_stream=lambda _: main)
    monkeypatch.setattr(torch, "get_device_module", lambda _: module)
    return said


def fakes(count, log):
    """One tensor stands for the four of a batch."""
    for number in range(count):
        log.append(("asked", number))
        yield (Fake(number, log),) * 4


def test_each_is_sent_before_the_last_is_used_and_used_when_it_has_arrived(log):
    for number, batch in enumerate(ahead(fakes(3, log), GPU)):
        assert isinstance(batch, Batch)
        log.append(("used", number))
        assert batch.images.number == number
    sent = {
        n: [("enter", "side"), *[("sent", n)] * 4, ("event", n), ("leave", "side")]
        for n in range(3)
    }
    used = {n: [("main waits", n), *[("kept for main", n)] * 4, ("used", n)] for n in range(3)}
    assert log == [
        ("asked", 0), *sent[0], ("asked", 1), *sent[1], *used[0],
        ("asked", 2), *sent[2], *used[1], *used[2],
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 1])
def test_few_batches(log, count):
    assert len(list(ahead(fakes(count, log), GPU))) == count


def test_nothing_is_asked_before_the_first_batch_is_wanted(log):
    iter(ahead(fakes(3, log), GPU))
    assert log == []


def test_a_loader_sends_ahead_where_it_has_a_gpu_to_send_to(monkeypatch):
    loader = LazyLoader([1, 2, 3], batch_size=None)
    assert list(loader) == [1, 2, 3]
    loader.gpu = GPU
    sent = []
    monkeypatch.setattr("deeper.data.loader.ahead", lambda b, d: sent.append(d) or b)
    assert list(loader) == [1, 2, 3]
    assert sent == [GPU]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_every_batch_arrives_whole_while_it_computes():
    work = torch.randn(4096, 4096, device=GPU)
    seen = []
    for batch in ahead(pinned(30), GPU):
        assert batch.images.device.type == "cuda"
        work = (work @ work).softmax(1)
        seen.append(torch.stack([batch.images.float().mean(), batch.labels.float().mean()]))
    assert torch.stack(seen).tolist() == [[n, n] for n in range(30)]


def pinned(count):
    for number in range(count):
        images = torch.full((64, 3, 224, 224), number, dtype=torch.uint8)
        labels = torch.full((64,), number)
        yield Batch(*(t.pin_memory() for t in (images, labels, labels, labels > 0)))
