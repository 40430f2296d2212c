"""A picture as its file holds it, decoded no further than a crop needs."""

import warnings
from functools import cached_property
from io import BytesIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from deeper.data.images.strip import strip

Box = tuple[float, float, float, float]

MAX_PIXELS = 89_478_485
"""Where Pillow begins to warn of a bomb: a quarter of 2³⁰ bytes of RGB. ImageNet's largest has 61 million."""

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "PPM")
"""What Pillow may try: its list has formats that start other programs."""

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
"""What files of these formats are called."""

UNREAD = (".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl")
"""Pictures too, of formats that are not read: passing over them without a word would lose them."""

ADVICE = "; `python src/prepare.py data.root=DIR` lists all such files"


class Encoded:
    """The bytes of an image file; `name` is its path or archive member, for errors.

    Bytes say what a file is, not its name. JPEG is read by simplejpeg, strictly; what it refuses,
    CMYK and all other formats by Pillow, whose word is final. What is read is RGB as Pillow converts
    it, 16 bits to their upper 8, transparency and EXIF (rotation too) ignored, of several frames
    the first.

    `ValueError` for no picture, one cut short, and one that claims more than `MAX_PIXELS`. No
    decoder notices a byte that flipped: only a digest does, which the manifest of prepare.py has.
    """

    def __init__(self, data: bytes | memoryview, name: str) -> None:
        self.data, self.name = data, name

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) from the header."""
        return self._jpeg or self._opened.size

    def pixels(
        self, box: Box | None = None, size: tuple[int, int] | None = None, cut: bool = False
    ) -> tuple[NDArray[np.uint8], Box]:
        """[h, w, 3] of the whole picture, and `box` (left, top, right, bottom) in its coordinates.

        A JPEG is decoded at the smallest of 1, 1/2, 1/4, 1/8 of its size at which `box` still has
        `size` (width, height) pixels: frequencies above are not even computed. With `cut` rows
        that `box` does not touch may be missing; they do where the file is a packed one.
        """
        left, top, right, bottom = box = box or (0, 0, *self.size)
        if self._jpeg is None:
            return self._by_pillow(), box
        scale = 1
        if size is not None:
            spare = min((right - left) / size[0], (bottom - top) / size[1])
            scale = next((s for s in (8, 4, 2) if s <= spare), 1)
        width, height = self._jpeg
        part = strip(self.data, top - scale, bottom + scale) if cut else None
        data, first, height = part or (self.data, 0, height)
        try:
            pixels = simplejpeg.decode_jpeg(
                data, min_width=-(-width // scale), min_height=-(-height // scale)
            )
        except ValueError:
            return self._by_pillow(), box
        return pixels, (
            left / scale,
            (top - first) / scale,
            right / scale,
            (bottom - first) / scale,
        )

    def pil(self) -> Image.Image:
        """RGB, full size."""
        return Image.fromarray(self.pixels()[0])

    @cached_property
    def _jpeg(self) -> tuple[int, int] | None:
        """Its size, if this is a JPEG for simplejpeg."""
        if self.data[:2] != b"\xff\xd8":
            return None
        try:
            height, width, color, _ = simplejpeg.decode_jpeg_header(self.data)
        except (ValueError, KeyError):  # the latter of a subsampling that it has no name for
            return None
        return self._allowed(width, height) if color in ("RGB", "YCbCr", "Gray") else None

    @cached_property
    def _opened(self) -> Image.Image:
        """Its header read by Pillow."""
        if not self.data:
            raise unreadable(self.name, "the file is empty")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of EXIF; of the size, which is checked here
                image = Image.open(BytesIO(self.data), formats=FORMATS)
        except UnidentifiedImageError:
            raise unreadable(self.name, f"its bytes are none of {', '.join(FORMATS)}") from None
        except Exception as error:  # Pillow's readers raise what they like, SyntaxError too
            raise unreadable(self.name, error) from error
        self._allowed(*image.size)
        return image

    def _by_pillow(self) -> NDArray[np.uint8]:
        image = self._opened
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if image.mode.startswith("I"):  # 16 bits, which `convert` would clip to 255
                    return np.stack([np.asarray(image) >> 8] * 3, axis=-1).astype(np.uint8)
                return np.array(image.convert("RGB"))
        except Exception as error:
            del self._opened  # asked again, Pillow would answer with the part that it has
            raise unreadable(self.name, error) from error

    def _allowed(self, width: int, height: int) -> tuple[int, int]:
        """A small file may claim a size whose pixels fill the memory."""
        if width * height > MAX_PIXELS:
            raise unreadable(
                self.name, f"its header claims {width} × {height} pixels, more than {MAX_PIXELS:,}"
            )
        return width, height


def unreadable(name: str, why: object) -> ValueError:
    return ValueError(f"cannot read the image {name}: {why}{ADVICE}")
