"""Sources of images, one class a kind of data set."""
