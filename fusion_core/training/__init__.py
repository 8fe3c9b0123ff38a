"""Training of the autoencoders: parameters, losses, crops, and the trainer."""
