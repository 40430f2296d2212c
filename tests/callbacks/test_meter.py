"""What a row holds, and how a loss that is not finite ends the training."""

import math
from time import sleep
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from tiny_fit import Net, Rows, data, module, trainer

from deeper import checkpoint
from deeper.callbacks.checkpoint import Checkpoint
from deeper.callbacks.meter import Meter
from deeper.data import loader as loading
from deeper.runs import results
from deeper.training.failures import SHOWN, Diverged


class Losses(L.Callback):
    """The whole loss, the rate and the images of every batch."""

    def __init__(self):
        self.values, self.rates, self.images = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.images.append(batch.index.tolist())

    def on_train_batch_end(self, trainer, pl_module, outputs, *_):
        self.values.append(float(outputs["loss_main"].detach()))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_row_has_the_means_and_the_rate_of_its_steps(accumulate):
    seen, log = Losses(), Rows()
    run = trainer(
        Meter(), seen, logger=log, log_every_n_steps=2, accumulate_grad_batches=accumulate
    )
    run.fit(module(scheduler=lambda progress: 1 - progress.fraction / 2), data())
    rows = [row for row in log.rows if "train/loss" in row]
    assert [row["step"] for row in rows] == [2, 4, 6]
    each = 2 * accumulate
    for i, row in enumerate(rows):
        batches = seen.values[i * each : (i + 1) * each]
        assert row["train/loss"] == pytest.approx(sum(batches) / each, rel=1e-5)
        assert row["train/loss_main"] == pytest.approx(row["train/loss"], rel=1e-5)
        assert row["optim/lr"] == seen.rates[(i + 1) * each - 1]
        assert row["grad_norm/conv"] > 0
        assert 0 <= row["perf/data_wait"] <= 1


@pytest.mark.parametrize("loads", [True, False])
def test_the_bottleneck_of_a_run(loads, monkeypatch, capsys):
    meter = Meter()
    slow = loading.collate if loads else Net.forward

    def slowed(*args):
        sleep(0.05)
        return slow(*args)

    monkeypatch.setattr(*((loading, "collate") if loads else (Net, "forward")), slowed)
    monkeypatch.setattr(results, "WAITS", 0.5)  # tests that run beside this one slow the loader
    run = trainer(meter)
    run.fit(module(), data())
    found = results.show_bottleneck(run)
    assert found == {"data_wait": meter.data_wait}
    slower = "loader" if loads else "network"
    assert (meter.data_wait > 0.5) == loads
    assert f"the {slower} is the bottleneck" in capsys.readouterr().out


@pytest.mark.parametrize(("workers", "slower"), [(0, "network"), (1, "loader")])
def test_waiting_for_a_loader_with_processes_says_more(workers, slower, monkeypatch, capsys):
    monkeypatch.setattr(Meter, "data_wait", 0.2)
    loader = SimpleNamespace(num_workers=workers)
    results.show_bottleneck(SimpleNamespace(callbacks=[Meter()], train_dataloader=loader))
    assert f"the {slower} is the bottleneck" in capsys.readouterr().out


class Broken(Net):
    """NaN from the fifth training batch on, in the second epoch."""

    def forward(self, x):
        output = super().forward(x)
        self.seen = getattr(self, "seen", 0) + self.training
        poison = torch.nan if self.training and self.seen >= 5 else 0.0
        return output._replace(logits=output.logits + poison)


@pytest.mark.parametrize("every", [1, 4, 100])
def test_a_loss_that_is_not_finite_ends_the_training(tmp_path, every):
    """Found at a row or at the epoch's end; the message is about the first such step."""
    seen, log, kept = Losses(), Rows(), Checkpoint(str(tmp_path), "val/loss", "minimize")
    run = trainer(Meter(), seen, kept, logger=log, max_epochs=3, log_every_n_steps=every)
    with pytest.raises(Diverged, match="the training loss is not finite at step 5 ") as caught:
        run.fit(module(Broken(), lr=0.25), data())
    found = caught.value
    assert (found.step, found.lr, found.samples) == (5, 0.25, seen.images[4])
    assert (found.status, found.exit_status) == ("diverged", 1)
    assert f"training images {', '.join(map(str, seen.images[4]))})" in str(found)
    assert checkpoint.load_checkpoint(kept.last)["global_step"] == 3
    assert checkpoint.load_checkpoint(kept.best_file)["global_step"] == 3
    assert all(math.isfinite(value) for row in log.rows for value in row.values())


def test_a_long_list_of_images_is_cut():
    text = str(Diverged("the training loss is", 7, 0.1, range(1000)))
    assert f" {SHOWN - 1}, …)" in text
    assert str(SHOWN) not in text
