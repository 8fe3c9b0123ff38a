"""Where work and bytes go: storage, manifests, shards, the worker actor, and the Ray run."""
