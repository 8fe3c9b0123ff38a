"""Acceptance measurements of this project, which are commands and not part of the package."""
