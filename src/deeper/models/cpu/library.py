"""Compiles kernels.cpp for this machine's processor, once, and calls its functions."""

import ctypes
import hashlib
import os
import platform
import shlex
import subprocess
from pathlib import Path

import torch
from torch import Tensor

from deeper.files import replacement
from deeper.processes import cpu_flags

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = "-std=c++17 -O3 -march=native -fno-math-errno -fno-trapping-math -fopenmp -shared -fPIC"
DEFINED = {torch.float32: [], torch.bfloat16: ["-DBFLOAT16"]}
"""Types that the kernels take → what is defined when they are compiled for it."""

_loaded: dict[torch.dtype, ctypes.CDLL] = {}


def load(folder: Path) -> None:
    """Make `call` work: compile the kernels into `folder`, in a few seconds, unless they are there.

    The compiler is $CXX, or c++. Raises `OSError` where there is none, or it fails.
    """
    if not _loaded:
        folder.mkdir(parents=True, exist_ok=True)
        _loaded.update({dtype: _library(folder, words) for dtype, words in DEFINED.items()})


def takes(x: Tensor) -> bool:
    """Whether there are kernels for such a tensor, which is not that of a graph being traced."""
    plain = type(x) is Tensor and x.is_cpu and x.numel() > 0
    return plain and x.dtype in _loaded and not torch.compiler.is_compiling()


def call(name: str, dtype: torch.dtype, *arguments: Tensor | int | float) -> None:
    """Call a function of kernels.cpp; its last argument, the number of threads, is added here."""
    function = getattr(_loaded[dtype], name)
    function(*map(_argument, arguments), _argument(torch.get_num_threads()))


def rows_of(x: Tensor) -> tuple[Tensor, int]:
    """A tensor whose pixels are rows of C values, and the values from one row to the next.

    A part of a concatenation has rows as long as all parts, and is not copied.
    """
    _, channels, height, width = x.shape
    stride = x.stride(3)
    if x.stride() == (height * width * stride, 1, width * stride, stride) and stride >= channels:
        return x, stride
    return x.contiguous(memory_format=torch.channels_last), channels


def _argument(value: Tensor | int | float) -> object:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int64(value)


def _library(folder: Path, words: list[str]) -> ctypes.CDLL:
    command = [*shlex.split(os.environ.get("CXX") or "c++"), *FLAGS.split(), *words]
    # What -march=native depends on: a folder may serve machines with different processors.
    processor = cpu_flags() or platform.processor()
    about = f"{command} {processor}".encode()
    digest = hashlib.sha256(about + SOURCE.read_bytes()).hexdigest()[:16]
    path = folder / f"kernels-{digest}.so"
    if not path.exists():
        with replacement(path) as temporary:
            done = subprocess.run(
                [*command, str(SOURCE), "-o", str(temporary)], capture_output=True, text=True
            )
            if done.returncode:
                raise OSError(f"{command[0]} failed: {' '.join(done.stderr.split())[-300:]}")
    return ctypes.CDLL(str(path))
