"""Whether the images of jobs that have begun are still those that they saw."""

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from deeper.runs.lease import is_held
from deeper.sweep.jobs import WAITING, Job

if TYPE_CHECKING:
    from deeper.data.partition import Partition

log = logging.getLogger(__name__)


class Images:
    """Fingerprints of the images as they are now, each found once."""

    def __init__(self) -> None:
        self._found: dict[str, str | None] = {}
        self._changed: dict[Path, str] = {}
        """Directory of a run → what is different."""

    def are_those_of(self, job: Job) -> bool:
        """Whether the images are those of its record; where they cannot be read, nothing is known.

        Where they are not, the job waits again.
        """
        before = job.record.get("data")
        now = self._fingerprint(job) if before else None
        if now in (None, before):
            return True
        self._changed[job.folder] = f"fingerprint {before} then, {now} now"
        job.state, job.cause = WAITING, ""
        return False

    def make_room(self, job: Job) -> None:
        """Move the run of a job away whose images have changed, unless a process still writes it."""
        if not is_held(job.folder) and not self.are_those_of(job):
            why = self._changed[job.folder]
            stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
            earlier = job.folder.with_name(f"{job.folder.name}_until_{stamp}")
            job.folder.rename(earlier)
            log.info(f"job {job.number}: its images have changed ({why}), so it runs anew; the "
                     f"earlier run is {earlier}")  # fmt: skip

    def _fingerprint(self, job: Job) -> str | None:
        data: Any = OmegaConf.to_container(job.config.data, resolve=True)
        key = json.dumps(data, sort_keys=True, default=str)
        if key not in self._found:
            self._found[key] = _fingerprint(data)
        return self._found[key]


def _fingerprint(data: dict[str, Any]) -> str | None:
    """None for images that cannot be listed."""
    try:
        return partition(data).fingerprint()
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
