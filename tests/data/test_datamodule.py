"""Batches: what is in them, and that neither workers nor processes have a say in it."""

import random
import re
import threading
import time
from tempfile import gettempdir

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from deeper.augment.crops import FixedCrop
from deeper.data.batch import Batch
from deeper.data.datamodule import ImageData
from deeper.data.dataset import Pipeline
from deeper.data.partition import Partition
from deeper.data.source import Splits
from deeper.data.splits import limited, split_holdout
from deeper.evaluation.protocol import Single


class Noise:
    """Pictures that differ in every pixel."""

    def __init__(self, labels, seed=0):
        self.labels, self.seed = np.array(labels, dtype=np.int64), seed

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        pixels = np.random.default_rng([self.seed, index]).integers(0, 256, (12, 15, 3), np.uint8)
        return Image.fromarray(pixels), int(self.labels[index])


class Memory:
    def __init__(self, train=8, val=3, classes=3):
        self.counts, self.names = (train, val), [f"class {i}" for i in range(classes)]

    def prepare(self):
        """Nothing to do."""

    def load(self):
        train, val = (Noise(np.repeat(np.arange(len(self.names)), n), n) for n in self.counts)
        return Splits(self.names, train, val, val)


class Shift:
    """A transform of someone who never heard of torch's generator."""

    def __call__(self, image):
        offset = np.random.randint(0, 50) + random.randint(0, 50)
        return image.sub(min(offset, 99)).clamp(min=0).to(torch.uint8)


AUGMENT = {
    "crop": FixedCrop(8, 0.75, interpolation="random"),
    "flip": v2.RandomHorizontalFlip(),
    "jitter": v2.ColorJitter(0.5, 0.5, 0.5, 0.1),
    "shift": Shift(),
    "erase": v2.RandomErasing(0.5),
}


def data(source=None, **options):
    options = {"image_size": 8, "batch_size": 4, "eval_batch_size": 4, "workers": 0} | options
    options = {"augment": AUGMENT, "protocol": Single, "seed": 1, "val_from": "official"} | options
    source = source or Memory()
    module = ImageData(
        lambda root, cache: source, root="/nonexistent", cache=gettempdir(), **options
    )
    module.setup()
    return module


def at(module, epoch, done=0):
    """Its loader as in that epoch of a training."""
    module._position = lambda: (epoch, done)
    return module.train_dataloader()


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("loader", ["train_dataloader", "val_dataloader", "test_dataloader"])
def test_what_a_batch_is(loader):
    batches = list(getattr(data(), loader)())
    assert [len(batch.labels) for batch in batches] == [4] * len(batches)
    for batch in batches:
        assert isinstance(batch, Batch)
        images, labels, index, valid = batch
        assert (images.shape, images.dtype) == ((4, 3, 8, 8), torch.uint8)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert type(images) is torch.Tensor  # no tv_tensor, whose dispatch costs time
        assert (labels.shape, labels.dtype) == ((4,), torch.int64)
        assert (index.shape, index.dtype) == ((4,), torch.int64)
        assert (valid.shape, valid.dtype) == ((4,), torch.bool)
        assert labels.tolist() == (index // (8 if loader == "train_dataloader" else 3)).tolist()
    valid = [i for b in batches for i, v in zip(b.index.tolist(), b.valid, strict=True) if v]
    assert sorted(valid) == list(range(24 if loader == "train_dataloader" else 9))


def test_another_size_in_evaluation():
    module = data(eval_scale=1.5)
    for loader, size in (("train", 8), ("val", 12), ("test", 12)):
        batch = next(iter(getattr(module, f"{loader}_dataloader")()))
        assert batch.images.shape == (4, 3, size, size)


def test_workers_change_no_bit():
    """Workers that stay alive get the second epoch right, too."""
    expected = [list(at(data(), epoch)) for epoch in (0, 1)]
    for workers in (1, 2):
        module, position = data(workers=workers), [0, 0]
        module._position = lambda position=position: position
        loader = module.train_dataloader()
        for position[0] in (0, 1):
            batches = list(loader)
            assert len(batches) == 6
            assert all(map(same, batches, expected[position[0]])), (workers, position)


def test_two_epochs_differ_and_each_repeats():
    first, second, again = (list(at(data(), epoch)) for epoch in (0, 1, 0))
    assert all(map(same, first, again))
    by_index = [
        {int(i): image for b in epoch for i, image in zip(b.index, b.images, strict=True)}
        for epoch in (first, second)
    ]
    assert [*by_index[0]] != [*by_index[1]]
    assert all(not torch.equal(by_index[0][i], by_index[1][i]) for i in range(24))


def test_another_seed_gives_other_batches():
    pairs = zip(at(data(), 0), at(data(seed=2), 0), strict=True)
    assert not any(torch.equal(one.index, other.index) for one, other in pairs)


@pytest.mark.parametrize("done", [1, 4])
def test_a_resumed_loader_gives_the_tail(done):
    assert all(map(same, at(data(), 2, done), list(at(data(), 2))[done:]))


def test_evaluation_is_the_same_in_every_epoch_and_for_every_seed():
    assert all(map(same, data(seed=1).val_dataloader(), data(seed=2).val_dataloader()))


def test_holdout_is_disjoint_stratified_and_the_same_for_every_seed():
    options = {"val_from": "holdout", "holdout": 0.25}
    one, other = (data(seed=seed, **options).splits for seed in (1, 2))
    fit, held = one.train.indices, one.val.indices
    assert sorted([*fit, *held]) == list(range(24))
    assert set(one.val.labels) == set(one.train.labels) == {0, 1, 2}
    assert held.tolist() == other.val.indices.tolist()
    assert one.val.images is one.train.images  # both of the train split …
    assert isinstance(one.test, Noise)  # … while the official set chooses nothing
    assert [one.val[i][1] for i in range(len(held))] == one.val.labels.tolist()


def held_of(counts, fraction, seed=0):
    """Hashes, labels and the images held out of a set with so many images a class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    hashes = np.random.default_rng(seed).integers(0, 2**64, len(labels), np.uint64)
    return hashes, labels, split_holdout(hashes, labels, fraction, [*"abc"])[1]


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_every_class_has_images_on_either_side(fraction):
    for seed in range(50):
        _, labels, held = held_of([100, 2, 3], fraction, seed)
        assert set(labels[held]) == {0, 1, 2}
        assert (np.bincount(labels[held]) < [100, 2, 3]).all()


def test_the_share_that_is_held_out():
    _, labels, held = held_of([200_000, 100_000], 0.05)
    assert np.abs(np.bincount(labels[held]) / [10_000, 5_000] - 1).max() < 0.05


def test_a_smaller_fraction_is_a_subset():
    smaller, larger = (set(held_of([500, 500], fraction)[2]) for fraction in (0.01, 0.05))
    assert smaller < larger


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.9])
def test_what_a_removal_moves(fraction):
    """The class's new lowest is held out; a held-out image trains only if its class has no other left."""
    hashes, labels, held = held_of([40, 7, 3], fraction, seed=2)
    for gone in range(len(labels)):
        if (labels == labels[gone]).sum() < 3:
            continue
        kept = np.delete(np.arange(len(labels)), gone)
        now = kept[split_holdout(hashes[kept], labels[kept], fraction, [*"abc"])[1]]
        mates = set(np.flatnonzero(labels == labels[gone])) - {gone}
        was, is_ = set(held) - {gone}, set(now)
        assert len(was ^ is_) <= 1
        if trains := was - is_:
            assert mates <= set(held)
            assert hashes[trains.pop()] == max(hashes[[*mates]])
        if (now_held := is_ - was) and not mates & set(held):
            assert hashes[now_held.pop()] == min(hashes[[*mates]])


def test_a_single_image_cannot_be_held_out():
    message = (
        "class b has a single training image, so none can be held out; pass data.val_from=official"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        held_of([2, 1], 0.05)


def test_images_without_names_are_told_by_their_content():
    """In any order; torchvision's CIFAR-10, for one, has no names."""

    class Reversed(Noise):
        def __getitem__(self, index):
            return super().__getitem__(len(self) - 1 - index)

    def held(kind):
        source = Memory(30)
        source.load = lambda: Splits(["a"], kind([0] * 30), Noise([0]), Noise([0]))
        found = data(source, val_from="holdout", holdout=0.2).splits.val
        return {found[i][0].tobytes() for i in range(len(found))}

    assert held(Noise) == held(Reversed)


def test_the_official_set_may_choose():
    splits = data(val_from="official").splits
    assert splits.val is splits.test
    assert len(splits.train) == 24


@pytest.mark.parametrize("val_from", ["holdout", "official"])
@pytest.mark.parametrize("limit", [3, 5, 9, 10**6])
def test_a_limit_keeps_all_classes(limit, val_from):
    splits = data(limit=limit, val_from=val_from, batch_size=2, holdout=0.4).splits
    for part in splits[1:]:
        assert len(part) <= limit
        assert set(part.labels) == {0, 1, 2}
        assert len({part[i][0].tobytes() for i in range(len(part))}) == len(part)


@pytest.mark.parametrize("labels", [[0] * 10 + [1] + [2] * 10, [0, 1] * 6 + [0]])
def test_a_limit_keeps_all_classes_of_any_set(labels):
    """torchvision's CIFAR-10, for one, is not sorted by class."""
    assert set(limited(Noise(labels), 4).labels) == set(labels)


def test_a_label_changes_the_fingerprint():
    def fingerprint(split=None, name=None, source=None, **options):
        module = data(source, **options)
        if split is not None:
            module.splits[split].labels[0] = 2
        if name is not None:
            module.classes[0] = name
        return module.fingerprint()

    prints = [fingerprint(), fingerprint(1), fingerprint(2), fingerprint(name="x")]
    prints += [fingerprint(val_from="holdout"), fingerprint(limit=5), fingerprint(source=Memory(9))]
    assert len(set(prints)) == len(prints)
    assert fingerprint(seed=5) == fingerprint()
    assert re.fullmatch("[0-9a-f]{16}", fingerprint())


def test_an_image_that_changes_its_split_changes_the_fingerprint():
    def fingerprint(*labels):
        return Partition(
            Splits(["a", "b"], *map(Noise, labels)), "official", 0.1, None
        ).fingerprint()

    assert fingerprint([0, 1, 0], [1], [0]) != fingerprint([0, 1], [0, 1], [0])


def test_other_images_change_the_fingerprint():
    """Equal labels and counts; under a limit too."""

    def fingerprint(seed, **options):
        source = Memory()
        test = Noise([0] * 3)
        source.load = lambda: Splits(["a", "b"], Noise([0, 1] * 9, seed), test, test)
        module = data(source, **options)
        return module.fingerprint(), module.fingerprint("train"), module.fingerprint("test")

    for options in ({}, {"limit": 4}, {"val_from": "holdout"}):
        one, other = fingerprint(1, **options), fingerprint(2, **options)
        assert one == fingerprint(1, **options)
        assert one[0] != other[0]
        assert one[1] != other[1]
        assert one[2] == other[2]  # the test set is the same


@pytest.mark.parametrize(
    ("transforms", "names", "made"),
    [
        ({}, "no transform", "torch.uint8 [3, 12, 15]"),
        ({"flip": v2.RandomHorizontalFlip()}, "flip", "torch.uint8 [3, 12, 15]"),
        ({"crop": FixedCrop(9), "color": {}}, "crop", "torch.uint8 [3, 9, 9]"),
        (
            {"crop": FixedCrop(8), "float": v2.ToDtype(torch.float32)},
            "crop, float",
            "torch.float32 [3, 8, 8]",
        ),
        ({"crop": FixedCrop(8), "grey": v2.Grayscale()}, "crop, grey", "torch.uint8 [1, 8, 8]"),
    ],
)
def test_a_pipeline_that_makes_something_else(transforms, names, made):
    message = (
        f"{names} made {made} of an image; expected torch.uint8 [3, 8, 8]: "
        "let a crop come first, e.g. augment/crop=fixed"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Pipeline(transforms, 8)(Noise([0])[0][0])


def test_a_pipeline_that_ends_in_a_picture():
    picture = Image.new("RGB", (8, 8), (1, 2, 3))
    result = Pipeline({"flip": v2.RandomHorizontalFlip()}, 8)(picture)
    assert result[:, 0, 0].tolist() == [1, 2, 3]


def test_calibration_batches_repeat_and_are_those_of_epoch_0():
    module = data()
    in_training = list(at(module, 3))
    first = list(module.calibration_batches(2))
    assert len(first) == 2
    assert all(map(same, first, module.calibration_batches(2)))
    assert all(map(same, first, at(data(), 0)))
    assert not same(first[0], in_training[0])
    assert len(list(module.calibration_batches(99))) == 6  # no more than there are


def test_splits_come_after_setup():
    module = ImageData(
        lambda root, cache: Memory(),
        root="/x",
        cache=gettempdir(),
        image_size=8,
        batch_size=4,
        augment={},
        protocol=Single,
        seed=0,
    )
    with pytest.raises(RuntimeError, match=r"^call prepare_data\(\) and setup\(\) first$"):
        module.classes  # noqa: B018


SIZES = "image_size, batch_size and eval_batch_size must be at least 1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"holdout": 0}, "holdout=0: the fraction of train held out, in 0..1"),
        ({"holdout": 1.0}, "holdout=1.0: the fraction of train held out, in 0..1"),
        ({"limit": 0}, "limit=0: must be at least 1 image, or null"),
        ({"workers": -1}, "workers=-1: auto, or a number from 0 (no process) on"),
        ({"image_size": 0}, SIZES),
        ({"eval_scale": 0.9}, "eval_scale=0.9: a multiple of image_size; must be at least 1"),
        ({"eval_batch_size": 0}, SIZES),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        data(**options)


@pytest.mark.parametrize("val_from", ["holdout", "official"])
def test_a_root_without_an_official_set(val_from):
    source = Memory()
    empty = Noise([])
    source.load = lambda: Splits(["a", "b"], Noise([0, 1] * 10), empty, empty)
    module = data(source, val_from=val_from)
    if val_from == "official":
        with pytest.raises(ValueError, match=r"no validation images; pass data.val_from=holdout$"):
            module.require_trainable(None, test=False)
        return
    module.require_trainable(None, test=False)
    assert sum(int(batch.valid.sum()) for batch in module.val_dataloader()) == len(
        module.splits.val
    )
    with pytest.raises(ValueError, match=r"has no test images, .*train with test=false"):
        module.require_trainable(None, test=True)
    assert re.fullmatch("[0-9a-f]{16}", module.fingerprint())


def test_a_source_that_is_built_already():
    with pytest.raises(ValueError, match=r"^data.source: is built already; add `_partial_: true`"):
        ImageData(
            Memory(), root="/x", cache="/c", image_size=8, batch_size=4, augment={}, protocol=Single,
            seed=0,
        )  # fmt: skip


def test_what_is_no_transform_is_refused():
    """A node whose _target_ is misspelt stays a mapping, and would be dropped without a word."""
    message = "augment.flip: {'_taget_': 'x'} is no transform; give it a _target_ that builds one"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Pipeline({"color": {}, "flip": {"_taget_": "x"}}, 8)


def test_one_process_at_a_time_prepares_a_root(tmp_path):
    """Also where the root is there already: another may be filling it."""
    busy, seen = threading.Lock(), []

    class Slow(Memory):
        def prepare(self):
            seen.append(busy.acquire(blocking=False))
            time.sleep(0.05)
            busy.release()

    modules = [
        ImageData(
            lambda root, cache: Slow(), root=str(tmp_path), cache=str(tmp_path / "cache"), image_size=8, batch_size=4,
            augment={}, protocol=Single, seed=0,
        )
        for _ in range(4)
    ]  # fmt: skip
    threads = [threading.Thread(target=m.prepare_data) for m in modules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 4


def test_a_root_that_is_missing_leaves_nothing_behind(tmp_path):
    module = data(Memory())
    module.root, module.cache = str(tmp_path / "typo" / "images"), str(tmp_path / "cache")
    module.prepare_data()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
