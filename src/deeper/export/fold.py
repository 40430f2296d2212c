"""Batch normalisation made part of the convolution before it, in a network that no longer trains.

In evaluation both are affine: γ·(w∗x + b − μ)/√(σ² + ε) + β = w′∗x + b′. The products are taken in
float64 and rounded once.
"""

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def folded(net: nn.Module, images: Tensor) -> nn.Module:
    """A copy in evaluation mode, without the batch norms that convolutions took in.

    `images` is a batch that the network takes: which norm reads which convolution is seen in a
    forward pass, not guessed from names or order. A convolution that something else reads too, a
    layer that is called twice, and layers of other types that share a name are left as they are.
    """
    net = copy.deepcopy(net).eval()
    names = {module: name for name, module in net.named_modules()}
    for conv, norm in _pairs(net, images):
        _absorb(conv, norm)
        net.set_submodule(names[norm], _remainder(norm))
    return net


def _absorb(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    weight, kind = conv.weight.detach().double(), conv.weight.dtype
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None  # noqa: S101
    assert variance is not None  # noqa: S101
    gain = (variance.double() + norm.eps).rsqrt()
    shift = -mean.double() if conv.bias is None else conv.bias.detach().double() - mean.double()
    if norm.weight is not None:
        gain = gain * norm.weight.detach().double()
    shift = shift * gain
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    conv.weight = nn.Parameter((weight * gain.view(-1, 1, 1, 1)).to(kind), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(kind), requires_grad=False)


def _pairs(net: nn.Module, images: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each batch norm with the convolution whose output it reads, alone."""
    calls: Counter[nn.Module] = Counter()
    made: dict[int, nn.Conv2d] = {}
    read: dict[nn.BatchNorm2d, int] = {}

    def after_conv(conv: nn.Module, _: Any, output: Tensor) -> None:
        calls[conv] += 1
        made[id(output)] = conv  # type: ignore[assignment]

    def before_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[norm] += 1
        read[norm] = id(inputs[0])  # type: ignore[index]

    handles = []
    for module in net.modules():
        if _plain(module, nn.Conv2d):
            handles.append(module.register_forward_hook(after_conv))
        elif _plain(module, nn.BatchNorm2d, "BatchNormAct2d") and module.running_var is not None:
            handles.append(module.register_forward_pre_hook(before_norm))
    with torch.no_grad(), _Uses() as uses:
        net(images)
    for handle in handles:
        handle.remove()
    return [
        (made[tensor], norm)
        for norm, tensor in read.items()
        if tensor in made
        and uses.count[tensor] == 1
        and calls[norm] == 1
        and calls[made[tensor]] == 1
    ]


class _Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """How many operations read each tensor; it holds them all, so that no `id` is given twice."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[int] = Counter()
        self._held: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self.count[id(leaf)] += 1
                self._held.append(leaf)
        self._held += [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        return result


def _plain(module: nn.Module, kind: type[nn.Module], relative: str = "") -> bool:
    """Of this very type: a subclass may do more with its weights, and so may a hook."""
    known = type(module) is kind or (isinstance(module, kind) and type(module).__name__ == relative)
    return known and not module._forward_hooks and not module._forward_pre_hooks


def _remainder(norm: nn.BatchNorm2d) -> nn.Module:
    """What a norm does besides: timm's BatchNormAct2d has its activation in it."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    return nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))
