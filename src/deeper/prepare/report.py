"""What prepare prints while it works and at its end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from deeper.data.layouts import packed as layout
from deeper.data.manifest import BAD, FILE, Manifest
from deeper.files import gigabytes, whole


@contextmanager
def progress(images: int, doing: str) -> Iterator[Callable[[int], None]]:
    """A bar, on a terminal only. Yields a function to call with the number of images done since."""
    console = Console()
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        job = bar.add_task(doing, total=images)
        yield lambda more: bar.advance(job, more)


def verified(root: Path, folder: Path, manifest: Manifest) -> None:
    """Prints counts, classes and sizes, and where the manifest lies."""
    print(f"data      {len(manifest.classes):,} classes from {root}")
    for split, rows in manifest.splits.items():
        per_class = np.bincount(rows["label"].to_numpy(), minlength=len(manifest.classes))
        each = "–".join(f"{n:,}" for n in sorted({per_class.min(), per_class.max()}))
        size = gigabytes(pc.sum(rows["bytes"]).as_py() or 0)
        print(f"{split:<9} {len(rows):,} images, {each} a class, {size}")
    print(f"manifest  {folder / FILE}")


def packed(out: Path, among: int | None = None) -> None:
    """Prints what a packed folder holds; and how many fewer images than its source, `among`, has now."""
    about = layout.read_about(out)
    shards = layout.shards(about)
    size = gigabytes(sum(shard["bytes"] for shard in shards))
    counts = " · ".join(f"{of['images']:,} {split}" for split, of in about["splits"].items())
    print(f"packed    {counts} images in {len(shards)} shards, {size}: {out}")
    missing = (among or 0) - sum(of["images"] for of in about["splits"].values())
    if missing > 0:
        print(
            f"{missing:,} images could not be read when these were packed; if they are mended, pack "
            f"into a new folder"
        )


def require_good(folder: Path, manifest: Manifest, quarantine: bool) -> None:
    """Raise `ValueError` with the list of unreadable images, or with `quarantine` print it."""
    with whole(folder / BAD) as temporary:
        temporary.write_text("".join(f"{name}: {why}\n" for _, name, why in manifest.bad()))
    text = manifest.unreadable(folder)
    if text and not quarantine:
        raise ValueError(
            f"{text}\nmend or remove them and run this again, or pass on_bad=quarantine and train "
            f"with data.bad=quarantine"
        )
    if text:
        print(f"bad       {text}")
    manifest.require_classes()
