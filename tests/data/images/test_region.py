"""A part extracted from a JPEG decodes to the same pixels, and a truncated file is still noticed."""

import io
import random

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from deeper.augment.crops import AreaAspectCrop, CenterCrop, FixedCrop
from deeper.data.images.encoded import Encoded
from deeper.data.images.region import region


def picture(mode="RGB", size=(90, 141)):
    noise = np.random.default_rng(0).integers(0, 256, (29, 18, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)


def jpeg(image=None, **options):
    stream = io.BytesIO()
    options = ROWS | options
    (image or picture()).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


ROWS, PARTS, NONE = (
    {"restart_marker_rows": 1},
    {"restart_marker_rows": 0, "restart_marker_blocks": 3},
    {"restart_marker_rows": 0},
)
"""Restart markers after rows, after every third block, and nowhere."""

PLAIN = jpeg(**NONE)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2", "4:4:4"])
@pytest.mark.parametrize("height", [16, 17, 141, 160, 333])
@pytest.mark.parametrize("markers", [ROWS, PARTS, NONE])
def test_pixels_are_those_of_the_whole(height, subsampling, mode, markers):
    data = jpeg(picture(mode, (90, height)), subsampling=subsampling, **markers)
    whole, cuts = simplejpeg.decode_jpeg(data), 0
    for top in range(0, height, 3):
        for bottom in {top + 1, top + 16, (top + height) // 2 + 1, height}:
            bottom = min(bottom, height)
            left = 7 * top % 90
            right = min(left + bottom - top, 90)
            if (part := region(data, (left, top, right, bottom))) is None:
                continue
            cuts += 1
            pixels = simplejpeg.decode_jpeg(part.data, strict=part.strict)
            assert pixels.shape[:2] == (part.height, part.width) != (height, 90)
            assert part.top <= top
            assert part.left <= left
            found = pixels[top - part.top :, left - part.left :][: bottom - top, : right - left]
            assert np.array_equal(found, whole[top:bottom, left:right])
    assert cuts > 0 or height <= 17


@pytest.mark.parametrize(
    ("markers", "expected"),
    [
        (ROWS, (0, 96, 90, 48, True)),
        (PARTS, (48, 96, 42, 48, True)),
        (NONE, (0, 0, 90, 144, False)),
    ],
)
def test_it_is_no_larger_than_it_need_be(markers, expected):
    data = jpeg(picture(size=(90, 400)), subsampling="4:2:0", **markers)
    filled = data.replace(b"\xff\xda", b"\xff\xff\xda")  # a fill byte before a marker
    for written in (data, filled):
        assert region(written, (50, 100, 60, 140))[1:] == expected


@pytest.mark.parametrize(
    "data",
    [
        jpeg(progressive=True),
        jpeg(progressive=True, **NONE),
        jpeg(restart_marker_rows=2),
        jpeg(restart_marker_rows=0, restart_marker_blocks=4),
        jpeg()[:-1],
        jpeg()[:-300],
        jpeg()[:-2000] + b"\xff\xd9",
        jpeg() + b"more",
        PLAIN[:-300],
        PLAIN[:-300] + PLAIN,
        PLAIN[:-300] + b"\xff\xd0" + PLAIN[-300:],
        PLAIN[: PLAIN.index(b"\xff\xda") + 3],
    ],
)
def test_none_of_what_is_no_complete_picture_with_markers_at_the_ends_of_rows(data):
    assert region(data, (0, 0, 20, 20)) is None


@pytest.mark.parametrize("data", [jpeg(), PLAIN])
@pytest.mark.parametrize("lost", [1, 300])
def test_a_cut_file_is_refused_though_the_crop_lies_before_the_cut(data, lost):
    with pytest.raises(ValueError, match="cannot read the image x: "):
        Encoded(data[:-lost], "x").pixels((0, 0, 20, 20), (20, 20), cut=True)


@pytest.mark.parametrize("markers", [ROWS, PARTS, NONE])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("size", [(90, 141), (288, 220), (720, 900)])
@pytest.mark.parametrize(
    "crop",
    [
        AreaAspectCrop(48),
        AreaAspectCrop(48, interpolation="random"),
        FixedCrop(48, 0.5),
        FixedCrop(48, 0.3, interpolation="bicubic"),
        FixedCrop(110, 0.5),
        CenterCrop(48, 0.6),
        FixedCrop(48, 0.4, keep_aspect=False, interpolation="nearest"),
        FixedCrop(48, 0.4, interpolation="area"),
    ],
)
def test_crops_are_those_of_the_whole_picture(crop, size, subsampling, markers, monkeypatch):
    image = Encoded(jpeg(picture(size=size), subsampling=subsampling, **markers), "x")
    cut = []
    for seed in range(20):
        random.seed(seed)
        cut.append(crop(image))
    monkeypatch.setattr("deeper.data.images.encoded.region", lambda *_: None)
    for seed, ours in enumerate(cut):
        random.seed(seed)
        assert np.array_equal(ours, crop(image))
