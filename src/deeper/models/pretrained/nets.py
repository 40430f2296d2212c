"""The networks that published weights belong to, and the preprocessing that they were trained with."""

from functools import partial

from deeper.models.googlenet import GoogLeNet
from deeper.models.heads import AuxHead, AvgPoolHead
from deeper.models.inception import Reduced
from deeper.models.init import BVLC, TruncatedNormal
from deeper.models.norm import LRN, BatchNorm
from deeper.models.preprocess import Preprocess

TAPS = ("inception4a", "inception4d")


def torchvision_net(
    num_classes: int = 1000, *, aux: bool = True, dropout: float = 0.2, aux_dropout: float = 0.7
) -> GoogLeNet:
    """torchvision.models.googlenet at 224 px; `model=googlenet_torchvision` in the configs."""
    head = partial(AuxHead, pool="adaptive", dropout=aux_dropout)
    return GoogLeNet(
        num_classes,
        image_size=224,
        head=partial(AvgPoolHead, dropout=dropout),
        aux=dict.fromkeys(TAPS if aux else (), head),
        norm=BatchNorm(eps=1e-3),
        block=partial(Reduced, kernel5x5=3),
        init=TruncatedNormal(),
        stem="imagenet",
        pool4=2,
    )


def bvlc_net(num_classes: int = 1000, *, aux: bool = True) -> GoogLeNet:
    """BVLC's replica of the network of 2014 at 224 px; `model=googlenet_bvlc` in the configs."""
    return GoogLeNet(
        num_classes,
        image_size=224,
        head=AvgPoolHead,
        aux=dict.fromkeys(TAPS if aux else (), AuxHead),
        norm=LRN(),
        block=Reduced,
        init=BVLC(),
        stem="imagenet",
    )


def torchvision_preprocess() -> Preprocess:
    """RGB on −1..1: ImageNet's mean and std followed by torchvision's `transform_input`."""
    return Preprocess([0.5] * 3, [0.5] * 3)


def bvlc_preprocess() -> Preprocess:
    """BGR on 0..255 less the mean, without division by a std."""
    return Preprocess([104.0, 117.0, 123.0], [1.0] * 3, scale=1.0, channels="bgr")
