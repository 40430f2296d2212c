"""Loading images, from files to float batches: torchvision's reference pipeline against ours.

Both read the photos of `root/train/<class>/*`, crop 8–100 % of the area to 224 px, mirror, and make
normalised float batches: torchvision's an image at a time, ours as uint8 images that become floats
by the batch, as on a device.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from deeper.augment.crops import AreaAspectCrop
from deeper.augment.flip import RandomFlip
from deeper.benchmarks import report
from deeper.data.batch import collate
from deeper.data.dataset import Pipeline, Samples
from deeper.data.images.stored import FileImages, StoredImages
from deeper.data.layouts import packed
from deeper.data.loader import LazyLoader
from deeper.data.sampler import SampleKey
from deeper.data.source import LabelledImages, Splits
from deeper.models.preprocess import Preprocess
from deeper.prepare.prepare import Preparation
from deeper.prepare.verify import Resize

SIZE, BATCH = 224, 32
IMAGES = 1200
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PACKED = Resize(size=256, quality=90)

Pass = Callable[[], Any]


def run(root: Path, images: int, rounds: int, workers: int, results: Path) -> None:
    """Time every pipeline once a round, in turns; report medians over rounds.

    A pass loads `images` images, each photo as often as the others.
    """
    torch.set_num_threads(1)
    with TemporaryDirectory() as scratch:
        photos = Photos(root)
        small = pack(photos, Path(scratch))
        files = as_files(small, Path(scratch) / "files")
        order = [*islice(cycle(range(len(photos.paths))), images)]
        contestants: dict[tuple[str, int], Pass] = {}
        for n in sorted({0, workers}):
            contestants |= {
                ("torchvision, originals", n): torchvision_pass(root / "train", order, n),
                ("ours, originals", n): our_pass(photos.load().train, order, n),
                ("torchvision, packed as files", n): torchvision_pass(files, order, n),
                ("ours, packed", n): our_pass(small, order, n),
            }
        rates = measured(contestants, images, rounds)
    rows = [
        {"pipeline": name, "workers": n, "images_per_s": round(median(rates[name, n]), 1)}
        | {"times": round(ratio(rates, name, n), 2), "of_rounds": rates[name, n]}
        for name, n in contestants
    ]
    about = {"photos": len(photos.paths), "images": images, "rounds": rounds, "size": SIZE}
    report.show(f"{len(photos.paths)} photos of {root}, {SIZE} px", rows)
    report.write("loading", about | {"rows": rows}, results)


def measured(
    contestants: dict[tuple[str, int], Pass], images: int, rounds: int
) -> dict[tuple[str, int], list[float]]:
    """Images/s of each pass, without the first, which starts workers and fills caches."""
    rates: dict[tuple[str, int], list[float]] = {key: [] for key in contestants}
    for number in range(rounds + 1):
        for key, one_pass in contestants.items():
            start = perf_counter()
            one_pass()
            if number:
                rates[key].append(round(images / (perf_counter() - start), 1))
    return rates


def ratio(rates: dict[tuple[str, int], list[float]], name: str, workers: int) -> float:
    """Speed relative to torchvision with as many workers: the median of the ratios in each round."""
    theirs = rates["torchvision, originals", workers]
    return median(a / b for a, b in zip(rates[name, workers], theirs, strict=True))


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
    return lambda: exhaust(loader)


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
    return lambda: exhaust(loader, lambda batch: preprocess(batch.images))


def exhaust(batches: Iterable[Any], use: Callable[[Any], Any] = lambda batch: None) -> None:
    """Read all batches, and keep none."""
    for batch in batches:
        use(batch)


class Photos:
    """The photos under `root/train/<class>/`, as a source of images."""

    def __init__(self, root: Path | str, cache: str | None = None) -> None:
        self.root = root = Path(root)
        self.paths = sorted(str(p.relative_to(root)) for p in _photos(root))
        if not self.paths:
            raise ValueError(f"data.root={root}: found no train/<class>/*.JPEG (or .jpg)")

    def prepare(self) -> None:
        """Nothing to do."""

    def load(self) -> Splits:
        names = [path.split("/")[1] for path in self.paths]
        classes = sorted(set(names))
        labels = [classes.index(name) for name in names]
        train, val = (FileImages(self.root, self.paths, labels) for _ in range(2))
        return Splits(classes, train, val, val)


def _photos(root: Path) -> Iterator[Path]:
    return (p for p in root.glob("train/*/*") if p.suffix.lower() in (".jpeg", ".jpg"))


def pack(photos: Photos, scratch: Path) -> StoredImages:
    """The photos packed as by `prepare.py pack=true`."""
    out = scratch / "packed"
    with redirect_stdout(StringIO()):
        Preparation(photos, "folder", photos.root, scratch / "cache", out, PACKED, workers=0).run()
    images = packed.load_splits(out).train
    assert isinstance(images, StoredImages)  # noqa: S101
    return images


def as_files(images: StoredImages, folder: Path) -> Path:
    """The packed images as files again, which shows how much of the gain smaller images bring."""
    for index, label in enumerate(images.labels):
        path = folder / str(label) / f"{index}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.read(index))
    return folder
