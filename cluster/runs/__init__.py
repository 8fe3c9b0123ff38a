"""Runs of a collection: plan, rows, ledger, stages, workers, and the driver loop."""
