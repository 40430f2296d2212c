"""Number formats of training: what each name means on this machine, and how `auto` chooses.

torch is imported where it is asked, since checks that need none of it import this module.
"""

import os
import sys
from typing import Literal

from deeper.processes import cpu_flags

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
    """A number format by `name`, Lightning's `plugin` word for it, and the `reason` it was chosen."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason, self.plugin = name, reason, LIGHTNING[name]

    def apply(self) -> None:
        """Set how float32 matrix products are computed: in TF32 only with precision=tf32."""
        import torch

        torch.set_float32_matmul_precision("high" if self.name == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = self.name == "tf32"


def resolved_precision(name: Name, accelerator: Literal["cpu", "cuda"]) -> Precision:
    """What the config's name stands for. `ValueError` if the accelerator has no arithmetic for it."""
    if name == "auto":
        native, reason = bf16_in_hardware(accelerator)
        return Precision("bf16" if native else "fp32", f"auto: {reason}")
    if accelerator == "cpu" and name in ("fp16", "tf32"):
        raise ValueError(
            f"precision={name} needs a CUDA GPU; on CPU these work: "
            f"precision=fp32, precision=bf16, precision=auto"
        )
    return Precision(name, "as asked")


def bf16_in_hardware(accelerator: Literal["cpu", "cuda"]) -> tuple[bool, str]:
    """Whether bfloat16 is native, and why. Emulated bfloat16 is slower than float32 (torch #118499)."""
    if accelerator == "cuda":
        import torch

        major, minor = torch.cuda.get_device_capability()
        native = major >= 8
        has = "has" if native else "has no"
        return native, f"compute capability {major}.{minor} {has} bfloat16"
    if found := {"avx512_bf16", "amx_bf16", "bf16"}.intersection(cpu_flags()):
        return True, f"the CPU has bfloat16 ({', '.join(sorted(found))})"
    return False, "the CPU has no bfloat16 arithmetic"
