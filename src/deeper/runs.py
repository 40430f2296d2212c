"""The run directory: where it is, what its run.json records, how a run is found again."""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

RECORD = "run.json"
LAST = "checkpoints/last.ckpt"
BEST = "checkpoints/best.ckpt"
NOT_IDENTITY = ("paths", "trainer", "precision", "logger", "resume", "name", "callbacks")
"""Config keys that say where and with what a run computes, not what."""


def run_dir(logs: str, task: str, name: str, resume: str | None) -> str:
    """`<logs>/<task>/runs/<date_time>_<name>`, or the directory of the run to go on with."""
    if resume:
        return str(Path(resume).expanduser().absolute())
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
    if not resume:
        return ".hydra"
    starts = len(list((Path(resume).expanduser() / ".hydra").glob("resume_*")))
    return f".hydra/resume_{starts + 1}"


def run_id(run: str) -> str:
    """The run directory's name for dashboards; a sweep's job carries its sweep's name too."""
    path = Path(run)
    job = path.parent.parent.name == "multiruns"
    return f"{path.parent.name}-{path.name}" if job else path.name


def identity(config: dict[str, Any]) -> str:
    """Hash of what a resolved config computes, whatever the machine, paths and loggers."""
    kept = {key: value for key, value in config.items() if key not in NOT_IDENTITY}
    kept["data"] = {k: v for k, v in kept.get("data", {}).items() if k not in ("root", "workers")}
    text = json.dumps(_without_paths(kept), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _without_paths(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_paths(v) for k, v in node.items() if k != "root"}
    return node


@cache
def _stamp() -> str:
    """When this run was started: the same in every process of it.

    torchrun's and srun's processes each compute it: from the start of the process that started
    them all, or of the SLURM job step.
    """
    if os.environ.get("SLURM_STEP_ID") and os.environ.get("SLURM_JOB_START_TIME"):
        start = float(os.environ["SLURM_JOB_START_TIME"])
        step = f"{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"
        return f"{_format(start)}_{step}"
    if "TORCHELASTIC_RUN_ID" in os.environ:
        given = os.environ["TORCHELASTIC_RUN_ID"]
        if given != "none":
            return re.sub(r"[^A-Za-z0-9._-]+", "_", given)
        return f"{_format(_started(os.getppid()))}"
    return f"{_format(time.time())}"


def _format(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d_%H-%M-%S-%f")[:-3]


def _started(pid: int) -> float:
    """Start of a process in seconds since 1970, to the clock tick."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    boot = next(
        int(line.split()[1])
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith("btime")
    )
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def find(run: str) -> Path:
    """A run directory; `ValueError` that says what is missing, for a path that is none."""
    path = Path(run).expanduser()
    if not path.is_dir():
        raise ValueError(f"{run}: no such run directory; `ls -d logs/train/runs/*` lists yours")
    if not (path / RECORD).exists():
        raise ValueError(f"{run}: not a run directory: it holds no {RECORD}")
    return path


def checkpoint(run: Path, kind: str) -> Path:
    path = run / kind
    if not path.exists():
        raise ValueError(f"{run}: holds no {kind}; the run ended before its first checkpoint")
    return path


def read(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / RECORD).read_text())
    return content


def is_main_process() -> bool:
    """By the environment, since a run is recorded before the process group exists."""
    words = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return all(int(os.environ.get(word, 0)) == 0 for word in words)


@contextmanager
def record(run: Path, **facts: Any) -> Iterator[dict[str, Any]]:
    """run.json from start to end: what runs, on what, how it ended. Results go into the dict."""
    earlier = read(run) if (run / RECORD).exists() else {}
    for stale in ("error", "ended", "results", "objective"):
        earlier.pop(stale, None)
    content = earlier | provenance() | facts | {"status": "running", "started": _now()}
    content["starts"] = [*earlier.get("starts", []), content["started"]]
    _write(run, content)
    try:
        yield content
    except BaseException as error:
        content |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        if is_interrupt(error):
            content["status"] = "interrupted"
        raise
    else:
        content["status"] = "finished"
    finally:
        content["ended"] = _now()
        _write(run, content)


def is_interrupt(error: BaseException) -> bool:
    """Ctrl-C, also where Lightning turned it into an exit of status 1."""
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _write(run: Path, content: dict[str, Any]) -> None:
    if not is_main_process():
        return
    temporary = run / f".{RECORD}.{os.getpid()}"
    temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")
    os.replace(temporary, run / RECORD)


def provenance() -> dict[str, Any]:
    """Commit, code, versions and hardware."""
    import lightning
    import torch
    import torchvision

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "command": sys.argv,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted": bool(_git("status", "--porcelain")),
        "code": code_hash(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "lightning": lightning.__version__,
        },
        "hardware": {"cpus": os.cpu_count(), "machine": platform.machine(), "gpus": gpus},
    }


def code_hash() -> str:
    """Of every Python file of the package, so that runs of edited code are told apart."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


_made: list[Path] = []


def open_dir(path: str, resume: str | None = None) -> Path:
    """Remember the directory that Hydra made for a new run, in case the run is refused."""
    if resume is None:
        _made.append(Path(path))
    return Path(path)


def discard_refused() -> None:
    """Remove a new run's directory if it holds nothing but what Hydra wrote before `main`."""
    for path in _made:
        if not path.is_dir():
            continue
        found = {entry.name for entry in path.iterdir()}
        if all(name == ".hydra" or name.endswith(".log") for name in found):
            shutil.rmtree(path, ignore_errors=True)  # another rank may be at it too
