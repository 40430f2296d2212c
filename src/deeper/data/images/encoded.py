"""An encoded image, decoded no further than a crop needs."""

import warnings
from functools import cached_property
from io import BytesIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from deeper.data.images.region import Box, Region, region

MAX_PIXELS = 89_478_485
"""Pillow's limit for decompression bombs, 2³⁰/4 bytes of RGB. ImageNet's largest image has 61 million."""

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "PPM")
"""What Pillow may try. Its full list has formats that start other programs."""

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
"""Suffixes of files of these formats."""

UNREAD = (".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl")
"""Suffixes of image formats that are not read; such files are an error, not ignored."""

ADVICE = "; `python src/prepare.py data.root=DIR` lists all such files"


class Encoded:
    """The bytes of an image file; `name` is its path or archive member, for errors.

    The format is that of the bytes, not of the name. simplejpeg decodes JPEG, and the whole of it
    strictly; Pillow decodes what simplejpeg refuses, CMYK and all other formats. The result is RGB as Pillow converts
    it: the upper 8 of 16 bits, the first of several frames, without transparency and EXIF rotation.

    Raises `ValueError` for bytes that are no image, for a truncated image, and for one that claims
    more than `MAX_PIXELS`. No decoder notices a flipped byte; the digests of prepare.py do.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name = data, name

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) from the header."""
        return self._jpeg or self._opened().size

    def pixels(
        self, box: Box | None = None, size: tuple[int, int] | None = None, cut: bool = False
    ) -> tuple[NDArray[np.uint8], Box]:
        """[h, w, 3], and `box` (left, top, right, bottom) in the coordinates of these pixels.

        A JPEG is decoded at the smallest of 1, 1/2, 1/4, 1/8 of its size at which `box` still has
        `size` (width, height) pixels. With `cut`, pixels around `box` may be missing: of packed images
        on all sides, of others below it.
        """
        left, top, right, bottom = box = box or (0, 0, *self.size)
        if self._jpeg is None:
            return self._by_pillow(), box
        scale = 1
        if size is not None:
            spare = min((right - left) / size[0], (bottom - top) / size[1])
            scale = next((s for s in (8, 4, 2) if s <= spare), 1)
        part = region(self.data, box, scale) if cut else None
        part = part or Region(self.data, 0, 0, *self._jpeg, strict=True)
        try:
            pixels = simplejpeg.decode_jpeg(
                part.data,
                min_width=-(-part.width // scale),
                min_height=-(-part.height // scale),
                strict=part.strict,
            )
        except ValueError:
            return self._by_pillow(), box
        x, y = part.left, part.top
        left, top, right, bottom = left - x, top - y, right - x, bottom - y
        return pixels, (left / scale, top / scale, right / scale, bottom / scale)

    def pil(self) -> Image.Image:
        """RGB, full size."""
        return Image.fromarray(self.pixels()[0])

    @cached_property
    def _jpeg(self) -> tuple[int, int] | None:
        """(width, height), if simplejpeg can decode the image."""
        if self.data[:2] != b"\xff\xd8":
            return None
        try:
            height, width, color, _ = simplejpeg.decode_jpeg_header(self.data)
        except (ValueError, KeyError):  # KeyError: a subsampling that simplejpeg does not know
            return None
        self._require_pixels(width, height)
        return (width, height) if color in ("RGB", "YCbCr", "Gray") else None

    def _opened(self) -> Image.Image:
        """The image as Pillow opens it, not decoded yet."""
        if not self.data:
            raise self._unreadable("the file is empty")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # EXIF, and the size, which is checked below
                image = Image.open(BytesIO(self.data), formats=FORMATS)
        except UnidentifiedImageError:
            raise self._unreadable(f"its bytes are none of {', '.join(FORMATS)}") from None
        except Exception as error:  # Pillow's readers raise many types, even SyntaxError
            raise self._unreadable(error) from error
        self._require_pixels(*image.size)
        return image

    def _by_pillow(self) -> NDArray[np.uint8]:
        image = self._opened()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if image.mode.startswith("I"):  # 16 bits, which `convert` would clip to 255
                    return np.stack([np.asarray(image) >> 8] * 3, axis=-1).astype(np.uint8)
                return np.array(image.convert("RGB"))
        except Exception as error:
            raise self._unreadable(error) from error

    def _require_pixels(self, width: int, height: int) -> None:
        """Refuse a size whose pixels would fill the memory."""
        if width * height > MAX_PIXELS:
            raise self._unreadable(
                f"its header claims {width} × {height} pixels, more than {MAX_PIXELS:,}"
            )

    def _unreadable(self, why: object) -> ValueError:
        return ValueError(f"cannot read the image {self.name}: {why}{ADVICE}")


def reason(error: Exception, name: str) -> str:
    """Why an image cannot be read, in the same words wherever it lies, and without the advice."""
    for of_system in (error, error.__cause__):
        if isinstance(of_system, OSError) and of_system.strerror:
            return of_system.strerror  # its text has the path
    text = str(error).removesuffix(ADVICE) or type(error).__name__
    return " ".join((text.partition(f"{name}: ")[2] or text).split())
