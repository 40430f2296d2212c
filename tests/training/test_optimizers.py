"""Which parameter gets which rate and decay."""

import re
from functools import partial

import pytest
import torch
from torch import nn

from deeper.training.optimizers import adamw, make_optimizer, parameter_groups, rmsprop, sgd

OPTIMIZERS = [sgd, adamw, rmsprop]


class Scale(nn.Module):
    """As timm's layer scale: a vector that is called neither weight nor bias."""

    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return x * self.gamma


def net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 1, bias=False),
        nn.GroupNorm(2, 4),
        nn.PReLU(4),
        Scale(),
        nn.Flatten(),
        nn.LayerNorm(4),
        nn.Linear(4, 2),
    )


WEIGHTS, BIASES = {"0.weight", "2.weight", "8.weight"}, {"0.bias", "8.bias"}
NORMS = {"1.weight", "1.bias", "3.weight", "3.bias", "4.weight", "5.gamma", "7.weight", "7.bias"}


def settings(module, optimizer):
    """{name: (rate, decay)}; fails where a parameter is in two groups."""
    names = {id(p): name for name, p in module.named_parameters()}
    found = [
        (names[id(p)], (group["lr"], group["weight_decay"]))
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("everywhere", [False, True])
def test_norms_and_biases_decay_only_when_asked(make, everywhere):
    module = net()
    optimizer = make(
        module, lr=0.1, batch_size=32, weight_decay=0.01, decay_bias_and_norm=everywhere
    )
    rest = 0.01 if everywhere else 0.0
    assert settings(module, optimizer) == (
        dict.fromkeys(WEIGHTS, (0.1, 0.01)) | dict.fromkeys(NORMS | BIASES, (0.1, rest))
    )


def test_bvlc_trains_biases_at_twice_the_rate():
    module = net()
    bvlc = sgd(module, lr=0.01, batch_size=32, weight_decay=2e-4, bias_lr_factor=2.0)
    assert settings(module, bvlc) == (
        dict.fromkeys(WEIGHTS, (0.01, 2e-4))
        | dict.fromkeys(NORMS, (0.01, 0.0))
        | dict.fromkeys(BIASES, (0.02, 0.0))
    )


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_every_parameter_exactly_once(make):
    module = net()
    module[8].weight.requires_grad_(False)  # frozen
    module.append(module[0])  # shared
    optimizer = make(module, lr=0.1, batch_size=32)
    assert settings(module, optimizer).keys() == (WEIGHTS | BIASES | NORMS) - {"8.weight"}


def test_no_group_is_empty():
    assert len(parameter_groups(nn.Conv2d(1, 1, 1, bias=False), 0.1, 0.0)) == 1


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize(("base", "rate"), [(None, 0.1), (256, 0.2), (1024, 0.05)])
def test_linear_scaling(make, base, rate):
    module = net()
    optimizer = make(module, lr=0.1, batch_size=512, lr_base_batch=base)
    assert all(used == pytest.approx(rate) for used, _ in settings(module, optimizer).values())
    assert optimizer.defaults["lr"] == pytest.approx(rate)


def test_settings_reach_torch():
    at = {"lr": 0.1, "batch_size": 1}
    groups = sgd(net(), momentum=0.8, nesterov=True, **at).param_groups
    assert {(g["momentum"], g["nesterov"]) for g in groups} == {(0.8, True)}
    groups = adamw(net(), betas=[0.8, 0.9], **at).param_groups
    assert {g["betas"] for g in groups} == {(0.8, 0.9)}
    groups = rmsprop(net(), alpha=0.8, momentum=0.7, eps=0.1, **at).param_groups
    assert {(g["alpha"], g["momentum"], g["eps"]) for g in groups} == {(0.8, 0.7, 0.1)}


@pytest.mark.parametrize("name", ["NAdam", "SGD", "RMSprop", "Adagrad"])
def test_an_optimizer_of_torch_as_it_is(name):
    """It gets our groups: norm layers and biases do not decay."""
    module = net()
    module[8].weight.requires_grad_(False)
    plain = partial(getattr(torch.optim, name), lr=0.02, weight_decay=0.01)
    optimizer = make_optimizer(plain, module)
    assert type(optimizer).__name__ == name
    assert settings(module, optimizer) == (
        dict.fromkeys(WEIGHTS - {"8.weight"}, (0.02, 0.01))
        | dict.fromkeys(NORMS | BIASES, (0.02, 0.0))
    )


def test_a_function_of_the_network_makes_its_optimizer_itself():
    module = net()
    made = make_optimizer(lambda network: torch.optim.SGD(network[0].parameters(), lr=0.1), module)
    assert settings(module, made).keys() == {"0.weight", "0.bias"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *((partial(m, net(), lr=0, batch_size=1), "lr=0: must be above 0") for m in OPTIMIZERS),
        (partial(sgd, net(), lr=float("nan"), batch_size=1), "lr=nan: must be above 0"),
        (
            partial(make_optimizer, partial(torch.optim.NAdam, lr=-1.0), net()),
            "NAdam: Invalid learning rate: -1.0",
        ),
        *(
            (
                partial(m, net(), lr=0.1, batch_size=1, weight_decay=-1),
                "weight_decay=-1: must be at least 0",
            )
            for m in OPTIMIZERS
        ),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
