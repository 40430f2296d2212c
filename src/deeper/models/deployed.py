"""A network together with its preprocessing, as whoever uses it wants it."""

from torch import Tensor, nn

from deeper.models.output import Output


class Deployed(nn.Module):
    """uint8 RGB [B, 3, S, S] → logits [B, classes], of whatever network.

    The preprocessing is inside: pixels as every decoder gives them are a quarter of the bytes, and
    nobody can get mean, range or channel order wrong.
    """

    def __init__(self, preprocess: nn.Module, net: nn.Module) -> None:
        super().__init__()
        self.preprocess, self.net = preprocess, net

    def forward(self, images: Tensor) -> Tensor:
        output = self.net(self.preprocess(images))
        logits: Tensor = output.logits if isinstance(output, Output) else output
        return logits
