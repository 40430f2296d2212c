"""Loading images, from files to float batches: torchvision's reference pipeline against ours.

Both read the photos of `root/train/<class>/*`, crop 8–100 % of the area to 224 px, mirror, and make
normalised float batches: torchvision's an image at a time, ours as uint8 images that become floats
by the batch, as on a device.
"""

from collections import deque
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from deeper.augment.crops import AreaAspectCrop
from deeper.augment.flip import RandomFlip
from deeper.benchmarks import report, timing
from deeper.data.batch import collate
from deeper.data.dataset import Pipeline, Samples
from deeper.data.layouts import packed
from deeper.data.loader import LazyLoader
from deeper.data.sampler import SampleKey
from deeper.data.source import LabelledImages
from deeper.data.sources.folder import Folder
from deeper.models.preprocess import Preprocess
from deeper.prepare.prepare import prepare
from deeper.prepare.verify import Resize

SIZE, BATCH = 224, 32
IMAGES = 1200
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PACKED = Resize(size=256, quality=90)

BASELINE = "torchvision, originals"

Pass = Callable[[], Any]


def run(root: Path, images: int, rounds: int, workers: int, results: Path) -> None:
    """Time every pipeline once a round, in turns; report medians over rounds.

    A pass loads `images` images, each photo as often as the others.
    """
    torch.set_num_threads(1)
    with TemporaryDirectory() as scratch:
        source = photos(root, Path(scratch))
        originals = source.load().train
        small = pack(source, Path(scratch))
        files = as_files(small, Path(scratch) / "files")
        order = [*islice(cycle(range(len(originals))), images)]
        contestants: dict[tuple[str, int], Pass] = {}
        for n in sorted({0, workers}):
            contestants |= {
                (BASELINE, n): torchvision_pass(root / "train", order, n),
                ("ours, originals", n): our_pass(originals, order, n),
                ("torchvision, packed as files", n): torchvision_pass(files, order, n),
                ("ours, packed", n): our_pass(small, order, n),
            }
        taken = timing.seconds(contestants, rounds)
    rows = [
        {"pipeline": name, "workers": n, "images_per_s": round(images / median(times), 1)}
        | {"times": round(timing.speedup(times, taken[BASELINE, n]), 2)}
        | {"of_rounds": [round(images / time, 1) for time in times]}
        for (name, n), times in taken.items()
    ]
    about = {"photos": len(originals), "images": images, "rounds": rounds, "size": SIZE}
    report.show_rows(f"{len(originals)} photos of {root}, {SIZE} px", rows)
    report.write("loading", about | {"rows": rows}, results)


def torchvision_pass(folder: Path, order: list[int], workers: int) -> Pass:
    """A pass as in torchvision's references/classification, backend PIL."""
    steps = [
        transforms.RandomResizedCrop(SIZE, antialias=True),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
        transforms.ConvertImageDtype(torch.float),
        transforms.Normalize(MEAN, STD),
    ]
    images = datasets.ImageFolder(str(folder), transforms.Compose(steps))
    loader: DataLoader[Any] = DataLoader(
        images, BATCH, sampler=order, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda: deque(loader, maxlen=0)  # reads all batches and keeps none


def our_pass(images: LabelledImages, order: list[int], workers: int) -> Pass:
    """A pass as with `augment=standard`, with the paper's range of areas."""
    pipeline = Pipeline({"crop": AreaAspectCrop(SIZE), "flip": RandomFlip()}, SIZE)
    keys = [SampleKey(0, index) for index in order]
    loader = LazyLoader(
        Samples(images, pipeline, seed=0),  # type: ignore[arg-type]  # collate makes the Batch
        batch_sampler=[keys[i : i + BATCH] for i in range(0, len(keys), BATCH)],
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
    )
    preprocess = Preprocess(MEAN, STD)
    return lambda: deque((preprocess(batch.images) for batch in loader), maxlen=0)


def photos(root: Path | str, cache: Path | str) -> Folder:
    """The photos in `root/train/<class>/`, where torchvision finds them, too."""
    if not (Path(root) / "train").is_dir():
        raise ValueError(f"data.root={root}: found no train/<class>/ with photos")
    return Folder(root, cache, layout="folders")


def pack(source: Folder, scratch: Path) -> LabelledImages:
    """The photos packed as by `prepare.py pack=true`."""
    out = scratch / "packed"
    with redirect_stdout(StringIO()):
        prepare(source, source.root, scratch, out=out, resize=PACKED)
    return packed.load_splits(out).train


def as_files(images: Any, folder: Path) -> Path:
    """The packed images as files again, which shows how much of the gain smaller images bring."""
    for index, label in enumerate(images.labels):
        path = folder / str(label) / f"{index}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.read(index))
    return folder
