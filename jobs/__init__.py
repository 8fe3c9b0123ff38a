"""The jobs that a person starts, one module each; `irfuse` offers them as functions."""
