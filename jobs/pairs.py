"""Find the pairs of a source, show what was found, and write them as a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cluster.collections import (
    LABEL_COLUMN,
    CollectionCheck,
    Discovery,
    PairRow,
    Repetition,
    check_pairs,
    freeze,
)
from cluster.storage import Reader, redact
from fusion_core.errors import ManifestError
from jobs.options import PairsOptions
from jobs.progress import Progress, SilentProgress
from jobs.sources import Batches, Source, identify_source, open_source

_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class PairsResult:
    """Result of the search for pairs."""

    source: str
    """Full location of the folder or manifest."""
    rows: int
    """Number of pairs."""
    subsets: dict[str, int]
    """Number of pairs per subset."""
    examples: list[PairRow]
    """The first pairs of the first subsets, or the first pairs of the only one."""
    digest: str
    """SHA-256 over the rows of the manifest."""
    output: str | None
    """Location of the manifest that was written, if any."""
    discovery: Discovery | None
    """Pairs per layout, images without a partner, and ignored files; None for a manifest."""
    repetitions: list[Repetition]
    """Subsets most of whose pairs are in other subsets, too."""
    labelled: int
    """Number of pairs that have a label file."""
    label_example: str
    """Location of a label file."""
    other_labels: Mapping[str, int]
    """Labels of other kinds that the pairs of a folder have, too, by folder and extension."""
    check: CollectionCheck | None
    """What the headers of the images say; None if it was not requested."""

    def require_sound(self) -> None:
        """Raise an error if the check found pairs that cannot be fused as they are.

        Raises:
            ManifestError: There are such pairs.
        """
        if self.check is not None and self.check.bad:
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.check.bad.items()))
            resize = "; --resize brings images of one scene to one size"
            raise ManifestError(
                f"{self.check.bad.total()} of {self.rows} pairs cannot be fused as they are "
                f"({counts}), and would be failed rows"
                f"{resize if self.check.bad['of different sizes'] else ''}"
            )


def pairs(options: PairsOptions, progress: Progress | None = None) -> PairsResult:
    """Find the pairs of a folder or manifest, and write them as a manifest if that is requested.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        ManifestError: No pair was found, a `pair_id` is not unique, or the output is not named
            `.parquet`.
        StorageError: The source cannot be read, or the manifest cannot be written.
    """
    output = options.output
    if output is not None and not output.lower().endswith(".parquet"):
        raise ManifestError(f"Expected an output that ends in .parquet, but got {output}")
    progress = progress or SilentProgress()
    progress.message(f"Looking for pairs in {redact(options.source)}")
    source, overview = open_source(options), _Overview()
    info, manifest = freeze(overview.watch(source.read()))
    if output is not None:
        store, name = options.file(output)
        store.write(name, manifest)
        output = store.uri(name)
    return PairsResult(
        source=identify_source(options)[0],
        rows=info.rows,
        subsets=dict(overview.subsets),
        examples=overview.examples(),
        digest=info.digest,
        output=output,
        discovery=source.discovery,
        repetitions=source.repetitions,
        labelled=overview.labelled,
        label_example=overview.label_example,
        other_labels=source.labels.others,
        check=_check(source, options, info.rows, progress) if options.check else None,
    )


def _check(source: Source, options: PairsOptions, rows: int, progress: Progress) -> CollectionCheck:
    progress.message("Reading the headers of the images")
    return check_pairs(
        source.read(),
        Reader(options.storage_options, max_pixels=options.max_pixels),
        lambda done: progress.steps(done, rows, ""),
        bands=options.bands,
        resize=options.resize,
        max_pixels=options.max_pixels,
    )


class _Overview:
    """Counts the pairs of each subset, and keeps some of them, while a manifest passes."""

    def __init__(self) -> None:
        self.subsets: Counter[str] = Counter()
        self.labelled = 0
        self.label_example = ""
        self._of_subsets: list[PairRow] = []
        self._first: list[PairRow] = []

    def watch(self, batches: Batches) -> Batches:
        """Yield the batches unchanged."""
        for batch in batches:
            subsets = batch.column("subset")
            for entry in subsets.value_counts().to_pylist():
                subset = entry["values"]
                if subset not in self.subsets and len(self._of_subsets) < _EXAMPLES:
                    self._of_subsets.append(_row(batch, pc.index(subsets, subset).as_py()))
                self.subsets[subset] += entry["counts"]
            if LABEL_COLUMN in batch.schema.names:
                labels = [uri for uri in batch.column(LABEL_COLUMN).to_pylist() if uri]
                self.labelled += len(labels)
                self.label_example = self.label_example or next(iter(labels), "")
            if not self._first:
                self._first = [_row(batch, n) for n in range(min(_EXAMPLES, batch.num_rows))]
            yield batch

    def examples(self) -> list[PairRow]:
        """Return the first pairs of the first subsets, filled up with the first pairs."""
        return list(dict.fromkeys([*self._of_subsets, *self._first]))[:_EXAMPLES]


def _row(batch: pa.RecordBatch, number: int) -> PairRow:
    names = ("pair_id", "ir_uri", "vis_uri", "subset")
    return PairRow(*(batch.column(name)[number].as_py() for name in names))
