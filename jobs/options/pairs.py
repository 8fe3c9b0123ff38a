"""Options of the search for pairs."""

from __future__ import annotations

from typing import Annotated, Self

from cyclopts import Parameter
from pydantic import model_validator

from jobs.options.common import Flag, ImageOptions, SourceOptions


class PairsOptions(SourceOptions, ImageOptions):
    """Find the pairs of SOURCE, show what was found, and write them as a manifest with --output."""

    output: Annotated[str | None, Parameter(name=("--output", "-o"))] = None
    """Manifest to write, ending in .parquet; by default nothing is written."""
    check: Flag = False
    """Read the headers of all images, and show their sizes, bit depths and colours, and the pairs
    that `irfuse run` could not fuse with the same --band, --resize and --max-pixels. Ends with
    status 1 if there are any."""

    @model_validator(mode="after")
    def _checks_images(self) -> Self:
        unused = self.model_fields_set & ImageOptions.model_fields.keys() - {"storage_options"}
        if unused and not self.check:
            names = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(unused))
            raise ValueError(f"Expected --check together with {names}")
        return self
