"""Number formats of training: what each name means on this machine, and how `auto` chooses.

torch is imported where it is asked, since checks that need none of it import this module.
"""

import os
import sys
from pathlib import Path
from typing import Literal

Name = Literal["auto", "fp32", "tf32", "bf16", "fp16"]

LIGHTNING = {"fp32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def accelerator_for(asked: str | None) -> Literal["cpu", "cuda"]:
    """`auto` is CUDA or the CPU: Apple's MPS has no float64, in which losses are summed."""
    if asked == "cpu" or ("torch" not in sys.modules and not _may_have_gpu()):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _may_have_gpu() -> bool:
    """Where Linux has no device of NVIDIA's or AMD's (on WSL: of DirectX's) there is none, and torch need not look."""
    names = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
    return sys.platform != "linux" or any(map(os.path.exists, names))


class Precision:
    """The number format that the config asks for."""

    def __init__(self, name: Name = "auto") -> None:
        if name != "auto" and name not in LIGHTNING:
            raise ValueError(f"precision={name!r}: choose from auto, {', '.join(LIGHTNING)}")
        self.asked = name

    def resolve(self, accelerator: Literal["cpu", "cuda"]) -> "ResolvedPrecision":
        """Raises `ValueError` for what the accelerator has no arithmetic for."""
        if self.asked == "auto":
            native, reason = bf16_in_hardware(accelerator)
            return ResolvedPrecision("bf16" if native else "fp32", f"auto: {reason}")
        if accelerator == "cpu" and self.asked in ("fp16", "tf32"):
            raise ValueError(
                f"precision={self.asked} needs a CUDA GPU; on CPU these work: "
                f"precision=fp32, precision=bf16, precision=auto"
            )
        return ResolvedPrecision(self.asked, "as asked")


class ResolvedPrecision:
    """A number format by `name`, Lightning's `plugin` word for it, and the `reason` it was chosen."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason, self.plugin = name, reason, LIGHTNING[name]

    def apply(self) -> None:
        """Set how float32 matrix products are computed: in TF32 only with precision=tf32."""
        import torch

        torch.set_float32_matmul_precision("high" if self.name == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = self.name == "tf32"


def bf16_in_hardware(accelerator: Literal["cpu", "cuda"]) -> tuple[bool, str]:
    """Whether bfloat16 is native, and why. Emulated bfloat16 is slower than float32 (torch #118499)."""
    if accelerator == "cuda":
        import torch

        major, minor = torch.cuda.get_device_capability()
        native = major >= 8
        return native, f"compute capability {major}.{minor} {_has(native)} bfloat16"
    flags = _cpu_flags()
    if found := flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        return True, f"the CPU has bfloat16 ({', '.join(sorted(found))})"
    return False, "the CPU has no bfloat16 arithmetic"


def _has(native: bool) -> str:
    return "has" if native else "has no"


def _cpu_flags() -> set[str]:
    """CPU features that Linux lists; empty elsewhere, so that `auto` falls back to float32."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return set()
    lines = path.read_text().splitlines()
    return {
        flag
        for line in lines
        if line.lower().startswith(("flags", "features"))
        for flag in line.partition(":")[2].split()
    }
