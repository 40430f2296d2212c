"""Training: the LightningModule with its loss, optimizers, schedules and metrics."""
