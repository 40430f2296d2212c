"""The network against published numbers: shapes, parameters, multiply-adds, windows of the pools."""

from math import ceil

import pytest
import torch
from torch import nn

# Table 1 of the paper and figure 3 (norm1, norm2), at 224 px.
SHAPES_224 = {
    "conv1": (64, 112, 112),
    "pool1": (64, 56, 56),
    "norm1": (64, 56, 56),
    "conv2_reduce": (64, 56, 56),
    "conv2": (192, 56, 56),
    "norm2": (192, 56, 56),
    "pool2": (192, 28, 28),
    "inception3a": (256, 28, 28),
    "inception3b": (480, 28, 28),
    "pool3": (480, 14, 14),
    "inception4a": (512, 14, 14),
    "inception4b": (512, 14, 14),
    "inception4c": (512, 14, 14),
    "inception4d": (528, 14, 14),
    "inception4e": (832, 14, 14),
    "pool4": (832, 7, 7),
    "inception5a": (832, 7, 7),
    "inception5b": (1024, 7, 7),
}
SIDES_32 = {"conv1": 32, "pool1": 32, "pool2": 16, "pool3": 8, "pool4": 4}  # where they change


def shapes_of(net):
    """{stage: (C, H, W)} of one pass on the meta device."""
    shapes = {}
    for name in net.stages:
        net.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: shapes.__setitem__(name, tuple(out.shape[1:]))
        )
    net.eval()(torch.empty(1, 3, net.image_size, net.image_size, device="meta"))
    return shapes


def count(module):
    return sum(p.numel() for p in module.parameters())


def layers(net, kind):
    return [layer for layer in net.modules() if isinstance(layer, kind)]


def macs(net):
    """Multiply-adds of one image: weights used once per output pixel."""
    total = 0

    def add(layer, _, out):
        nonlocal total
        total += layer.weight.numel() * out[0, 0].numel()

    for layer in layers(net, nn.Conv2d | nn.Linear):
        layer.register_forward_hook(add)
    net(torch.empty(1, 3, net.image_size, net.image_size, device="meta"))
    return total


def test_shapes_at_224(build):
    shapes = shapes_of(build(1000, image_size=224, device="meta"))
    assert list(shapes.items()) == list(SHAPES_224.items())


def test_shapes_at_32_with_the_small_stem(build):
    shapes = shapes_of(build(10, image_size=32, stem="small", device="meta"))
    assert list(shapes) == list(SHAPES_224)
    side = 0
    for name, shape in shapes.items():
        side = SIDES_32.get(name, side)
        assert shape == (SHAPES_224[name][0], side, side), name


@pytest.mark.parametrize(
    ("options", "main", "with_aux"),
    [
        ({}, 6_998_552, 13_378_280),
        ({"norm": "none"}, 6_998_552, 13_378_280),
        ({"norm": "bn"}, 7_005_832, 13_385_816),
        ({"block": "naive"}, 97_526_008, 104_274_376),
        ({"block": "naive_proj"}, 25_305_944, 31_685_672),
        ({"head": "fc"}, 58_379_800, 64_759_528),
        ({"head": "fc4096"}, 232_376_856, 238_756_584),
        ({"head": "nin"}, 6_998_552, 13_378_280),
        ({"widths": "inception5h"}, 7_058_180, 13_437_396),
        ({"num_classes": 10}, 5_983_802, 10_334_030),
    ],
    ids=str,
)
def test_parameters(build, options, main, with_aux):
    options = {"num_classes": 1000, "image_size": 224, "device": "meta"} | options
    assert count(build(**options)) == main
    assert count(build(aux="both", **options)) == with_aux


def test_parameters_by_part(build):
    net = build(1000, image_size=224, aux="both", device="meta")
    assert count(net.aux["inception4a"]) == 3_188_840
    assert count(net.aux["inception4d"]) == 3_190_888
    # 5,585,344 would be 3×3 kernels in the 5×5 branch, the mistake of most public versions.
    trunk = [net.get_submodule(stage) for stage in net.stages]
    weights = [conv.weight for part in trunk for conv in layers(part, nn.Conv2d)]
    assert sum(w.numel() for w in weights) == 5_966_272


@pytest.mark.parametrize(
    ("block", "convolutions"), [("reduced", 57), ("naive", 30), ("naive_proj", 39), ("no_pool", 48)]
)
def test_every_convolution_has_its_relu(build, block, convolutions):
    net = build(1000, image_size=224, block=block, device="meta")
    assert len(layers(net, nn.Conv2d)) == len(layers(net, nn.ReLU)) == convolutions


def test_multiply_adds(build):
    net = build(1000, image_size=224, aux="both", device="meta")
    assert macs(net.eval()) == 1_582_671_872
    # In training the auxiliary heads run as well.
    net = build(1000, image_size=224, aux="both", device="meta")
    assert macs(net.train()) == 1_582_671_872 + 4_169_728 + 4_202_496


@pytest.mark.parametrize(("block", "billions"), [("naive", 12.568), ("naive_proj", 4.427)])
def test_multiply_adds_of_the_naive_modules(build, block, billions):
    net = build(1000, image_size=224, block=block, device="meta").eval()
    assert round(macs(net) / 1e9, 3) == billions


@pytest.mark.parametrize("sign", [1, -1], ids=["rising", "falling"])
@pytest.mark.parametrize("size", [14, 15, 112])
def test_halving_pools_round_up_from_pixel_0(build, size, sign):
    """padding=1 gives the same shape but windows from −1, so weights made elsewhere would not fit."""
    net = build(image_size=224, width=0.125)
    ramp = sign * torch.arange(size * size).view(1, 1, size, size).float()
    starts = [2 * i for i in range(ceil((size - 3) / 2) + 1)]
    # On a ramp the maximum lies at a corner of the window: its end, or its start if the ramp falls.
    corner = [min(s + 2, size - 1) for s in starts] if sign > 0 else starts
    expected = ramp[:, :, corner][:, :, :, corner]
    halving = [layer for layer in layers(net, nn.MaxPool2d) if layer.stride == 2]
    assert halving == [net.pool1, net.pool2, net.pool3, net.pool4]
    for pool in halving:
        torch.testing.assert_close(pool(ramp), expected, rtol=0, atol=0)


def test_branches_join_in_the_papers_order(build):
    """1×1, 3×3, 5×5, pool: no published weights load in another order."""
    module = build(width=0.125).inception3a.eval()
    x = torch.randn(1, module.conv1x1.conv.in_channels, 5, 5)
    parts = [
        module.conv1x1(x),
        module.conv3x3(module.reduce3x3(x)),
        module.conv5x5(module.reduce5x5(x)),
        module.pool_proj(module.pool(x)),
    ]
    torch.testing.assert_close(module(x), torch.cat(parts, 1))
    assert [p.shape[-1] for p in parts] == [5] * 4


def test_heads_as_in_the_paper(build):
    net = build(1000, image_size=224, aux="both", device="meta")
    assert net.head.dropout.p == 0.4
    for aux in net.aux.values():
        assert (aux.pool.kernel_size, aux.pool.stride, aux.pool.padding) == (5, 3, 0)
        assert [layer.p for layer in layers(aux, nn.Dropout)] == [
            0.7
        ]  # once, before the classifier
        assert aux.fc.in_features == 128 * 4 * 4
