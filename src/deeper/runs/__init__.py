"""Run directories: their names, records, configs and objects."""
