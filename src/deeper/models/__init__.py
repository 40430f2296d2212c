"""Networks and their parts. Nothing here knows Lightning or Hydra."""
