"""Files of a trained network for other programs, each verified against the network."""
