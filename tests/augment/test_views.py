"""The views against torchvision's ten crops, and against an enumeration of §5 written anew."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from deeper.data.images.encoded import Encoded
from deeper.evaluation.protocol import Paper144, Single, Ten, crop_count

SIZES = {"landscape": (347, 250), "portrait": (250, 347), "square": (300, 300), "small": (40, 31)}


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize(("size", "shorter"), [(224, 256), (64, 73)])
def test_ten_crops_are_torchvisions(kind, size, shorter):
    picture = noise(*SIZES[kind])
    theirs = F.ten_crop(v2.Resize(shorter)(picture), [size])
    ours = Ten(size)(picture)
    assert ours.shape == (10, 3, size, size)
    assert ours.dtype == torch.uint8
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, F.pil_to_tensor(other))


def enumerated(picture, size):
    """§5 in its own words, as a list of Pillow images."""
    found = []
    for shorter in (256, 288, 320, 352):
        s = round(shorter * size / 224)
        w, h = picture.size
        w, h = (s, int(s * h / w)) if w <= h else (int(s * w / h), s)
        scaled = picture.resize((w, h), Image.Resampling.BILINEAR)
        if w >= h:
            three = [(0, 0), (round((w - h) / 2), 0), (w - h, 0)]
        else:
            three = [(0, 0), (0, round((h - w) / 2)), (0, h - w)]
        for x, y in three:
            square = scaled.crop((x, y, x + s, y + s))
            six = [
                square.crop((a, b, a + size, b + size))
                for a in (0, s - size)
                for b in (0, s - size)
            ]
            c = round((s - size) / 2)
            six.append(square.crop((c, c, c + size, c + size)))
            six.append(square.resize((size, size), Image.Resampling.BILINEAR))
            for view in six:
                found += [view, view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return found


def as_bag(pictures):
    return sorted(np.asarray(p).tobytes() for p in pictures)


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("size", [224, 64])
def test_144_crops_are_the_papers(kind, size):
    picture = noise(*SIZES[kind])
    expected = enumerated(picture, size)
    ours = Paper144(size)(picture)
    assert ours.shape == (144, 3, size, size) == (len(expected), 3, size, size)
    bag = as_bag(view.permute(1, 2, 0).contiguous().numpy() for view in ours)
    assert bag == as_bag(expected)
    assert len(set(bag)) == (48 if kind == "square" else 144)


def test_views_lie_as_pictures_do_and_a_file_is_decoded_once(monkeypatch):
    from io import BytesIO

    stream = BytesIO()
    noise(300, 260).save(stream, "JPEG", quality=95)
    picture, calls = Encoded(stream.getvalue(), "x.jpg"), []
    pixels = Encoded.pixels
    monkeypatch.setattr(Encoded, "pixels", lambda *a, **k: calls.append(1) or pixels(*a, **k))
    found = Paper144(64)(picture)
    assert len(calls) == 1
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, Paper144(64)(picture.pil()))


def test_how_many():
    assert [crop_count(p(32)) for p in (Single, Ten, Paper144)] == [1, 10, 144]
    assert crop_count(lambda image: image) == 1


def test_a_share_beyond_the_picture():
    with pytest.raises(ValueError, match=r"crop=1.5: the fraction of the shorter side"):
        Ten(224, 1.5)
