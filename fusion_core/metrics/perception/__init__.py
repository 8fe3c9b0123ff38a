"""Metrics from models of human vision."""
