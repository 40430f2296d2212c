"""Number formats: what a name means on this machine, and what `auto` chose and why."""

from pathlib import Path
from typing import Literal

import torch

Name = Literal["auto", "fp32", "tf32", "bf16", "fp16"]

LIGHTNING = {"fp32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def accelerator_for(asked: str | None) -> Literal["cpu", "cuda"]:
    """auto is CUDA or the CPU: Apple's MPS has no float64, in which the losses are summed."""
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


class Precision:
    """`name` is what computes, `plugin` Lightning's word for it, `reason` a line for the banner."""

    def __init__(self, name: Name = "auto") -> None:
        if name != "auto" and name not in LIGHTNING:
            raise ValueError(f"precision={name!r}: choose from auto, {', '.join(LIGHTNING)}")
        self.asked = name

    def resolve(self, accelerator: Literal["cpu", "cuda"]) -> "Chosen":
        """Raises `ValueError` for what the accelerator has no arithmetic for."""
        if self.asked == "auto":
            native, reason = bf16_in_hardware(accelerator)
            return Chosen("bf16" if native else "fp32", f"auto: {reason}")
        if accelerator == "cpu" and self.asked in ("fp16", "tf32"):
            raise ValueError(
                f"precision={self.asked} needs a CUDA GPU; on CPU these work: "
                f"precision=fp32, precision=bf16, precision=auto"
            )
        return Chosen(self.asked, "as asked")


class Chosen:
    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason, self.plugin = name, reason, LIGHTNING[name]

    def apply(self) -> None:
        """Set what float32 products compute in: TF32 only where it was asked for."""
        torch.set_float32_matmul_precision("high" if self.name == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = self.name == "tf32"


def bf16_in_hardware(accelerator: Literal["cpu", "cuda"]) -> tuple[bool, str]:
    """Whether products in bfloat16 are native. Emulated ones are slower than float32 (torch #118499)."""
    if accelerator == "cuda":
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
    """Of Linux; elsewhere empty, which means float32: slower at worst, never wrong."""
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
