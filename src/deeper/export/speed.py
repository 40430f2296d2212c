"""Images a second of several forms of a network, side by side."""

from collections.abc import Mapping
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from deeper.export.parity import Answers


@torch.inference_mode()
def images_per_s(forms: Mapping[str, Answers], images: Tensor, rounds: int) -> dict[str, float]:
    """Medians of `rounds`, in each of which every form has its turn; a first turn is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(rounds + 1):
        for name, form in forms.items():
            start = perf_counter()
            form(images)
            if turn:
                seconds[name].append(perf_counter() - start)
    return {name: len(images) / median(taken) for name, taken in seconds.items()}
