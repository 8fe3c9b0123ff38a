"""Metrics of structural similarity, of fused images and of reconstructions."""
