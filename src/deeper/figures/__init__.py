"""Pictures of the network, its data and its results, drawn with matplotlib."""
