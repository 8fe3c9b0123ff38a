"""Runs: plan, rows, ledger, stages, workers, and the driver loop."""
