"""The output of a network."""

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """Logits of the head and of the auxiliary heads."""

    logits: Tensor
    """[B, K]"""

    aux: dict[str, Tensor]
    """Stage → logits [B, K] of its auxiliary head; empty in evaluation (§5)."""
