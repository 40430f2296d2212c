"""Evaluation of trained networks: protocols, ensembles, metrics, tables."""
