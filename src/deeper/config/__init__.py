"""Schemas, checks and instantiation of configs. No module of it imports torch at import, so that help,
completion and composition answer at once; `check` does.
"""
