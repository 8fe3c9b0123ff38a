"""Acceptance measurements of this project: commands, not part of what users install."""
