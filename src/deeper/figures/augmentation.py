"""What training sees of one image in its first epochs: the boxes that are cut out, and the results."""

from collections.abc import Mapping

from PIL.Image import Image

import deeper
from deeper.config.instantiate import build
from deeper.data.dataset import Pipeline, Samples
from deeper.data.sampler import SampleKey, seed_sample
from deeper.data.sources.synthetic import picture as generated
from deeper.figures.picture import COLOURS, Picture

FRAMES = COLOURS[1:5]
"""A colour for each epoch."""


def draw(image: Image, pipelines: Mapping[str, Pipeline], seed: int = 0) -> Picture:
    """`pipelines`: title → the transforms of a training; the first is a random crop."""
    picture = Picture(6.05, 1.3 * len(pipelines))
    axes = picture.blank_axes()
    for row, (title, pipeline) in enumerate(pipelines.items()):
        top = 1.3 * row + 0.26
        axes.text(0.05, top - 0.13, title, va="center")
        picture.place(image, 0.05, top, 1 / image.height)
        samples = Samples([(image, 0)], pipeline, seed)  # type: ignore[arg-type]
        crop = next(iter(pipeline.transforms.values()))
        for epoch, colour in enumerate(FRAMES):
            key = SampleKey(epoch, 0)
            seed_sample(seed, key)
            box = crop.draw(*image.size)  # type: ignore[attr-defined]
            picture.frame(box, 0.05, top, 1 / image.height, colour)
            pixels = samples[key].image.permute(1, 2, 0).numpy()
            x, scale = 1.7 + 1.08 * epoch, 1 / len(pixels)
            picture.place(pixels, x, top, scale)
            picture.frame((0, 0, *pixels.shape[:2]), x, top, scale, colour)
    return picture


def committed() -> Picture:
    pipelines = {}
    for name in ("bvlc", "standard", "paper"):
        cfg = deeper.compose(f"augment={name}")
        pipelines[f"augment={name}"] = Pipeline(build(cfg.augment), cfg.data.image_size)
    return draw(generated("zigzag_amber", "val", 10), pipelines)
