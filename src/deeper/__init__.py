"""Deeper: GoogLeNet, trained, ablated and reported from one command."""

__version__ = "0.1.0"
