"""Every notebook is kept without outputs, and runs in any folder from its question to a picture."""

import ast
import json
import os
import subprocess
import sys

import pytest
from entry import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def test_outputs_are_stripped(path):
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_it_opens_with_a_question(path):
    title = cells(path, "markdown")[0]["source"][0]
    assert title.startswith("# ")
    assert title.strip().endswith("?")


def test_it_runs_to_a_picture_and_leaves_nothing(path, tmp_path):
    lines = ["".join(cell["source"]) for cell in cells(path, "code")]
    tree = ast.parse("\n\n".join(lines))
    last = tree.body.pop()
    assert isinstance(last, ast.Expr)
    shown = f"assert '<svg' in ({ast.unparse(last)})._repr_svg_()"  # what Jupyter and the site call
    result = subprocess.run(
        [sys.executable, "-"],
        input=f"{ast.unparse(tree)}\n{shown}",
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ
        | {"PYTHONPATH": str(PROJECT / "src"), "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []
