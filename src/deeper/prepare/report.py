"""What prepare prints while it works and at its end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deeper.data.layouts import packed as layout
from deeper.data.manifest import Manifest
from deeper.files import gigabytes, whole
from deeper.prepare.checksums import OFFICIAL

LISTED = 100
"""Unreadable images that are printed; `bad.txt` beside the manifest has all of them."""


@contextmanager
def progress(images: int, doing: str) -> Iterator[Callable[[int], None]]:
    """A bar, on a terminal only. Yields a function to call with the number of images done since."""
    console = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images · {task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        job = bar.add_task(doing, total=images, rate="")

        def advance(more: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(job, advance=more, rate=f"{speed:,.0f}/s" if speed else "")

        yield advance


def verified(root: Path, path: Path, manifest: Manifest) -> None:
    """Prints counts, classes, modes and sizes, and how the official archives compare."""
    print(f"data      {len(manifest.classes):,} classes from {root}")
    for split, count in manifest.counts.items():
        good = manifest.good(split)
        sides = [manifest.column(side, split)[good] for side in ("width", "height")]
        per_class = np.bincount(manifest.column("label", split), minlength=len(manifest.classes))
        size = gigabytes(int(manifest.column("bytes", split).sum()))
        each = "–".join(f"{n:,}" for n in sorted({int(per_class.min()), int(per_class.max())}))
        print(
            f"{split:<9} {count:,} images, {each} a class, {size}"
            + (f", {_sides(*sides)}" if good.any() else "")
        )
    counted = pc.value_counts(manifest.table["mode"]).to_pylist()
    modes = [f"{mode['values']} {mode['counts']:,}" for mode in counted if mode["values"]]
    print(f"modes     {' · '.join(modes) or 'none'}")
    for name, archive in manifest.archives.items():
        as_published = archive["md5"] == OFFICIAL[name]
        print(f"official  {name} {'as published' if as_published else _differs(name, archive)}")
    print(f"manifest  {path}")


def packed(out: Path, about: dict[str, Any]) -> None:
    shards = layout.shards(about)
    size = gigabytes(sum(shard["bytes"] for shard in shards))
    counts = " · ".join(f"{of['images']:,} {split}" for split, of in about["splits"].items())
    lost = sum(len(of["quarantined"]) for of in about["splits"].values())
    left_out = f", {lost:,} quarantined" if lost else ""
    print(f"packed    {counts} images{left_out} in {len(shards)} shards, {size}: {out}")


def next_command(data: str, root: Path) -> None:
    print(f"next      python src/train.py data={data} data.root={quote(str(root))}")


def require_good(folder: Path, manifest: Manifest, quarantine: bool) -> None:
    """Raise `ValueError` with the list of unreadable images, or with `quarantine` print it."""
    lines = [f"{name}: {why}" for _, name, why in manifest.bad()]
    full = folder / "bad.txt"
    if lines:
        with whole(full) as temporary:
            temporary.write_text("\n".join(lines) + "\n")
    else:
        full.unlink(missing_ok=True)
    total = len(manifest.table)
    shown = lines[:LISTED]
    if len(lines) > LISTED:
        shown.append(f"and {len(lines) - LISTED:,} more, all of them in {full}")
    archives = [
        f"{name}: {_differs(name, archive)}"
        for name, archive in manifest.archives.items()
        if archive["md5"] != OFFICIAL[name]
    ]
    text = "\n".join(f"  {line}" for line in [*archives, *shown])
    if (lines or archives) and not quarantine:
        raise ValueError(
            f"{len(lines):,} of {total:,} images cannot be read"
            f"{', and an official archive differs' if archives else ''}:\n{text}\n"
            f"mend or remove them and run this again, or pass on_bad=quarantine and train with "
            f"data.bad=quarantine"
        )
    if lines:
        print(
            f"bad       {len(lines):,} quarantined, {total - len(lines):,} good, {total:,} in all"
        )
        print(text)
    manifest.require_classes()


def _sides(width: np.ndarray, height: np.ndarray) -> str:
    shorter = np.minimum(width, height)
    return (
        f"shorter side {shorter.min():,}–{shorter.max():,} px (median {int(np.median(shorter)):,})"
    )


def _differs(name: str, archive: Any) -> str:
    return f"differs: MD5 {archive['md5']}, published {OFFICIAL[name]}"
