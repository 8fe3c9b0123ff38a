"""Filters that metrics share: windows and their moments, and filters of the frequency domain."""
