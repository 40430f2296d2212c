"""A trained network with its preprocessing and class names."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from PIL.Image import Image
from torch import Tensor, nn

from deeper import checkpoint
from deeper.config import stored
from deeper.config.instantiate import build
from deeper.data.dataset import Pipeline
from deeper.data.images.encoded import Encoded
from deeper.inference.inputs import read_image
from deeper.models.deployed import Deployed
from deeper.models.geometry import eval_size
from deeper.runs import build as builder
from deeper.runs import select

ImageLike = Image | Encoded | str | Path


class Trained(Deployed):
    """A trained network with its preprocessing and class names, made by `deeper.load(RUN)`.

    `trained.probabilities(images)` predicts: pass paths, PIL images, or a single one. `trained.classes`
    names the columns of the result. `trained(tensor)` gives logits of images of the right size, uint8
    [B, 3, S, S]. The network is in evaluation mode and on the CPU.
    """

    def __init__(self, state: dict[str, Any], path: Path, weights: str = "averaged") -> None:
        """From the content of a checkpoint that `stored.load_with_config` read from `path`."""
        checkpoint.require_current_statistics(state, path, weights)
        config = stored.as_config(state["deeper"]["config"] | {"compile": False})
        classes = state["deeper"]["classes"]
        net: nn.Module = builder.network(config, classes)
        net.load_state_dict(checkpoint.network_state(state, weights))
        preprocess: nn.Module = build(config.preprocess)
        preprocess.load_state_dict(checkpoint.preprocess_state(state))
        super().__init__(preprocess, net)
        self.eval()
        self.path = path
        """Of the checkpoint."""
        self.config: DictConfig = config
        """The training's config, resolved."""
        self.classes: list[str] = classes
        """A label is an index into this list."""
        self.weights = weights if "averaged_state_dict" in state else "live"
        """averaged or live: the weights that were loaded."""
        self.image_size = eval_size(config.data.image_size, config.data.get("eval_scale", 1.0))
        """S in pixels."""
        self.eval_crop = float(config.data.get("eval_crop", 0.875))
        """Fraction of the shorter side that the centre crop keeps; a data set of one's own may omit it."""
        protocol = build(config.protocol)(self.image_size, self.eval_crop)
        self.view = Pipeline({"protocol": protocol}, self.image_size)
        """PIL RGB or `Encoded` → uint8 [3, S, S], by the protocol that the training validated with."""

    def __repr__(self) -> str:
        return (
            f"Trained({str(self.path)!r}, {len(self.classes)} classes, {self.image_size} px, "
            f"{self.weights} weights; predict with .probabilities(images))"
        )

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] → logits [B, classes]. `TypeError` for images that are floats."""
        if images.dtype != torch.uint8:
            raise TypeError(f"expected uint8 images in 0..255, not {images.dtype}")
        return super().forward(images)

    @torch.inference_mode()
    def softmax(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] → probabilities, float32 [B, classes] on the CPU."""
        images = images.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self(images.to(next(self.parameters()).device))
        return logits.float().softmax(1).cpu()

    def probabilities(self, images: ImageLike | Iterable[ImageLike]) -> Tensor:
        """float32 [B, classes] of images of any size: paths or PIL images, one or several.

        `TypeError` for other objects; `ValueError` or `OSError` for a file that cannot be read.
        """
        several = [images] if isinstance(images, ImageLike) else images
        views = [self.view(_as_rgb(image)) for image in several]
        return self.softmax(torch.stack(views)) if views else torch.empty(0, len(self.classes))


def load(path: str | Path, weights: str = "averaged") -> Trained:
    """The network of a run directory (its best checkpoint) or of a checkpoint file.

    `weights` is averaged (live where the training kept no average) or live. Predict with
    `load(RUN).probabilities(images)`. Raises `ValueError` for a path without a checkpoint, and
    `ConfigError` where its config names code that is not trusted.
    """
    path = select.named(path)
    return Trained(stored.load_with_config(path), path, weights)


def _as_rgb(image: Any) -> Image | Encoded:
    if isinstance(image, str | Path):
        return read_image(str(image))
    if not isinstance(image, Image | Encoded):
        raise TypeError(
            f"expected paths or PIL images, not {type(image).__name__}; "
            f"PIL.Image.fromarray(array) makes an image of a uint8 array"
        )
    return image.convert("RGB") if isinstance(image, Image) else image
