"""Exports of runs: fused images as files, for programs that read no Parquet."""
