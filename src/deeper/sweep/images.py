"""Whether the images of jobs that have begun are still those that they saw."""

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from deeper.runs.lease import is_held
from deeper.sweep.jobs import Job

if TYPE_CHECKING:
    from deeper.data.partition import Partition

log = logging.getLogger(__name__)


def changed(jobs: Sequence[Job]) -> dict[Path, str]:
    """Run directories whose images are not those of their records → how they differ.

    Where images cannot be read, nothing is known.
    """
    now = cache(_fingerprint)  # jobs of the same data have the same images
    found = {}
    for job in jobs:
        if before := job.record.get("data"):
            data = OmegaConf.to_container(job.config.data, resolve=True)
            after = now(json.dumps(data, sort_keys=True))
            if after not in (None, before):
                found[job.folder] = f"fingerprint {before} then, {after} now"
    return found


def make_room(job: Job, why: str) -> None:
    """Move the run of a job away whose images have changed, unless a process still writes it."""
    if not is_held(job.folder):
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        earlier = job.folder.with_name(f"{job.folder.name}_until_{stamp}")
        job.folder.rename(earlier)
        log.info(f"job {job.number}: its images have changed ({why}), so it runs anew; the "
                 f"earlier run is {earlier}")  # fmt: skip


def _fingerprint(data: str) -> str | None:
    """Of a data config as JSON; None for images that cannot be listed."""
    try:
        return partition(json.loads(data)).fingerprint()
    except (ValueError, OSError):
        return None


def partition(data: dict[str, Any]) -> "Partition":
    """As `ImageData.partition` of the values below `data`, without its imports, which take seconds."""
    from deeper.config.instantiate import build
    from deeper.data.partition import Partition
    from deeper.data.quarantine import without_bad

    root, cache = Path(data["root"]).expanduser(), Path(data["cache"]).expanduser()
    splits = build(data["source"])(root=data["root"], cache=data["cache"]).load()
    official, _ = without_bad(splits, root, cache, data["bad"])
    return Partition(official, data["val_from"], data["holdout"], data["limit"])
