"""Training losses: a criterion for the main head plus weighted criteria of the auxiliary heads."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from deeper.augment.mix import Mix
from deeper.models.output import Output
from deeper.training.schedules import START, Progress

AuxWeight = float | Callable[[Progress], float]


class AuxWeighted(nn.Module, ABC):
    """criterion(main) + Σ weight · criterion(aux) (§5: weight 0.3).

    `aux_weight` is a number, a schedule (`Progress` → number), or a mapping from the tap of each
    auxiliary head to one of these. A subclass writes `criterion`, and sets `soft_targets` if
    `criterion` takes probabilities [B, K] beside class indices: mixup and CutMix need that.
    """

    soft_targets = False

    def __init__(self, aux_weight: AuxWeight | Mapping[str, AuxWeight] = 0.3) -> None:
        super().__init__()
        weights = aux_weight.values() if isinstance(aux_weight, Mapping) else [aux_weight]
        if any((weight(START) if callable(weight) else weight) < 0 for weight in weights):
            raise ValueError(f"aux_weight={aux_weight}: weights must be at least 0")
        self.aux_weight = aux_weight

    def forward(
        self, output: Output, targets: Tensor, progress: Progress = START
    ) -> dict[str, Tensor]:
        """loss, loss_main and loss_aux/<tap>, each a scalar; the parts are unweighted."""
        main = self.criterion(output.logits.float(), targets)
        aux = {tap: self.criterion(x.float(), targets) for tap, x in output.aux.items()}
        total = main + sum(self.weight(tap, progress) * loss for tap, loss in aux.items())
        return {"loss": total, "loss_main": main} | {f"loss_aux/{t}": v for t, v in aux.items()}

    def weight(self, tap: str, progress: Progress = START) -> float:
        """Weight of the head at `tap`. Raises `ValueError` where a mapping does not name it."""
        weights = self.aux_weight
        if isinstance(weights, Mapping):
            if tap not in weights:
                known = ", ".join(weights) or "nothing"
                raise ValueError(f"loss.aux_weight names {known}, but not the head at {tap}")
            weights = weights[tap]
        return weights(progress) if callable(weights) else weights

    @abstractmethod
    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """float32 [B, K] and int64 [B], or probabilities [B, K] → the batch's mean, a scalar."""


class CrossEntropy(AuxWeighted):
    """Softmax cross-entropy; `label_smoothing` is the fraction spread over all classes."""

    soft_targets = True

    def __init__(
        self,
        aux_weight: AuxWeight | Mapping[str, AuxWeight] = 0.3,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(aux_weight)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing}: must lie in 0..1 (1 excluded)")
        self.label_smoothing = label_smoothing

    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)


class BinaryCrossEntropy(AuxWeighted):
    """One sigmoid per class (Wightman et al., 2021): the mean over classes, times `scale`.

    `scale=1` is what timm's BinaryCrossEntropy computes unless told to sum over classes; its rates
    are made for LAMB, which is blind to the scale. With null the scale is 2·√(K − 1): at equal
    logits the gradient then has the norm of cross-entropy's for any K, so SGD's rates carry over.
    """

    soft_targets = True

    def __init__(
        self,
        aux_weight: AuxWeight | Mapping[str, AuxWeight] = 0.3,
        scale: float | None = None,
    ) -> None:
        super().__init__(aux_weight)
        if scale is not None and scale <= 0:
            raise ValueError(f"scale={scale}: must be above 0, or null")
        self.scale = scale

    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        classes = logits.shape[1]
        scale = 2 * max(classes - 1, 1) ** 0.5 if self.scale is None else self.scale
        if targets.dim() == 1:
            targets = F.one_hot(targets, classes).float()
        return scale * F.binary_cross_entropy_with_logits(logits, targets)


class Criterion(AuxWeighted):
    """Any module (logits, targets) → scalar as the criterion, such as one of torch or timm."""

    def __init__(
        self,
        criterion: Callable[[Tensor, Tensor], Tensor],
        aux_weight: AuxWeight | Mapping[str, AuxWeight] = 0.3,
        soft_targets: bool = False,
    ) -> None:
        super().__init__(aux_weight)
        self.wrapped, self.soft_targets = criterion, soft_targets

    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.wrapped(logits, targets)


def training_loss(loss: Callable[..., Tensor] | AuxWeighted, mix: Mix) -> AuxWeighted:
    """`loss`, wrapped in `Criterion` if it is none of ours.

    Raises `ValueError` where `mix` makes probabilities of the labels and the loss wants indices.
    """
    wrapped = loss if isinstance(loss, AuxWeighted) else Criterion(loss)
    if mix.changes_labels and not wrapped.soft_targets:
        raise ValueError(
            f"{type(loss).__name__} takes class indices, and mixed images have probabilities: pass "
            f"mix=none or loss=cross_entropy; a loss that takes both sets soft_targets to true"
        )
    return wrapped
