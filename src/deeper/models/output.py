"""What a network returns, in training and in evaluation alike."""

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """Class scores before softmax, by name, so that no head is ever taken for another."""

    logits: Tensor
    """[B, K]"""

    aux: dict[str, Tensor]
    """Tapped stage → [B, K]; empty in evaluation, where auxiliary heads are discarded (§5)."""
