"""Rows extracted from a JPEG decode to the same pixels, and a truncated file is still noticed."""

import io
import random

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from deeper.augment.crops import AreaAspectCrop, CenterCrop, FixedCrop
from deeper.data.images.encoded import Encoded
from deeper.data.images.strip import strip


def picture(mode="RGB", size=(90, 141)):
    noise = np.random.default_rng(0).integers(0, 256, (29, 18, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)


def jpeg(image=None, **options):
    stream = io.BytesIO()
    (image or picture()).save(stream, "JPEG", **{"quality": 90, "restart_marker_rows": 1} | options)
    return stream.getvalue()


PLAIN = jpeg(restart_marker_rows=0)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2", "4:4:4"])
@pytest.mark.parametrize("height", [16, 17, 141, 160, 333])
def test_pixels_are_those_of_the_whole(height, subsampling, mode):
    data = jpeg(picture(mode, (90, height)), subsampling=subsampling)
    whole, cuts = simplejpeg.decode_jpeg(data), 0
    for top in range(0, height, 3):
        for bottom in {top + 1, top + 16, (top + height) // 2 + 1, height}:
            bottom = min(bottom, height)
            if (part := strip(data, top, bottom)) is None:
                continue
            cuts += 1
            pixels = simplejpeg.decode_jpeg(part.data)
            assert pixels.shape[0] == part.height < height
            assert part.first <= top
            rows = slice(top - part.first, bottom - part.first)
            assert np.array_equal(pixels[rows], whole[top:bottom])
    assert cuts > 0 or height <= 17


def test_a_strip_is_no_longer_than_it_need_be():
    first, height = strip(jpeg(picture(size=(90, 400)), subsampling="4:2:0"), 100, 140)[1:]
    assert (first, height) == (96, 48)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        jpeg(progressive=True),
        jpeg(restart_marker_rows=2),
        jpeg(restart_marker_rows=0, restart_marker_blocks=3),
        jpeg()[:-1],
        jpeg()[:-300],
        jpeg()[:-2000] + b"\xff\xd9",
        jpeg() + b"more",
        PLAIN[: PLAIN.index(b"\xff\xda") + 3],
    ],
)
def test_none_of_what_is_no_complete_picture_of_rows(data):
    assert strip(data, 0, 20) is None


@pytest.mark.parametrize("lost", [1, 300])
def test_a_cut_file_is_refused_though_the_crop_lies_before_the_cut(lost):
    with pytest.raises(ValueError, match="cannot read the image x: "):
        Encoded(jpeg()[:-lost], "x").pixels((0, 0, 20, 20), (20, 20))


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("size", [(90, 141), (300, 220), (700, 900)])
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
def test_crops_are_those_of_the_whole_picture(crop, size, subsampling, monkeypatch):
    image = Encoded(jpeg(picture(size=size), subsampling=subsampling), "x")
    cut = []
    for seed in range(20):
        random.seed(seed)
        cut.append(crop(image))
    monkeypatch.setattr("deeper.data.images.encoded.strip", lambda *_: None)
    for seed, ours in enumerate(cut):
        random.seed(seed)
        assert np.array_equal(ours, crop(image))
