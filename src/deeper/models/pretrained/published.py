"""Published files of weights: where they are, and how they are verified."""

from pathlib import Path
from typing import NamedTuple

from torch.hub import download_url_to_file

from deeper.files import file_digest


class Published(NamedTuple):
    """A public file of weights for ImageNet's 1000 classes, in the order of the sorted wnids."""

    url: str
    sha256: str
    """The first digits at least; empty where none is known."""


PUBLISHED = {
    "torchvision": Published(
        "https://download.pytorch.org/models/googlenet-1378be20.pth", "1378be20"
    ),
    "bvlc": Published(
        "http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
        "6f7101e3a2183738a7125a0c5021ba82a1feb4228c5ca0924d991b6daf6f6fad",
    ),
    "onnx": Published(
        "https://github.com/onnx/models/raw/main/validated/vision/classification/"
        "inception_and_googlenet/googlenet/model/googlenet-12.onnx",
        "",
    ),
}


def download(name: str, folder: Path) -> Path:
    """The file of a published name in `folder`, downloaded unless it is there.

    Raises `ValueError` where it cannot be downloaded or has another digest.
    """
    url, sha256 = PUBLISHED[name]
    path = folder / url.rpartition("/")[2]
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"downloading {url} to {folder}")
        try:
            download_url_to_file(url, str(path), sha256, progress=False)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"model.pretrained={name}: {url} could not be downloaded ({error}); put the file at "
                f"{path}, or pass its own path"
            ) from error
    found = file_digest(path)
    if not sha256:
        print(f"{path}: not verified, no digest of {name} is known; its sha256 is {found}")
    if not found.startswith(sha256):
        raise ValueError(f"{path}: its sha256 is not that of {url}; remove the file")
    return path


def is_published(path: Path) -> bool:
    """Whether a file has the digest of a published one."""
    found = file_digest(path)
    return any(sha256 and found.startswith(sha256) for _, sha256 in PUBLISHED.values())
