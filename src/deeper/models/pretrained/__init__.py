"""Weights that others published, one importer a source. Nothing here knows Lightning or Hydra."""
