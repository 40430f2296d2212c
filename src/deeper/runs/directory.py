"""Run directories: how they are named, found and, after a refused start, removed."""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deeper.processes import start_of
from deeper.runs import record

LAST = "checkpoints/last.ckpt"
PREVIOUS = "checkpoints/previous.ckpt"
BEST = "checkpoints/best.ckpt"
STORE = "store"
"""Folder of the runs of all multiruns, each under its identity."""


def run_dir(logs: str, task: str, name: str, resume: str | None, *, _root_: Any = None) -> str:
    """`<logs>/<task>/runs/<date_time>_<name>`, or the run that `resume` names.

    `resume` is a run directory, `latest`, or `auto`: the newest run of the same identity as the
    config `_root_`. Hydra writes into this directory before the start can be refused, so a `resume`
    that is no run gets a new name as well; `open_dir` says what is wrong with it. Raises `ValueError`
    for a name that would lead elsewhere.
    """
    runs = Path(logs).absolute() / task / "runs"
    found = None
    if resume == "latest":
        found = _newest(runs)
    elif resume == "auto":
        if (wanted := _identity(_root_)) is not None:
            found = _newest(runs, wanted)
    elif resume and (Path(resume).expanduser() / record.FILE).is_file():
        found = Path(resume).expanduser()
    if found:
        return str(found.absolute())
    if not re.fullmatch(r"[\w-][\w.-]{0,99}", name, re.ASCII):
        raise ValueError(
            f"name={name}: 1 to 100 letters, digits and . _ - make a name, and no dot begins it"
        )
    return str(runs / f"{_stamp()}_{name}")


def _newest(runs: Path, identity: str | None = None) -> Path | None:
    """The run that started last, of those of an identity; a damaged record is none."""
    found: list[tuple[datetime, Path]] = []
    for path in runs.glob(f"*/{record.FILE}"):
        with suppress(ValueError, OSError, KeyError):
            content = record.read_record(path.parent)
            if identity in (None, content.get("identity")):
                found.append((datetime.fromisoformat(content["started"]), path.parent))
    return max(found)[1] if found else None


def _identity(config: Any) -> str | None:
    """None for a config that cannot be resolved, which `check` refuses later with the reasons."""
    from deeper.runs.identity import identity_of

    try:
        return identity_of(config)
    except (OmegaConfBaseException, ValueError, KeyError, TypeError, AttributeError):
        return None


def sweep_dir(logs: str, task: str, overrides: Sequence[str], *, _root_: Any = None) -> str:
    """`<logs>/<task>/multiruns/<swept keys>-<hash>`, without a time: the same sweep finds it again.

    For a job of a multirun it is the store, in which `job_dir` names the job's run directory.
    """
    if not OmegaConf.is_missing(_root_.hydra.job, "num"):
        return str(Path(logs).absolute() / task / STORE)
    words = sorted(str(override) for override in overrides)
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
    swept = [
        value if key == "sweep" else key.rpartition("/")[2].rpartition(".")[2]
        for key, _, value in (word.partition("=") for word in words)
        if "," in re.sub(r"\[.*?]|{.*?}", "", value) or key == "sweep"
    ]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(swept)) or "sweep"
    return str(Path(logs).absolute() / task / "multiruns" / f"{name}-{digest}")


def job_dir(*, _root_: Any = None) -> str:
    """The identity of a job, which other multiruns may have as well."""
    return _identity(_root_) or "refused"


def hydra_subdir(resume: str | None, run: str) -> str:
    """Where Hydra records this start; the record of the first start is kept."""
    resumes = resume and (Path(run) / record.FILE).exists()
    return f".hydra/resume_{_stamp()}" if resumes or resume not in ("auto", None) else ".hydra"


def find_run(run: str) -> Path:
    """A run directory; raises `ValueError` that says what is missing."""
    path = Path(run).expanduser()
    if path.is_file():
        raise ValueError(f"{run}: a file, not a run directory; a checkpoint is named by ckpt={run}")
    if not run or not path.is_dir():
        raise ValueError(
            f"{run or 'run='}: no such run directory; `ls -d logs/train/runs/*` lists yours"
        )
    if not (path / record.FILE).exists():
        below = sorted(file.parent.name for file in path.glob(f"*/{record.FILE}"))
        advice = f"; it holds these runs, name one: {', '.join(below[:9])}" if below else ""
        raise ValueError(f"{run}: not a run directory: it holds no {record.FILE}{advice}")
    return path


def checkpoint(run: Path, kind: str) -> Path:
    """The run's `BEST` or `LAST` checkpoint; raises `ValueError` where there is none."""
    path = run / kind
    if not path.exists():
        raise ValueError(f"{run}: holds no {kind}; the run ended before its first checkpoint")
    return path


def open_dir(path: str, resume: str | None = None) -> Path:
    """The directory that Hydra made; raises `ValueError` for one that holds another run."""
    run = Path(path)
    if resume not in (None, "auto"):
        remove_if_refused(run / hydra_subdir(resume, path), run / ".hydra", run)
        if resume == "latest" and not (run / record.FILE).exists():
            raise ValueError(f"resume=latest: there is no run in {run.parent} yet")
        find_run(path if resume == "latest" else str(resume))
    elif record.is_main_process():  # the others follow the main process, which writes there
        if resume is None and (run / LAST).exists():
            raise ValueError(
                f"{run}: holds a run already; resume={run} continues it, or give the new run "
                f"another directory"
            )
        written = run / hydra_subdir(resume, path)
        remove_if_refused(written, *([run / ".hydra"] if resume else []), run)
    return run


def remove_if_refused(written: Path, *folders: Path) -> None:
    """Register what Hydra writes before a start is accepted, and the folders that it makes for it."""
    above = folders[-1].parent
    if above.name in ("runs", "multiruns", STORE):  # <logs>/<task>/runs is made for the first run
        folders = (*folders, above, above.parent)
    _made.append((written, folders))


def discard_refused() -> None:
    """Remove what Hydra wrote for a start that was refused; files of the user stay."""
    for written, folders in _made:
        # Another process of the same run may remove it at the same time.
        shutil.rmtree(written, ignore_errors=True)
        with suppress(OSError):
            written.unlink()
        for folder in folders:
            for log in [log for log in folder.glob("*.log") if not log.stat().st_size]:
                log.unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                folder.rmdir()


def settle() -> None:
    """The start is accepted: nothing of it is removed any more."""
    _made.clear()


_made: list[tuple[Path, tuple[Path, ...]]] = []


@cache
def _stamp() -> str:
    """Start time of the run, the same in each of its processes.

    Lightning's launcher passes the directory to the processes that it starts. Under torchrun and
    srun each process computes it: from the start time of torchrun's agent or of the SLURM job.
    """
    env = os.environ
    if int(env.get("SLURM_NTASKS", 1)) > 1 and env.get("SLURM_STEP_ID"):
        start = float(env.get("SLURM_JOB_START_TIME", 0))
        return f"{_format(start)}_{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}"
    if "TORCHELASTIC_RUN_ID" not in env:
        return _format(time.time())
    if not Path("/proc/self/stat").exists():  # macOS
        return f"{env['TORCHELASTIC_RUN_ID']}_{os.getppid()}"
    agent = _format(_start_time(os.getppid()))
    if env.get("LOCAL_WORLD_SIZE") == env.get("WORLD_SIZE"):
        return agent
    return _stamp_of_rank_0(agent)


def _stamp_of_rank_0(stamp: str) -> str:
    """Shared over the store through which torchrun's nodes have met."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    env = os.environ
    store = TCPStore(env["MASTER_ADDR"], int(env["MASTER_PORT"]), is_master=False)
    key = f"deeper/stamp/{env.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    if env["RANK"] == "0":
        store.set(key, stamp)
    return str(store.get(key).decode())


def _format(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d_%H-%M-%S-%f")[:-3]


def _start_time(pid: int) -> float:
    """Start of a process in seconds since 1970, precise to a clock tick (Linux)."""
    ticks = int(start_of(pid) or 0)
    boot = re.search(r"^btime (\d+)", Path("/proc/stat").read_text(), re.MULTILINE)
    assert boot is not None  # noqa: S101
    return int(boot[1]) + ticks / os.sysconf("SC_CLK_TCK")
