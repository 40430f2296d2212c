"""Encoded images: which are refused, and that the others decode to the pixels that Pillow decodes."""

import io
import os
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper.data.images import encoded
from deeper.data.images.encoded import MAX_PIXELS, Encoded

PHOTOS = Path(os.environ.get("IMAGENET_PHOTOS", "/nonexistent"))


def picture(seed=0, size=(90, 61)):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def saved(image, kind="JPEG", **options):
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def jpeg(seed, **options):
    return saved(picture(seed), quality=90, **options)


def chunk(name, content):
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png_claiming(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def claiming(data, place, *fields):
    """Other numbers where the header has its size."""
    return data[:place] + b"".join(fields) + data[place + sum(map(len, fields)) :]


def bombs(seed):
    """Small files that claim 30,000 × 30,000 pixels, or as many as the format can say."""
    side = 30_000 + seed
    jpg, webp = jpeg(seed), saved(picture(seed), "WEBP")
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + 2 * struct.pack("<I", 16_382)[:3]
    return [
        claiming(jpg, jpg.index(b"\xff\xc0") + 5, struct.pack(">HH", side, side)),
        png_claiming(side, side),
        claiming(saved(picture(), "GIF"), 6, struct.pack("<HH", side, side)),
        claiming(saved(picture(), "BMP"), 18, struct.pack("<ii", side, side)),
        b"RIFF" + struct.pack("<I", len(webp) + 10) + b"WEBP" + canvas + webp[12:],
    ]


def with_exif(seed, image=None):
    """A turn by 90°, then tags whose values lie beyond the end."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 60
    return saved(image or picture(seed), exif=exif.tobytes()[: 40 + seed])


def palette(seed, **options):
    return saved(picture(seed).convert("P", palette=Image.Palette.ADAPTIVE), "PNG", **options)


def transparent(seed):
    image = picture(seed).convert("RGBA")
    image.putalpha(picture(seed + 1).convert("L"))
    return saved(image, "PNG")


# Twelve kinds, five files each. The undecodable first.
UNDECODABLE = {
    "cut_10": lambda n: jpeg(n)[: len(jpeg(n)) // (10 + n)],
    "cut_50": lambda n: jpeg(n)[: len(jpeg(n)) * (50 + n) // 100],
    "cut_at_the_end": lambda n: jpeg(n)[: -(1 + 7 * n)],
    "empty_or_zeros": lambda n: bytes(500 * n),
    "text": lambda n: [b"<html>404</html>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"P9 3 3", b"GIF", b"BM"][n],
    "bomb": lambda n: bombs(n)[n],
    "wrong_magic": lambda n: bytes([n]) + jpeg(n)[1:],
    "png_cut": lambda n: saved(picture(n), "PNG")[: -(40 + 300 * n)],
}  # fmt: skip
ODD = {
    "other_format_named_jpeg": lambda n: saved(picture(n), ["PNG", "GIF", "WEBP", "BMP", "PPM"][n]),
    "cmyk": lambda n: saved(picture(n).convert("CMYK"), progressive=n % 2 == 1),
    "other_mode": lambda n: [
        saved(picture(n).convert("L")), palette(n), palette(n, transparency=bytes(range(256))),
        transparent(n), saved(picture(n).convert("1"), "PNG"),
    ][n],
    "wrong_exif": lambda n: with_exif(n, picture(n).convert("CMYK") if n == 4 else None),
}  # fmt: skip


def by_pillow(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_of_sixty_bad_files_exactly_the_undecodable_are_refused_by_name():
    """Twelve kinds among 320 good ones. Warnings are errors here, so none is heard."""
    files = {f"good/{n}.JPEG": jpeg(n) for n in range(320)}
    bad = {f"{k}/{n}.JPEG": make(n) for k, make in UNDECODABLE.items() for n in range(5)}
    odd = {f"{k}/{n}.JPEG": make(n) for k, make in ODD.items() for n in range(5)}
    files |= bad | odd
    assert (len(bad) + len(odd), len(files)) == (60, 380)
    refused = {}
    for name, data in files.items():
        try:
            image = Encoded(data, name)
            pixels, box = image.pixels()
        except ValueError as error:
            refused[name] = str(error)
        else:
            assert np.array_equal(pixels, by_pillow(data)), name
            assert (pixels.dtype, pixels.shape) == (np.uint8, (61, 90, 3))
            assert (image.size, box) == ((90, 61), (0, 0, 90, 61))
            assert pixels.flags.writeable  # or torch would warn
    assert set(refused) == set(bad)
    for name, text in refused.items():
        assert re.match(f"cannot read the image {name}: \\S", text)
        assert text.endswith("; `python src/prepare.py data.root=DIR` lists all such files")
        assert "object at 0x" not in text


@pytest.mark.parametrize("place", range(5))
def test_a_bomb_is_refused_by_its_header_alone(place, monkeypatch):
    """No decoder sees it, nor does anything allocate its pixels."""
    data = bombs(place)[place]

    def never(*_, **__):
        pytest.fail("decoded")

    for decoder in (
        "simplejpeg.decode_jpeg",
        "PIL.Image.Image.convert",
        "PIL.ImageFile.ImageFile.load",
    ):
        monkeypatch.setattr(decoder, never)
    for ask in (lambda i: i.size, lambda i: i.pixels(), lambda i: i.pil()):
        with pytest.raises(ValueError, match=r"^cannot read the image x.jpg: .*pixels"):
            ask(Encoded(data, "x.jpg"))


def test_the_limit_is_the_same_for_every_decoder():
    """Just above it Pillow would warn and go on."""
    side = int(MAX_PIXELS**0.5) + 1
    jpg = jpeg(0)
    jpg = claiming(jpg, jpg.index(b"\xff\xc0") + 5, struct.pack(">HH", side, side))
    for data in (jpg, png_claiming(side, side)):
        message = (
            f"cannot read the image x: its header claims {side} × {side} pixels, more than 89,478,485; "
            "`python src/prepare.py data.root=DIR` lists all such files"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Encoded(data, "x").size  # noqa: B018


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bits_keep_their_upper_eight(mode):
    """Pillow's own conversion makes all above 255 white."""
    grey = np.arange(90 * 61, dtype=np.uint16).reshape(61, 90) * 11
    image = Image.fromarray(grey.astype(np.int32)) if mode == "I" else Image.fromarray(grey)
    data = saved(image, "PPM" if mode == "I" else "PNG")
    pixels, _ = Encoded(data, "x").pixels()
    assert np.array_equal(pixels, np.stack([grey >> 8] * 3, -1))


def test_a_flipped_byte_goes_unnoticed():
    """Which is why a manifest has digests."""
    data = bytearray(jpeg(0))
    data[len(data) // 2] ^= 1
    assert Encoded(bytes(data), "x").pixels()[0].shape == (61, 90, 3)


def test_what_simplejpeg_doubts_pillow_decides():
    """Zeros inside, junk behind: Pillow shows a picture, so it counts as one."""
    data = jpeg(0)
    for odd in (data + b"junk" * 50, data[:-400] + bytes(300) + data[-100:]):
        try:
            expected = by_pillow(odd)
        except OSError:
            with pytest.raises(ValueError, match=r"^cannot read the image x: "):
                Encoded(odd, "x").pixels()
        else:
            assert np.array_equal(Encoded(odd, "x").pixels()[0], expected)


def test_a_subsampling_without_a_name_is_read_by_pillow():
    """4:4:1 and what else a writer may choose: simplejpeg raises KeyError."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 32), "grey").save(stream, "JPEG", subsampling="4:4:4")
    head, mark, scan = stream.getvalue().partition(b"\xff\xda")
    frame = head.index(b"\xff\xc0")
    head = head[: frame + 11] + b"\x14" + head[frame + 12 :]  # luma 1 × 4
    bits = "001010" * 4 + "0000" * 2  # nothing but ends of blocks: 128 everywhere
    coded = int(bits, 2).to_bytes(4) + b"\xff\xd9"
    picture = Encoded(head + mark + scan[:12] + coded, "x")
    assert picture.size == (8, 32)
    assert np.abs(picture.pixels((0, 0, 8, 8), (8, 8), cut=True)[0].astype(int) - 128).max() == 0


def test_no_format_that_starts_a_program_is_tried():
    assert not {"EPS", "PS", "WMF", "PDF"} & set(encoded.FORMATS)


@pytest.mark.parametrize("size", [(90, 61), (64, 64), (65, 33), (9, 200)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_a_jpeg_is_decoded_no_larger_than_its_crop_needs(size, subsampling):
    data = saved(picture(1, size), quality=95, subsampling=subsampling)
    whole, _ = Encoded(data, "x").pixels()
    box = (3, 5, size[0] - 1, size[1])
    for scale in (1, 2, 4, 8):
        for more in (0, 1):  # exactly enough, and a pixel too few
            wanted = [max(side // scale, 1) + more for side in (box[2] - box[0], box[3] - box[1])]
            pixels, scaled = Encoded(data, "x").pixels(box, wanted)
            used = round(box[2] / scaled[2])
            assert scaled == tuple(side / used for side in box)
            assert pixels.shape == (-(-size[1] // used), -(-size[0] // used), 3)
            assert scaled[2] - scaled[0] >= wanted[0] or used == 1
            assert scaled[3] - scaled[1] >= wanted[1] or used == 1
            assert more or used >= scale or min(wanted) == 1
            # In the middle, where no edge of a block is shared with the padding.
            mean = whole[: size[1] // 8 * 8, : size[0] // 8 * 8].mean((0, 1))
            part = pixels[: size[1] // 8 * 8 // used, : size[0] // 8 * 8 // used].mean((0, 1))
            assert abs(mean - part).max() < 4, (scale, used)


def test_a_scaled_jpeg_that_was_cut_is_noticed_too():
    with pytest.raises(ValueError, match=r"^cannot read the image x: "):
        Encoded(jpeg(0)[:-40], "x").pixels((0, 0, 90, 61), (11, 7))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_what_was_cut_is_refused_each_time_it_is_asked(kind):
    data = saved(picture(size=(300, 200)), kind)
    image = Encoded(data[: len(data) * 2 // 3], "cut")
    for _ in range(3):
        with pytest.raises(ValueError, match="cannot read the image cut"):
            image.pixels()


def test_other_formats_have_no_scale():
    pixels, box = Encoded(saved(picture(), "PNG"), "x").pixels((0, 0, 80, 60), (10, 7))
    assert (pixels.shape, box) == ((61, 90, 3), (0, 0, 80, 60))


def test_pil_is_the_whole_picture():
    image = Encoded(jpeg(3), "x").pil()
    assert (image.mode, image.size) == ("RGB", (90, 61))
    assert np.array_equal(np.asarray(image), by_pillow(jpeg(3)))


@pytest.fixture(scope="module")
def photos():
    files = sorted(PHOTOS.glob("train/*/*.JPEG"))
    if not files:
        pytest.skip("no photos; set IMAGENET_PHOTOS=<folder with train/<wnid>/*.JPEG>")
    return files


def test_real_photos_are_pillows_to_the_bit(photos):
    for path in photos:
        data = path.read_bytes()
        assert np.array_equal(Encoded(data, str(path)).pixels()[0], by_pillow(data)), path
