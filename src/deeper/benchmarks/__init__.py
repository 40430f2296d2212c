"""Ours against what people use, side by side: `python src/bench.py what=<module of this package>`."""
