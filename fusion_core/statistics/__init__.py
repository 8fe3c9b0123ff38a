"""Statistics of metrics over many pairs."""
