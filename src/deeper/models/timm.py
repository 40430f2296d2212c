"""Networks of the timm library, which return a tensor of logits."""

from torch import nn


def timm_network(name: str, num_classes: int, dropout: float = 0.0) -> nn.Module:
    """A timm network with initial weights. Raises `ValueError` for an unknown name and lists similar ones."""
    try:
        import timm
    except ImportError as error:
        raise ValueError("model=timm needs the timm library: pip install timm") from error
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:8] or timm.list_models()[:8]
        raise ValueError(
            f"model.name={name!r}: timm has no such network; similar: {', '.join(near)}"
        )
    net: nn.Module = timm.create_model(name, num_classes=num_classes, drop_rate=dropout)
    return net
