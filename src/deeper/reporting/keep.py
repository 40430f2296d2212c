"""Copies of what reports need of runs, small enough to be committed."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deeper.cli.arguments import PATH_KEYS
from deeper.files import json_text, replacement
from deeper.reporting.runs import StoredRun
from deeper.runs import metrics, record
from deeper.runs.record import OUTCOMES
from deeper.sweep import manifest

LEFT_OUT = ("grad_norm/", "perf/")


def keep(runs: Sequence[StoredRun], folders: Sequence[str], target: Path) -> int:
    """Copy the finished and the diverged runs to `target`/runs, without paths of this machine.

    A multirun's list of jobs goes along, so that missing runs are known to be missing. Returns the
    number of these runs.
    """
    done = [run for run in runs if run.state in ("finished", "diverged")]
    for run in done:
        folder = target / "runs" / run.directory.resolve().name
        if folder.resolve() == run.directory.resolve():  # an earlier call has kept it
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if (run.directory / OUTCOMES).exists():
            shutil.copyfile(run.directory / OUTCOMES, folder / OUTCOMES)
        with replacement(folder / metrics.FILE) as temporary:
            temporary.write_text("".join(_lines(run.directory)))
        _write(folder / record.FILE, _without_paths(dict(run.record)))
    jobs = {job["run"]: job for job in manifest.read(target)}
    for sweep in folders:
        jobs |= {job["run"]: job for job in manifest.read(Path(sweep))}
    if jobs:
        listed = [job | {"overrides": _no_paths(job["overrides"])} for job in jobs.values()]
        _write(target / manifest.FILE, {"jobs": listed})
    return len(done)


def _without_paths(content: dict[str, Any]) -> dict[str, Any]:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(child) for key, child in value.items() if not _is_path(child)}
        return value

    words = {key: _no_paths(content[key]) for key in ("command", "overrides") if key in content}
    return content | words | {"config": without(content["config"])}


def _lines(run: Path) -> Iterator[str]:
    """Rows of a log without what no report shows, which is most of it."""
    for row in metrics.rows(run):
        kept = {key: value for key, value in row.items() if not key.startswith(LEFT_OUT)}
        yield json.dumps(kept) + "\n"


def _no_paths(words: Sequence[str]) -> list[str]:
    keys = (*PATH_KEYS, "--config-dir", "-cd")
    kept = [word for word in words if word.partition("=")[0] not in keys]
    return [word for word in kept if not any(map(_is_path, word.split("=")))]


def _is_path(value: Any) -> bool:
    """Whether a value is a place on this machine; in a word of Hydra's it may be quoted."""
    return isinstance(value, str) and value.lstrip("\"'").startswith(("/", "~"))


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacement(path) as temporary:
        temporary.write_text(json_text(content, indent=1) + "\n")
