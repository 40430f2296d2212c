"""Distributed training that does not wait for ever for a process that has stopped."""

import os
from datetime import timedelta
from typing import Any

from lightning.pytorch.strategies import DDPStrategy
from torch.distributed import PrefixStore, TCPStore, init_process_group  # type: ignore[attr-defined]

from deeper.processes import signals_end_at_once


class DDP(DDPStrategy):
    """Lightning's DDP; a collective that takes longer than `timeout_s` seconds is an error."""

    def __init__(self, timeout_s: float = 600.0, **options: Any) -> None:
        if timeout_s <= 0:
            raise ValueError(f"timeout_s={timeout_s}: must be above 0")
        self.limit = timedelta(seconds=timeout_s)
        super().__init__(timeout=self.limit, **options)

    def setup_distributed(self) -> None:
        """Connect the processes, which wait for one another meanwhile."""
        with signals_end_at_once():
            self._connect_after_restart()
            super().setup_distributed()

    def _connect_after_restart(self) -> None:
        """Under torchrun, processes of a restart do not look for those that they replace.

        Its store of addresses outlives a restart (torch 2.14; pytorch issue 135712). Over several
        nodes, each counts its own restarts, so there it is left as it is.
        """
        restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        if restarts == "0" or os.environ["GROUP_WORLD_SIZE"] != "1":
            return
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(*address, is_master=False, timeout=self.limit)
        init_process_group(
            self._get_process_group_backend(),
            store=PrefixStore(restarts, store),
            rank=self.global_rank,
            world_size=self.world_size,
            timeout=self.limit,
        )
