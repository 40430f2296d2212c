"""Which parts of an image speak for a class: Grad-CAM (Selvaraju et al., 2017), by captum."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from deeper.data.sources import synthetic
from deeper.data.sources.synthetic import CLASSES
from deeper.evaluation.protocol import Single
from deeper.figures import stored
from deeper.figures.picture import Picture
from deeper.inference.model import Trained

STAGE = "inception3b"
"""Of 10×10 places at 80 px, where later ones have 5×5 and 3×3."""


def draw(
    images: Sequence[NDArray[np.uint8]],
    maps: Mapping[str, NDArray[np.floating]],
    titles: Sequence[str],
) -> Picture:
    """Images [N, H, W, 3] side by side, and below them what is left of each under maps [N, h, w] of 0..1."""
    rows = {"image": np.ones((len(images), 1, 1), np.float32)} | dict(maps)
    picture = Picture(1.5 * len(images) + 0.3, 1.5 * len(rows) + 0.5)
    cells = picture.subplots(len(rows), len(images), squeeze=False)
    for line, (name, heat) in zip(cells, rows.items(), strict=True):
        line[0].set_ylabel(name)
        for axes, image, values in zip(line, images, heat, strict=True):
            size = image.shape[1::-1]
            light = Image.fromarray(values.astype(np.float32)).resize(
                size, Image.Resampling.BICUBIC
            )
            shown = image * (0.15 + 0.85 * np.asarray(light).clip(0, 1)[..., None])
            axes.imshow(shown.astype(np.uint8), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    for axes, title in zip(cells[0], titles, strict=True):
        axes.set_title(title, fontsize=8, parse_math=False)
    return picture


def heat_maps(
    trained: Trained, images: Tensor, classes: Any, stage: str = STAGE
) -> NDArray[np.floating]:
    """uint8 [N, 3, S, S] and a class for each → [N, h, w] of 0..1, at the resolution of `stage`.

    Raises `ValueError` without captum.
    """
    try:
        from captum.attr import LayerGradCam
    except ImportError as error:
        raise ValueError("Grad-CAM needs the captum library: pip install captum") from error
    method = LayerGradCam(trained, trained.net.get_submodule(stage))
    found = method.attribute(images, torch.as_tensor(classes), relu_attributions=True)
    heat: NDArray[np.floating] = found.detach().squeeze(1).numpy()
    heat /= heat.max((1, 2), keepdims=True).clip(min=1e-9)
    return heat


def committed() -> Picture:
    """The test images that the default network is most certain of and wrong about, generated again."""
    found = stored.arrays()
    view, images, titles = Single(80, 0.875), [], []
    for index, label, predicted in zip(
        found["index"], found["label"], found["predicted"], strict=True
    ):
        image = synthetic.picture(CLASSES[label], "val", index % 60)  # 60 of each class
        images.append(np.asarray(to_pil_image(view(image))))
        titles.append(f"{CLASSES[label]},\ntaken for {CLASSES[predicted]}")
    maps = {
        "speaks for\nthe answer": found["predicted_map"],
        "speaks for\nthe label": found["label_map"],
    }
    return draw(images, maps, titles)
