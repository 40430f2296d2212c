"""Loading images, from files to float batches: torchvision's reference pipeline against ours.

Both read the photos of `root/train/<class>/*`, crop 8–100 % of the area, mirror, and make normalised
float batches: torchvision's an image at a time, ours as uint8 images that become floats by the batch,
as on a device.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from deeper.augment.crops import AreaAspectCrop
from deeper.augment.flip import RandomFlip
from deeper.benchmarks import reference
from deeper.benchmarks.setting import Setting
from deeper.benchmarks.timing import Contest, Figure, Pass
from deeper.data.dataset import Pipeline, Samples
from deeper.data.layouts import packed
from deeper.data.loader import LazyLoader, batch_loader
from deeper.data.sampler import SampleKey
from deeper.data.source import LabelledImages
from deeper.data.sources.folder import Folder
from deeper.models.preprocess import Preprocess
from deeper.prepare.prepare import prepare
from deeper.prepare.verify import Resize

IMAGES = 1200
PACKED = Resize(size=256, quality=90)

THEIRS, ORIGINALS, SMALL = "torchvision, originals", "ours, originals", "ours, packed"


def contests(setting: Setting) -> Iterator[Contest]:
    """One thread in each process; a pass loads each photo as often as the others."""
    source = photos(setting)
    originals = source.load().train
    small = pack(source, setting.scratch)
    files = as_files(small, setting.scratch / "files")
    order = in_turn(len(originals), setting.images or IMAGES)
    train = Path(source.root) / "train"
    workers = {setting.workers: (1.9, 4.2)} if setting.workers else {}
    for n, aims in ({0: (1.9, 5.2)} | workers).items():
        with_workers = f"with {n} workers" if n else "in one process"
        yield Contest(
            f"loading {len(order)} of {len(originals)} photos, {setting.size} px, {with_workers}",
            {
                THEIRS: torchvision_pass(train, order, setting, n),
                ORIGINALS: our_pass(originals, order, setting, n),
                "torchvision, packed as files": torchvision_pass(files, order, setting, n),
                SMALL: our_pass(small, order, setting, n),
            },
            "images/s",
            len(order),
            baselines=(THEIRS,),
            figures=[
                Figure(f"loader, {name}, {with_workers}, against torchvision's", name, THEIRS, at_least=aim)
                for name, aim in zip((ORIGINALS, SMALL), aims, strict=True)
            ],
            threads=1,
        )  # fmt: skip


def in_turn(photos: int, images: int) -> list[int]:
    return [*islice(cycle(range(photos)), images)]


def torchvision_pass(folder: Path, order: list[int], setting: Setting, workers: int) -> Pass:
    loader = reference.loader(folder, order, setting.size, setting.batch_size, workers)
    return lambda: deque(loader, maxlen=0)  # reads all batches and keeps none


def our_pass(images: LabelledImages, order: list[int], setting: Setting, workers: int) -> Pass:
    loader = our_loader(images, order, setting, workers)
    preprocess = Preprocess(reference.MEAN, reference.STD)
    return lambda: deque((preprocess(batch.images) for batch in loader), maxlen=0)


def our_loader(
    images: LabelledImages, order: list[int], setting: Setting, workers: int
) -> LazyLoader:
    """As with `augment=standard`, with the paper's range of areas."""
    pipeline = Pipeline({"crop": AreaAspectCrop(setting.size), "flip": RandomFlip()}, setting.size)
    keys, size = [SampleKey(0, index) for index in order], setting.batch_size
    return batch_loader(
        Samples(images, pipeline, seed=0),
        [keys[i : i + size] for i in range(0, len(keys), size)],
        workers,
        persistent_workers=workers > 0,
    )


def photos(setting: Setting) -> Folder:
    """The photos in `root/train/<class>/`, where torchvision finds them, too."""
    if setting.root is None or not (setting.root / "train").is_dir():
        raise ValueError(f"data.root={setting.root}: found no train/<class>/ with photos")
    return Folder(setting.root, setting.scratch, layout="folders")


def pack(source: Folder, scratch: Path) -> LabelledImages:
    """The photos packed as by `prepare.py pack=true`, once for all benchmarks of a run."""
    out = scratch / "packed"
    if not out.exists():
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
