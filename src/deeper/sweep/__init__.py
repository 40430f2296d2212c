"""Sweeps: the jobs of one multirun."""
