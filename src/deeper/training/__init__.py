"""How a network is trained: the LightningModule, its loss, optimizers and schedules."""
