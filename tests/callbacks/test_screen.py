"""What the banner and the epochs' lines say."""

import re

import pytest
from tiny_fit import data, module, trainer

from deeper.callbacks.banner import Banner
from deeper.callbacks.duration import duration, speed
from deeper.callbacks.progress import ProgressBar


def lines(capsys, start, *callbacks, **options):
    run = trainer(*callbacks, **options)
    run.fit(module(), data())
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(start)]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, 3),
        ({"limit_train_batches": 2}, 2),
        ({"limit_train_batches": 3, "accumulate_grad_batches": 2}, 2),
    ],
)
def test_the_banner_counts_the_steps_that_will_be_taken(capsys, options, steps):
    (line,) = lines(capsys, "length", Banner(), **options)
    assert line.split("    ")[1] == f"2 epochs × {steps} steps"


@pytest.mark.parametrize(
    ("options", "validated"),
    [
        ({}, [True, True, True, True]),
        ({"check_val_every_n_epoch": 2}, [False, True, False, True]),
        ({"limit_val_batches": 0}, [False] * 4),
    ],
)
def test_an_epochs_line_has_its_own_metrics_and_a_possible_speed(capsys, options, validated):
    options |= {"max_epochs": 4, "enable_progress_bar": True}
    found = lines(capsys, "epoch", ProgressBar(), **options)
    assert [line.partition(" · ")[0] for line in found] == [f"epoch {i}/4" for i in (1, 2, 3, 4)]
    assert ["val/top1" in line for line in found] == validated
    speeds = [float(re.search(r"([\d,]+) images/s", line)[1].replace(",", "")) for line in found]
    assert all(10 < speed < 1e6 for speed in speeds), speeds


def test_durations_and_speeds():
    assert [duration(s) for s in (0, 89, 600, 5400)] == ["0 s", "89 s", "10 min", "1.5 h"]
    assert speed(1000, 0.5) == "2,000 images/s"
