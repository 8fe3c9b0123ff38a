"""Metrics of edges: what a fused image keeps of the gradients of its sources, and what it adds."""
