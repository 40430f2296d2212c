"""A run that was stopped after any step and resumed is the uninterrupted run, bit for bit."""

import signal
from itertools import product

import lightning as L
import pytest
from driver import differences
from tiny_fit import Net, data, module, trainer

from deeper import signals
from deeper.augment.mix import Mix
from deeper.callbacks.averaging import Averaging
from deeper.callbacks.checkpoint import Checkpoint
from deeper.callbacks.meter import Meter
from deeper.checkpoint import load_checkpoint
from deeper.loggers.jsonl import MetricsFile
from deeper.runs.metrics import rows
from deeper.training.schedules import cosine

EPOCHS = 2
pytestmark = pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")


class StopAfter(L.Callback):
    """Receives SIGTERM after a step, or in the validation after it."""

    def __init__(self, step: int, where: str = "step") -> None:
        self.step, self.where = step, where

    def _ask(self, trainer, where):
        if trainer.global_step == self.step and where == self.where:
            signals._handle(signal.SIGTERM, None)

    def on_train_batch_end(self, trainer, *_):
        self._ask(trainer, "step")

    def on_validation_batch_end(self, trainer, *_):
        self._ask(trainer, "validation")


def fit(folder, options, *stop, resume=False):
    averaging, accumulate, workers, precision, mix = options
    net = Net(dropout=0.5, aux=True)
    mixed = Mix(mixup_alpha=0.4) if mix else None
    model = module(net, lr=0.05, scheduler=cosine, mix=mixed)
    images = data(workers=workers)
    batches = 2 if averaging == "polyak" else 0
    averages = [Averaging(averaging, 0.9, bn_batches=batches)] if averaging != "none" else []
    kept = Checkpoint(str(folder / "checkpoints"), "val/loss", "minimize")
    run = trainer(
        Meter(), *averages, *stop, kept,
        max_epochs=EPOCHS, accumulate_grad_batches=accumulate, precision=precision,
        logger=[MetricsFile(folder)], log_every_n_steps=2,
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    try:
        run.fit(model, images, ckpt_path=kept.last if resume else None, weights_only=True)
    finally:
        signals.restore()
    found = rows(folder)
    return {name: load_checkpoint(kept.folder / f"{name}.ckpt") for name in ("last", "best")} | {
        "rows": [{k: v for k, v in row.items() if "perf" not in k} for row in found]
    }


GRID = [
    *product(("none", "ema", "polyak"), (1, 2), (0, 2), ("32-true", "bf16-mixed"), (False, True))
]
QUICK = [
    ("none", 1, 0, "32-true", False),
    ("ema", 2, 2, "32-true", True),
    ("polyak", 2, 0, "bf16-mixed", True),
]
STOPS = [*product(range(1, 7), ["step"]), (3, "validation"), (6, "validation")]
"""Every step, and the validations of both epochs."""


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(row, marks=() if row in QUICK else pytest.mark.reliability, id=str(row))
        for row in GRID
    ],
)
def test_stopped_anywhere_it_is_the_uninterrupted_run(tmp_path, options):
    whole = fit(tmp_path / "whole", options)
    for step, where in STOPS:
        folder = tmp_path / f"{step}{where}"
        with pytest.raises(signals.Stopped, match=f"after step {step}"):
            fit(folder, options, StopAfter(step, where))
        resumed = fit(folder, options, resume=True)
        assert differences(whole, resumed) == [], (step, where)


class Seen(L.Callback):
    """Keeps the images of each step."""

    def __init__(self) -> None:
        self.steps: dict[int, list[int]] = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.steps.setdefault(trainer.global_step, []).extend(batch.index.tolist())


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (3, 2)])
@pytest.mark.parametrize("step", [1, 3, 4])
def test_divided_otherwise_it_goes_on_with_the_same_images(tmp_path, before, after, step):
    def trained(folder, accumulate, *stop, resume=False):
        kept, seen = Checkpoint(str(folder), "val/loss", "minimize"), Seen()
        log = {"logger": MetricsFile(folder.parent), "log_every_n_steps": 5}
        run = trainer(Meter(), seen, *stop, kept, accumulate_grad_batches=accumulate, **log)
        net = module(Net(norm=False), config={"trainer": {"accumulate_grad_batches": accumulate}})
        try:
            run.fit(net, data(), ckpt_path=kept.last if resume else None, weights_only=True)
        finally:
            signals.restore()
        return seen.steps, load_checkpoint(kept.last), rows(folder.parent)

    folders = [tmp_path / name / "checkpoints" for name in ("whole", "stopped")]
    for folder in folders:
        folder.mkdir(parents=True)
    whole, expected, expected_rows = trained(folders[0], before)
    with pytest.raises(signals.Stopped, match=f"after step {step}"):
        trained(folders[1], before, StopAfter(step))
    rest, found, found_rows = trained(folders[1], after, resume=True)
    assert rest == {number: whole[number] for number in range(step, 3 * EPOCHS)}
    for name, value in found["state_dict"].items():
        assert value.allclose(expected["state_dict"][name], atol=1e-6), name
    losses = [
        [row["train/loss"] for row in x if "train/loss" in row] for x in (expected_rows, found_rows)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
