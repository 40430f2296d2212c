"""Networks of the timm library. A plain tensor is all they answer, and all that is asked."""

from torch import nn


def timm_network(name: str, num_classes: int, dropout: float = 0.0) -> nn.Module:
    """A freshly initialised timm network. Raises `ValueError` for an unknown name, with near ones."""
    try:
        import timm
    except ImportError as error:
        raise ValueError("model=timm needs the timm library: pip install timm") from error
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:8] or timm.list_models()[:8]
        raise ValueError(f"model.name={name!r}: timm has no such network; near: {', '.join(near)}")
    net: nn.Module = timm.create_model(name, num_classes=num_classes, drop_rate=dropout)
    return net
