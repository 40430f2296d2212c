"""Callbacks of a training: checkpoints, averaged weights, measurements and what the terminal shows."""
