"""Metrics from information theory, on the histograms of gray levels."""
