"""The layers of deeper.models.cpu against torch's, in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deeper.files import remove_temporary
from deeper.models.cpu import layers, library, winograd
from deeper.models.inception import ConvNormAct, Reduced, Widths
from deeper.models.init import He
from deeper.models.lrn import LocalResponseNorm
from deeper.models.norm import LRN, BatchNorm

BOUND = {torch.float32: 3e-6, torch.bfloat16: 3e-3}
"""Relative errors; bfloat16 has 8 bits."""
CHANNELS = [1, 3, 6, 12, 24, 40, 64, 70, 130]
"""Each size of the parts that pools take, 1 to 64; most with a last part that overlaps."""


@pytest.fixture(autouse=True, scope="module")
def kernels(tmp_path_factory):
    try:
        library.load(tmp_path_factory.getbasetemp().parent / "kernels")
    except OSError as error:
        pytest.skip(f"needs a C++ compiler: {error}")


@pytest.fixture
def every_convolution(monkeypatch):
    """Winograd's for few channels and images too."""
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 8)
    monkeypatch.setattr(winograd, "FEWEST_TILES", 1)


def images(channels, dtype=torch.float32, spread=2.0, offset=3.0, size=(9, 7)):
    random = torch.Generator().manual_seed(channels)
    x = torch.randn(4, channels, *size, generator=random) * spread + offset
    return x.to(dtype).to(memory_format=torch.channels_last).requires_grad_()


def error(ours, exact):
    ours, exact = ours.detach().double(), exact.detach().double()
    return float((ours - exact).norm() / exact.norm())


def compared(layer, exact, x):
    """Relative errors of the result, of its gradient for x and of those for the parameters."""
    wide = x.detach().double().requires_grad_()
    ours, theirs = layer(x), exact(wide)
    # A part of a concatenation: its pixels lie 8 values further apart.
    grad = torch.randn(ours.shape[0], ours.shape[1] + 8, *ours.shape[2:], dtype=torch.float32)
    grad = grad.to(x.dtype).to(memory_format=torch.channels_last)[:, 4:-4]
    ours.backward(grad)
    theirs.backward(grad.double())
    errors = [error(ours, theirs), error(x.grad, wide.grad)]
    pairs = zip(layer.parameters(), exact.parameters(), strict=True)
    return errors + [error(p.grad, q.grad) for p, q in pairs]


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_relu(channels, dtype, momentum):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels, momentum=momentum)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    ours, exact = copy.deepcopy(norm), copy.deepcopy(norm).double()
    ours.__class__ = layers.BatchNormReLU
    x = images(channels, dtype)
    errors = compared(ours, nn.Sequential(exact, nn.ReLU()), x)
    assert max(errors) < BOUND[dtype]
    for name, buffer in exact.named_buffers():
        assert error(ours.get_buffer(name), buffer) < 1e-6
    ours.eval(), exact.eval()
    assert error(ours(x), F.relu(exact(x.double()))) < BOUND[dtype]


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "ceil"),
    [(3, 1, 1, False), (3, 2, 0, True), (2, 2, 0, True), (5, 3, 2, False), (15, 7, 7, True)],
)
def test_max_pool(kernel, stride, padding, ceil, channels, dtype):
    theirs = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
    ours = copy.deepcopy(theirs)
    ours.__class__ = layers.MaxPool
    x = images(channels, dtype)
    assert torch.equal(ours(x), theirs(x))
    torch.manual_seed(0)
    assert max(compared(ours, theirs, x)) < BOUND[dtype]


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_max_pool_takes_a_gradient_to_one_pixel_alone(value, dtype):
    pool = nn.MaxPool2d(3, 1, 1)
    pool.__class__ = layers.MaxPool
    x = images(40, dtype)
    grad = torch.zeros_like(x)
    grad[1, 2, 3, 4] = value
    pool(x).backward(grad)
    assert (x.grad != 0).sum() == 1


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 0), (3, 1, 1)])
def test_batch_norm_relu_and_pool(kernel, stride, padding, channels, dtype):
    torch.manual_seed(0)
    norm, pool = nn.BatchNorm2d(channels), nn.MaxPool2d(kernel, stride, padding, ceil_mode=True)
    # Negative weights too, with which the largest result is that of the smallest value.
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    ours, exact = copy.deepcopy(norm), copy.deepcopy(norm).double()
    ours.__class__, ours.pool = layers.BatchNormReLUPool, copy.deepcopy(pool)
    ours.pool.__class__ = layers.MaxPool
    x = images(channels, dtype)
    assert max(compared(ours, nn.Sequential(exact, nn.ReLU(), pool), x)) < BOUND[dtype]
    ours.eval(), exact.eval()
    assert error(ours(x), pool(F.relu(exact(x.double())))) < BOUND[dtype]


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("weight", [1.0, -1.0])
@pytest.mark.parametrize("value", [0.0, -0.0, -1e-40])
def test_windows_of_zeros_are_finite(value, weight, dtype):
    """The largest number of such a window, or with a negative weight the smallest, is a zero with a sign."""
    ours = nn.BatchNorm2d(64)
    nn.init.constant_(ours.weight, weight)
    ours.__class__, ours.pool = layers.BatchNormReLUPool, nn.MaxPool2d(3, 2)
    ours.pool.__class__ = layers.MaxPool
    x = images(64, dtype).detach()
    x[0, :, 2:7, 2:7] = value
    assert ours(x).isfinite().all()


@pytest.mark.parametrize("norm", ["bn", "lrn", "none"])
def test_a_whole_network(build, norm, every_convolution):
    net = build(image_size=96, norm=norm, stem="imagenet", init=He(), width=0.25).double()
    net.head.dropout.p = 0.0
    ours, x = copy.deepcopy(net).float(), images(3, offset=0.0, size=(96, 96))
    ours.to(memory_format=torch.channels_last)
    layers.use_kernels(ours, None)
    assert type(ours.inception3a) is layers.MergedReduced
    assert type(ours.pool1) is not nn.MaxPool2d
    assert type(ours.conv2.conv) is winograd.Conv3x3
    for network, images_ in ((ours, x), (net, x.double())):
        network(images_).logits.square().sum().backward()
    for (name, p), q in zip(ours.named_parameters(), net.parameters(), strict=True):
        # In float32 torch's own errors are 0.03 with batch normalisation, where masks of ReLU differ.
        assert error(p.grad, q.grad) < (0.1 if norm == "bn" else 1e-3), name
    ours.eval(), net.eval()
    assert error(ours(x).logits, net(x.double()).logits) < 1e-4


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("value", [float("nan"), float("-inf"), float("inf"), -0.0, -1e-40])
def test_max_pool_of_special_values(value, dtype):
    x = images(64, dtype).detach()
    x[0, :, 2:7, 2:7] = value  # whole windows, too
    x[1, 5, 4, 4] = -value
    ours = nn.MaxPool2d(3, 2)
    ours.__class__ = layers.MaxPool
    torch.testing.assert_close(ours(x), F.max_pool2d(x, 3, 2), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(
    "constants", [(5, 1e-4, 0.75, 1.0), (11, 1.1e-3, 0.5, 2.0), (4, 0.5, 0.6, 1.0)]
)
def test_lrn(constants, channels, dtype):
    ours, exact = LocalResponseNorm(*constants), LocalResponseNorm(*constants)
    ours.__class__ = layers.LRN
    torch.manual_seed(0)
    assert max(compared(ours, exact, images(channels, dtype, spread=30.0))) < BOUND[dtype]


def test_names_parameters_and_copies_stay():
    net = Reduced(8, Widths(8, 8, 8, 8, 8, 8), BatchNorm()).to(memory_format=torch.channels_last)
    before, plain = net.state_dict(), copy.deepcopy(net)
    layers.use_kernels(net, None)
    assert [*net.state_dict()] == [*before]
    assert all(net.state_dict()[name] is not None for name in before)
    x = images(8)
    again = copy.deepcopy(net)
    torch.testing.assert_close(net(x), plain(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again(x), plain(x), rtol=1e-4, atol=1e-5)
    assert isinstance(again.conv1x1.norm, layers.BatchNormReLU)


@pytest.mark.parametrize("dtype", BOUND)
@torch.inference_mode()
def test_convolution_with_relu_in_evaluation(dtype):
    block = ConvNormAct(8, 16, 3, LRN()).eval()
    fused, x = copy.deepcopy(block).to(dtype), images(8, dtype, offset=0.0)
    layers.use_kernels(fused, None)
    assert type(fused) is layers.ConvReLU
    with torch.no_grad():
        assert error(fused(x), block.double()(x.double())) < 3 * BOUND[dtype]


@pytest.mark.parametrize(("channels", "out"), [(8, 24), (40, 16), (64, 64)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (4, 8), (9, 7)])
@pytest.mark.parametrize("together", [1, 3, 4])
def test_convolution_of_3x3(channels, out, bias, size, together, every_convolution, monkeypatch):
    """Of four images, in parts of as many as `together`."""
    tiles = -(-size[0] // 4) * -(-size[1] // 4)
    monkeypatch.setattr(winograd, "CACHE", together * 4 * 36 * tiles * (channels + out))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # of the kernels
    torch.manual_seed(0)
    theirs = nn.Conv2d(channels, out, 3, padding=1, bias=bias)
    ours, exact = nn.Sequential(copy.deepcopy(theirs)), copy.deepcopy(theirs).double()
    layers.use_kernels(ours, None)
    assert type(ours[0]) is winograd.Conv3x3
    assert max(compared(ours, exact, images(channels, size=size))) < 6e-6


@torch.no_grad()
def test_convolution_of_3x3_with_relu(every_convolution, monkeypatch):
    block, calls = ConvNormAct(8, 16, 3, LRN()).eval(), []
    ours, x = copy.deepcopy(block), images(8, offset=0.0).detach()
    layers.use_kernels(ours, None)

    def convolution(*arguments, relu):
        calls.append(relu)
        return winograd.convolution(*arguments, relu=relu)

    monkeypatch.setattr(layers, "convolution", convolution)
    found = ours(x)
    assert error(found, block.double()(x.double())) < 6e-6
    x[1, 2, 3, 4] = float("nan")
    spoiled = ours(x)
    assert calls == [True, True]
    assert spoiled[1].isnan().any()
    assert torch.equal(spoiled[[0, 2, 3]], found[[0, 2, 3]])


def test_other_convolutions_are_torchs():
    conv = {"kernel_size": 3, "padding": 1, "in_channels": 48, "out_channels": 48}
    assert winograd.Conv3x3.fits(nn.Conv2d(**conv))
    for change in (
        {"kernel_size": 5}, {"padding": 0}, {"stride": 2}, {"dilation": 2}, {"groups": 2},
        {"in_channels": 52}, {"out_channels": 40}, {"padding_mode": "reflect"},
    ):  # fmt: skip
        net = nn.Sequential(nn.Conv2d(**conv | change))
        layers.use_kernels(net, None)
        assert type(net[0]) is nn.Conv2d, change


def test_a_convolution_of_few_pixels_or_in_bfloat16_is_torchs(monkeypatch):
    monkeypatch.setattr(winograd, "convolution", None)
    theirs = nn.Conv2d(8, 8, 3, padding=1)
    ours = copy.deepcopy(theirs)
    ours.__class__ = winograd.Conv3x3
    x = images(8)
    assert torch.equal(ours(x), theirs(x))
    monkeypatch.setattr(winograd, "FEWEST_TILES", 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x), theirs(x))
    with pytest.raises(RuntimeError, match="to have 8 channels"):
        ours(images(16))
    ours.bias.data = ours.bias.data.double()
    with pytest.raises(RuntimeError, match="bias"):
        ours(x)
    assert torch.equal(ours.bfloat16()(x.bfloat16()), theirs.bfloat16()(x.bfloat16()))


class WithSum(ConvNormAct):
    def forward(self, x):
        return self.act(self.norm(self.conv(x)) + x)


@pytest.mark.parametrize("change", ["subclass", "activation"])
def test_a_block_that_does_something_else_stays(change):
    block = (WithSum if change == "subclass" else ConvNormAct)(8, 8, 1, BatchNorm())
    if change == "activation":
        block.act = nn.SiLU()
    plain, x = copy.deepcopy(block), images(8)
    layers.use_kernels(block, None)
    assert torch.equal(block(x), plain(x))


def test_a_whole_number_as_eps():
    ours, exact = nn.BatchNorm2d(8, eps=1), nn.BatchNorm2d(8, eps=1).double()
    ours.__class__ = layers.BatchNormReLU
    assert max(compared(ours, nn.Sequential(exact, nn.ReLU()), images(8))) < BOUND[torch.float32]


def test_a_pixel_far_from_the_others_does_not_spoil_the_statistics():
    ours = nn.BatchNorm2d(8)
    ours.__class__ = layers.BatchNormReLU
    x = images(8).detach()
    x[0, :, 0, 0] = 3000
    ours(x)
    exact = nn.BatchNorm2d(8).double()
    exact(x.double())
    assert error(ours.running_var, exact.running_var) < 1e-6


def test_weights_in_bfloat16_are_torchs():
    net = ConvNormAct(8, 8, 1, BatchNorm()).bfloat16()
    plain, x = copy.deepcopy(net), images(8, torch.bfloat16)
    layers.use_kernels(net, None)
    assert torch.equal(net(x), plain(x))


def test_not_a_number_is_not_hidden():
    block = ConvNormAct(8, 8, 1, BatchNorm())
    layers.use_kernels(block, None)
    x = images(8).detach()
    x[0, 0, 0, 0] = float("nan")
    assert block(x).isnan().any()


def test_one_value_a_channel_is_refused_as_by_torch():
    norm = nn.BatchNorm2d(8)
    norm.__class__ = layers.BatchNormReLU
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(torch.zeros(1, 8, 1, 1))


def test_without_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "_loaded", {})
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(OSError, match="false failed"):
        library.load(tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(OSError, match="no-such-compiler"):
        library.load(tmp_path)
    remove_temporary(tmp_path)
    assert not [*tmp_path.iterdir()]
