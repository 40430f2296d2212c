"""From a checkpoint to files that other programs run, each compared with the network it came from."""
