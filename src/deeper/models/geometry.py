"""Sizes of feature maps. Without torch, since configs compute with it before torch is imported."""

from math import ceil
from typing import Literal

Stem = Literal["imagenet", "small"]

SMALL_UP_TO = 64
"""`stem: auto` is the small stem up to this image size, in pixels."""

AUX_POOL, AUX_STRIDE = 5, 3
"""§5: an auxiliary head begins with a 5×5 average pool of stride 3."""

LAST_STAGE = "inception5b"


def auto_stem(image_size: int) -> Stem:
    """The stem that `stem: auto` stands for.

    Before the first Inception module, `imagenet` divides the image size by 8 and `small` by 2.
    """
    return "small" if image_size <= SMALL_UP_TO else "imagenet"


def eval_size(image_size: int, scale: float) -> int:
    """Height (= width) in pixels of the images of an evaluation. Raises `ValueError` for a scale below 1."""
    if not scale >= 1:
        raise ValueError(f"eval_scale={scale}: a multiple of image_size; must be at least 1")
    return round(image_size * scale)


def training_size(image_size: int, initial_scale: float, fraction: float) -> int:
    """Height (= width) in pixels of training images after a fraction of the training.

    `initial_scale` × `image_size` in the first half of the training, then growing to the whole at
    80 % of it, in steps of 4 px (progressive resizing; the defaults of MosaicML's Composer).
    """
    if not 0 < initial_scale <= 1:
        raise ValueError(
            f"initial_scale={initial_scale}: a part of image_size, in 0..1 (0 excluded)"
        )
    grown = min(max((fraction - 0.5) / 0.3, 0.0), 1.0)
    missing = image_size * (1 - initial_scale) * (1 - grown)
    return max(image_size - 4 * round(missing / 4), 1)


def training_sizes(image_size: int, initial_scale: float) -> list[int]:
    """All of them, the smallest first."""
    return [*range(training_size(image_size, initial_scale, 0), image_size + 1, 4)]


def relative_work(initial_scale: float, start: float, end: float) -> float:
    """Pixels that a training sees between two fractions of it, where all at full size would be 1."""
    parts, size = 200, 4000  # of which steps of 4 px are fine ones
    middles = [start + (end - start) * (part + 0.5) / parts for part in range(parts)]
    pixels = sum(training_size(size, initial_scale, middle) ** 2 for middle in middles)
    return (end - start) * pixels / (parts * size**2)


def feature_sizes(image_size: int, stem: Stem, pool4: int = 3) -> dict[str, int]:
    """Height (= width) in pixels of the map after each Inception module; 0 where the image is too small.

    `pool4` is the kernel of the last pool of stride 2.
    """
    size = image_size if stem == "small" else _pool(ceil(image_size / 2))  # conv1 and pool1
    sizes: dict[str, int] = {}
    for level, modules, kernel in ((3, "ab", 3), (4, "abcde", 3), (5, "ab", pool4)):
        size = _pool(size, kernel)
        sizes |= {f"inception{level}{letter}": size for letter in modules}
    return sizes


def aux_grid(size: int) -> int:
    """Height (= width) after an auxiliary head's pool; 0 if the map is smaller than the pool."""
    return (size - AUX_POOL) // AUX_STRIDE + 1 if size >= AUX_POOL else 0


def require_room(image_size: int, stem: Stem, taps: list[str], pool4: int = 3) -> dict[str, int]:
    """`feature_sizes`. Raises `ValueError` where a map is too small for the layer that reads it."""
    if image_size < 1:
        raise ValueError(f"image_size={image_size}: must be a positive number of pixels")
    sizes = feature_sizes(image_size, stem, pool4)
    if unknown := [tap for tap in taps if tap not in sizes]:
        raise ValueError(f"no stage {unknown[0]!r} to tap; the stages are {', '.join(sizes)}")
    too_small = [tap for tap in taps if not aux_grid(sizes[tap])]
    if too_small or sizes[LAST_STAGE] < 1:
        where = f"the auxiliary head at {too_small[0]}" if too_small else f"stage {LAST_STAGE}"
        least = _smallest(stem, taps, pool4)
        ways = [f"data.image_size={least}"]
        if stem == "imagenet" and image_size >= _smallest("small", taps, pool4):
            ways.append("model.stem=small")
        if too_small and image_size >= _smallest(stem, [], pool4):
            ways.append("model/aux=none")
        raise ValueError(
            f"image_size={image_size} is too small for {where} behind stem {stem!r}; "
            f"the smallest that works is {least}: {' or '.join(ways)}"
        )
    return sizes


def _pool(size: int, kernel: int = 3) -> int:
    """Size after a max pool of stride 2 without padding, rounded up as in Caffe (112 → 56 → 28 …)."""
    return max(ceil((size - kernel) / 2) + 1, 0) if size > 1 else 0


def _smallest(stem: Stem, taps: list[str], pool4: int) -> int:
    """The smallest image size at which every tap and the last stage have room."""
    for image_size in range(1, 1024):
        sizes = feature_sizes(image_size, stem, pool4)
        if sizes[LAST_STAGE] >= 1 and all(aux_grid(sizes[tap]) for tap in taps):
            return image_size
    raise AssertionError("every tap fits an image of 1024 pixels")
