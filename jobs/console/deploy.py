"""Files that start clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from jobs.deploy import ClusterFile
    from jobs.options import DeployOptions


def print_cluster_file(console: Console, file: ClusterFile, options: DeployOptions) -> None:
    """Print the file as it is."""
    print(file.text, end="")
