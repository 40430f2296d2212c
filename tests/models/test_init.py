"""Initial weights: their statistics, and that an ablation leaves shared ones as they were."""

from math import sqrt

import pytest
import torch
from torch import nn

from deeper.models import init


def shared(one, other):
    """Names of parameters that both nets have in the same shape."""
    one, other = dict(one.named_parameters()), dict(other.named_parameters())
    return [n for n in one if n in other and one[n].shape == other[n].shape]


def assert_equal_where_shared(one, other, least):
    names = shared(one, other)
    assert len(names) >= least, "so few in common that the test says nothing"
    for name in names:
        assert torch.equal(one.get_parameter(name), other.get_parameter(name)), name


INITS = {"bvlc": init.BVLC, "he": init.He, "trunc": init.TruncatedNormal, "gauss": init.Gaussian}


@pytest.mark.parametrize(
    ("change", "least"),
    [
        ({"aux": "both"}, 116),  # all: 57 convolutions and the classifier, weight and bias each
        ({"head": "fc"}, 114),
        ({"head": "nin"}, 115),  # the classifier's bias, too
        ({"block": "no_pool"}, 20),
        ({"block": "naive_proj"}, 20),
        ({"image_size": 64}, 116),
        ({"norm": "none"}, 116),
    ],
    ids=str,
)
@pytest.mark.parametrize("scheme", INITS)
def test_an_ablation_changes_nothing_it_shares(build, scheme, change, least):
    start = {"width": 0.125, "init": INITS[scheme](seed=3)}
    plain = build(**start)
    torch.manual_seed(1234)  # torch's own generator plays no part
    assert_equal_where_shared(plain, build(**start | change), least)


def test_auxiliary_heads_do_not_depend_on_each_other(build):
    both, one = build(width=0.125, aux="both"), build(width=0.125, aux="4d")
    assert_equal_where_shared(one, both, len(list(one.parameters())))


@pytest.mark.parametrize("scheme", INITS)
def test_names_alone_decide(build, scheme):
    """The net starts part by part; starting the finished one over must come to the same."""
    net, again = (build(width=0.125, aux="both", init=INITS[scheme](seed=3)) for _ in "ab")
    nn.init.zeros_(again.conv1.conv.weight)
    INITS[scheme](seed=3)(again)
    assert_equal_where_shared(net, again, len(list(net.parameters())))


def test_no_two_layers_start_alike(build):
    net = build(width=0.125, aux="both", init=init.TruncatedNormal())  # one std for every layer
    starts = [tuple(p.flatten()[:8].tolist()) for p in net.parameters() if p.ndim > 1]
    assert len(set(starts)) == len(starts)


def test_reset_classifier_equals_a_net_built_for_those_classes(build):
    net, fresh = build(7, aux="both", width=0.125), build(11, aux="both", width=0.125)
    net.reset_classifier(11)
    assert_equal_where_shared(net, fresh, len(list(fresh.parameters())))


@pytest.mark.parametrize("scheme", INITS)
def test_another_seed_gives_other_weights(build, scheme):
    one, other = (build(width=0.125, aux="both", init=INITS[scheme](seed=s)) for s in (1, 2))
    for name in shared(one, other):
        if name.endswith(".weight"):
            assert not torch.equal(one.get_parameter(name), other.get_parameter(name)), name


@pytest.fixture(scope="module")
def initialised(build):
    """Initialiser → [(layer's name, layer)] of a half-width net, which has samples enough."""

    def make(scheme):
        net = build(100, aux="both", width=0.5, init=INITS[scheme]())
        return [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]

    return {scheme: make(scheme) for scheme in INITS}


def assert_std(name, weight, expected):
    """Within five standard errors of a sample this large."""
    assert abs(weight.std().item() / expected - 1) < 5 / sqrt(2 * weight.numel()), name
    assert abs(weight.mean().item()) < 5 * expected / sqrt(weight.numel()), name


@pytest.mark.parametrize(
    ("scheme", "bias"), [("bvlc", 0.2), ("he", 0.0), ("trunc", 0.0), ("gauss", 0.2)]
)
def test_biases(initialised, scheme, bias):
    for name, layer in initialised[scheme]:
        expected = 0.0 if name.endswith("classifier") else bias
        torch.testing.assert_close(layer.bias, torch.full_like(layer.bias, expected))


def test_bvlc_is_uniform_with_caffes_bound(initialised):
    for name, layer in initialised["bvlc"]:
        bound = sqrt(3 / layer.weight[0].numel())
        assert 0.98 * bound < layer.weight.abs().max() <= bound, name
        assert_std(name, layer.weight, bound / sqrt(3))


def test_he(initialised):
    for name, layer in initialised["he"]:
        gain = 1 if name.endswith("classifier") else 2  # no ReLU follows a classifier
        assert_std(name, layer.weight, sqrt(gain / layer.weight[0].numel()))


def test_truncated_normal_is_cut_at_two_std(initialised):
    for name, layer in initialised["trunc"]:
        assert 0.019 < layer.weight.abs().max() <= 0.02, name
        assert_std(name, layer.weight, 0.01 * 0.87963)  # std of N(0, 1) cut at ±2


def test_gaussian_by_kind(initialised):
    # The `std` values in BVLC's deploy.prototxt, by the last part of the layer's name.
    stds = {
        "conv1": 0.1, "conv2_reduce": 0.1, "conv2": 0.03,
        "conv1x1": 0.03, "reduce3x3": 0.09, "conv3x3": 0.03,
        "reduce5x5": 0.2, "conv5x5": 0.03, "pool_proj": 0.1,
    }  # fmt: skip
    found = set()
    for name, layer in initialised["gauss"]:
        kind = name.removesuffix(".conv").split(".")[-1]
        assert_std(name, layer.weight, stds.get(kind, 1 / sqrt(layer.weight[0].numel())))
        found.add(kind)
    assert found == {*stds, "conv", "fc", "classifier"}  # the last three are in heads


def test_batch_norm_starts_as_the_identity(build):
    norms = [m for m in build(norm="bn", width=0.125).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 57
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)
