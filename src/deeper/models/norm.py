"""Norm schemes: the layer after each convolution, the layer in the stem, bias of convolutions or not.

Batch normalisation follows every convolution; local response normalisation stands at two places of
the stem alone (figure 3).
"""

from torch import nn

from deeper.models.lrn import LocalResponseNorm


class NormScheme:
    """Convolutions with bias and without normalisation, unless a subclass says otherwise."""

    conv_bias = True

    def after_conv(self, channels: int) -> nn.Module:
        return nn.Identity()

    def in_stem(self) -> nn.Module:
        return nn.Identity()


class NoNorm(NormScheme):
    """No normalisation at all."""


class LRN(NormScheme):
    """The network of 2014: local response normalisation after pool1 and after conv2.

    The paper gives no constants. BVLC's Caffe model has size 5, alpha 1e-4, beta 0.75, k 1;
    Google's released graph has size 11, alpha 1.1e-3, beta 0.5, k 2.
    """

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
    ) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.in_stem()  # raises `ValueError` for wrong constants

    def in_stem(self) -> nn.Module:
        return LocalResponseNorm(self.size, self.alpha, self.beta, self.k)


class BatchNorm(NormScheme):
    """Batch normalisation after every convolution (Ioffe and Szegedy, 2015), none in the stem."""

    conv_bias = False

    def __init__(self, eps: float = 1e-5, momentum: float = 0.1) -> None:
        if eps <= 0:
            raise ValueError(f"eps={eps}: must be above 0")
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum={momentum}: must lie in 0..1")
        self.eps, self.momentum = eps, momentum

    def after_conv(self, channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels, eps=self.eps, momentum=self.momentum)
