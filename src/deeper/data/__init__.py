"""From files to batches: sources of images, their order, and the LightningDataModule."""
