"""metrics.jsonl, the record of a run's metrics, and the table made of it."""

import csv
import json
import math

import pytest

from deeper.checkpoint import DiskFull
from deeper.loggers.jsonl import MetricsFile, MetricsTable
from deeper.runs.metrics import rows


@pytest.fixture
def metrics(tmp_path):
    metrics = MetricsFile(tmp_path)
    for step in (1, 2, 3):
        metrics.log_metrics({"train/loss": step / 2}, step=step)
    return metrics


def test_rewind_drops_later_rows_and_one_that_a_crash_cut(metrics):
    with metrics.path.open("a") as file:
        file.write('{"step": 4, "trai')
    again = MetricsFile(metrics.path.parent)
    assert again.rows_written == 3
    again.rewind(2)
    assert again.rows_written == 2
    assert rows(metrics.path.parent) == [{"step": s, "train/loss": s / 2} for s in (1, 2)]
    again.log_metrics({"train/loss": 1.5}, step=3)
    assert again.rows_written == len(rows(metrics.path.parent)) == 3


@pytest.mark.parametrize("left", [0, 2])
def test_missing_rows_are_named(metrics, left):
    """A file that is not there has none, which suits a new run."""
    lines = metrics.path.read_text().splitlines(keepends=True)
    metrics.path.write_text("".join(lines[:left]) + lines[left][:-3])
    if left == 0:
        metrics.path.unlink()
        metrics.rewind(0)
        assert not metrics.path.exists()
    with pytest.raises(
        ValueError, match=f"holds {left} of the 3 rows .* restore the file"
    ) as error:
        metrics.rewind(3)
    assert len(str(error.value).splitlines()) == 1


def test_a_full_disk_ends_the_run_and_counts_no_row(tmp_path):
    metrics = MetricsFile(tmp_path)
    metrics.path.symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=r"metrics\.jsonl: No space left .* resume=") as error:
        metrics.log_metrics({"train/loss": 1.0}, step=1)
    assert error.value.exit_status == 1  # `cli.main` prints the message alone
    assert metrics.rows_written == 0


@pytest.mark.parametrize("line", ["hello", "[1]", '{"epoch": 3}', '{"step": "1"}'])
def test_a_foreign_line_is_named(metrics, line):
    content = metrics.path.read_text().splitlines()
    metrics.path.write_text("\n".join([content[0], line, *content[1:]]))
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: not a row of metrics; remove"):
        metrics.rewind(2)


def test_what_is_not_finite_is_null(metrics):
    metrics.log_metrics({"a": math.nan, "b": math.inf, "c": 1.5}, step=4)
    last = metrics.path.read_text().splitlines()[-1]
    assert json.loads(last, parse_constant=pytest.fail) == {
        "step": 4,
        "a": None,
        "b": None,
        "c": 1.5,
    }


def test_the_table_has_every_row_and_every_name(metrics, tmp_path):
    metrics.log_metrics({"val/loss": 7.0}, step=3)
    MetricsTable(str(tmp_path)).finalize("success")
    with (tmp_path / "metrics.csv").open() as file:
        table = [*csv.DictReader(file)]
    assert table[0] == {"step": "1", "train/loss": "0.5", "val/loss": ""}
    assert table[-1] == {"step": "3", "train/loss": "", "val/loss": "7.0"}
