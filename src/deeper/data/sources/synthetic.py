"""The embedded data set: generated images of textures, JPEG files in ImageNet's layout.

A class is a texture in a tint. Every texture comes in every tint, so a network needs both.
"""

import json
import math
from collections.abc import Callable
from colorsys import hsv_to_rgb
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from PIL import Image

from deeper.data.source import Splits
from deeper.data.sources.folder import Folder

Array = NDArray[np.float32]


def _off(t: Any) -> Any:
    """Distance to the nearest integer, 0..0.5."""
    return np.abs(t - np.rint(t))


# A texture maps coordinates, in periods, to a height; ink is where the height is above 0. Flips and
# rotations do not change a texture, and a patch of two periods is enough to recognise it.
TEXTURES: dict[str, Callable[[Array, Array], Any]] = {
    "bricks": lambda u, v: 6 * np.minimum(_off(u + np.floor(2 * v) / 2), _off(2 * v) / 2) - 0.5,
    "checks": lambda u, v: np.sin(2 * math.pi * u) * np.sin(2 * math.pi * v),
    "dots": lambda u, v: np.cos(2 * math.pi * u) + np.cos(2 * math.pi * v) - 0.5,
    "rings": lambda u, v: 0.6 - 6 * np.abs(np.hypot(_off(u), _off(v)) - 0.32),
    "zigzag": lambda u, v: np.sin(2 * math.pi * (u + _off(v))) - 0.5,
}
TINTS = {"amber": 0.09, "azure": 0.57}
"""Hue of the ink, 0..1."""

CLASSES = tuple(f"{texture}_{tint}" for texture in sorted(TEXTURES) for tint in sorted(TINTS))
SPLITS = ("train", "val")

MARKER = "synthetic.json"
"""The settings that a set was generated with; the file tells a generated set from other images."""


class Synthetic(Folder):
    """The embedded set. It is generated where `root` is `generate_at`, and read from any other root.

    A root that holds no generated set is refused, so that nobody's own folder is written to, and
    nobody's photos are taken for the generated ones.
    """

    def __init__(
        self,
        root: str | Path,
        cache: str | Path,
        *,
        generate_at: str | Path,
        seed: int = 0,
        train_per_class: int = 160,
        val_per_class: int = 60,
    ) -> None:
        super().__init__(root, cache, num_classes=len(CLASSES), layout="folders")
        self.settings = {
            "seed": seed,
            "train_per_class": train_per_class,
            "val_per_class": val_per_class,
        }
        self.ours = self.root.absolute() == Path(generate_at).expanduser().absolute()
        """Whether the config lets this source write to `root`."""

    def require_root(self) -> None:
        if self.root.exists() or not self.ours:
            self._require_generated()

    def prepare(self) -> None:
        if self.ours and not self.root.exists():
            generate(self.root, **self.settings)
        super().prepare()

    def load(self) -> Splits:
        self._require_generated()
        return super().load()

    def _require_generated(self) -> None:
        anew = "remove the folder to generate the set anew"
        try:
            made = json.loads((self.root / MARKER).read_text())
        except (OSError, ValueError):
            found = f"has no {MARKER}" if self.root.exists() else "does not exist"
            advice = anew if self.ours else f"did you mean data=folder data.root={self.root}?"
            raise ValueError(
                f"data.root={self.root} {found}, so it is no set that data=synthetic generated; {advice}"
            ) from None
        if self.ours and made != self.settings:
            raise ValueError(
                f"data.root={self.root} was generated with {made}, and data.source says "
                f"{self.settings}; {anew}"
            )


def generate(
    root: Path, *, seed: int = 0, train_per_class: int = 160, val_per_class: int = 60
) -> None:
    """Write `root/train/<class>/*.JPEG`, `root/val/<class>/*.JPEG` and the settings, all or nothing.

    An image depends on the seed, its split, its class and its number: with more images per class
    the others stay as they were. `root` must not exist.
    """
    settings = {"seed": seed, "train_per_class": train_per_class, "val_per_class": val_per_class}
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        made = Path(scratch) / root.name  # other users cannot read a temporary folder itself
        for split in SPLITS:
            for name in CLASSES:
                folder = made / split / name
                folder.mkdir(parents=True)
                for number in range(settings[f"{split}_per_class"]):
                    path = folder / f"{name}_{split}_{number:05d}.JPEG"
                    picture(name, split, number, seed).save(path, format="JPEG", quality=85)
        (made / MARKER).write_text(json.dumps(settings))
        made.rename(root)


def picture(name: str, split: str, number: int, seed: int = 0) -> Image.Image:
    """An image of the set, by its class, before the loss of JPEG."""
    place = [seed, SPLITS.index(split), CLASSES.index(name), number]
    return Image.fromarray(draw(default_rng(place), *name.split("_")))


def draw(random: Generator, texture: str, tint: str) -> NDArray[np.uint8]:
    """[H, W, 3] with sides of 100..200 px: the texture, partly covered by patches of others, unevenly lit."""
    height, width = random.integers(100, 201, size=2)
    if random.random() < 0.15:
        width = height
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y += 4 * _field(random, height, width)
    x += 4 * _field(random, height, width)

    image = _paint(random, x, y, texture, tint)
    for _ in range(random.integers(0, 4)):
        inside = _shape(random, x, y)
        other = random.choice(list(TEXTURES)), random.choice(list(TINTS))
        image[:, inside] = _paint(random, x[inside], y[inside], *other)

    image *= 1 + 0.3 * _field(random, height, width)
    image += random.uniform(0.02, 0.08) * random.standard_normal(x.shape, dtype=np.float32)
    pixels: NDArray[np.uint8] = (image.clip(0, 1) * 255).astype(np.uint8)
    return pixels.transpose(1, 2, 0)


def _field(random: Generator, height: int, width: int) -> Array:
    """[H, W], smooth, about -1..1."""
    coarse = random.uniform(-1, 1, size=(4, 4)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _paint(random: Generator, x: Array, y: Array, texture: str, tint: str) -> Any:
    """Colours [3, ...], 0..1, at `x` and `y`: ink of the tint on a nearly grey ground."""
    u, v = _rotated(random, x, y)
    period = random.uniform(16, 30)
    share = TEXTURES[texture](u / period + random.random(), v / period + random.random())
    share = (0.5 + share).clip(0, 1)

    hue = TINTS[tint] + random.normal(0, 0.035)
    ink = np.array(
        hsv_to_rgb(hue % 1, random.uniform(0.35, 0.9), random.uniform(0.65, 1)), np.float32
    )
    ground = np.array(
        hsv_to_rgb(random.random(), random.uniform(0, 0.3), random.uniform(0, 0.4)), np.float32
    )
    return np.multiply.outer(ink, share) + np.multiply.outer(ground, 1 - share)


def _shape(random: Generator, x: Array, y: Array) -> Any:
    """[H, W], true inside a rotated diamond, ellipse or box at a random position."""
    height, width = x.shape
    a, b = _rotated(random, x - random.uniform(0, width), y - random.uniform(0, height))
    a /= random.uniform(0.1, 0.25) * min(height, width)
    b /= random.uniform(0.1, 0.25) * min(height, width)
    norm = (np.add, np.hypot, np.maximum)[random.integers(3)]
    return norm(np.abs(a), np.abs(b)) < 1


def _rotated(random: Generator, x: Array, y: Array) -> tuple[Array, Array]:
    angle = random.uniform(0, 2 * math.pi)
    cos, sin = math.cos(angle), math.sin(angle)  # np.cos would make all of it float64
    return cos * x + sin * y, cos * y - sin * x
