"""Where rows of metrics are written."""
