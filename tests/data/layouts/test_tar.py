"""Tars read in place: where members lie, and what no honest archive holds."""

import io
import os
import re
import tarfile
from pathlib import Path

import imagenet_forms as forms
import pytest
from imagenet_forms import WNIDS

from deeper.data.layouts import tar
from deeper.data.sources.folder import Folder


def members(data: bytes, **options) -> dict[str, bytes]:
    read = lambda count, offset: data[offset : offset + count]  # noqa: E731
    return {
        m.name: data[m.offset : m.offset + m.size]
        for m in tar.members(read, 0, len(data), "a.tar", **options)
    }


def refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        members(data)


LONG = "d" * 90 + "/" + "n" * 120 + ".JPEG"
PLAIN = {
    "a.JPEG": b"1" * 511,
    "./b.JPEG": b"2" * 512,
    "empty": b"",
    "d/ü.JPEG": b"3" * 513,
    LONG: b"4",
}


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar(kind):
    plain = {k: v for k, v in PLAIN.items() if k != LONG or kind != tarfile.USTAR_FORMAT}
    data = forms.tar(plain.items(), format=kind)
    assert members(data) == {name.removeprefix("./"): content for name, content in plain.items()}


def test_folders_and_fractions_of_seconds(tmp_path):
    """As `tar -cf` and Python write what lies in a folder."""
    forms.write(tmp_path / "d/a.JPEG", b"1")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(tmp_path / "d", "d")
    assert members(file.getvalue()) == {"d/a.JPEG": b"1"}
    if os.system(f"tar --format=posix -C {tmp_path} -cf {tmp_path / 'g.tar'} d 2>/dev/null") == 0:
        assert members((tmp_path / "g.tar").read_bytes()) == {"d/a.JPEG": b"1"}


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 4, linkname: str = "") -> bytes:
    """A member that says `size`, whatever follows; and then an honest one."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, linkname
    first = info.tobuf(tarfile.GNU_FORMAT) + (b"evil".ljust(512, b"\0") if size else b"")
    return first + forms.tar([("good.JPEG", b"good")])


def pax(key: str, value: str) -> bytes:
    """An extended header before an honest member."""
    length = next(n for n in range(200) if n == len(f"{n} {key}={value}\n"))
    record = f"{length} {key}={value}\n".encode()
    info = tarfile.TarInfo("pax")
    info.type, info.size = b"x", len(record)
    return info.tobuf() + record.ljust(512, b"\0") + forms.tar([("good.JPEG", b"good")])


def two_of_a_name() -> bytes:
    return forms.tar([("a.JPEG", b"1"), ("./a.JPEG", b"2")])


def pax_of_all(key: str, value: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", pax_headers={key: value}) as archive:
        archive.addfile(tarfile.TarInfo("a.JPEG"))
    return file.getvalue()


def wrong_checksum() -> bytes:
    data = bytearray(forms.tar([("a.JPEG", b"1")]))
    data[0:1] = b"b"
    return bytes(data)


HOSTILE = {
    "up": (entry("../../evil.JPEG"), "'../../evil.JPEG' points out of the archive; refused"),
    "up within": (entry("a/../../evil.JPEG"), "'a/../../evil.JPEG' points out of the archive"),
    "up with backslashes": (entry("..\\evil.JPEG"), "points out of the archive"),
    "a folder above": (entry("../evil/", tarfile.DIRTYPE, 0), "points out of the archive"),
    "absolute": (entry("/tmp/evil.JPEG"), "'/tmp/evil.JPEG' points out of the archive; refused"),
    "a drive": (entry("C:/evil.JPEG"), "'C:/evil.JPEG' points out of the archive; refused"),
    "no name": (entry(""), "'' points out of the archive; refused"),
    "a link": (entry("l.JPEG", tarfile.LNKTYPE, 0, linkname="/etc/passwd"), "'l.JPEG' is a link"),
    "a symbolic link": (
        entry("s.JPEG", tarfile.SYMTYPE, 0, linkname="/etc/passwd"),
        "'s.JPEG' is a symbolic link; refused, only plain files are read",
    ),
    "a device": (entry("d.JPEG", tarfile.CHRTYPE, 0), "'d.JPEG' is a device"),
    "a block device": (entry("d.JPEG", tarfile.BLKTYPE, 0), "'d.JPEG' is a device"),
    "a pipe": (entry("f.JPEG", tarfile.FIFOTYPE, 0), "'f.JPEG' is a pipe"),
    "sparse": (entry("s.JPEG", tarfile.GNUTYPE_SPARSE), "'s.JPEG' is a sparse file"),
    "an unknown kind": (entry("u.JPEG", b"Z"), "'u.JPEG' is of unknown kind b'Z'"),
    "8 GB": (entry("h.JPEG", size=8**11 - 1), "'h.JPEG' says it has 8589934591 bytes, and 10752 are"),
    "more than 8 GB": (entry("h.JPEG", size=1 << 60), "says it has 1152921504606846976 bytes"),
    "less than nothing": (entry("h.JPEG", size=-1), "no header of a member at byte 0"),
    "a name of a gigabyte": (entry("L", b"L", 1 << 20) + bytes(1 << 20), "a header of 1048576 bytes"),
    "a path by pax": (pax("path", "../evil.JPEG"), "'../evil.JPEG' points out"),
    "a link by pax": (pax("linkpath", "/etc/passwd"), "with 'linkpath' in its headers"),
    "a size by pax": (pax("size", "99999999"), "with 'size' in its headers; refused"),
    "sparse by pax": (pax("GNU.sparse.major", "1"), "with 'GNU.sparse.major' in"),
    "a path for all": (pax_of_all("path", "evil"), "one path for all members; refused"),
    "a name twice": (two_of_a_name(), "a.tar holds 'a.JPEG' twice; refused"),
    "a wrong checksum": (wrong_checksum(), "a.tar is damaged, or no tar: no header of a member"),
    "no tar": (b"<html>404</html>" * 100, "a.tar is damaged, or no tar: no header of a member"),
    "nothing": (b"", "a.tar is cut: it ends at byte 0 without the mark of an end"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_refused_by_name(name):
    refused(*HOSTILE[name])


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_of_imagenet_write_nothing(name, tmp_path):
    """In the place of each archive: the images of a class, of val, and the devkit."""
    mini, data = forms.miniature(), HOSTILE[name][0]
    for number, place in enumerate(("class", "train", "val", "devkit")):
        root, cache = tmp_path / f"{number}/root", tmp_path / f"{number}/cache"
        forms.archives(root, mini)
        path = root / f"ILSVRC2012_img_{place}.tar"
        if place == "class":
            path = root / "ILSVRC2012_img_train.tar"
            path.write_bytes(forms.tar([(f"{WNIDS[0]}.tar", data)]))
        elif place == "devkit":
            path = forms.write(root / "ILSVRC2012_devkit_t12.tar.gz", data)
        else:
            path.write_bytes(data)
        before = everything(tmp_path)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            Folder(root, cache).load()
        assert everything(tmp_path) == before
    assert not Path("/tmp/evil.JPEG").exists()


def everything(root: Path) -> list[str]:
    return sorted(str(path) for path in root.rglob("*"))


@pytest.mark.parametrize("bytes_left", range(0, 13824, 512))
def test_no_cut_passes_for_a_shorter_archive(bytes_left):
    data = forms.tar([(f"{n}.JPEG", b"x" * 700) for n in range(8)])
    marks = 8 * 3 * 512  # members end here, zeros follow
    if bytes_left <= marks:
        for cut in {bytes_left, max(bytes_left - 100, 0)}:
            with pytest.raises(ValueError, match=r"a.tar is cut"):
                members(data[:cut])
    else:
        assert len(members(data[:bytes_left])) == 8


def test_an_inner_archive_may_end_without_a_mark():
    data = forms.tar([("a.JPEG", b"1"), ("b.JPEG", b"2")])[: 4 * 512]
    assert members(data, marked=False) == {"a.JPEG": b"1", "b.JPEG": b"2"}
    with pytest.raises(ValueError, match=r"a.tar is cut"):
        members(data[:-512], marked=False)


@pytest.mark.parametrize(
    ("head", "kind"), [(b"\x1f\x8b\x08", "gzip"), (b"BZh91", "bzip2"), (b"\xfd7zXZ\0", "xz")]
)
def test_compressed_archives_are_refused_with_the_command(head, kind, tmp_path):
    path = forms.write(tmp_path / "x.tar", head + bytes(100))
    with pytest.raises(ValueError, match=rf"compressed with {kind}: .* run \w+ {path}"):
        tar.require_plain(path)
