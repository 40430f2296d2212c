"""The evaluation pass against the plain formula, whatever chunks, ranks and number of networks."""

import logging
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from deeper.data.batch import Sample, collate
from deeper.data.datamodule import ImageData
from deeper.data.sampler import RankSlice, ViewSampler
from deeper.data.source import Splits
from deeper.evaluation.chunks import Chunks
from deeper.evaluation.fusion import Fused, fused
from deeper.evaluation.protocol import Paper144, Single, Ten, crops
from deeper.evaluation.runner import Job, Judge

SIZE, N, CLASSES = 16, 11, 4


class Noise:
    def __init__(self, n=N):
        self.labels = np.arange(n) % CLASSES

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        random = np.random.default_rng(index)
        shape = (20 + index, 31 - index, 3)
        return Image.fromarray(random.integers(0, 256, shape, np.uint8)), int(self.labels[index])


class Source:
    def __init__(self, root, cache): ...

    def prepare(self): ...

    def load(self):
        return Splits([*"abcd"], Noise(), Noise(), Noise())


class Net(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES)
        )  # fmt: skip

    def forward(self, images):
        return self.body(images.float() / 64)


def data(tmp_path, eval_batch_size=8, **options):
    module = ImageData(
        Source, root=str(tmp_path), cache=str(tmp_path), image_size=SIZE, batch_size=4,
        augment={}, protocol=Single, seed=0, val_from="official", workers=0,
        eval_batch_size=eval_batch_size, **options,
    )  # fmt: skip
    module.prepare_data()
    module.setup()
    return module


def judged(tmp_path, nets, protocol, batch=48, fusion="mean"):
    module, found = data(tmp_path, batch), []
    images = module.splits.test
    jobs = [Job(net, protocol(SIZE), SIZE, images, found.append) for net in nets]
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, use_distributed_sampler=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.validate(Judge(lambda _: jobs, module, fusion), verbose=False)
    assert len(found) == len(nets)
    return found


@torch.inference_mode()
def by_formula(net, protocol, fusion="mean"):
    rows = []
    for index in range(N):
        views = protocol(SIZE)(Noise()[index][0])
        p = net.eval()(views if views.dim() == 4 else views[None]).softmax(1)
        best = p.amax(0)
        rows.append(p.mean(0) if fusion == "mean" else best / best.sum())
    return torch.stack(rows)


@pytest.mark.parametrize("fusion", ["mean", "max"])
@pytest.mark.parametrize("protocol", [Single, Ten, Paper144])
def test_probabilities_are_fused_over_views(tmp_path, protocol, fusion):
    (found,) = judged(tmp_path, [Net()], protocol, fusion=fusion)
    assert found.dtype == torch.float32
    assert torch.allclose(found, by_formula(Net(), protocol, fusion), atol=1e-6)
    assert torch.allclose(found.sum(1), torch.ones(N))


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("protocol", [Single, Ten])
def test_any_batch_size_agrees(tmp_path, protocol, batch):
    (found,) = judged(tmp_path, [Net()], protocol, batch)
    assert (found - by_formula(Net(), protocol)).abs().max() < 1e-5


def test_seven_networks_together_are_the_seven_one_by_one(tmp_path):
    together = judged(tmp_path, [Net(i) for i in range(7)], Ten)
    alone = [judged(tmp_path, [Net(i)], Ten)[0] for i in range(7)]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


def over_ranks(tmp_path, protocol, world, batch):
    """What each process would compute, one after the other."""
    module, net, rows, index = data(tmp_path, batch), Net().eval(), [], []
    for rank in range(world):
        job = Job(net, protocol(SIZE), SIZE, module.splits.test, print)
        tally = Fused(crops(job.looks), "mean", hold=3)
        chunks = job.chunks(module, RankSlice(rank, world))
        assert len(list(chunks)) == len(chunks) >= 1
        for chunk in chunks:
            assert len(chunk.images) == batch
            assert chunk.images.is_contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                tally.add(net(chunk.images).softmax(1), chunk.index)
        parts = tally.pictures()
        rows.append(parts[0])
        index.append(parts[1])
    order = torch.cat(index)
    assert order.sort().values.tolist() == list(range(N))
    return torch.cat(rows)[order.argsort()]


@pytest.mark.parametrize(
    ("protocol", "batch"), [(Single, 2), (Single, 8), (Ten, 8), (Ten, 48), (Paper144, 96)]
)
def test_any_number_of_processes_is_bit_equal(tmp_path, protocol, batch):
    one = over_ranks(tmp_path, protocol, 1, batch)
    for world in (3, 20) if protocol is Single else (3,):
        assert torch.equal(over_ranks(tmp_path, protocol, world, batch), one)


@pytest.mark.parametrize("views", [1, 3, 10])
@pytest.mark.parametrize("size", [1, 4, 7])
def test_chunks_hold_every_view_in_order(views, size):
    shape = (3, 2, 2) if views == 1 else (views, 3, 2, 2)
    order = ViewSampler(13, views, size, RankSlice())
    batches = [
        collate(
            [Sample(torch.full(shape, k.index, dtype=torch.uint8), 0, k.index, k.valid) for k in b]
        )
        for b in order
    ]
    chunks = list(Chunks(batches, 13, views, size))
    assert {len(c.images) for c in chunks} == {size}
    index = torch.cat([c.index for c in chunks])
    assert index[: 13 * views].tolist() == [i for i in range(13) for _ in range(views)]
    assert (index[13 * views :] == -1).all()
    images = torch.cat([c.images for c in chunks])
    assert torch.equal(images[: 13 * views, 0, 0, 0].long(), index[: 13 * views])


def test_what_is_not_a_picture_once_is_never_kept(tmp_path):
    job = Job(Net(), Single(SIZE), SIZE, Noise(), pytest.fail)
    judge = Judge(lambda _: [job], data(tmp_path), "mean")
    strategy = SimpleNamespace(broadcast=lambda value: value)
    judge._trainer = SimpleNamespace(world_size=1, is_global_zero=True, strategy=strategy)
    judge.setup("validate")
    judge._fused.add(torch.rand(N, CLASSES), torch.tensor([*range(N - 1), 0]))
    with pytest.raises(AssertionError, match=r"2 of 11 images not seen once"):
        judge._finish()


def test_the_first_process_says_what_is_missing(tmp_path):
    """What another has found kept, or not, does not count: they would wait for each other."""
    jobs = [Job(Net(i), Single(SIZE), SIZE, Noise(), pytest.fail) for i in range(3)]
    strategy = SimpleNamespace(broadcast=lambda mine: [2])
    judge = Judge(lambda agreed: [jobs[i] for i in agreed([0, 1])], data(tmp_path), "mean")
    judge._trainer = SimpleNamespace(world_size=2, is_global_zero=False, strategy=strategy)
    judge.setup("validate")
    assert judge.jobs == [jobs[2]]
    assert [*judge.nets] == [jobs[2].net]


@pytest.mark.filterwarnings("ignore:Total length of `list`")
def test_nothing_missing_is_no_pass(tmp_path):
    assert judged(tmp_path, [], Single) == []


def test_max_is_scaled_to_probabilities():
    views = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    assert torch.equal(fused(views, "max"), torch.tensor([0.5, 0.5]))
    assert torch.equal(fused(views, "mean"), torch.tensor([0.5, 0.5]))


def test_a_training_validates_with_one_view(tmp_path):
    with pytest.raises(ValueError, match=r"the protocol has 10 views of an image, and a training"):
        ImageData(
            Source, root="", cache="", image_size=SIZE, batch_size=4, augment={}, protocol=Ten, seed=0
        )  # fmt: skip
