"""When the two files are written, and what a crash between them costs."""

import lightning as L
import pytest
import torch
from tiny_fit import Images, Net, data, module, trainer

from deeper import checkpoint
from deeper.callbacks.checkpoint import Checkpoint
from deeper.training.failures import Diverged


def epochs(folder):
    """Epochs (from 1) after which last and best were written."""
    found = (checkpoint.load_checkpoint(folder / f"{name}.ckpt") for name in ("last", "best"))
    return [content["epoch"] + 1 for content in found]


class Scores(L.Callback):
    """Given values of a metric, and of val/loss, epoch by epoch."""

    def __init__(self, *values, losses=None):
        self.values, self.losses = values, losses or [1.0] * len(values)

    def on_validation_end(self, trainer, pl_module):
        epoch = trainer.current_epoch
        given = {"val/score": self.values[epoch], "val/loss": self.losses[epoch]}
        trainer.callback_metrics.update({name: torch.tensor(v) for name, v in given.items()})


@pytest.mark.parametrize(
    ("mode", "scores", "best"),
    [
        ("maximize", [0.1, 0.3, 0.2], 2),
        ("minimize", [0.1, 0.3, 0.2], 1),
        ("maximize", [0.1, float("nan"), 0.2], 3),
        ("maximize", [0.3, 0.3, 0.3], 1),
    ],
)
def test_best_is_the_first_of_the_best(tmp_path, mode, scores, best):
    kept = Checkpoint(str(tmp_path), "val/score", mode)
    trainer(Scores(*scores), kept, max_epochs=3).fit(module(), data())
    assert epochs(tmp_path) == [3, best]
    assert kept.best_metrics["epoch"] == best


@pytest.mark.parametrize("mode", ["maximize", "minimize"])
def test_of_equal_scores_the_lower_loss_is_better(tmp_path, mode):
    scores = Scores(0.3, 0.3, 0.3, losses=[0.5, 0.4, 0.45])
    kept = Checkpoint(str(tmp_path), "val/score", mode)
    trainer(scores, kept, max_epochs=3).fit(module(), data())
    assert epochs(tmp_path) == [3, 2]


def test_an_epoch_without_validation_only_moves_last(tmp_path):
    kept = Checkpoint(str(tmp_path), "val/score")
    scores = Scores(0, 0.5, 0, 0.4, 0)
    trainer(scores, kept, max_epochs=5, check_val_every_n_epoch=2).fit(module(), data())
    assert epochs(tmp_path) == [5, 2]


def test_without_any_validation_there_is_no_best(tmp_path):
    trainer(Checkpoint(str(tmp_path)), limit_val_batches=0).fit(module(), data())
    assert not (tmp_path / "best.ckpt").exists()


def test_a_metric_that_nobody_logs_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"callbacks.checkpoint.monitor=val/f1: not logged; known"):
        trainer(Checkpoint(str(tmp_path), "val/f1")).fit(module(), data())


def test_a_crash_between_the_two_files_is_made_good(tmp_path, monkeypatch):
    """Best is written first: the run goes on from before it, and writes it again."""
    folder, failed = tmp_path, []

    def crash(source, target, previous):
        if source.name == "best.ckpt" and not failed:
            failed.append(source)
            raise RuntimeError("power cut")
        return copied(source, target, previous)

    copied = checkpoint.copy_checkpoint
    monkeypatch.setattr(checkpoint, "copy_checkpoint", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        trainer(Scores(0.5), Checkpoint(str(folder), "val/score")).fit(module(), data())
    assert [path.name for path in sorted(folder.glob("*.ckpt"))] == ["best.ckpt"]
    run = trainer(Scores(0.5, 0.4), Checkpoint(str(folder), "val/score"), max_epochs=2)
    run.fit(module(), data(), ckpt_path=folder / "best.ckpt", weights_only=True)
    assert epochs(folder) == [2, 1]


def test_more_than_one_best_is_kept_in_their_order(tmp_path):
    kept = Checkpoint(str(tmp_path), "val/score", keep_best=3)
    trainer(Scores(0.1, 0.4, 0.2, 0.3, 0.5), kept, max_epochs=5).fit(module(), data())
    found = [
        checkpoint.load_checkpoint(tmp_path / f"{n}.ckpt") for n in ("best", "best-2", "best-3")
    ]
    assert [content["epoch"] + 1 for content in found] == [5, 2, 4]
    assert [metrics["epoch"] for metrics in kept.best] == [5, 2, 4]


def test_last_is_written_every_few_minutes_and_the_one_before_is_kept(tmp_path):
    kept = Checkpoint(str(tmp_path), "val/loss", "minimize", every_minutes=1e-9)
    trainer(kept, max_epochs=1).fit(module(), data())
    steps = {p.name: checkpoint.load_checkpoint(p)["global_step"] for p in tmp_path.glob("*.ckpt")}
    assert steps == {"last.ckpt": 3, "previous.ckpt": 3, "best.ckpt": 3}


def test_what_killed_processes_left_is_removed(tmp_path):
    (tmp_path / ".last.ckpt.12345").touch()
    trainer(Checkpoint(str(tmp_path), "val/loss", "minimize"), max_epochs=1).fit(module(), data())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
def test_weights_that_were_never_validated_do_not_become_the_best(tmp_path, monkeypatch):
    """A bad image stops the run in the middle of the epoch after the best one."""
    read, fetched = Images.__getitem__, []

    def broken(self, index):
        if len(self) == 18:
            fetched.append(index)
            if len(fetched) > 4 * 6:
                raise ValueError("cannot read the image x.jpg: it is broken")
        return read(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Images, "__getitem__", broken)
        kept = Checkpoint(str(tmp_path), "val/score")
        with pytest.raises(ValueError, match="cannot read the image x"):
            trainer(Scores(0.9), kept).fit(module(), data())
    steps = [
        checkpoint.load_checkpoint(tmp_path / f"{n}.ckpt")["global_step"] for n in ("last", "best")
    ]
    assert steps == [4, 3]
    again = Checkpoint(str(tmp_path), "val/score")
    run = trainer(Scores(0.9, 0.1), again)
    run.fit(module(), data(), ckpt_path=again.last, weights_only=True)
    assert checkpoint.load_checkpoint(again.best_file)["global_step"] == 3
    assert again.best_metrics["val/score"] == pytest.approx(0.9)


class Poisoned(L.Callback):
    """Makes a weight that evaluation does not use NaN after the first epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 6:
            torch.nn.init.constant_(pl_module.net.aux.weight, torch.nan)


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    kept = Checkpoint(str(tmp_path), "val/loss", "minimize")
    with pytest.raises(Diverged, match="the weights are not finite at step 6 "):
        trainer(kept, Poisoned()).fit(module(Net(aux=True)), data())
    assert checkpoint.load_checkpoint(kept.last)["global_step"] == 3
    assert checkpoint.load_checkpoint(kept.best_file)["global_step"] == 3


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize(("broken_at", "steps"), [(0, None), (3, 3), (4, 4), (5, 5), (8, 8)])
def test_an_image_that_cannot_be_read_costs_no_step(tmp_path, monkeypatch, broken_at, steps):
    """Mended, the run goes on as if nothing had been."""
    whole = module()
    trainer(max_epochs=3).fit(whole, data())

    read, fetched = Images.__getitem__, []

    def broken(self, index):
        if len(self) == 18:
            fetched.append(index)
            if len(fetched) > broken_at * 6:
                raise ValueError("cannot read the image x.jpg: it is broken")
        return read(self, index)

    kept = Checkpoint(str(tmp_path), "val/loss", "minimize")
    with monkeypatch.context() as patch:
        patch.setattr(Images, "__getitem__", broken)
        with pytest.raises(ValueError, match="cannot read the image x"):
            trainer(kept, max_epochs=3).fit(module(), data())
    if steps is None:
        assert not list(tmp_path.iterdir())  # before the first step there is nothing to keep
        return
    assert checkpoint.load_checkpoint(kept.last)["global_step"] == steps
    again = module()
    kept = Checkpoint(str(tmp_path), "val/loss", "minimize")
    trainer(kept, max_epochs=3).fit(again, data(), ckpt_path=kept.last, weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_the_state_of_early_stopping_is_that_of_its_epoch(tmp_path, configs):
    """A checkpoint written before that callback saw the epoch would hold an older state."""
    from deeper.config.instantiate import build

    stopping = build(configs("callbacks=early_stopping").callbacks.early_stopping)
    trainer(Checkpoint(str(tmp_path)), stopping, max_epochs=3).fit(module(), data())
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    (kept,) = (value for key, value in state.items() if key.startswith("EarlyStopping"))
    assert kept["wait_count"] == stopping.wait_count
    assert kept["best_score"] == stopping.best_score
