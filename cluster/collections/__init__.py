"""Collections: file names, layouts, manifests, and fused images made elsewhere."""
