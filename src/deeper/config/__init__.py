"""What a run is made of: schemas, checks, and the building of objects. Nothing here imports torch

at import, so that help, completion and composition answer at once.
"""
