"""Reads a file of weights that others published or trained, by the suffix of its name."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError

import torch

from deeper.models.pretrained import caffe, onnx, published, torchvision
from deeper.models.pretrained.weights import Weights

READABLE = (
    "a state dict of torchvision's googlenet (.pth), a .caffemodel, a graph (.onnx), a checkpoint of "
    "this project (.ckpt)"
)


def locate(source: str, folder: Path) -> Path:
    """The file that `source` names, a path or a published name; the latter is downloaded to `folder`."""
    if source in published.PUBLISHED:
        return published.download(source, folder)
    path = Path(source).expanduser()
    if not path.is_file():
        names = ", ".join(published.PUBLISHED)
        raise ValueError(f"model.pretrained={source}: no such file; or choose from {names}")
    return path


def read(path: Path, source: str) -> Weights:
    """The weights in `path`, which `source` named. Raises `ValueError` for what cannot be read."""
    readers = {".caffemodel": caffe.read, ".onnx": onnx.read}
    try:
        weights = readers.get(path.suffix, _read_state_dict)(path, source)
    except Exception as error:  # a damaged file raises whatever its bytes lead a reader to
        # torch's own message advises to load the file unsafely.
        unsafe = isinstance(error, UnpicklingError)
        why = "torch.load(weights_only=True) refuses it" if unsafe else error or repr(error)
        raise ValueError(f"{path}: cannot be read ({why}); what is read: {READABLE}") from error
    if file := published.identify(path) or published.PUBLISHED.get(source):
        return replace(weights, preprocess_known=True, note=file.note)
    return weights


def _read_state_dict(path: Path, source: str) -> Weights:
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        raise ValueError("no state dict")
    return torchvision.read(content.get("model", content), source)
