"""Loggers: metrics.jsonl is the record of a run, the others mirror it."""
