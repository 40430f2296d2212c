"""Distributed training that does not wait for ever for a process that has stopped."""

from datetime import timedelta
from typing import Any

from lightning.pytorch.strategies import DDPStrategy


class DDP(DDPStrategy):
    """Lightning's DDP; a collective that takes longer than `timeout_s` seconds is an error."""

    def __init__(self, timeout_s: float = 600.0, **options: Any) -> None:
        if timeout_s <= 0:
            raise ValueError(f"timeout_s={timeout_s}: must be above 0")
        super().__init__(timeout=timedelta(seconds=timeout_s), **options)
