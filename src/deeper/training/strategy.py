"""Distributed training that does not wait for ever for a process that has stopped."""

import os
from datetime import timedelta
from typing import Any

from lightning.fabric.utilities.distributed import _init_dist_connection
from lightning.pytorch.strategies import DDPStrategy
from torch.distributed import PrefixStore, TCPStore, is_initialized  # type: ignore[attr-defined]

from deeper.processes import signals_end_at_once


class DDP(DDPStrategy):
    """Lightning's DDP; a collective that takes longer than `timeout_s` seconds is an error."""

    def __init__(self, timeout_s: float = 600.0, **options: Any) -> None:
        if timeout_s <= 0:
            raise ValueError(f"timeout_s={timeout_s}: must be above 0")
        super().__init__(timeout=timedelta(seconds=timeout_s), **options)

    def setup_distributed(self) -> None:
        """Connect the processes, which wait for one another meanwhile."""
        with signals_end_at_once():
            if not is_initialized():  # a test after a training comes here again
                self._connect_after_restart()
            super().setup_distributed()

    def _connect_after_restart(self) -> None:
        """Under torchrun, processes of a restart do not look for those that they replace.

        Its store of addresses outlives a restart (torch 2.14; pytorch issue 135712). Over several
        nodes, each node counts its own restarts, so nothing is changed there.
        """
        env = os.environ
        restarts = env.get("TORCHELASTIC_RESTART_COUNT", "0")
        has_store = env.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        if restarts == "0" or not has_store or env["GROUP_WORLD_SIZE"] != "1":
            return
        address = env["MASTER_ADDR"], int(env["MASTER_PORT"])
        store = TCPStore(*address, is_master=False, timeout=self._timeout)  # type: ignore[arg-type]
        _init_dist_connection(
            self.cluster_environment,  # type: ignore[arg-type]  # set by now
            self._get_process_group_backend(),
            store=PrefixStore(restarts, store),
            timeout=self._timeout,
            device_id=None if self.root_device.type == "cpu" else self.root_device,
        )
