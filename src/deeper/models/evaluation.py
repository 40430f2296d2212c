"""Networks on the larger images of an evaluation (`data.eval_scale`)."""

import copy

import torch
from torch import nn

from deeper.models.geometry import eval_size
from deeper.models.googlenet import GoogLeNet


def accept_eval_size(net: nn.Module, image_size: int, scale: float) -> None:
    """Let `net` take images of `image_size` × `scale` in evaluation.

    Raises `ValueError` where it cannot, as with a fully connected head.
    """
    size = eval_size(image_size, scale)
    if size == image_size:
        return
    if isinstance(net, GoogLeNet):
        net.eval_size = size
    if not _takes(net, size) and _takes(net, image_size):
        raise ValueError(
            f"data.eval_scale={scale}: the network takes images of {image_size} px, but not of the "
            f"{size} px of an evaluation; pass data.eval_scale=1, or a head such as model/head=avgpool"
        )


def _takes(net: nn.Module, size: int) -> bool:
    """Whether a copy without values takes images of that size; never where the meta device does not suit it."""
    meta = copy.deepcopy(net).to("meta").eval()
    try:
        with torch.no_grad():
            meta(torch.empty(1, 3, size, size, device="meta"))
    except Exception:  # of any network of the user's
        return False
    return True
