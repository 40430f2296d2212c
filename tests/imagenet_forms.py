"""A miniature ImageNet in every layout in which people store the large one, from the same images."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from photos import prepare
from PIL import Image

from deeper.data.classes import synsets, wnids

WNIDS = ["n01440764", "n02119789", "n02510455", "n03255030", "n07248320"]
"""Sorted. The devkit calls them 449, 1, 169, 1000 and 816."""

DEVKIT = {synset.wnid: synset.devkit_id for synset in synsets()}
Images = dict[str, dict[str, bytes]]
"""wnid → file name → bytes"""


def jpeg(seed: int, size: tuple[int, int] | None = None) -> bytes:
    random = np.random.default_rng(seed)
    width, height = size or random.integers(64, 96, 2)
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(file, "JPEG", quality=85)
    return file.getvalue()


def miniature(train: int = 3, val: int = 2) -> dict[str, Images]:
    """Named as in ILSVRC 2012; validation images of a class are not consecutive."""
    numbers = np.random.default_rng(0).permutation(val * len(WNIDS)) + 1
    numbers = iter(numbers.tolist())
    return {
        "train": {
            w: {f"{w}_{n}.JPEG": jpeg(1000 * c + n) for n in range(1, train + 1)}
            for c, w in enumerate(WNIDS)
        },
        "val": {
            w: {
                f"ILSVRC2012_val_{(k := next(numbers)):08}.JPEG": jpeg(10**6 + k)
                for _ in range(val)
            }
            for w in WNIDS
        },
    }


def labelled(images: Images) -> list[tuple[str, str, bytes]]:
    """(name, wnid, bytes), by name."""
    return sorted((name, w, data) for w, files in images.items() for name, data in files.items())


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def folders(root: Path, images: Images, inside: str = "") -> None:
    for wnid, files in images.items():
        for name, data in files.items():
            write(root / wnid / inside / name, data)


def flat(root: Path, images: Images) -> None:
    for name, _, data in labelled(images):
        write(root / name, data)


def tree(root: Path, mini: dict[str, Images]) -> None:
    for split, images in mini.items():
        folders(root / split, images)


def flat_val(root: Path, mini: dict[str, Images]) -> None:
    folders(root / "train", mini["train"])
    flat(root / "val", mini["val"])


def ground_truth(mini: dict[str, Images]) -> str:
    return "".join(f"{DEVKIT[wnid]}\n" for _, wnid, _ in labelled(mini["val"]))


def solution(mini: dict[str, Images]) -> str:
    """Unsorted, as Kaggle's; a wnid for each box."""
    rows = [
        f"{name.removesuffix('.JPEG')},{w} 1 2 30 40 {w} 5 6 7 8 \n"
        for name, w, _ in labelled(mini["val"])
    ]
    return "ImageId,PredictionString\n" + "".join(reversed(rows))


def tar(members: Iterable[tuple[str, bytes]], **options) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def devkit(mini: dict[str, Images]) -> bytes:
    inside = "ILSVRC2012_devkit_t12/data/"
    return gzip.compress(
        tar(
            [
                (f"{inside}meta.mat", b"MATLAB 5.0 MAT-file"),
                (f"{inside}ILSVRC2012_validation_ground_truth.txt", ground_truth(mini).encode()),
            ]
        )
    )


def with_devkit(root: Path, mini: dict[str, Images]) -> None:
    flat_val(root, mini)
    write(root / "ILSVRC2012_devkit_t12.tar.gz", devkit(mini))


def with_unpacked_devkit(root: Path, mini: dict[str, Images]) -> None:
    flat_val(root, mini)
    name = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    write(root / name, ground_truth(mini))


def archives(root: Path, mini: dict[str, Images], order: Callable = reversed) -> None:
    """Classes and images in an unsorted order."""
    inner = [(f"{w}.tar", tar(order(files.items()))) for w, files in mini["train"].items()]
    write(root / "ILSVRC2012_img_train.tar", tar(order(inner)))
    val = [(name, data) for name, _, data in labelled(mini["val"])]
    write(root / "ILSVRC2012_img_val.tar", tar(order(val)))
    write(root / "ILSVRC2012_devkit_t12.tar.gz", devkit(mini))


def kaggle(root: Path, mini: dict[str, Images]) -> None:
    flat_val(root / "ILSVRC/Data/CLS-LOC", mini)
    write(root / "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG", jpeg(7))
    write(root / "LOC_val_solution.csv", solution(mini))


def tiny(root: Path, mini: dict[str, Images]) -> None:
    write(root / "wnids.txt", "".join(f"{wnid}\n" for wnid in reversed(WNIDS)))
    folders(root / "train", mini["train"], "images")
    flat(root / "val/images", mini["val"])
    rows = [f"{name}\t{wnid}\t0\t0\t5\t5\n" for name, wnid, _ in labelled(mini["val"])]
    write(root / "val/val_annotations.txt", "".join(rows))
    write(root / "test/images/test_0.JPEG", jpeg(8))


def tiny_by_class(root: Path, mini: dict[str, Images]) -> None:
    """Tiny-ImageNet as it is often rearranged."""
    for split, images in mini.items():
        folders(root / split, images, "images")


def hub(names: list[str] | None) -> dict[str, str]:
    """The schema metadata that the library `datasets` writes."""
    label = {"names": names, "_type": "ClassLabel"}
    about = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    return {"huggingface": json.dumps(about)} if names else {}


def shards(folder: Path, split: str, rows: list[tuple], metadata: dict[str, str], files: int = 2):
    """`rows` of (bytes, path, label) over several files, in row groups of 2."""
    folder.mkdir(parents=True, exist_ok=True)
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema({"image": image, "label": pa.int64()}, metadata)
    for number in range(files):
        part = rows[number::files]
        table = pa.table(
            {"image": [{"bytes": r[0], "path": r[1]} for r in part], "label": [r[2] for r in part]},
            schema,
        )
        path = folder / f"{split}-{number:05}-of-{files:05}.parquet"
        pq.write_table(table, path, row_group_size=2)


def parquet(
    root: Path,
    mini: dict[str, Images],
    order: tuple[int, ...] = (3, 0, 4, 1, 2),
    name: Callable[[str], str] = lambda wnid: wnid,
) -> None:
    """Labels number the classes in the order `order`."""
    numbered = [WNIDS[place] for place in order]
    metadata = hub([name(wnid) for wnid in numbered])
    for split, hub_name in (("train", "train"), ("val", "validation")):
        rows = [
            (data, file.replace(".JPEG", f"_{wnid}.JPEG"), numbered.index(wnid))
            for file, wnid, data in labelled(mini[split])
        ]
        shards(root / "data", hub_name, rows, metadata)
    shards(root / "data", "test", [(jpeg(9), "ILSVRC2012_test_00000001.JPEG", -1)], metadata, 1)


def parquet_of_1000(root: Path, mini: dict[str, Images], metadata: dict[str, str]) -> None:
    """Numbered by sorted wnid with all classes, as imagenet-1k."""
    data = labelled(mini["train"])[0][2]
    for split in ("train", "validation"):
        rows = [(data, None, label) for label in range(len(wnids()))]
        shards(root / "data", split, rows, metadata)


def packed(root: Path, mini: dict[str, Images]) -> None:
    """Packed by prepare from Kaggle's layout."""
    kaggle(root.parent / "source", mini)
    prepare(root.parent / "source", root.parent / "source cache", root)


FORMS: dict[str, Callable[[Path, dict[str, Images]], None]] = {
    "tree": tree,
    "devkit": with_devkit,
    "unpacked devkit": with_unpacked_devkit,
    "archives": archives,
    "kaggle": kaggle,
    "tiny": tiny,
    "tiny by class": tiny_by_class,
    "parquet": parquet,
    "packed": packed,
}
