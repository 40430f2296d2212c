"""The run directory: how it is named, found again, opened and, when a run is refused, removed."""

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

from deeper.runs import record

LAST = "checkpoints/last.ckpt"
BEST = "checkpoints/best.ckpt"


def run_dir(logs: str, task: str, name: str, resume: str | None) -> str:
    """`<logs>/<task>/runs/<date_time>_<name>`, or the directory of the run to go on with."""
    if resume:
        run = find(resume)
        checkpoint(run, LAST)
        return str(run.absolute())
    return str(Path(logs).absolute() / task / "runs" / f"{_stamp()}_{name}")


def sweep_dir(logs: str, task: str, overrides: Sequence[str]) -> str:
    """`<logs>/<task>/multiruns/<what is swept>-<hash>`: no time, so that a rerun finds it."""
    words = sorted(str(override) for override in overrides)
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
    swept = [w.partition("=")[0].rpartition("/")[2].rpartition(".")[2] for w in words if "," in w]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(swept)) or "sweep"
    return str(Path(logs).absolute() / task / "multiruns" / f"{name}-{digest}")


def hydra_subdir(resume: str | None) -> str:
    """Where Hydra records this start: the first one stays as it was."""
    return f".hydra/resume_{_stamp()}" if resume else ".hydra"


def run_id(run: str) -> str:
    """The run directory's name for dashboards; a sweep's job carries its sweep's name too."""
    path = Path(run)
    job = path.parent.parent.name == "multiruns"
    return f"{path.parent.name}-{path.name}" if job else path.name


def find(run: str) -> Path:
    """A run directory; `ValueError` that says what is missing, for a path that is none."""
    path = Path(run).expanduser()
    if path.is_file():
        raise ValueError(f"{run}: a file, no run directory")
    if not run or not path.is_dir():
        raise ValueError(
            f"{run or 'run='}: no such run directory; `ls -d logs/train/runs/*` lists yours"
        )
    if not (path / record.FILE).exists():
        below = sorted(file.parent.name for file in path.glob(f"*/{record.FILE}"))
        advice = f"; it holds runs, say which: {', '.join(below[:9])}" if below else ""
        raise ValueError(f"{run}: not a run directory: it holds no {record.FILE}{advice}")
    return path


def checkpoint(run: Path, kind: str) -> Path:
    path = run / kind
    if not path.exists():
        raise ValueError(f"{run}: holds no {kind}; the run ended before its first checkpoint")
    return path


def file(path: Path) -> Path:
    """A checkpoint file; `ValueError` where there is none."""
    if path.is_dir():
        raise ValueError(f"{path}: a folder, no checkpoint file; a run is named by run={path}")
    if not path.is_file():
        raise ValueError(
            f"{path}: no such checkpoint file; `ls logs/train/runs/*/checkpoints/*.ckpt` lists yours"
        )
    return path


def open_dir(path: str, resume: str | None = None) -> Path:
    """The directory that Hydra made; `ValueError` where another run has left its results there."""
    run = Path(path)
    if resume is not None:
        _made.append(run / hydra_subdir(resume))
    elif not record.is_main_process():
        pass  # the first process of the run has looked, and writes there
    elif (run / LAST).exists():
        raise ValueError(
            f"{run}: holds a run already; resume={run} goes on with it, or let a new run have a "
            f"directory of its own"
        )
    else:
        _made.append(run)
    return run


def discard_refused() -> None:
    """Remove what Hydra wrote for a run before `main` refused it, and nothing else."""
    for path in _made:
        resumed = path.parent.name == ".hydra"
        # Another process of the run may be at it too.
        shutil.rmtree(path if resumed else path / ".hydra", ignore_errors=True)
        with suppress(OSError):  # not empty: something of the user's
            path.rmdir()


def settle() -> None:
    """The run is accepted: nothing of it is removed any more."""
    _made.clear()


_made: list[Path] = []


@cache
def _stamp() -> str:
    """When this run was started: the same in every process of it.

    Lightning's own launcher hands the directory to its processes. torchrun's and srun's compute
    it each: from the start of the process that started them all, or of the SLURM job.
    """
    env = os.environ
    if int(env.get("SLURM_NTASKS", 1)) > 1 and env.get("SLURM_STEP_ID"):
        start = float(env.get("SLURM_JOB_START_TIME", 0))
        return f"{_format(start)}_{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}"
    if "TORCHELASTIC_RUN_ID" not in env:
        return _format(time.time())
    if not Path("/proc/self/stat").exists():  # macOS
        return f"{env['TORCHELASTIC_RUN_ID']}_{os.getppid()}"
    agent = _format(_started(os.getppid()))
    if env.get("LOCAL_WORLD_SIZE") == env.get("WORLD_SIZE"):
        return agent
    return _agreed(agent)


def _agreed(stamp: str) -> str:
    """The stamp of rank 0, by way of the store at which torchrun's nodes have met."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    env = os.environ
    store = TCPStore(env["MASTER_ADDR"], int(env["MASTER_PORT"]), is_master=False)
    key = f"deeper/stamp/{env.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    if env["RANK"] == "0":
        store.set(key, stamp)
    return str(store.get(key).decode())


def _format(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d_%H-%M-%S-%f")[:-3]


def _started(pid: int) -> float:
    """Start of a process in seconds since 1970, to the clock tick (Linux)."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    boot = next(
        int(line.split()[1])
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith("btime")
    )
    return boot + ticks / os.sysconf("SC_CLK_TCK")
