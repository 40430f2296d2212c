"""The paper's 144 crops: where they lie in the image at each scale, and what the network sees."""

import torch.nn.functional as F
from PIL.Image import Image
from torchvision.utils import make_grid

from deeper.augment import views
from deeper.data.sources.synthetic import picture as generated
from deeper.figures.picture import COLOURS, Picture

SIZE, THUMBNAIL, GAP = 224, 24, 2
"""Pixels"""

TOP, BLOCK, CROPS, MIRRORED, INCH = 0.425, 1.125, 2.15, 4.25, 0.0125
"""Inches: top of the first scale, its height, left sides of the thumbnails, and one of their pixels."""


def draw(image: Image) -> Picture:
    """A block for each scale: the image with the boxes of its middle square, and its 36 crops.

    `image` is a landscape; the squares of a portrait are at its top, centre and bottom.
    """
    scales = views.paper144(*image.size, SIZE)
    crops = F.interpolate(views.cut(image, scales, SIZE).float(), THUMBNAIL, mode="area").byte()
    picture = Picture(6.25, TOP + BLOCK * len(scales))
    axes = picture.blank_axes()
    step = INCH * (THUMBNAIL + GAP)
    halves = crops.reshape(len(scales), 2, -1, *crops.shape[1:])
    for number, scale in enumerate(scales):
        top = TOP + BLOCK * number
        inch = 0.8 / min(scales[-1].size)
        axes.text(0.05, top + 0.07, f"shorter side {min(scale.size)} px", va="center", size=9)
        picture.place(image, 0.05, top + 0.18, inch * scale.size[0] / image.width)
        for box, colour in zip(scale.boxes[6:11], COLOURS[1:6], strict=True):
            picture.frame(box, 0.05, top + 0.18, inch, colour)
        for half, left in zip(halves[number], (CROPS, MIRRORED), strict=True):
            grid = make_grid(half, 6, padding=GAP, pad_value=255)[:, GAP:, GAP:]
            picture.place(grid.permute(1, 2, 0).numpy(), left, top, INCH)
        for row, square in enumerate(("left", "centre", "right")):
            axes.text(
                CROPS - 0.08, top + step * (row + 0.45), square, ha="right", va="center", size=8
            )
    axes.text(CROPS, TOP - 0.08, "corners, centre, whole square", size=8)
    axes.text(MIRRORED, TOP - 0.08, "mirrored", size=8)
    return picture


def committed() -> Picture:
    return draw(generated("zigzag_amber", "val", 10))
