"""Encoded images, and the files that store them."""
