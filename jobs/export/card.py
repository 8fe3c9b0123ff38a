"""The card of a dataset on the Hub of Hugging Face: what it is, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa

from cluster.runs import Ledger, RunRecord
from cluster.runs.origins import MethodOrigin
from cluster.storage import Store
from fusion_core.methods import list_methods
from jobs.export.record import ExportRecord
from jobs.metric_text import value_text
from jobs.summary import ALL_SUBSETS
from jobs.summary_files import current_summary

_DTYPES = {pa.float32(): "float32", pa.float64(): "float64"}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""Type of the columns that hold images."""


class Split(NamedTuple):
    """Size of a split."""

    pairs: int
    size: int
    """Bytes of its files."""


def make_card(
    run: Store,
    record: RunRecord,
    export: ExportRecord,
    schema: pa.Schema,
    splits: Mapping[str, Split],
) -> str:
    """Return the text of `README.md`, with metadata in YAML at its beginning.

    Args:
        run: Output location of the run.
        record: Record of the run.
        export: Record of the export.
        schema: Columns of the Parquet files.
        splits: Size of each split.
    """
    origin = record.origin
    collection, method = (_one_line(text) for text in (record.collection, origin.method))
    lines = [
        "---",
        f"pretty_name: {json.dumps(f'{collection} fused by {method}')}",
        f"license: {json.dumps(export.license or 'other')}",
        "tags: [image-fusion, infrared, visible, irfuse]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(
            line
            for split in splits
            for line in (f"  - split: {split}", f"    path: data/{split}-*.parquet")
        ),
        *_dataset_info(schema, splits),
        "---",
        "",
        f"# {collection}, fused by {method}",
        "",
        "Fused infrared/visible image pairs, written by `irfuse export hf`: "
        + ", ".join(f"{size.pairs} in `{split}`" for split, size in splits.items())
        + ".",
        "",
        "## Method",
        "",
        *_describe_method(record),
        "",
        "## Licence and citation",
        "",
        f"The images derive from the collection {collection}. Its licence and its citation apply "
        "to them; whoever publishes them must see that it permits that, and name it here.",
        *_metric_table(run, record),
    ]
    return "\n".join(lines) + "\n"


def _dataset_info(schema: pa.Schema, splits: Mapping[str, Split]) -> Iterator[str]:
    """Yield the lines that describe columns and splits."""
    size = sum(split.size for split in splits.values())
    yield from ("dataset_info:", "  features:")
    for field in schema:
        yield f"  - name: {json.dumps(field.name)}"
        yield from (f"    {line}" for line in _type_lines(field.type))
    yield "  splits:"
    for name, split in splits.items():
        yield f"  - name: {name}"
        yield f"    num_bytes: {split.size}"
        yield f"    num_examples: {split.pairs}"
    yield f"  download_size: {size}"
    yield f"  dataset_size: {size}"


def _type_lines(kind: pa.DataType) -> list[str]:
    """Return the lines that describe a type, as the library `datasets` writes them."""
    if kind == IMAGE:
        return ["dtype: image"]
    if pa.types.is_struct(kind):
        lines = ["struct:"]
        for field in kind:
            lines += [f"- name: {field.name}", *(f"  {line}" for line in _type_lines(field.type))]
        return lines
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _type_lines(kind.value_type)
        plain = len(inner) == 1 and inner[0].startswith("dtype: ")
        lines = [f"list: {inner[0].removeprefix('dtype: ')}"] if plain else ["list:"]
        lines += [] if plain else [f"  {line}" for line in inner]
        return lines + ([f"length: {kind.list_size}"] if hasattr(kind, "list_size") else [])
    return [f"dtype: {_DTYPES.get(kind, str(kind))}"]


def _describe_method(record: RunRecord) -> list[str]:
    origin = record.origin
    if not isinstance(origin, MethodOrigin):
        return [f"The images were made by another program, and are called `{origin.method}`."]
    parameters = ", ".join(f"`{name}={value}`" for name, value in origin.parameters.items())
    lines = [f"`{origin.method}` of irfuse {record.irfuse_version} with {parameters}."]
    if origin.weights_sha256:
        lines.append(f"SHA-256 of the weights: `{origin.weights_sha256}`.")
    if origin.method_origin is None and origin.method in list_methods():
        # Imported here because the registry is not needed for methods of the user's own.
        from fusion_core.methods import get_method

        paper = get_method(origin.method).paper
        if paper is not None:
            lines += ["", f"Please cite {paper.citation}, {paper.link}."]
    return lines


def _metric_table(run: Store, record: RunRecord) -> list[str]:
    """Return a table of the means of all metrics, if the summary of the run is up to date."""
    summary = current_summary(run, record, Ledger(run, record).listing())
    if summary is None:
        return []
    every = next(found for found in summary.subsets if found.subset == ALL_SUBSETS)
    rows = [
        f"| {name} | {value_text(name, found.mean)} |"
        for name, found in every.metrics.items()
        if found.mean is not None
    ]
    return ["", "## Scores", "", "| metric | mean over all pairs |", "|---|---|", *rows]


def _one_line(text: str) -> str:
    return " ".join(text.split())
