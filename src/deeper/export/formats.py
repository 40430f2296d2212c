"""The file formats of an export by name, and which of them this installation can write."""

from importlib.util import find_spec
from types import ModuleType
from typing import Any

from deeper.export import onnx, safetensors, torch_export

FORMATS: dict[str, ModuleType] = {
    "safetensors": safetensors,
    "onnx": onnx,
    "torch_export": torch_export,
}
"""Name → a module that writes `FILE` and needs `PACKAGES`. Its `encode(graph)` gives the bytes, and
`open_file(path, graph)` the network that a file holds: uint8 [B, 3, S, S] → logits [B, classes].
"""


def requested(cfg: Any) -> list[ModuleType]:
    """The formats that `format` names. Raises `ValueError` for mistakes in export's config."""
    forms = [*FORMATS.values()] if cfg.format.value == "all" else [FORMATS[cfg.format.value]]
    if not 0 < cfg.bound < 1:
        raise ValueError(f"bound={cfg.bound}: a fraction of the largest logit, between 0 and 1")
    packages = [package for form in forms for package in form.PACKAGES]
    if missing := [package for package in packages if find_spec(package) is None]:
        raise ValueError(
            f"format={cfg.format.value}: needs {', '.join(missing)}: pip install -e '.[export]', or "
            f"pass format=torch_export, which needs none"
        )
    return forms
