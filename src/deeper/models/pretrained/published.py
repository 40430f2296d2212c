"""Published files of weights: where they are, how they are verified, and the accuracy they should reach."""

from pathlib import Path
from typing import NamedTuple

from torch.hub import download_url_to_file

from deeper.files import file_digest


class Published(NamedTuple):
    """A public file of weights for ImageNet's 1000 classes, in the order of the sorted wnids."""

    url: str
    sha256: str
    """The first digits at least; empty where none is known."""
    top1: float
    top5: float
    """Published accuracy in per cent, one centre crop of 224 px."""
    note: str = ""
    """A warning to users of the whole network."""


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


def download(name: str, folder: Path) -> Path:
    """The file of a published name in `folder`, downloaded unless it is there.

    Raises `ValueError` where it cannot be downloaded or has another digest.
    """
    published = PUBLISHED[name]
    path = folder / published.url.rpartition("/")[2]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"downloading {published.url} to {folder}")
        try:
            download_url_to_file(published.url, str(path), published.sha256, progress=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"model.pretrained={name}: {published.url} could not be downloaded ({error}); "
                f"put the file at {path}, or pass its own path"
            ) from error
    found = file_digest(path)
    if not published.sha256:
        print(f"{path}: not verified, no digest of {name} is known; its sha256 is {found}")
    if not found.startswith(published.sha256):
        raise ValueError(f"{path}: its sha256 is not that of {published.url}; remove the file")
    return path


def identify(path: Path) -> Published | None:
    """The published file that has the digest of `path`."""
    found = file_digest(path)
    known = (p for p in PUBLISHED.values() if p.sha256 and found.startswith(p.sha256))
    return next(known, None)
