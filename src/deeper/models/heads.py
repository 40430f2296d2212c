"""Heads and auxiliary heads: feature maps [B, C, S, S] → logits [B, K]."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor, nn

from deeper.models.geometry import AUX_POOL, AUX_STRIDE, aux_grid
from deeper.models.inception import ConvNormAct, scaled_width
from deeper.models.norm import NormScheme


class Features(NamedTuple):
    """The maps that a head reads, and what it has in common with the rest of its network."""

    channels: int
    size: int
    """Height (= width) in pixels."""
    width: float
    """The network's multiplier, which scales hidden layers too."""
    norm: NormScheme


HeadFactory = Callable[[Features, int], nn.Module]
"""(features, number of classes) → a head. Its layer that gives the logits must be named `classifier`:
initialisers treat it differently.
"""


def _require_probability(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}: must lie in 0..1 (1 excluded)")


class AvgPoolHead(nn.Module):
    """The paper's head: average pool → dropout → linear (Table 1, last rows)."""

    def __init__(self, features: Features, num_classes: int, *, dropout: float = 0.4) -> None:
        super().__init__()
        _require_probability(dropout)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features.channels, num_classes)

    def forward(self, maps: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.pool(maps).flatten(1)))  # type: ignore[no-any-return]


class FCHead(nn.Module):
    """Flatten → (linear → ReLU → dropout) for each width in `hidden` → linear.

    §5 found average pooling 0.6 % better than "fully connected layers", whose widths it does not give:
    [1024] is that of the auxiliary heads, [4096, 4096] that of AlexNet.
    """

    def __init__(
        self,
        features: Features,
        num_classes: int,
        *,
        hidden: tuple[int, ...] = (1024,),
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        _require_probability(dropout)
        layers: list[nn.Module] = [nn.Flatten()]
        last = features.channels * features.size**2
        for units in (scaled_width(units, features.width) for units in hidden):
            layers += [nn.Linear(last, units), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            last = units
        self.hidden = nn.Sequential(*layers)
        self.classifier = nn.Linear(last, num_classes)

    def forward(self, maps: Tensor) -> Tensor:
        return self.classifier(self.hidden(maps))  # type: ignore[no-any-return]


class NINHead(nn.Module):
    """Network in Network (Lin et al., 2014, §3.2): 1×1 convolution to class maps → ReLU → average.

    The ReLU is the only difference from `AvgPoolHead`: averaging and a linear layer commute, and dropout
    of whole channels before the convolution is dropout of the averaged features.
    """

    def __init__(self, features: Features, num_classes: int, *, dropout: float = 0.4) -> None:
        super().__init__()
        _require_probability(dropout)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(features.channels, num_classes, 1)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.pool(self.act(self.classifier(self.dropout(maps)))).flatten(1)  # type: ignore[no-any-return]


class AuxHead(nn.Module):
    """§5: 5×5/3 average pool → 1×1 conv, 128 → linear, 1024 → dropout 70 % → linear.

    `pool: adaptive` is torchvision's average pool to 4×4 instead.
    """

    def __init__(
        self,
        features: Features,
        num_classes: int,
        *,
        conv: int = 128,
        hidden: int = 1024,
        dropout: float = 0.7,
        pool: Literal["paper", "adaptive"] = "paper",
    ) -> None:
        super().__init__()
        _require_probability(dropout)
        channels, size, width, norm = features
        conv, hidden = scaled_width(conv, width), scaled_width(hidden, width)
        self.pool: nn.Module
        self.pool, grid = {
            "paper": (nn.AvgPool2d(AUX_POOL, AUX_STRIDE), aux_grid(size)),
            "adaptive": (nn.AdaptiveAvgPool2d(4), 4),
        }[pool]
        self.conv = ConvNormAct(channels, conv, 1, norm)
        self.fc = nn.Linear(conv * grid**2, hidden)
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = self.conv(self.pool(maps)).flatten(1)
        return self.classifier(self.dropout(self.act(self.fc(pooled))))  # type: ignore[no-any-return]
