"""Draws what is seen at a glance: augmented images, mistakes, filters, confusions, gradients."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from deeper.data.batch import Batch
from deeper.files import json_text, whole
from deeper.loggers.media import Medium
from deeper.training.metrics import gathered
from deeper.training.module import ImageClassifier

IMAGES = 16
SIDE = 96
"""Pixels of a side of one of several images."""

NAME = 14
"""Letters of a class's name for which there is room."""

BINS = 64


class Media(L.Callback):
    """Draws to `folder`, for loggers with a method `log_medium`; without one it does nothing.

    Images of a validation are drawn after the first, second, fourth, eighth … and at the last planned epoch.
    Drawing uses no random numbers, and a failure of it ends no training.
    """

    def __init__(
        self,
        folder: str,
        train_batch: bool = True,
        mistakes: bool = True,
        conv1: bool = True,
        confusion: bool = True,
        gradients: bool = False,
    ) -> None:
        self.folder, self.train_batch, self.mistakes = Path(folder), train_batch, mistakes
        self.conv1, self.confusion, self.gradients = conv1, confusion, gradients
        self._outcomes: list[Tensor] = []
        """Label, prediction and whether it counts, of each image of a validation."""
        self._worst: list[Tensor] = []
        """Loss (−∞ of no mistake), label, prediction, image of the worst mistakes of this process."""

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: L.Trainer, pl_module: ImageClassifier, batch: Batch, batch_idx: int
    ) -> None:
        if self.train_batch and trainer.global_step == batch_idx == 0 and _loggers(trainer):
            self._draw(
                trainer, "images/train_batch", lambda: _first_images(pl_module, batch), step=1
            )

    def on_before_optimizer_step(  # type: ignore[override]
        self, trainer: L.Trainer, pl_module: ImageClassifier, optimizer: Any
    ) -> None:
        if self.gradients and trainer.is_last_batch and _loggers(trainer):
            step = trainer.global_step + 1
            self._draw(trainer, "gradients", lambda: _histograms(pl_module.net), step, ".json")

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._outcomes, self._worst = [], []

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Keeps all on the device."""
        if not self._is_due(trainer) or outputs is None:
            return
        label, predicted, _rank, loss = outputs
        if self.confusion:
            self._outcomes.append(torch.stack([label, predicted, batch.valid]))
        if self.mistakes:
            wrong = batch.valid & (label != predicted)
            found = [loss.nan_to_num().where(wrong, -torch.inf), label, predicted, batch.images]
            if self._worst:
                found = [torch.cat(both) for both in zip(self._worst, found, strict=True)]
            self._worst = _largest(found)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: ImageClassifier) -> None:  # type: ignore[override]
        """Before the row of the validation is logged. All processes join what is gathered."""
        if not self._is_due(trainer):
            return
        classes = pl_module.checkpoint_metadata["classes"]
        if self._worst:
            worst = _largest([gathered(pl_module, part) for part in self._worst])
            self._draw(trainer, "images/mistakes", lambda: _mistakes(classes, *worst))
        if self._outcomes:
            outcomes = gathered(pl_module, torch.cat(self._outcomes, dim=1).T)
            self._draw(trainer, "images/confusion", lambda: _confusion(classes, outcomes))
        if self.conv1 and (filters := _first_filters(pl_module.net)) is not None:
            self._draw(trainer, "images/conv1", lambda: _filters(filters))

    def _is_due(self, trainer: L.Trainer) -> bool:
        epoch = trainer.current_epoch + 1
        fits = trainer.state.fn == "fit" and not trainer.sanity_checking
        number = epoch // (trainer.check_val_every_n_epoch or 1)
        due = number & (number - 1) == 0 or epoch == trainer.max_epochs
        return fits and due and bool(_loggers(trainer))

    def _draw(
        self,
        trainer: L.Trainer,
        key: str,
        draw: Callable[[], bytes],
        step: int | None = None,
        suffix: str = ".png",
    ) -> None:
        """Write a file, and hand it to the loggers; on the main process alone."""
        if not trainer.is_global_zero:
            return
        step = trainer.global_step if step is None else step
        file = self.folder / key / f"{step:08}{suffix}"
        try:
            content = draw()
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole(file) as temporary:
                temporary.write_bytes(content)
        except Exception as error:
            print(f"callbacks.media: {key} was not drawn ({type(error).__name__}: {error})")
            return
        for logger in _loggers(trainer):
            logger.log_medium(Medium(step, key, file))


def _loggers(trainer: L.Trainer) -> list[Any]:
    return [logger for logger in trainer.loggers if hasattr(logger, "log_medium")]


def _largest(found: Sequence[Tensor]) -> list[Tensor]:
    """Of losses, labels …, those of the `IMAGES` largest losses. Waits for no device."""
    losses = found[0]
    order = losses.topk(min(IMAGES, len(losses))).indices
    return [tensor[order] for tensor in found]


def _png(image: Any) -> bytes:
    """Of a PIL image or a figure."""
    file = BytesIO()
    save = image.savefig if hasattr(image, "savefig") else image.save
    save(file, format="png")
    return file.getvalue()


def _first_images(module: ImageClassifier, batch: Batch) -> bytes:
    """Four in a row, mixed as the network sees them, before they are preprocessed."""
    images, _ = module.mix(batch.images, batch.labels, module.num_classes, module.step_seed(0))
    return _png(to_pil_image(make_grid(_small(images[:IMAGES]), nrow=4, pad_value=255)))


def _small(images: Tensor) -> Tensor:
    """uint8 [N, 3, `SIDE`, `SIDE`]"""
    resized = interpolate(images.float().cpu(), (SIDE, SIDE), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def _first_filters(net: nn.Module) -> Tensor | None:
    """[N, 3, H, W] of the first convolution that sees colours."""
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3]
    return convs[0].weight.detach() if convs else None


def _filters(weights: Tensor) -> bytes:
    from deeper.figures import filters  # here, since matplotlib takes a second to import

    return _png(filters.draw({"conv1": weights.float().cpu().numpy()}))


def _mistakes(
    classes: list[str], losses: Tensor, labels: Tensor, predicted: Tensor, images: Tensor
) -> bytes:
    from deeper.figures.picture import Picture

    picture = Picture(6.0, 7.0)
    axes = picture.subplots()
    axes.set_axis_off()
    wrong = int((losses > -torch.inf).sum())
    axes.set_title("label → prediction" if wrong else "no mistakes")
    for place, image in enumerate(_small(images[:wrong])):
        x, y = (SIDE + 10) * (place % 4), (SIDE + 30) * (place // 4)
        axes.imshow(image.movedim(0, 2).numpy(), extent=(x, x + SIDE, y + SIDE, y))
        names = [classes[int(c)][:NAME] for c in (labels[place], predicted[place])]
        axes.text(x, y - 4, "\n→ ".join(names), fontsize=8, parse_math=False)
    axes.set_xlim(0, 4 * (SIDE + 10))
    axes.set_ylim(4 * (SIDE + 30) - 30, -30)
    return _png(picture)


def _confusion(classes: list[str], outcomes: Tensor) -> bytes:
    from deeper.figures import confusion

    label, predicted, valid = outcomes.cpu().numpy().astype(int).T
    number = len(classes)
    counts = np.bincount(label * number + predicted, valid, number**2).reshape(number, number)
    return _png(confusion.draw(counts, [name[:NAME] for name in classes]))


def _histograms(net: nn.Module) -> bytes:
    """Counts and edges of the finite gradients of each stage."""
    found = {}
    for stage, child in net.named_children():
        parts = [p.grad.flatten() for p in child.parameters() if p.grad is not None]
        values = torch.cat(parts).float() if parts else torch.empty(0)
        values = values[values.isfinite()]
        if len(values):
            low, high = values.min().item(), values.max().item()
            counts = torch.histc(values, BINS, low, high).long().tolist()
            found[stage] = counts, np.linspace(low, high, BINS + 1).tolist()
    return json_text(found).encode()
