"""What src/runs.py answers: a list of runs, one of them, what two differ in, what may be removed or sent."""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from deeper.files import gigabytes
from deeper.reporting.comparable import differing_settings
from deeper.reporting.runs import StoredRun, read_all
from deeper.runs import directory, metrics, record
from deeper.runs.lease import is_held
from deeper.table import show_table

REPLACED = re.compile(r"[0-9a-f]{12}_until_.+")
"""Names of runs in the store that others of their identity replaced, since their images had changed."""

REMOVABLE = ("failed", "diverged")

ABOUT = ("commit", "code", "data", "precision", "hardware", "versions", "identity")
"""Keys of run.json that `diff` compares beside settings and results."""


def answer(cfg: Any) -> None:
    """Raises `ValueError` for a word that is no command, and for folders without runs."""
    words = [*cfg.files] or ["ls"]
    commands: dict[str, Callable[[Any, Sequence[str]], None]] = {
        "ls": _list, "show": _show, "diff": _diff, "clean": _clean, "send": _send,
    }  # fmt: skip
    if words[0] not in commands:
        raise ValueError(f"{words[0]}: no such command; choose from {', '.join(commands)}")
    commands[words[0]](cfg, words[1:])


def _all(cfg: Any) -> list[StoredRun]:
    folders = [Path(cfg.paths.logs) / "train" / name for name in ("runs", directory.STORE)]
    return read_all([f for f in folders if any(f.glob("*/run.json"))], skip_damaged=True)


def _list(cfg: Any, names: Sequence[str]) -> None:
    runs = read_all(names) if names else _all(cfg)
    rows = []
    for run in sorted(runs, key=lambda run: str(run.record.get("started", "")), reverse=True):
        objective = run.record.get("objective")
        rows.append([
            _when(run.record.get("started")), str(run.record.get("recipe", "")), run.arm, str(run.seed),
            _state(run), f"{objective:.4f}" if isinstance(objective, float) else "", str(run.directory),
        ])  # fmt: skip
    columns: Any = dict.fromkeys(("started", "recipe", "experiment", "seed", "status"), "left")
    show_table(f"{len(rows)} runs", columns | {"objective": "right", "run": "left"}, rows)


def _state(run: StoredRun) -> str:
    """`running` in a record whose process is gone means that it was killed."""
    if run.state != "running" or is_held(run.directory):
        return run.state
    return "killed"


def _when(started: Any) -> str:
    return datetime.fromisoformat(started).strftime("%Y-%m-%d %H:%M") if started else ""


def _one(name: str) -> StoredRun:
    (run,) = read_all([directory.find_run(name)])
    return run


def _show(cfg: Any, names: Sequence[str]) -> None:
    if len(names) != 1:
        raise ValueError("show: name one run directory; `python src/runs.py` lists yours")
    run = _one(names[0])
    content, folder = run.record, run.directory
    rows = metrics.rows(folder)
    facts = {
        "run": str(folder),
        "command": record.command(content),
        "status": f"{_state(run)} {content.get('error', '')}",
        "started": ", ".join(map(_when, content["starts"])),
        "time": f"{content.get('seconds', 0) / 60:.1f} min",
        "results": _pairs(content.get("results", {})),
        "test set": f"looked at {content['test_looks']} times",
        "machine": _pairs(content["hardware"]),
        "precision": _pairs(content["precision"]),
        "costs": _pairs(content.get("costs", {})),
        "code": f"commit {content['commit']}, src/ {content['code']}",
        "images": f"fingerprint {content['data']}, {content['images']['total']:,} in all",
        "identity": content["identity"],
        "last row": _pairs(rows[-1]) if rows else "",
        "files": ", ".join(f"{path.relative_to(folder)} ({gigabytes(path.stat().st_size)})"
                           for path in sorted(folder.glob("checkpoints/*.ckpt"))),
    }  # fmt: skip
    show_table(folder.name, {"": "left", " ": "left"}, [[k, v] for k, v in facts.items() if v])


def _pairs(content: Mapping[str, Any]) -> str:
    shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in content.items()}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


def _diff(cfg: Any, names: Sequence[str]) -> None:
    if len(names) != 2:
        raise ValueError("diff: name two run directories; `python src/runs.py` lists yours")
    a, b = map(_one, names)
    rows = [[key, str(x), str(y)] for key, x, y in differing_settings(a.config, b.config)]
    for key in ABOUT:
        x, y = (run.record.get(key) for run in (a, b))
        if x != y:
            rows.append([key, *(_pairs(v) if isinstance(v, Mapping) else str(v) for v in (x, y))])
    results = [run.record.get("results", {}) for run in (a, b)]
    for key in {**results[0], **results[1]}:
        values = [found.get(key) for found in results]
        rows.append([key, *("" if value is None else f"{value:.4f}" for value in values)])
    show_table(
        "what differs, and the results", {"": "left", names[0]: "left", names[1]: "left"}, rows
    )


def _clean(cfg: Any, names: Sequence[str]) -> None:
    """Raises `ValueError` for a run that a process writes to."""
    if names:
        runs = [_one(str(folder)) for folder in dict.fromkeys(Path(n).resolve() for n in names)]
    else:
        runs = [
            r for r in _all(cfg) if r.state in REMOVABLE or REPLACED.fullmatch(r.directory.name)
        ]
        runs = [run for run in runs if not is_held(run.directory)]
    for run in runs:
        if is_held(run.directory):
            raise ValueError(f"{run.directory}: a process writes there; stop it first")
    sizes = [_size(run.directory) for run in runs]
    rows = [[str(r.directory), _state(r), gigabytes(n)] for r, n in zip(runs, sizes, strict=True)]
    show_table(f"{len(rows)} runs, {gigabytes(sum(sizes))}",
               {"run": "left", "status": "left", "size": "right"}, rows)  # fmt: skip
    if not cfg.yes:
        print("nothing was removed: yes=true removes them")
        return
    for run in runs:
        shutil.rmtree(run.directory)
    print(f"removed {len(runs)} runs")


def _send(cfg: Any, names: Sequence[str]) -> None:
    """Raises `ValueError` for a run that a process writes to."""
    if not names or not cfg.logger:
        raise ValueError(
            "send: name runs and loggers, as `python src/runs.py send RUN logger=wandb`"
        )
    if not (runs := [run for run in read_all(names) if run.record]):
        raise ValueError(f"{' '.join(names)}: none of these runs has begun")
    if held := [run.directory for run in runs if is_held(run.directory)]:
        raise ValueError(f"{held[0]}: a process writes there; send it when it has ended")
    from deeper.config import instantiate, signatures  # these import torch
    from deeper.loggers import mirror

    for run in runs:
        cfg.paths.run = str(run.directory.resolve())  # a multirun has links
        signatures.require_buildable({"logger": instantiate.resolved(cfg)["logger"]})
        mirror.send(instantiate.build(cfg.logger).values(), run.directory.resolve(), run.record)
        print(f"{run.directory}: {', '.join(cfg.logger)} written")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
