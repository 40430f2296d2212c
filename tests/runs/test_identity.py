"""Which configs are the same run."""

import pytest
import torch

from deeper.config.instantiate import resolved
from deeper.runs.identity import identity, processes

FIXED = ("paths.run=/logs/x", "name=x")


def of(configs, *overrides):
    return identity(resolved(configs(*FIXED, *overrides)))


SAME = [
    "data.workers=3",
    "logger=[csv,tensorboard]",
    "paths.logs=/elsewhere",
    "name=y",
    "test=false",
    "compile=true",
    "~callbacks.banner",
    "callbacks=curves",
]

OTHER = [
    "seed=1",
    "experiment=no_aux",
    "optimizer.lr=0.1",
    "trainer.gradient_clip_val=1",
    "trainer.limit_train_batches=5",
    "trainer.max_epochs=2",
    "data.limit=100",
    "data.batch_size=16",
    "~callbacks.meter +callbacks.stop={patience: 3}",
    "objective=val/top5",
]


def test_where_it_runs_and_what_it_writes_is_no_part_of_it(configs):
    found = {word: of(configs, word) for word in SAME}
    assert found == dict.fromkeys(SAME, of(configs))
    folder = ["data=folder", "data.root=/here"]
    moved = ["data=folder", "data.root=/elsewhere", "paths.cache=/elsewhere/cache"]
    assert of(configs, *folder) == of(configs, *moved)


def test_what_is_computed_is(configs):
    found = {words: of(configs, *words.split(" ", 1)) for words in OTHER}
    assert len({of(configs), *found.values()}) == 1 + len(OTHER)


BATCH_NORM = {
    "a smaller micro-batch by accumulation": ["trainer.accumulate_grad_batches=2"],
    "a smaller micro-batch by processes": ["trainer=ddp_cpu"],
    "the same micro-batch on more processes": [
        "trainer=ddp_cpu", "data.batch_size=128"
    ],
    "statistics over all processes": ["trainer=ddp_cpu", "trainer.sync_batchnorm=true"],
}  # fmt: skip


def test_what_batch_norm_sees_is_part_of_it(configs):
    of_each = {name: of(configs, *words) for name, words in BATCH_NORM.items()}
    assert len({of(configs), *of_each.values()}) == 1 + len(BATCH_NORM)


@pytest.mark.parametrize("norm", ["lrn", "none"])
@pytest.mark.parametrize(
    "name", ["a smaller micro-batch by accumulation", "a smaller micro-batch by processes"]
)
def test_without_batch_norm_the_global_batch_is_what_counts(configs, norm, name):
    words = [f"model/norm={norm}", "model/init=bvlc"]
    assert of(configs, *words) == of(configs, *words, *BATCH_NORM[name])


def test_a_network_that_may_have_batch_norm_is_taken_to_have_it(configs):
    words = ["model=timm", "model.name=resnet18"]
    assert of(configs, *words) != of(configs, *words, "trainer=ddp_cpu")


def test_precision_is_what_is_asked_for_on_any_machine(configs, monkeypatch):
    found = set()
    for native in (True, False):
        monkeypatch.setattr("deeper.training.precision.bf16_in_hardware", lambda _: (native, ""))  # noqa: B023
        for name in ("auto", "bf16", "fp32"):
            found.add((name, of(configs, "trainer=cpu", f"precision={name}")))
    assert len(found) == 3


@pytest.mark.parametrize(
    ("devices", "number"),
    [("auto", 4), (-1, 4), ("-1", 4), (2, 2), ("2", 2), ("0,", 1), ("0,3", 2), ([1, 2, 3], 3)],
)
def test_processes_are_devices_times_nodes(monkeypatch, devices, number):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    trainer = {"accelerator": "gpu", "devices": devices, "num_nodes": 2}
    assert processes(trainer) == 2 * number
    assert processes({"accelerator": "cpu", "devices": "auto"}) == 1


def test_a_null_is_no_root():
    assert identity({"data": {}, "a": None}) != identity({"data": {}})


def test_runs_from_before_an_option_keep_their_identity():
    before = identity({"data": {}})
    assert identity({"data": {"eval_scale": 1}}) == before
    assert identity({"data": {"eval_scale": 1.25}}) != before
    assert identity({"data": {"initial_scale": 1.0}}) == before
    assert identity({"data": {"initial_scale": 0.75}}) != before
