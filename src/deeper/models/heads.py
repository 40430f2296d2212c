"""Heads and auxiliary heads: feature maps [B, C, S, S] → logits [B, K]."""

from typing import Literal, Protocol

from torch import Tensor, nn

from deeper.models.geometry import AUX_POOL, AUX_STRIDE, aux_grid
from deeper.models.inception import ConvNormAct
from deeper.models.norm import NormScheme


class HeadFactory(Protocol):
    """Makes a head for feature maps of `channels` × `size` × `size`.

    `width` is the network's multiplier, which scales hidden layers too. The layer that gives the
    logits must be named `classifier`: initialisers treat it differently.
    """

    def __call__(
        self, channels: int, size: int, num_classes: int, *, width: float, norm: NormScheme
    ) -> nn.Module: ...


def scaled(channels: int, width: float) -> int:
    """`channels` · `width` rounded to a multiple of 8, at least 8; `channels` itself for width 1."""
    return channels if width == 1 else max(8, int(channels * width / 8 + 0.5) * 8)


def _require_probability(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}: must lie in 0..1 (1 excluded)")


class AvgPoolHead(nn.Module):
    """The paper's head: average pool → dropout → linear (Table 1, last rows)."""

    def __init__(
        self,
        channels: int,
        size: int,
        num_classes: int,
        *,
        width: float,
        norm: NormScheme,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        _require_probability(dropout)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.pool(features).flatten(1)))  # type: ignore[no-any-return]


class FCHead(nn.Module):
    """Flatten → (linear → ReLU → dropout) for each width in `hidden` → linear.

    §5 found average pooling 0.6 % better than "fully connected layers", whose widths it does not give:
    [1024] is that of the auxiliary heads, [4096, 4096] that of AlexNet.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        num_classes: int,
        *,
        width: float,
        norm: NormScheme,
        hidden: tuple[int, ...] = (1024,),
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        _require_probability(dropout)
        layers: list[nn.Module] = [nn.Flatten()]
        features = channels * size * size
        for units in (scaled(units, width) for units in hidden):
            layers += [nn.Linear(features, units), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            features = units
        self.hidden = nn.Sequential(*layers)
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.hidden(features))  # type: ignore[no-any-return]


class NINHead(nn.Module):
    """Network in Network (Lin et al., 2014, §3.2): 1×1 convolution to class maps → ReLU → average.

    The ReLU is the only difference from `AvgPoolHead`: averaging and a linear layer commute, and dropout
    of whole channels before the convolution is dropout of the averaged features.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        num_classes: int,
        *,
        width: float,
        norm: NormScheme,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        _require_probability(dropout)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, features: Tensor) -> Tensor:
        return self.pool(self.act(self.classifier(self.dropout(features)))).flatten(1)  # type: ignore[no-any-return]


class AuxHead(nn.Module):
    """§5: 5×5/3 average pool → 1×1 conv, 128 → linear, 1024 → dropout 70 % → linear.

    `pool: adaptive` is torchvision's average pool to 4×4 instead.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        num_classes: int,
        *,
        width: float,
        norm: NormScheme,
        conv: int = 128,
        hidden: int = 1024,
        dropout: float = 0.7,
        pool: Literal["paper", "adaptive"] = "paper",
    ) -> None:
        super().__init__()
        _require_probability(dropout)
        if pool not in ("paper", "adaptive"):
            raise ValueError(f"pool={pool!r}: choose from paper (5×5/3), adaptive (to 4×4)")
        conv, hidden = scaled(conv, width), scaled(hidden, width)
        adaptive = pool == "adaptive"
        self.pool = nn.AdaptiveAvgPool2d(4) if adaptive else nn.AvgPool2d(AUX_POOL, AUX_STRIDE)
        self.conv = ConvNormAct(channels, conv, 1, norm)
        self.fc = nn.Linear(conv * (4 if adaptive else aux_grid(size)) ** 2, hidden)
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        pooled = self.conv(self.pool(features)).flatten(1)
        return self.classifier(self.dropout(self.act(self.fc(pooled))))  # type: ignore[no-any-return]
