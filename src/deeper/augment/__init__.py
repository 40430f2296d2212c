"""Transforms of training images: crops, flips, colour, mixing; and the views of the evaluation."""
