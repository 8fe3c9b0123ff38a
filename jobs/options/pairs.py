"""Options of the search for pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from jobs.options.common import (
    Flag,
    SourceOptions,
)

if TYPE_CHECKING:
    pass


class PairsOptions(SourceOptions):
    """Find the pairs of SOURCE, show what was found, and write them as a manifest with --output."""

    output: Annotated[str | None, Parameter(name=("--output", "-o"))] = None
    """Manifest to write, ending in .parquet; by default nothing is written."""
    check: Flag = False
    """Read the headers of all images, and show their sizes, bit depths and colours, and the pairs
    that cannot be fused as they are. Ends with status 1 if there are any."""
