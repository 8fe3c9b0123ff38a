"""Find the pairs of a folder and write them as a manifest."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.collections import Discovery, Repetition, discover, freeze
from fusion_core.errors import ManifestError
from jobs.options import PairsOptions
from jobs.progress import Progress


@dataclass(frozen=True, slots=True)
class PairsResult:
    """Result of the search for pairs."""

    output: str
    """Location of the manifest."""
    rows: int
    """Number of pairs."""
    digest: str
    """SHA-256 over the rows of the manifest."""
    discovery: Discovery
    """Pairs per layout, images without a partner, and ignored files."""
    repetitions: list[Repetition]
    """Subsets most of whose pairs are in other subsets, too."""


def pairs(options: PairsOptions, progress: Progress | None = None) -> PairsResult:
    """Find the pairs of a folder and write them as a manifest.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        ManifestError: No pair was found, or the output is not named `.parquet`.
        StorageError: The source cannot be listed, or the manifest cannot be written.
    """
    if not options.output.lower().endswith(".parquet"):
        raise ManifestError(f"Expected an output that ends in .parquet, but got {options.output}")
    collection = discover(options.store(options.source), layout=options.layout)
    info, manifest = freeze(collection.batches())
    store, name = options.file(options.output)
    store.write(name, manifest)
    return PairsResult(
        store.uri(name), info.rows, info.digest, collection.discovery, collection.repetitions
    )
