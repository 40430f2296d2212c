"""Local response normalisation against the formula, and against torch's layer."""

import pytest
import torch
from torch import nn

from deeper.models import lrn
from deeper.models.lrn import LocalResponseNorm

BVLC = (5, 1e-4, 0.75, 1.0)
GOOGLE = (11, 1.1e-3, 0.5, 2.0)
SIZES = [1, 2, 5, 11]
BETAS = [0.5, 0.75, 1.3]


def activations(*shape, spread=30.0, dtype=torch.float32, seed=0):
    """Large enough for the small published alphas to matter."""
    random = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=random, dtype=torch.float64) * spread).to(dtype)


def by_formula(x, size, alpha, beta, k):
    """y_c = x_c / (k + alpha/size · Σ x_j²)^beta, j from c − size//2, `size` channels, in float64."""
    x = x.double()
    channels = x.shape[1]
    result = []
    for c in range(channels):
        first = c - size // 2
        window = x[:, max(first, 0) : min(first + size, channels)]
        result.append(x[:, c] / (k + alpha / size * (window**2).sum(1)) ** beta)
    return torch.stack(result, 1)


def values_and_gradients(layer, x):
    x = x.detach().requires_grad_()
    y = layer(x)
    y.backward(activations(*x.shape, spread=1.0, dtype=y.dtype, seed=1))
    return y.detach(), x.grad


# 3 channels are fewer than the windows of 5 and 11.
@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("size", SIZES)
def test_formula(size, beta, channels):
    x = activations(2, channels, 2, 3, spread=1.0, dtype=torch.float64)
    layer = LocalResponseNorm(size, alpha=0.8, beta=beta, k=1.5)  # alpha large: the sum must count
    torch.testing.assert_close(layer(x), by_formula(x, size, 0.8, beta, 1.5))
    assert torch.autograd.gradcheck(layer, x[:1, :, :1].requires_grad_())


@pytest.mark.parametrize("constants", [BVLC, GOOGLE], ids=["bvlc", "google"])
def test_agrees_with_torch(constants):
    x = activations(4, 64, 7, 7)
    ours = values_and_gradients(LocalResponseNorm(*constants), x)
    theirs = values_and_gradients(nn.LocalResponseNorm(*constants), x)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("constants", [BVLC, GOOGLE], ids=["bvlc", "google"])
def test_half_precision_costs_one_rounding(constants, dtype):
    """torch's own refuses bfloat16 on CPU. Sums are float32, so only the answer is rounded."""
    x = activations(2, 16, 5, 5, dtype=dtype)
    half = values_and_gradients(LocalResponseNorm(*constants), x)
    # The same numbers in float32, the gradient that arrives included.
    full = x.float().requires_grad_()
    y = LocalResponseNorm(*constants)(full)
    y.backward(activations(*x.shape, spread=1.0, dtype=dtype, seed=1).float())
    rounding = torch.finfo(dtype).eps / 2
    for value, reference in zip(half, (y.detach(), full.grad), strict=True):
        assert value.dtype == dtype
        torch.testing.assert_close(value.float(), reference, rtol=rounding, atol=1e-7)


@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (1, 1, 3, 3), (2, 6, 1, 1), (1, 6, 1, 4)])
def test_layout_does_not_matter(shape):
    layer, x = LocalResponseNorm(5, alpha=0.1), activations(*shape, spread=1.0)
    expected = values_and_gradients(layer, x)
    layouts = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "turned": x.transpose(2, 3).contiguous().transpose(2, 3),
        "every second channel": x.repeat_interleave(2, 1)[:, ::2],
    }
    for name, view in layouts.items():
        for value, reference in zip(values_and_gradients(layer, view), expected, strict=True):
            torch.testing.assert_close(value, reference, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("pixels", [1, 3, 10**6])  # 3 do not divide 2·5·7, and leave a short block
def test_blocks_do_not_matter(monkeypatch, pixels):
    layer, x = LocalResponseNorm(5, alpha=0.1), activations(2, 12, 5, 7, spread=1.0)
    expected = values_and_gradients(layer, x)
    monkeypatch.setattr(lrn, "BLOCK_VALUES", pixels * 12)
    assert len(lrn._blocks(x)) == -(-2 * 5 * 7 // pixels)
    for value, reference in zip(values_and_gradients(layer, x), expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-6, atol=1e-7)


def test_input_is_left_alone():
    x = activations(2, 8, 3, 3)
    before = x.clone()
    values_and_gradients(LocalResponseNorm(5), x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 5, "alpha": -1}, {"size": 5, "k": 0}])
def test_refuses(wrong):
    with pytest.raises(ValueError, match="must"):
        LocalResponseNorm(**wrong)
