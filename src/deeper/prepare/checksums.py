"""Digests of the official archives and of the shards of a packed root."""

from pathlib import Path

from deeper.data.layouts import packed
from deeper.files import file_digest

OFFICIAL = {
    "ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
    "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
    "ILSVRC2012_devkit_t12.tar.gz": "fa75699e90414af021442c21a62c3abf",
}
"""MD5 of the archives as published, from torchvision.datasets.imagenet."""


def check_archives(root: Path, quarantine: bool) -> None:
    """Print how the official archives in `root` compare; with `quarantine` they may differ."""
    for name, published in OFFICIAL.items():
        if not (root / name).is_file():
            continue
        print(f"official  {name} ", end="", flush=True)  # 138 GB take minutes
        found = file_digest(root / name, "md5")
        print("as published" if found == published else f"has MD5 {found}, published {published}")
        if found != published and not quarantine:
            raise ValueError(
                f"data.root={root}: {name} has MD5 {found}, published is {published}; download it "
                f"again, or pass on_bad=quarantine"
            )


def require_shards(root: Path) -> None:
    """Refuse a packed root of which a byte has changed since it was packed."""
    if not packed.fits(root):
        return
    changed = [
        shard["file"]
        for shard in packed.shards(packed.read_about(root))
        if file_digest(root / shard["file"]) != shard["sha256"]
    ]
    if changed:
        raise ValueError(
            f"data.root={root}: {', '.join(changed)} differ from their digests in {packed.FILE}; copy "
            f"them again, or pack anew"
        )
