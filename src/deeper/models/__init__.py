"""Networks and their parts, without Lightning and Hydra."""
