"""Training on Ray Train: samples, checkpoints, workers."""
