"""Batch norms folded into convolutions: the same network, in float64 to rounding."""

import pytest
import torch
from torch import Tensor, nn

from deeper.export.fold import folded
from deeper.models.output import Output

BOUND = 1e-9


def logits(net: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        output = net(images)
    return output.logits if isinstance(output, Output) else output


def lived(net: nn.Module) -> nn.Module:
    """As after a training: statistics and gains of a fresh norm are 0 and 1, and would hide mistakes."""
    random = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.2, generator=random)
            module.running_var.uniform_(0.5, 2, generator=random)
            if module.weight is not None:
                module.weight.data.uniform_(0.5, 1.5, generator=random)
                module.bias.data.normal_(0, 0.1, generator=random)
    return net.double().eval()


def norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def check(net: nn.Module, size: int, left: int) -> nn.Module:
    net = lived(net)
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    expected, before = logits(net, images), norms(net)
    without = folded(net, images)
    found = logits(without, images)
    assert (found - expected).abs().max() <= BOUND * expected.abs().max()
    assert norms(without) == left
    assert norms(net) == before  # itself unchanged
    assert torch.equal(logits(net, images), expected)
    return without


@pytest.mark.parametrize("block", ["reduced", "naive", "naive_proj", "no_pool"])
def test_all_of_googlenet_but_the_heads_that_do_not_answer(build, block):
    net = build(norm="bn", aux="both", block=block, width=0.125)
    without = check(net, 32, left=2)
    assert without.conv1.conv.bias is not None


@pytest.mark.parametrize("norm", ["lrn", "none"])
def test_a_network_without_batch_norms_stays_the_same(build, norm):
    net = build(norm=norm, width=0.125)
    without = check(net, 32, left=0)
    for name, value in net.state_dict().items():
        assert torch.equal(value, without.state_dict()[name])


@pytest.mark.parametrize(
    ("name", "left"),
    [("test_resnet", 0), ("mobilenetv3_small_050", 0), ("repvgg_a0", 17), ("densenet121", 62)],
)
def test_networks_of_timm(name, left):
    """RepVGG's identity branches and DenseNet's norms of concatenations follow no convolution."""
    timm = pytest.importorskip("timm")
    check(timm.create_model(name, num_classes=5), 64, left)


class Shared(nn.Module):
    """Two convolutions that may not take their norms in: one is read twice, one is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.called_twice = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm1, self.norm2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)
        self.free, self.norm3 = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.read_twice(images)
        x = x + self.norm1(x)
        x = self.norm2(self.called_twice(self.called_twice(x)))
        return self.norm3(self.free(x)).mean((2, 3))


def test_what_something_else_needs_is_left():
    check(Shared(), 8, left=2)


def test_norms_of_the_batch_itself_are_left():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    check(net, 8, left=1)


def test_subclasses_and_hooked_layers_are_left():
    class Scaled(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            return 2 * super().forward(images)

    hooked = nn.Conv2d(4, 4, 1)
    hooked.register_forward_hook(lambda *_: None)
    check(nn.Sequential(Scaled(3, 4, 1), nn.BatchNorm2d(4), hooked, nn.BatchNorm2d(4)), 8, left=2)
