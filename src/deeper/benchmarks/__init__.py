"""Ours against what people use, side by side: `python src/bench.py what=<module of this package>`.

A benchmark is a module with a function `contests(setting)`, a generator of `timing.Contest`s.
"""
