"""sweep.json: the jobs of a multirun, and links to their run directories beside it."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from deeper.config.errors import ConfigError
from deeper.files import json_text, replacement
from deeper.runs.provenance import code_hash, own_packages
from deeper.sweep.jobs import DIVERGED, DONE, Job, differing_words

FILE = "sweep.json"


def read(sweep: Path) -> list[dict[str, Any]]:
    """The number, the run and the words of each job; none where there is no file."""
    file = sweep / FILE
    return json.loads(file.read_text())["jobs"] if file.exists() else []


def write(sweep: Path, jobs: Sequence[Job]) -> None:
    """The identity and the words of each job, and a link `<number>-<what differs>` to its run.

    Jobs of a search come in batches, whose numbers go on.
    """
    rows = {job.number: {"run": job.folder.name, "overrides": job.words} for job in jobs}
    if jobs[0].number:
        rows = {row.pop("job"): row for row in read(sweep)} | rows
    content = {"jobs": [{"job": number} | rows[number] for number in sorted(rows)]}
    with replacement(sweep / FILE) as temporary:
        temporary.write_text(json_text(content, indent=1) + "\n")
    for number, words in differing_words(jobs).items():
        folder = jobs[number - jobs[0].number].folder
        name = re.sub(r"[^A-Za-z0-9._=,-]+", "_", f"{number}-{words}")[:100].rstrip("-")
        with suppress(OSError):  # a file system without links
            (sweep / name).unlink(missing_ok=True)
            (sweep / name).symlink_to(folder)


def refuse_other_code(jobs: Sequence[Job], strict: bool) -> None:
    """With `strict`, raise `ConfigError` that names the jobs which other code has finished."""
    if strict and (other := _by_other_code(jobs)):
        names = ", ".join(str(job.number) for job in other)
        raise ConfigError([
            f"sweep.strict=true: other code than today's has done job {names}; remove their runs "
            f"(`python src/runs.py clean RUN yes=true`), or pass sweep.strict=false"
        ])  # fmt: skip


def mark_other_code(jobs: Sequence[Job]) -> None:
    for job in _by_other_code(jobs):
        job.cause = f"{job.cause}, by other code".removeprefix(", ")


def _by_other_code(jobs: Sequence[Job]) -> list[Job]:
    ended = [job for job in jobs if job.state in (DONE, DIVERGED)]
    now = cache(code_hash)  # jobs of the same packages have the same code
    return [job for job in ended if job.record["code"] != now(own_packages(job.config))]
