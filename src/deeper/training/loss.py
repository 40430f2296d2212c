"""Losses that know the weights of auxiliary heads. All answer a mapping whose "loss" is to be minimised."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from deeper.models.output import Output


class AuxWeighted(nn.Module, ABC):
    """main + Σ weight · aux (§5: weight 0.3). `aux_weight` is one number, or tap → number."""

    def __init__(self, aux_weight: float | Mapping[str, float] = 0.3) -> None:
        super().__init__()
        weights = aux_weight.values() if isinstance(aux_weight, Mapping) else [aux_weight]
        if any(weight < 0 for weight in weights):
            raise ValueError(f"aux_weight={aux_weight}: weights must be at least 0")
        self.aux_weight = aux_weight

    def forward(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """loss, loss_main and loss_aux/<tap>, each a scalar; the parts are unweighted."""
        main = self.per_image(output.logits, labels).mean()
        aux = {tap: self.per_image(logits, labels).mean() for tap, logits in output.aux.items()}
        total = main + sum(self.weight(tap) * loss for tap, loss in aux.items())
        return {"loss": total, "loss_main": main} | {f"loss_aux/{t}": v for t, v in aux.items()}

    def weight(self, tap: str) -> float:
        if not isinstance(self.aux_weight, Mapping):
            return self.aux_weight
        if tap not in self.aux_weight:
            known = ", ".join(self.aux_weight) or "nothing"
            raise ValueError(f"loss.aux_weight names {known}, but not the head at {tap}")
        return self.aux_weight[tap]

    @abstractmethod
    def per_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, K] and `labels`, int64 [B] or probabilities [B, K] → [B]."""


class CrossEntropy(AuxWeighted):
    """Softmax cross-entropy; `label_smoothing` spreads that share of the target over all classes."""

    def __init__(
        self, aux_weight: float | Mapping[str, float] = 0.3, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(aux_weight)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing}: must lie in 0..1 (1 excluded)")
        self.label_smoothing = label_smoothing

    def per_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.label_smoothing
        return F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)


class BinaryCrossEntropy(AuxWeighted):
    """A sigmoid a class, summed over classes (Wightman et al., 2021, train ImageNet nets so)."""

    def per_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        targets = labels if labels.dim() == 2 else F.one_hot(labels, logits.shape[1]).float()
        losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
        return losses.sum(dim=1)
