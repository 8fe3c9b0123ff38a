"""Files that start clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from jobs.console.printing import print_lines

if TYPE_CHECKING:
    from jobs.deploy import ClusterFile
    from jobs.observability import ObservabilityFiles
    from jobs.options import DeployObservabilityOptions, DeployOptions


def print_cluster_file(console: Console, file: ClusterFile, options: DeployOptions) -> None:
    """Print the file as it is."""
    print(file.text, end="")


def print_observability_files(
    console: Console, found: ObservabilityFiles, options: DeployObservabilityOptions
) -> None:
    """Print the locations of the files."""
    print_lines(console, *(f"{found.folder}/{name}" for name in found.files))
