"""Example of a package with a fusion method and a metric for irfuse."""
