"""Which configs are the same run."""

import pytest

from deeper.config.instantiate import resolved
from deeper.runs.identity import identity

FIXED = ("paths.run=/logs/x", "name=x")


def of(configs, *overrides):
    return identity(resolved(configs(*FIXED, *overrides)))


@pytest.mark.parametrize(
    "override",
    [
        ["data=folder", "data.root=/elsewhere", "paths.cache=/elsewhere/cache"],
        ["trainer=ddp_cpu"],
        ["trainer.accumulate_grad_batches=2"],
        ["data.workers=3"],
        ["logger=[csv,tensorboard]"],
        ["paths.logs=/elsewhere"],
        ["name=y"],
        ["test=false"],
        ["compile=true"],
        ["~callbacks.meter"],
    ],
)
def test_where_and_with_what_is_no_part_of_it(configs, override):
    before = ["data=folder", "data.root=/here"] if override[0] == "data=folder" else []
    assert of(configs, *before) == of(configs, *override)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "experiment=no_aux",
        "optimizer.lr=0.1",
        "trainer.gradient_clip_val=1",
        "trainer.limit_train_batches=5",
        "precision=bf16",
        "data.limit=100",
        "data.batch_size=16",
        "callbacks=early_stopping",
        "objective=val/top5",
    ],
)
def test_what_is_computed_is(configs, override):
    assert of(configs) != of(configs, override)


def test_a_null_is_no_root():
    assert identity({"data": {}, "a": None}) != identity({"data": {}})
