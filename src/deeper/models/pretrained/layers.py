"""What a network does that no weight shows: strides, pads, windows of pools, constants of norms."""

from torch import nn

from deeper.models.lrn import LocalResponseNorm

WHOLE_MAP = "average of the whole map"


def layers(net: nn.Module) -> dict[str, str]:
    """Name of a module → what it does, in words that two networks can be compared by."""
    found = {name: _spelled(module) for name, module in net.named_modules()}
    return {name: words for name, words in found.items() if words}


def convolution(stride: int, padding: int) -> str:
    return f"convolution of stride {stride}, padding {padding}"


def max_pool(kernel: int, stride: int, padding: int, rounded_up: bool) -> str:
    rounding = ", rounded up" if rounded_up else ""
    return f"{kernel}×{kernel}/{stride} max pool, padding {padding}{rounding}"


def lrn(size: int, alpha: float, beta: float, k: float) -> str:
    return f"LRN of size {size}, alpha {alpha:.4g}, beta {beta:.4g}, k {k:.4g}"


def _spelled(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return convolution(_one(module.stride), _one(module.padding))
    if isinstance(module, nn.MaxPool2d):
        values = _one(module.kernel_size), _one(module.stride), _one(module.padding)
        return max_pool(*values, rounded_up=module.ceil_mode)
    if isinstance(module, nn.AvgPool2d):
        return f"{_one(module.kernel_size)}×{_one(module.kernel_size)}/{_one(module.stride)} average pool"
    if isinstance(module, nn.AdaptiveAvgPool2d):
        size = _one(module.output_size)
        return WHOLE_MAP if size == 1 else f"average pool to {size}×{size}"
    if isinstance(module, LocalResponseNorm):
        return lrn(module.size, module.alpha, module.beta, module.k)
    if isinstance(module, nn.BatchNorm2d):
        return f"batch norm with eps {module.eps:.4g}"
    return ""


def _one(value: object) -> int:
    first = value[0] if isinstance(value, tuple) else value
    if not isinstance(first, int):
        raise TypeError(f"{value!r}: a layer's size is a whole number here")
    return first
