"""A trained network on a device, from files to guesses."""

from io import BytesIO
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from deeper.data.classes import words
from deeper.data.images.encoded import Encoded
from deeper.inference import inputs as pictures
from deeper.inference.inputs import Found
from deeper.inference.model import Trained
from deeper.inference.outputs import Guess

THUMBNAIL = 320
"""Pixels of the longer side."""


class Picture(NamedTuple):
    """A picture as the network wants it; where `pixels` is None, `why` says what is wrong with it."""

    path: str
    pixels: Tensor | None
    """uint8 [3, S, S]"""
    thumbnail: bytes | None = None
    """JPEG"""
    why: str = ""


class Predictor:
    """In the precision that a training would have there. `ValueError` for a device that is not here."""

    def __init__(self, trained: Trained, device: str, precision: Any) -> None:
        self.trained, self.device = trained, _device(device)
        chosen = precision.resolve(self.device.type)
        chosen.apply()
        self._half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(chosen.name)
        trained.net.to(self.device)
        trained.preprocess.to(self.device)

    def picture(self, found: Found, thumbnail: bool = False) -> Picture:
        """For any thread; never raises for what a file holds."""
        path, why = found
        if why is not None:
            return Picture(path, None, why=why)
        try:
            picture = pictures.read(path)
            return Picture(
                path, self.trained.view(picture), _thumbnail(picture) if thumbnail else None
            )
        except Exception as error:  # of this one picture: the others are still wanted
            return Picture(path, None, why=pictures.reason(error, path))

    @torch.inference_mode()
    def probabilities(self, views: list[Tensor]) -> Tensor:
        """uint8 [3, S, S] each → float32 [B, classes] on the CPU."""
        images = torch.stack(views).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self._half, enabled=self._half is not None):
            logits = self.trained(images.to(self.device))
        return logits.float().softmax(1).cpu()

    def guesses(self, views: list[Tensor], top: int) -> list[list[Guess]]:
        """For each picture the `top` most probable classes, or all where there are fewer."""
        best = self.probabilities(views).topk(min(top, len(self.trained.classes)))
        names = self.trained.classes
        return [
            [Guess(names[i], words(names[i]), p) for i, p in zip(places, values, strict=True)]
            for places, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]


def _thumbnail(picture: Encoded) -> bytes:
    """Turned as the network sees it; decoded no larger than needed."""
    width, height = picture.size
    ratio = THUMBNAIL / max(width, height)
    wanted = max(1, int(width * ratio)), max(1, int(height * ratio))
    image = Image.fromarray(picture.pixels(size=wanted)[0])
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = BytesIO()
    image.save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _device(asked: str) -> torch.device:
    """auto is CUDA or the CPU."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device={asked}: choose auto, cpu, cuda or cuda:<number>")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={asked}: this machine has {torch.cuda.device_count()} CUDA GPUs; use device=auto"
        )
    return device
