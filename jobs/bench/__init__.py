"""Benchmarks of metrics, methods and training on this machine, compared with a baseline."""
