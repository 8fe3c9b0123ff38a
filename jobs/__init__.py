"""The jobs of irfuse, one module each; the package `irfuse` exports them as functions."""
