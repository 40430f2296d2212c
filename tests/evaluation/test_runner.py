"""The evaluation pass against the plain formula, for any batch size, number of processes and networks."""

import logging
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from deeper.data.datamodule import ImageData
from deeper.data.sampler import RankSlice
from deeper.data.source import Splits
from deeper.evaluation.protocol import Paper144, Single, Ten
from deeper.evaluation.runner import Evaluator

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


def data(tmp_path, eval_batch_size=8):
    module = ImageData(
        lambda root, cache: Source(), root=str(tmp_path), cache=str(tmp_path), image_size=SIZE, batch_size=4,
        augment={}, protocol=Single, seed=0, val_from="official", workers=0,
        eval_batch_size=eval_batch_size,
    )  # fmt: skip
    module.prepare_data()
    module.setup()
    return module


def evaluator(tmp_path, net, protocol, batch=48, fusion="mean", save=print, **options):
    module = data(tmp_path, batch)
    images = module.splits.test
    return Evaluator(net, protocol(SIZE), SIZE, images, module, fusion, save, **options)


def evaluated(tmp_path, net, protocol, batch=48, fusion="mean", **options):
    """The probabilities that were saved; empty where nothing was."""
    found = []
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, use_distributed_sampler=False, default_root_dir=tmp_path,
    )  # fmt: skip
    module = evaluator(tmp_path, net, protocol, batch, fusion, found.append, **options)
    trainer.validate(module, verbose=False)
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
def test_probabilities_are_fused_over_crops(tmp_path, protocol, fusion):
    (found,) = evaluated(tmp_path, Net(), protocol, fusion=fusion)
    assert found.dtype == torch.float32
    assert torch.allclose(found, by_formula(Net(), protocol, fusion), atol=1e-6)
    assert torch.allclose(found.sum(1), torch.ones(N))


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("protocol", [Single, Ten])
def test_any_batch_size_agrees(tmp_path, protocol, batch):
    (found,) = evaluated(tmp_path, Net(), protocol, batch)
    assert (found - by_formula(Net(), protocol)).abs().max() < 1e-5


def over_processes(tmp_path, protocol, world, batch):
    """What each process would compute, one after the other."""
    rows, index = [], []
    for rank in range(world):
        module = evaluator(tmp_path, Net().eval(), protocol, batch)
        batches = [*module.batches(RankSlice(rank, world))]
        assert batches
        for one in batches:
            with torch.inference_mode():
                module.validation_step(one)
        rows += [p for p, _ in module.found]
        index += [i for _, i in module.found]
    rows, index = torch.cat(rows), torch.cat(index)
    rows, index = rows[index >= 0], index[index >= 0]
    assert index.sort().values.tolist() == list(range(N))
    return rows[index.argsort()]


@pytest.mark.parametrize(
    ("protocol", "batch"), [(Single, 2), (Single, 8), (Ten, 8), (Ten, 48), (Paper144, 96)]
)
def test_any_number_of_processes_is_bit_equal(tmp_path, protocol, batch):
    one = over_processes(tmp_path, protocol, 1, batch)
    for world in (2, 3, 20) if protocol is Single else (2, 3):
        assert torch.equal(over_processes(tmp_path, protocol, world, batch), one)


@pytest.mark.parametrize(("batch", "sizes"), [(64, [60]), (4, [5, 5]), (1, [1] * 10)])
def test_a_network_sees_about_eval_batch_size_crops_at_once(tmp_path, batch, sizes):
    seen = []

    class Watched(Net):
        def forward(self, images):
            seen.append(len(images))
            return super().forward(images)

    module = evaluator(tmp_path, Watched(), Ten, batch)
    first = next(iter(module.batches(RankSlice())))
    module.validation_step(first)
    assert seen == sizes


def test_probabilities_with_a_missing_image_are_never_saved(tmp_path):
    module = evaluator(tmp_path, Net(), Single, save=pytest.fail)
    module._trainer = SimpleNamespace(world_size=1, is_global_zero=True)
    module.found = [(torch.rand(N, CLASSES), torch.tensor([*range(N - 1), 0]))]
    with pytest.raises(AssertionError, match=r"not each of 11 images once"):
        module.on_validation_epoch_end()


@pytest.mark.filterwarnings("ignore:Total length of `list`")
def test_what_the_first_process_has_cached_is_not_computed(tmp_path):
    """The first process decides: two that disagree would wait for each other."""
    assert evaluated(tmp_path, Net(), Single, needed=False) == []
    module = evaluator(tmp_path, Net(), Single, needed=True)
    strategy = SimpleNamespace(broadcast=lambda mine: False)
    module._trainer = SimpleNamespace(strategy=strategy)
    assert module.val_dataloader() == []


def test_a_training_validates_with_one_crop(tmp_path):
    with pytest.raises(ValueError, match=r"the protocol has 10 views of an image, and a training"):
        ImageData(
            lambda root, cache: Source(), root="", cache="", image_size=SIZE, batch_size=4, augment={}, protocol=Ten, seed=0
        )  # fmt: skip
