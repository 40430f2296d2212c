"""A network with its preprocessing, for inference."""

from torch import Tensor, nn

from deeper.models.output import Output


class Deployed(nn.Module):
    """uint8 RGB [B, 3, S, S] → logits [B, classes], for networks that return a tensor or `Output`.

    The input is pixels as decoders give them, so that mean, range and channel order cannot be wrong.
    """

    def __init__(self, preprocess: nn.Module, net: nn.Module) -> None:
        super().__init__()
        self.preprocess, self.net = preprocess, net

    def forward(self, images: Tensor) -> Tensor:
        output = self.net(self.preprocess(images))
        logits: Tensor = output.logits if isinstance(output, Output) else output
        return logits
