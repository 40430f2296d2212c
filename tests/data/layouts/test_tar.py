"""Tars read in place: offsets of the members, and the archives that are refused."""

import io
import os
import re
import tarfile
from io import FileIO
from pathlib import Path

import imagenet_forms as forms
import pytest
from imagenet_forms import WNIDS

from deeper.data.layouts import tar
from deeper.data.sources.folder import Folder


def members(path: Path, data: bytes) -> dict[str, bytes]:
    path.write_bytes(data)
    with FileIO(path) as file:
        listed = [*tar.members(file, 0, len(data), "a.tar")]
    return {m.name: data[m.offset : m.offset + m.size] for m in listed}


LONG = "d" * 90 + "/" + "n" * 120 + ".JPEG"
PLAIN = {
    "a.JPEG": b"1" * 511,
    "./b.JPEG": b"2" * 512,
    "empty": b"",
    "d/ü.JPEG": b"3" * 513,
    LONG: b"4",
}


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar(kind, tmp_path):
    plain = {k: v for k, v in PLAIN.items() if k != LONG or kind != tarfile.USTAR_FORMAT}
    found = members(tmp_path / "a.tar", forms.tar(plain.items(), format=kind))
    assert found == {os.path.basename(name): content for name, content in plain.items()}


def test_folders_are_ignored(tmp_path):
    forms.write(tmp_path / "d/a.JPEG", b"1")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(tmp_path / "d", "d")
    assert members(tmp_path / "a.tar", file.getvalue()) == {"a.JPEG": b"1"}


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 4, linkname: str = "") -> bytes:
    """A member that claims `size` bytes, then a good one."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, linkname
    first = info.tobuf(tarfile.GNU_FORMAT) + (b"evil".ljust(512, b"\0") if size else b"")
    return first + forms.tar([("good.JPEG", b"good")])


def damaged(number: int) -> bytes:
    """A wrong byte in the header of member `number` of 8."""
    data = bytearray(forms.tar([(f"{n}.JPEG", b"x" * 700) for n in range(8)]))
    data[number * 3 * 512] ^= 1
    return bytes(data)


REFUSED = {
    "a symbolic link": (entry("s.JPEG", tarfile.SYMTYPE, 0, linkname="/etc/passwd"), "'s.JPEG' is a link"),
    "a device": (entry("d.JPEG", tarfile.CHRTYPE, 0), "'d.JPEG' is a link or a device; refused"),
    "a sparse file": (entry("s.JPEG", tarfile.GNUTYPE_SPARSE), "'s.JPEG' is a link or a device"),
    "8 GB": (entry("h.JPEG", size=8**11 - 1), "is cut"),
    "more than 8 GB": (entry("h.JPEG", size=1 << 60), "is cut"),
    "a damaged first header": (damaged(0), "is cut, or no uncompressed tar"),
    "a damaged header": (damaged(4), "is cut or damaged: no end marker at byte 6144"),
    "no tar": (b"<html>404</html>" * 100, "is cut, or no uncompressed tar"),
    "nothing": (b"", "is cut, or no uncompressed tar"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_archive_is_refused_by_name(name, tmp_path):
    """In the place of each archive: the images of a class, of train and of val."""
    data, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        members(tmp_path / "a.tar", data)
    mini = forms.miniature()
    for place in ("class", "train", "val"):
        root = tmp_path / place
        forms.archives(root, mini)
        path = root / f"ILSVRC2012_img_{'val' if place == 'val' else 'train'}.tar"
        inner = forms.tar([(f"{WNIDS[0]}.tar", data), (f"{WNIDS[1]}.tar", forms.tar([]))])
        path.write_bytes(inner if place == "class" else data)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            Folder(root, tmp_path / "cache").load()


@pytest.mark.parametrize("bytes_left", range(0, 13824, 512))
def test_a_cut_archive_is_refused(bytes_left, tmp_path):
    data = forms.tar([(f"{n}.JPEG", b"x" * 700) for n in range(8)])
    end_marker = 8 * 3 * 512 + 1024  # members and two blocks of zeros
    if bytes_left < end_marker:
        for cut in {bytes_left, max(bytes_left - 100, 0)}:
            with pytest.raises(ValueError, match=r"a.tar is cut"):
                members(tmp_path / "a.tar", data[:cut])
    else:
        assert len(members(tmp_path / "a.tar", data[:bytes_left])) == 8
