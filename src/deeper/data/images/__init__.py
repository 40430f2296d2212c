"""Encoded images and where their bytes lie."""
