"""GoogLeNet (Szegedy et al., 2014, arXiv 1409.4842) and its Table 1."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from torch import Tensor, nn

from deeper.models.geometry import LAST_STAGE, Stem, auto_stem, require_room
from deeper.models.heads import Features, HeadFactory
from deeper.models.inception import Block, ConvNormAct, Widths, scaled_width
from deeper.models.norm import NormScheme
from deeper.models.output import Output

# fmt: off
TABLE1 = {  #                      #1×1 3×3r 3×3 5×5r 5×5 pool proj
    "inception3a": Widths( 64,  96, 128, 16,  32,  32),
    "inception3b": Widths(128, 128, 192, 32,  96,  64),
    "inception4a": Widths(192,  96, 208, 16,  48,  64),
    "inception4b": Widths(160, 112, 224, 24,  64,  64),
    "inception4c": Widths(128, 128, 256, 24,  64,  64),
    "inception4d": Widths(112, 144, 288, 32,  64,  64),
    "inception4e": Widths(256, 160, 320, 32, 128, 128),
    "inception5a": Widths(256, 160, 320, 32, 128, 128),
    "inception5b": Widths(384, 192, 384, 48, 128, 128),
}
# fmt: on
INCEPTION5H = TABLE1 | {
    "inception4a": TABLE1["inception4a"]._replace(conv3x3=204),
    "inception5a": TABLE1["inception5a"]._replace(reduce5x5=48),
}
"""Widths of the graph that Google released; the parameter counts in Table 1 fit them better."""

TABLES = {"table1": TABLE1, "inception5h": INCEPTION5H}


def _downsample(kernel: int = 3) -> nn.MaxPool2d:
    """Rounds up: otherwise 224 px would not give the maps of 112, 56, 28, 14 and 7 px that §5 names."""
    return nn.MaxPool2d(kernel, stride=2, ceil_mode=True)


class GoogLeNet(nn.Module):
    """Preprocessed images [B, 3, S, S] → `Output`. Its children are stages with the paper's names.

    `aux`: stage → auxiliary head on its output.
    `image_size`: S, which fixes the sizes of fully connected layers; other sizes are refused.
    `width`: multiplier of the widths of convolutions and hidden layers (see `scaled_width`).
    `pool4`: kernel of the last pool of stride 2; 3 in Table 1, 2 in TF-slim and torchvision.
    `pretrained`: stored only; `runs/warm_start.py` loads the weights when a training starts.

    Raises `ValueError` where `image_size` is too small for a head.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        image_size: int,
        head: HeadFactory,
        aux: Mapping[str, HeadFactory],
        norm: NormScheme,
        block: Block,
        init: Callable[[nn.Module, str], None],
        stem: Literal["auto", "imagenet", "small"] = "auto",
        width: float = 1.0,
        widths: Literal["table1", "inception5h"] = "table1",
        pool4: Literal[2, 3] = 3,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"width={width}: must be above 0")
        if stem not in ("auto", "imagenet", "small"):
            raise ValueError(f"stem={stem!r}: choose from auto, imagenet, small")
        chosen: Stem = auto_stem(image_size) if stem == "auto" else stem
        sizes = require_room(image_size, chosen, list(aux), pool4)
        self.image_size, self.pretrained = image_size, pretrained
        self.training_sizes: tuple[int, ...] = (image_size,)
        self.eval_sizes: tuple[int, ...] = (image_size,)
        """Each S that is accepted in training and in evaluation, if the heads take it."""

        self._add_stem(chosen, width, norm)
        channels = {"norm2": scaled_width(192, width)}
        features = channels["norm2"]
        for name, row in TABLES[widths].items():
            if name == "inception4a":
                self.pool3 = _downsample()
            if name == "inception5a":
                self.pool4 = _downsample(pool4)
            module = block(features, Widths(*(scaled_width(w, width) for w in row)), norm)
            self.add_module(name, module)
            features = channels[name] = int(module.out_channels)  # type: ignore[arg-type]
        self.stages = tuple(name for name, _ in self.named_children())
        """Names of the stages in forward order, from conv1 to inception5b."""

        self.num_features = features
        self._init = init
        self._make_head = partial(head, Features(features, sizes[LAST_STAGE], width, norm))
        self._make_aux = {
            tap: partial(make, Features(channels[tap], sizes[tap], width, norm))
            for tap, make in aux.items()
        }
        for stage in self.stages:
            init(self.get_submodule(stage), stage)
        self.reset_classifier(num_classes)

    def _add_stem(self, stem: Stem, width: float, norm: NormScheme) -> None:
        """Table 1 above the first Inception module; `small` keeps the resolution of small images."""
        conv1, conv2 = scaled_width(64, width), scaled_width(192, width)
        if stem == "imagenet":
            self.conv1 = ConvNormAct(3, conv1, 7, norm, stride=2)
        else:
            self.conv1 = ConvNormAct(3, conv1, 3, norm)
        self.pool1 = _downsample() if stem == "imagenet" else nn.Identity()
        self.norm1 = norm.in_stem()
        self.conv2_reduce = ConvNormAct(conv1, conv1, 1, norm)
        self.conv2 = ConvNormAct(conv1, conv2, 3, norm)
        self.norm2 = norm.in_stem()
        self.pool2 = _downsample()

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head and the auxiliary heads by new ones for `num_classes` classes."""
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes}: must be at least 1")
        self.num_classes = num_classes
        self.head = self._make_head(num_classes)
        self._init(self.head, "head")
        self.aux = nn.ModuleDict({tap: make(num_classes) for tap, make in self._make_aux.items()})
        self._init(self.aux, "aux")
        trunk = next(self.conv1.parameters())
        self.head.to(trunk).train(self.training)
        self.aux.to(trunk).train(self.training)

    def forward(self, images: Tensor) -> Output:
        features, aux = self._trunk(images)
        return Output(self.forward_head(features), aux)

    def forward_features(self, images: Tensor) -> Tensor:
        """Images → [B, num_features, s, s], the output of inception5b."""
        return self._trunk(images)[0]

    def forward_head(self, features: Tensor) -> Tensor:
        return self.head(features)  # type: ignore[no-any-return]

    def _trunk(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        height, width = images.shape[-2:]
        sizes = self.training_sizes if self.training else self.eval_sizes
        if height != width or height not in sizes:
            raise ValueError(
                f"images of {height}×{width} px, but this network was built for "
                f"{self.image_size}×{self.image_size}: set data.image_size, or resize"
            )
        x, aux = images, {}
        for stage in self.stages:
            x = getattr(self, stage)(x)
            if self.training and stage in self.aux:
                aux[stage] = self.aux[stage](x)
        return x, aux
