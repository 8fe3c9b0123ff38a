"""The tables of statistics as Parquet files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fusion_core.statistics import Ranking
from jobs.study.statistics import ALL_COLLECTIONS, ALL_METRICS, StudyStatistics

_NUMBER, _COUNT, _NAME, _FLAG = pa.float64(), pa.int64(), pa.string(), pa.bool_()
SCHEMAS: dict[str, pa.Schema] = {
    "summary": pa.schema(
        [
            ("collection", _NAME), ("metric", _NAME), ("label", _NAME), ("n", _COUNT),
            ("n_failed", _COUNT), ("mean", _NUMBER), ("ci_low", _NUMBER), ("ci_high", _NUMBER),
            ("median", _NUMBER), ("std", _NUMBER), ("rank_mean", _NUMBER), ("compared", _FLAG),
        ]
    ),
    "friedman": pa.schema(
        [
            ("collection", _NAME), ("metric", _NAME), ("n_blocks", _COUNT), ("k", _COUNT),
            ("chi2", _NUMBER), ("p", _NUMBER), ("kendall_w", _NUMBER),
        ]
    ),
    "pairwise": pa.schema(
        [
            ("collection", _NAME), ("metric", _NAME), ("a", _NAME), ("b", _NAME), ("n", _COUNT),
            ("wins_a", _COUNT), ("ties", _COUNT), ("wins_b", _COUNT),
            ("median_difference", _NUMBER), ("hl_estimate", _NUMBER), ("hl_low", _NUMBER),
            ("hl_high", _NUMBER), ("rank_biserial", _NUMBER), ("w", _NUMBER), ("p", _NUMBER),
            ("p_holm", _NUMBER), ("p_bh", _NUMBER), ("exact", _FLAG), ("verdict", _NAME),
        ]
    ),
    "ranks": pa.schema(
        [
            ("collection", _NAME), ("scope", _NAME), ("label", _NAME), ("rank_mean", _NUMBER),
            ("rank_low", _NUMBER), ("rank_high", _NUMBER), ("p_first", _NUMBER),
        ]
    ),
    "metrics": pa.schema(
        [
            ("collection", _NAME), ("metric_a", _NAME), ("metric_b", _NAME),
            ("spearman", _NUMBER), ("kendall", _NUMBER), ("n", _COUNT), ("alias", _FLAG),
        ]
    ),
    "sensitivity": pa.schema(
        [
            ("collection", _NAME), ("subset_size", _COUNT), ("label", _NAME),
            ("share_won", _NUMBER), ("subsets", _COUNT),
        ]
    ),
    "pairs": pa.schema(
        [
            ("collection", _NAME), ("pair_id", _NAME), ("agreement_w", _NUMBER), ("best", _NAME),
            ("worst", _NAME), ("spread", _NUMBER), ("reason", _NAME),
        ]
    ),
}  # fmt: skip
"""The columns of each table of statistics."""


def statistics_tables(found: StudyStatistics) -> dict[str, bytes]:
    """Return each table of statistics as a Parquet file, by its name."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    for each in found.collections:
        own = {"collection": each.collection}
        rows["summary"] += [{**own, **asdict(row)} for row in each.summary]
        rows["friedman"] += [
            {**own, "metric": metric, **asdict(test)} for metric, test in each.omnibus.items()
        ]
        rows["pairwise"] += [
            {
                **own, "metric": row.metric, **asdict(row.found), "p_bh": row.p_bh,
                "verdict": row.verdict,
            }
            for row in each.pairwise
        ]  # fmt: skip
        rows["ranks"] += _rank_rows(each.collection, each.labels, each.metrics, each.ranking)
        rows["metrics"] += [{**own, **asdict(row)} for row in each.correlations]
        rows["sensitivity"] += [
            {
                **own, "subset_size": share.subset_size, "label": label, "share_won": float(won),
                "subsets": share.subsets,
            }
            for share in each.sensitivity
            for label, won in zip(each.labels, share.shares, strict=True)
        ]  # fmt: skip
        rows["pairs"] += [{**own, **asdict(row)} for row in each.looks]
    if found.across is not None:
        rows["ranks"] += _rank_rows(
            ALL_COLLECTIONS, found.across_labels, found.across_metrics, found.across
        )
    return {name: _encode(rows[name], schema) for name, schema in SCHEMAS.items()}


def _rank_rows(
    collection: str, labels: Sequence[str], metrics: Sequence[str], ranking: Ranking
) -> list[dict[str, Any]]:
    scopes = [*zip(metrics, ranking.metrics, strict=True), (ALL_METRICS, ranking.overall)]
    return [
        {
            "collection": collection,
            "scope": scope,
            "label": label,
            "rank_mean": float(found.mean[place]),
            "rank_low": float(found.low[place]),
            "rank_high": float(found.high[place]),
            "p_first": float(found.p_first[place]),
        }
        for scope, found in scopes
        if found is not None
        for place, label in enumerate(labels)
    ]


def _encode(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    buffer = io.BytesIO()
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    pq.write_table(pa.table(columns, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()
