"""Ray: starting it or connecting to it, and what it offers."""
