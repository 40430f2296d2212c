"""torch's optimizers on parameter groups: biases and norm layers are not decayed unless asked."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.optim import Optimizer

OptimizerFactory = Callable[[Any], Optimizer]


def make_optimizer(factory: OptimizerFactory, net: nn.Module) -> Optimizer:
    """`factory` is a function of the network, such as those below, or an optimizer class (or a
    partial of one) of torch or timm, which gets our parameter groups.
    """
    kind = getattr(factory, "func", factory)
    if not (isinstance(kind, type) and issubclass(kind, Optimizer)):
        return factory(net)
    try:
        defaults = factory([p for p in net.parameters() if p.requires_grad]).defaults
    except ValueError as error:  # torch's word for a setting that is out of range
        raise ValueError(f"{kind.__name__}: {error}") from error
    groups = parameter_groups(net, defaults["lr"], defaults.get("weight_decay", 0.0))
    return factory(groups)


def learning_rate(trainer: L.Trainer) -> float:
    """The rate of the coming step, that of the first parameter group; biases may have another."""
    rate: float = trainer.optimizers[0].param_groups[0]["lr"]
    return rate


def sgd(
    net: nn.Module,
    *,
    lr: float,
    batch_size: int,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 1e-4,
    decay_bias_and_norm: bool = False,
    bias_lr_factor: float = 1.0,
    lr_base_batch: int | None = None,
) -> Optimizer:
    """Stochastic gradient descent; biases learn at `bias_lr_factor` times the rate."""
    rate = peak_lr(lr, batch_size, lr_base_batch)
    groups = parameter_groups(net, rate, weight_decay, decay_bias_and_norm, bias_lr_factor)
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov)


def adamw(
    net: nn.Module,
    *,
    lr: float,
    batch_size: int,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.05,
    decay_bias_and_norm: bool = False,
    lr_base_batch: int | None = None,
) -> Optimizer:
    """Adam with decoupled weight decay."""
    rate = peak_lr(lr, batch_size, lr_base_batch)
    groups = parameter_groups(net, rate, weight_decay, decay_bias_and_norm)
    return torch.optim.AdamW(groups, lr=rate, betas=(betas[0], betas[1]))


def rmsprop(
    net: nn.Module,
    *,
    lr: float,
    batch_size: int,
    alpha: float = 0.9,
    momentum: float = 0.9,
    eps: float = 1.0,
    weight_decay: float = 4e-5,
    decay_bias_and_norm: bool = False,
    lr_base_batch: int | None = None,
) -> Optimizer:
    """RMSprop with the defaults of TF-slim's training script for Inception."""
    rate = peak_lr(lr, batch_size, lr_base_batch)
    groups = parameter_groups(net, rate, weight_decay, decay_bias_and_norm)
    return torch.optim.RMSprop(groups, lr=rate, alpha=alpha, momentum=momentum, eps=eps)


def peak_lr(lr: float, batch_size: int, lr_base_batch: int | None) -> float:
    """`lr`, scaled linearly with the batch size where `lr_base_batch` is given (Goyal et al., 2017)."""
    return lr if lr_base_batch is None else lr * batch_size / lr_base_batch


def parameter_groups(
    net: nn.Module,
    lr: float,
    weight_decay: float,
    decay_bias_and_norm: bool = False,
    bias_lr_factor: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups of the trained parameters: weights, norm layers (and other vectors), biases.

    Only weights decay unless `decay_bias_and_norm`; biases learn at `bias_lr_factor` times `lr`.
    """
    if not lr > 0:  # nan too
        raise ValueError(f"lr={lr}: must be above 0")
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay={weight_decay}: must be at least 0")
    weights, norms, biases = [], [], []
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim > 1:
            weights.append(parameter)
        elif name.endswith(".bias") and not _follows_norm(net, name):
            biases.append(parameter)
        else:
            norms.append(parameter)
    decay = weight_decay if decay_bias_and_norm else 0.0
    groups = [
        {"params": weights, "lr": lr, "weight_decay": weight_decay},
        {"params": norms, "lr": lr, "weight_decay": decay},
        {"params": biases, "lr": lr * bias_lr_factor, "weight_decay": decay},
    ]
    return [group for group in groups if group["params"]]


def _follows_norm(net: nn.Module, name: str) -> bool:
    """Whether the parameter belongs to a norm layer: a layer whose weight is a vector too."""
    weight = getattr(net.get_submodule(name.rpartition(".")[0]), "weight", None)
    return isinstance(weight, torch.Tensor) and weight.ndim == 1
