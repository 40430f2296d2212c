"""Published files of weights: where they are, and how they are verified."""

from pathlib import Path

from torch.hub import download_url_to_file

from deeper.files import file_digest

PUBLISHED = {
    "torchvision": ("https://download.pytorch.org/models/googlenet-1378be20.pth", "1378be20"),
    "bvlc": (
        "http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
        "6f7101e3a2183738a7125a0c5021ba82a1feb4228c5ca0924d991b6daf6f6fad",
    ),
    "onnx": (
        "https://github.com/onnx/models/raw/main/validated/vision/classification/"
        "inception_and_googlenet/googlenet/model/googlenet-12.onnx",
        "",
    ),
}
"""Name → address, and the first digits of the SHA-256 or nothing where none is known. The classes are
ImageNet's 1000, in the order of the sorted wnids.
"""


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
