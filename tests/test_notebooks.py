"""Every notebook is kept without outputs, and runs from top to bottom in any folder."""

import json
import os
import subprocess
import sys

import pytest
from entry import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_outputs_are_stripped(path):
    for cell in code_cells(path):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_it_runs_and_leaves_nothing(path, tmp_path):
    lines = ["".join(cell["source"]) for cell in code_cells(path)]
    result = subprocess.run(
        [sys.executable, "-"],
        input="\n\n".join(lines),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(PROJECT / "src"), "PYTHONUTF8": "1"},
        cwd=tmp_path,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []
