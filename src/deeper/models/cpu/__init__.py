"""Layers in C++ for training on a CPU; `layers.use_kernels` puts them into a network."""
