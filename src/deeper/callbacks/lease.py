"""Keeps a training from writing where another process writes by now."""

from typing import Any

import lightning as L

from deeper.runs.lease import Lease, LeaseLost


class LeaseGuard(L.Callback):
    """Ends the training before the next row or checkpoint once the lease is lost."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease

    def _require(self, *_: Any) -> None:
        if not self.lease.is_held():
            raise LeaseLost(
                f"{self.lease.path.parent}: another process has taken this run over; it goes on there"
            )

    on_train_batch_end = _require  # type: ignore[assignment]
    on_validation_epoch_end = on_train_epoch_end = on_test_epoch_end = _require  # type: ignore[assignment]
