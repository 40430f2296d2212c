"""Where a run's numbers come from: commit, code, versions, hardware."""

import hashlib
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from deeper.config.secrets import without_secrets
from deeper.config.trusted import nodes, vouched

PACKAGE = Path(__file__).parents[1]
PACKAGES = ("hydra-core", "lightning", "numpy", "torch", "torchmetrics", "torchvision")


def provenance(config: Any = None) -> dict[str, Any]:
    """Of a run with this config."""
    import torch  # here, since run directories are named and found without torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    status = _git("status", "--porcelain")
    packages, source = own_packages(config), code_hash(())
    return {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": None if status is None else bool(status),
        "source": source,
        "code": code_hash(packages) if packages else source,
        "command": without_secrets([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "hardware": {
            "processor": processor(),
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
            "gpus": gpus,
        },
    }


def code_hash(packages: Sequence[str]) -> str:
    """Hash of all Python and C++ files of src/, and of these packages."""
    digest = hashlib.sha256()
    for place in [PACKAGE.parent, *_places(packages)]:
        found = [place] if place.is_file() else [*place.rglob("*.py"), *place.rglob("*.cpp")]
        for path in sorted(found):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def own_packages(config: Any = None) -> tuple[str, ...]:
    """The packages of `trust=` and configs/trusted.yaml, in order.

    With a config, those alone that its `_target_`s name: a baseline does not depend on the others.
    """
    names = {name.partition(".")[0] for name in vouched()}
    if names and config is not None:
        plain = OmegaConf.to_container(config) if OmegaConf.is_config(config) else config
        names &= {str(node["_target_"]).partition(".")[0] for _, node in nodes(plain)}
    return tuple(sorted(names))


def _places(packages: Sequence[str]) -> Iterator[Path]:
    """Their folders or files."""
    for name in packages:
        spec = find_spec(name)
        places = spec and (spec.submodule_search_locations or [str(spec.origin)])
        yield from map(Path, places or [])


def processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def host_memory() -> int:
    """Bytes of this process's memory at their peak."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _git(*words: str) -> str | None:
    """None without git or outside a repository."""
    command = ["git", "-C", str(PACKAGE), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
