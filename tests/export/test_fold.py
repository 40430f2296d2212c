"""Batch norms folded into convolutions: equal logits, up to rounding in float64."""

import pytest
import torch
from torch import Tensor, nn

from deeper.export.graph import folded
from deeper.models.output import Output
from deeper.runs import build

BOUND = 1e-9


@pytest.fixture
def network(configs):
    """A GoogLeNet of an eighth of the width with the options that are named."""

    def made(*options):
        size = ["data.image_size=32", "model.width=0.125", "data.root=/nowhere"]
        return build.network(configs(*size, *options), "abc")

    return made


def logits(net: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        output = net(images)
    return output.logits if isinstance(output, Output) else output


def lived(net: nn.Module) -> nn.Module:
    """With statistics and gains as after a training; those of a new norm are 0 and 1, and hide mistakes."""
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


@pytest.mark.parametrize("block", ["reduced", "naive", "naive_proj", "no_pool"])
def test_googlenet(network, block):
    net = lived(network(f"model/block={block}"))
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected, before = logits(net, images), norms(net)
    without = folded(net)
    assert (logits(without, images) - expected).abs().max() <= BOUND * expected.abs().max()
    assert norms(without) == 0
    assert without.conv1.conv.bias is not None
    assert norms(net) == before  # the network itself is unchanged
    assert torch.equal(logits(net, images), expected)


@pytest.mark.parametrize("norm", ["lrn", "none"])
def test_a_network_without_batch_norms_stays_the_same(network, norm):
    net = network(f"model/norm={norm}")
    for name, value in folded(net).state_dict().items():
        assert torch.equal(value, net.state_dict()[name])


def test_other_networks_stay_as_they_are():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert norms(folded(net)) == 1
