"""Two gloo processes: averaged statistics, rows and divergence are the same on both."""

from datetime import timedelta

import lightning as L
import pytest
import torch
from tiny_fit import Net, Rows, data, module, trainer

from deeper import checkpoint
from deeper.callbacks import media
from deeper.callbacks.averaging import Averaging
from deeper.callbacks.checkpoint import Checkpoint
from deeper.callbacks.meter import Meter
from deeper.training.failures import Diverged

pytestmark = pytest.mark.filterwarnings("ignore::")  # Lightning's, of a fork and of CPU DDP


class Notes(L.Callback):
    """Keeps what each rank evaluated, logged and stopped at, in files."""

    def __init__(self, folder, log):
        self.folder, self.logger, self.nets, self.losses = folder, log, [], []

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, *_):
        if batch_idx == 0:
            (net,) = pl_module._evaluation_network
            self.nets.append({name: value.clone() for name, value in net.state_dict().items()})

    def on_train_batch_end(self, trainer, pl_module, outputs, *_):
        self.losses.append(float(outputs["loss"]))

    def on_fit_end(self, trainer, pl_module):
        notes = {"nets": self.nets, "losses": self.losses, "rows": self.logger.rows}
        torch.save(notes, self.folder / f"{trainer.global_rank}.pt")


class NotingMeter(Meter):
    """Writes down why this rank stops, and waits for the other to have stopped too."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_batch_end(self, trainer, *rest):
        try:
            super().on_train_batch_end(trainer, *rest)
        except Diverged as error:
            (self.folder / f"{trainer.global_rank}.txt").write_text(str(error))
            torch.distributed.monitored_barrier(timeout=timedelta(seconds=60))
            raise


def fit(folder, net):
    log = Rows()
    callbacks = [NotingMeter(folder), Averaging("ema", decay=0.5), Notes(folder, log)]
    kept = Checkpoint(str(folder), "val/loss", "minimize")
    options = {"devices": 2, "strategy": "ddp_fork", "log_every_n_steps": 3, "logger": log}
    options["plugins"] = []  # the launcher sends weights through a file that is no checkpoint
    trainer(*callbacks, kept, **options).fit(module(net), data())


def test_both_ranks_evaluate_the_network_of_the_checkpoint(tmp_path):
    fit(tmp_path, Net())
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    saved = checkpoint.network_state(checkpoint.load_checkpoint(tmp_path / "last.ckpt"))
    for name in ("norm.running_mean", "norm.running_var"):
        first, second = (rank["nets"][-1][name] for rank in ranks)
        assert torch.equal(first, second), name
        assert torch.equal(first, saved[name]), name
    own = [sum(rank["losses"][:3]) / 3 for rank in ranks]
    assert own[0] != own[1]
    row = next(row for row in ranks[0]["rows"] if "train/loss" in row)
    assert row["train/loss"] == pytest.approx(sum(own) / 2, rel=1e-5)


class BrokenOnRank1(Net):
    def forward(self, x):
        output = super().forward(x)
        self.seen = getattr(self, "seen", 0) + self.training
        on_rank_1 = torch.distributed.get_rank() == 1
        poison = torch.nan if self.training and on_rank_1 and self.seen >= 2 else 0.0
        return output._replace(logits=output.logits + poison)


def test_all_ranks_stop_where_one_diverges(tmp_path):
    with pytest.raises(Exception, match="the training loss is not finite at step 2 "):
        fit(tmp_path, BrokenOnRank1())
    messages = [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert messages[0] == messages[1]
    assert len(messages[0].partition("training images ")[2].partition(")")[0].split(", ")) == 3
    assert not (tmp_path / "last.ckpt").exists()


class Shown(Rows):
    """Keeps in files what it is given to show."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def log_medium(self, medium):
        rank, name = torch.distributed.get_rank(), medium.key.rpartition("/")[2]
        (self.folder / f"{rank}-{medium.step}-{name}").touch()


def test_media_are_of_all_processes_and_drawn_by_the_first(tmp_path, monkeypatch):
    def confusion(classes, outcomes):
        (tmp_path / "counted").write_text(str(int(outcomes[:, 2].sum())))
        return b""

    monkeypatch.setattr(media, "_confusion", confusion)
    shown = tmp_path / "shown"
    shown.mkdir()
    callbacks = media.Media(str(tmp_path / "media"), gradients=True), Meter()
    options = {"devices": 2, "strategy": "ddp_fork", "logger": Shown(shown), "plugins": []}
    trainer(*callbacks, max_epochs=1, **options).fit(module(), data())
    names = ("confusion", "conv1", "gradients", "mistakes")
    found = sorted(path.name for path in shown.iterdir())
    assert found == sorted(["0-1-train_batch", *(f"0-3-{name}" for name in names)])
    assert (tmp_path / "counted").read_text() == "10"  # images of the validation
