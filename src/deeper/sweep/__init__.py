"""How the jobs of a multirun are started."""
