"""The commands of docs/tutorial.md run in order, and print what the page shows."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from entry import PROJECT, hear_ctrl_c

PAGE = (PROJECT / "docs/tutorial.md").read_text()
BLOCKS = re.findall(r"^```(bash|text)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CLONE = "/home/you/deeper"


@pytest.mark.slow
def test_its_commands_print_what_it_shows(tmp_path):
    for folder in ("src", "configs", "results/remeasured/pilots"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    printed = ""
    for kind, block in BLOCKS:
        if kind == "bash":
            lines = [line for line in block.splitlines() if line.startswith("python ")]
            printed = "".join(_run(line, tmp_path) for line in lines)
        else:
            shown = [line for line in block.splitlines() if re.search(r"\w", line)]
            missing = [line for line in shown if _masked(line) not in _masked(printed)]
            assert not missing, printed


def _run(line: str, folder: Path) -> str:
    """What a command prints. A comment says where the reader presses Ctrl-C: while job 1 trains."""
    command, _, comment = line.partition("  #")
    process = subprocess.Popen(
        [sys.executable, *shlex.split(command)[1:]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}, preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    if stopped := "Ctrl-C" in comment:
        while _jobs_that_train(folder) < 2 and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=1800)[0].replace(str(folder), CLONE)
    assert process.returncode == (130 if stopped else 0), printed
    print(f"$ {command}\n{printed}")
    return printed


def _jobs_that_train(folder: Path) -> int:
    logs = folder.glob("logs/train/store/*/job.log")
    return sum("epoch 1/" in log.read_text() for log in logs)


def _masked(text: str) -> str:
    """Without numbers, names of runs and widths of columns, which differ between machines."""
    names = re.sub(r"[\d-]+_[\d-]+_|\b[0-9a-f]{12}\b", "", text)
    return re.sub(r"[\s│┃]+", " ", re.sub(r"[+−-]?\d[\d.,]*", "#", names))
