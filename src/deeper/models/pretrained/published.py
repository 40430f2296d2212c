"""Files of weights: the published ones by name, any by its path, of whatever kind they are."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch.hub import download_url_to_file

from deeper.models.pretrained import caffe, nets, onnx, torchvision
from deeper.models.pretrained.weights import Weights
from deeper.models.pretrained.wire import Message


class Published(NamedTuple):
    """A public file of 1000 classes in the order of the sorted wnids."""

    url: str
    sha256: str
    """Its first digits at least; empty where none is known."""
    top1: float
    top5: float
    """Published accuracy in per cent, one centre crop of 224 px."""
    note: str = ""

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


PUBLISHED = {
    "torchvision": Published(
        "https://download.pytorch.org/models/googlenet-1378be20.pth",
        "1378be20",
        69.778,
        89.530,
        "the auxiliary heads in torchvision's published file are random: train them, or pass "
        "model/aux=none",
    ),
    "bvlc": Published(
        "http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
        "6f7101e3a2183738a7125a0c5021ba82a1feb4228c5ca0924d991b6daf6f6fad",
        68.7,
        88.9,
    ),
    "onnx": Published(
        "https://github.com/onnx/models/raw/main/validated/vision/classification/"
        "inception_and_googlenet/googlenet/model/googlenet-12.onnx",
        "",
        67.78,
        88.34,
    ),
}

READ = (
    "a state dict of torchvision's googlenet (.pth), a .caffemodel, an ONNX graph, a checkpoint of "
    "this project"
)

Content = Mapping[str, Any] | Message


def path_of(source: str, folder: Path) -> Path:
    """The file that `source` names; a published one is downloaded to `folder` unless it is there.

    Raises `ValueError` where there is none, or where a published file's digest is another.
    """
    if source not in PUBLISHED:
        path = Path(source).expanduser()
        if not path.is_file():
            names = ", ".join(PUBLISHED)
            raise ValueError(f"model.pretrained={source}: no such file; or choose from {names}")
        return path
    published = PUBLISHED[source]
    path = folder / published.file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"downloading {published.url} to {folder}")
        try:
            download_url_to_file(published.url, str(path), published.sha256, progress=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"model.pretrained={source}: {published.url} could not be downloaded ({error}); put the file "
                f"at {path}, or pass its own path"
            ) from error
    found = digest(path)
    if not published.sha256:
        print(f"{path}: not checked, for no digest of {source} is known; its own is {found}")
    if not found.startswith(published.sha256):
        raise ValueError(f"{path}: its digest is not that of {published.url}; remove it")
    return path


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def opened(path: Path) -> Content:
    """Tensors that torch saved, or a protocol buffer. Nothing in a file is run."""
    with path.open("rb") as file:
        start = file.read(4)
    try:
        if start == b"PK\x03\x04" or start[:2] == b"\x80\x02":
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
            return content if isinstance(content, Mapping) else {}
        return Message(memoryview(path.read_bytes()))
    except Exception as error:
        # torch's own words advise to load it unsafely.
        why = "it would run code" if isinstance(error, UnpicklingError) else error
        raise ValueError(
            f"{path}: not a file of weights that loads safely ({why}); what is read: {READ}"
        ) from error


def weights(content: Content, path: Path, origin: str) -> Weights:
    """`opened`'s answer in our names. Raises `ValueError` for what no importer knows."""
    state = content.get("model", content) if isinstance(content, Mapping) else {}
    try:
        if isinstance(content, Mapping) and torchvision.is_one(state):
            found, usual = torchvision.read(state, origin), nets.symmetric()
        elif isinstance(content, Message) and onnx.is_one(content):
            found, usual = onnx.read(content, origin), nets.caffe()
        elif isinstance(content, Message) and caffe.is_one(content):
            found, usual = caffe.read(content, origin), nets.caffe()
        else:
            raise ValueError(f"none of what is read: {READ}")
    except Exception as error:  # whatever bytes that mean nothing do to a reader
        why = error if isinstance(error, ValueError) else repr(error)
        raise ValueError(f"{path}: not whole, or of a form unknown here ({why})") from error
    found = replace(found, preprocess=usual)
    found_digest = digest(path)
    for name, published in PUBLISHED.items():
        known = published.sha256 and found_digest.startswith(published.sha256)
        if known or name == origin:
            found = replace(found, published=True, note=published.note)
    return found


def read(source: str, folder: Path) -> Weights:
    """The weights that a name of `PUBLISHED`, or a file, holds."""
    path = path_of(source, folder)
    return weights(opened(path), path, source)
