"""Images of parquet files one by one: in whatever way a file is written, and when it is damaged."""

import logging
import os
from pathlib import Path

import imagenet_forms as forms
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deeper.data.layouts import pages, parquet
from deeper.data.sources.folder import Folder

CDC = {"min_chunk_size": 2**18, "max_chunk_size": 2**20, "norm_level": 0}
PLAIN = {"compression": "none", "use_dictionary": False}
SINGLE = {
    "as imagenet-1k": {},
    "datasets 4": {"write_page_index": True, "use_content_defined_chunking": CDC},
    "datasets 5": {"write_page_index": True, "use_content_defined_chunking": CDC, **PLAIN},
    "plain pages": {"use_dictionary": False, "data_page_size": 10_000},
    "small dictionary": {"dictionary_pagesize_limit": 200_000},
    "uncompressed": {"compression": "none"},
    "version 2": {"data_page_version": "2.0", **PLAIN},
}
WHOLE = {
    "zstd": {"compression": "zstd"},
    "compressed version 2": {"data_page_version": "2.0", "use_dictionary": False},
}


def images(count: int = 12) -> list[bytes]:
    """As hard to compress as photos, with a part that is not, and one of them twice."""
    random = np.random.default_rng(0)
    found = [random.bytes(int(size)) for size in random.integers(10, 300_000, count)]
    return [*(data[:100] + bytes(500) + data for data in found), found[3], found[3]]


def write(folder: Path, rows: list[bytes | None], optional: bool = True, **options) -> Path:
    """A root with row groups of 5, of two classes."""
    image = pa.struct([pa.field("bytes", pa.binary(), optional), pa.field("path", pa.string())])
    fields = [pa.field("image", image, optional), pa.field("label", pa.int64())]
    table = pa.table(
        {
            "image": pa.array([{"bytes": data, "path": None} for data in rows], image),
            "label": [number % 2 for number in range(len(rows))],
        },
        pa.schema(fields, forms.hub(["ant", "bee"])),
    )
    (folder / "data").mkdir(parents=True)
    path = folder / "data/train-00000-of-00001.parquet"
    pq.write_table(table, path, row_group_size=5, **options)
    return path


def train(root: Path):
    return Folder(root, root.parent / "cache").load().train


@pytest.fixture
def groups_read(monkeypatch):
    """The row groups that pyarrow reads."""
    found, read = [], pq.ParquetFile.read_row_group

    def counted(self, group, *args, **options):
        found.append(group)
        return read(self, group, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    return found


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("form", [*SINGLE, *WHOLE])
def test_any_order(form, optional, tmp_path, groups_read):
    """pyarrow reads a group once, or each time that another was read, if the file must be read so."""
    rows = images()
    write(tmp_path / "root", rows, optional, **(SINGLE | WHOLE)[form])
    found = train(tmp_path / "root")
    for _ in range(3):
        for index in np.random.default_rng(1).permutation(len(rows)).tolist():
            assert found.read(index) == rows[index]
    if form in SINGLE or (
        form != "zstd" and not optional
    ):  # then a page has no levels before its values
        assert sorted(groups_read) == [0, 1, 2]
    else:
        assert len(groups_read) > 10


@pytest.mark.parametrize("form", SINGLE)
def test_an_image_costs_its_own_bytes(form, tmp_path, monkeypatch):
    rows, sizes, pread = images(), [], os.pread
    write(tmp_path / "root", rows, **SINGLE[form])
    found = train(tmp_path / "root")
    for index in range(len(rows)):
        found.read(index)
    monkeypatch.setattr(os, "pread", lambda file, n, at: sizes.append(n) or pread(file, n, at))
    for index, data in enumerate(rows):
        found.read(index)
        assert sizes.pop() <= len(data) + 2 * pages.BLOCK
        assert not sizes


def test_rows_without_bytes(tmp_path):
    rows = [b"a", None, b"", b"b" * 9, b"", b"", b"c"]
    write(tmp_path / "root", rows)
    found = train(tmp_path / "root")
    for _ in range(2):
        assert [found.read(i) for i in (0, 2, 3, 4, 5, 6)] == [b"a", b"", b"b" * 9, b"", b"", b"c"]
        with pytest.raises(
            ValueError, match=r"cannot read the image .*bee/1: the row has no bytes"
        ):
            found.read(1)


def test_damage_after_listing(tmp_path):
    """An image is named; those of other blocks are read still."""
    rows = [np.random.default_rng(n).bytes(200_000) for n in range(4)]
    path = write(tmp_path / "root", rows)
    found = train(tmp_path / "root")
    assert [found.read(i) for i in range(4)] == rows
    parquet._row_group.cache_clear()
    with path.open("r+b") as file:  # the tag of the block that begins within the second image
        start = int(parquet._places(path, 0)[1][0]) + 2**16 + 1
        data = os.pread(file.fileno(), 2**17, start)
        file.seek(start + data.index(b"\xf4\xff\xff"))
        file.write(b"\xf8\xff\xff")
    with pytest.raises(
        ValueError, match=r"cannot read the image .*train-00000-of-00001\.parquet:bee/1"
    ):
        found.read(1)
    assert [found.read(i) for i in (0, 3)] == [rows[0], rows[3]]
    os.truncate(path, 300_000)
    with pytest.raises(ValueError, match="cannot read the image"):
        found.read(3)


def test_a_word_of_files_that_are_read_by_groups(tmp_path, caplog):
    for name, options in (("fast", {}), ("slow", WHOLE["zstd"])):
        write(tmp_path / name, images(4), **options)
        with caplog.at_level(logging.WARNING):
            train(tmp_path / name)
    assert len(caplog.messages) == 1
    assert "/slow is compressed by ZSTD: an image in random order costs the" in caplog.text
