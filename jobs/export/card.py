"""The card of a dataset on the Hub of Hugging Face: what it is, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping

from cluster.runs import Ledger, RunRecord
from cluster.runs.origins import MethodOrigin
from cluster.storage import Store
from fusion_core.methods import list_methods
from jobs.export.record import ExportRecord
from jobs.metric_text import value_text
from jobs.summary import ALL_SUBSETS
from jobs.summary_files import find_summary


def make_card(
    run: Store, record: RunRecord, export: ExportRecord, splits: Mapping[str, int]
) -> str:
    """Return the text of `README.md`, with metadata in YAML at its beginning.

    Args:
        run: Output location of the run.
        record: Record of the run.
        export: Record of the export.
        splits: Number of pairs of each split.
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
        "---",
        "",
        f"# {collection}, fused by {method}",
        "",
        "Fused infrared/visible image pairs, written by `irfuse export hf`: "
        + ", ".join(f"{count} in `{split}`" for split, count in splits.items())
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
    summary = find_summary(run, record, Ledger(run, record).listing())
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
