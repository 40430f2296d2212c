"""The commands of docs/tutorial.md run in order, and print what the page shows."""

import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from entry import PROJECT, _environment, hear_ctrl_c

PAGE = (PROJECT / "docs/tutorial.md").read_text()
BLOCKS = re.findall(r"^```(bash|text)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CLONE = "/home/you/deeper"
EPOCH = "epoch 1/3"


def test_its_commands_print_what_it_shows(tmp_path):
    for folder in ("src", "configs"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    printed = ""
    for kind, block in BLOCKS:
        if kind == "bash":
            printed = "".join(_run(line, tmp_path) for line in block.splitlines())
            print(printed)
        else:
            shown = [line for line in block.splitlines() if re.search(r"\w", line)]
            missing = [line for line in shown if _masked(line) not in _masked(printed)]
            assert not missing or not printed, printed
    assert "not resolved" in printed or "runs" in printed


def _run(line: str, folder: Path) -> str:
    """What a command prints; of the user's press of Ctrl-C a comment tells. Others than python's are left out."""
    command, _, comment = line.partition("  #")
    if not command.startswith("python "):
        return ""
    process = subprocess.Popen(
        [sys.executable, *shlex.split(command)[1:]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=folder, env=_environment(), preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    if stopped := "Ctrl-C" in comment:
        while _jobs_with_an_epoch(folder) < 2 and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(2)
    printed = process.communicate(timeout=600)[0].replace(str(folder), CLONE)
    assert process.returncode == (130 if stopped else 0), printed
    return f"$ {command}\n{printed}"


def _jobs_with_an_epoch(folder: Path) -> int:
    logs = folder.glob("logs/train/store/*/job.log")
    return sum(EPOCH in log.read_text() for log in logs)


def _masked(text: str) -> str:
    """Without numbers, names of runs, and the widths of columns, which differ between machines."""
    names = re.sub(r"[\d-]+_[\d-]+_|\b[0-9a-f]{12}\b", "", text)
    return re.sub(r"[\s│┃]+", " ", re.sub(r"[+−-]?\d[\d.,]*", "#", names))
