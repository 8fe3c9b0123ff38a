"""Measurements of this machine: how long what a job does takes, beside a baseline."""
