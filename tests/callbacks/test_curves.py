"""curves.png, which a run leaves at its end and no run depends on."""

import pytest
from PIL import Image
from tiny_fit import Net, data, module, trainer

from deeper.callbacks.curves import Curves
from deeper.callbacks.meter import Meter
from deeper.loggers.jsonl import MetricsFile
from deeper.training.failures import Diverged


def fit(folder, net=None):
    run = trainer(Meter(), Curves(str(folder)), logger=MetricsFile(folder), log_every_n_steps=1)
    run.fit(module(net), data())


def test_a_run_leaves_its_curves(tmp_path):
    fit(tmp_path)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 500
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "metrics.jsonl"}


class Broken(Net):
    def forward(self, x):
        output = super().forward(x)
        self.seen = getattr(self, "seen", 0) + self.training
        return output._replace(logits=output.logits / (self.seen < 4))


def test_a_run_that_diverged_leaves_them_too(tmp_path):
    with pytest.raises(Diverged):
        fit(tmp_path, Broken())
    assert (tmp_path / "curves.png").exists()


def test_what_goes_wrong_is_one_line(tmp_path, capsys):
    (tmp_path / "curves.png").mkdir()
    fit(tmp_path)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "curves" in line]
    assert "curves.png: not drawn (IsADirectoryError" in line
