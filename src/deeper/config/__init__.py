"""Schemas, checks and instantiation of configs. What help, completion and composition use of it
imports no torch, so that they answer at once.
"""
