"""torch's optimizers, with the parameter groups that recipes ask for."""

from typing import Any

import torch
from torch import nn


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
) -> torch.optim.Optimizer:
    """Stochastic gradient descent. `sgd_bvlc` is this with a bias rate of 2 and plain momentum."""
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
) -> torch.optim.Optimizer:
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
) -> torch.optim.Optimizer:
    """The defaults are those of TF-slim's training script for Inception."""
    rate = peak_lr(lr, batch_size, lr_base_batch)
    groups = parameter_groups(net, rate, weight_decay, decay_bias_and_norm)
    return torch.optim.RMSprop(groups, lr=rate, alpha=alpha, momentum=momentum, eps=eps)


def peak_lr(lr: float, batch_size: int, lr_base_batch: int | None) -> float:
    """`lr`, or its linear scaling (Goyal et al., 2017) where it was stated for another batch size."""
    if lr <= 0:
        raise ValueError(f"lr={lr}: must be above 0")
    return lr if lr_base_batch is None else lr * batch_size / lr_base_batch


def parameter_groups(
    net: nn.Module,
    lr: float,
    weight_decay: float,
    decay_bias_and_norm: bool = False,
    bias_lr_factor: float = 1.0,
) -> list[dict[str, Any]]:
    """Weights; biases and norm parameters, without decay unless asked; biases at a rate of their own."""
    if weight_decay < 0:
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
    """Whether the parameter belongs to a norm layer: one whose weight is a vector too."""
    weight = getattr(net.get_submodule(name.rpartition(".")[0]), "weight", None)
    return isinstance(weight, torch.Tensor) and weight.ndim == 1
