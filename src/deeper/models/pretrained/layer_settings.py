"""Settings of layers that weights do not show: strides, padding, pooling windows, constants of norms."""

from torch import nn

from deeper.models.lrn import LocalResponseNorm

POOLS_AND_LRN = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, LocalResponseNorm)


def layer_settings(net: nn.Module) -> dict[str, str]:
    """Module name → its settings as text, for every convolution, pool and norm of `net`."""
    settings = {name: settings_of(module) for name, module in net.named_modules()}
    return {name: text for name, text in settings.items() if text}


def settings_of(module: nn.Module) -> str:
    """Text that is equal for two modules with equal settings; empty for other kinds of modules."""
    if isinstance(module, nn.Conv2d):
        return f"Conv2d(stride={module.stride}, padding={module.padding})"
    if isinstance(module, nn.BatchNorm2d):
        return f"BatchNorm2d(eps={module.eps:g})"
    return repr(module) if isinstance(module, POOLS_AND_LRN) else ""
