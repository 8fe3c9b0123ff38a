"""Metrics of edges: the gradients that a fused image preserves and the artefacts that it adds."""
