"""Sources of images, one class for each kind of data set."""
