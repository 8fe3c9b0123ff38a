"""The comparison of a study from its runs alone: statistics, tables, figures and the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from pydantic import BaseModel

from cluster.storage import Store, read_record
from fusion_core.errors import InvalidValueError, NotFoundError
from fusion_core.metrics import PRESETS, column_of
from fusion_core.suggestions import unknown_name
from jobs.progress import Progress, SilentProgress
from jobs.study.cells import CellStatus, describe_cells
from jobs.study.figures import draw_figures
from jobs.study.options import StudyReportOptions
from jobs.study.page import make_page
from jobs.study.page_collection import PageContent
from jobs.study.pictures import PICTURES_PREFIX, Strip, embed, make_strips
from jobs.study.record import StudyRecord
from jobs.study.scores import SCORES_KEY, CollectionScores, encode_scores, load_scores
from jobs.study.settings import StatisticsSettings
from jobs.study.statistics import (
    ALL_METRICS,
    StudyStatistics,
    compare_study,
)
from jobs.study.statistics_files import statistics_tables
from jobs.study.table_files import draw_tables

REPORT_KEY = "report.html"
STATISTICS_PREFIX, TABLES_PREFIX, FIGURES_PREFIX = "statistics", "tables", "figures"
_INSTALL = "pip install 'irfuse[study]'"


class RankedMethod(BaseModel):
    """The overall rank of a method on a collection."""

    collection: str
    label: str
    rank_mean: float
    rank_low: float
    rank_high: float
    p_first: float
    """Share of resamples in which it is first."""


class StudyReport(BaseModel):
    """Result of `irfuse study report`."""

    out: str
    ranking: list[RankedMethod]
    """The compared methods, the best of each collection first."""
    n_pairs: dict[str, int]
    """Number of pairs of each collection."""
    disqualified: dict[str, list[str]]
    """Methods of each collection that failed for too many pairs."""
    left_out: list[str]
    """What could not be drawn, with the reason."""
    location: str
    """Location of the report."""


def report_study(options: StudyReportOptions, progress: Progress | None = None) -> StudyReport:
    """Compute statistics, tables, figures and the report of a study from its runs, without Ray.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        NotFoundError: The location contains no study, or none of its cells is finished.
        InvalidValueError: A metric or the baseline is unknown, a method is untrained, or the
            blocks are to be groups where there are none.
        ManifestError: The runs of a collection have other pairs than each other.
        StorageError: A location cannot be read or written.
    """
    progress = progress or SilentProgress()
    out = options.store(options.out)
    record = read_record(out, StudyRecord)
    progress.message("Reading the scores")
    states = describe_cells(out, record)
    collections = _load(out, record, states)
    out.write(SCORES_KEY, encode_scores(collections))
    collections = [_choose_metrics(scores, options) for scores in collections]
    _check_trained(collections, untrained=options.untrained)
    _check_baseline(options.baseline or record.report.baseline, collections)
    progress.message("Comparing the methods")
    pictures = record.report.pictures if options.pictures is None else options.pictures
    found = compare_study(collections, _statistics_settings(record, options), pictures)
    for name, data in statistics_tables(found).items():
        out.write(f"{STATISTICS_PREFIX}/{name}.parquet", data)
    baseline = options.baseline or record.report.baseline
    for name, data in draw_tables(found, record.published, baseline):
        out.write(f"{TABLES_PREFIX}/{name}", data)
    progress.message("Drawing the figures")
    left_out: list[str] = []
    figures = _figures(out, record, found, left_out)
    strips = _strips(out, found, embed_pictures=options.embed)
    content = PageContent(record, found, states, figures, strips, baseline, tuple(left_out))
    return StudyReport(
        out=out.url,
        ranking=_ranking(found),
        n_pairs={each.collection: len(each.scores.pair_ids) for each in found.collections},
        disqualified={each.collection: list(each.disqualified) for each in found.collections},
        location=_write_page(out, content),
        left_out=left_out,
    )


def _figures(
    out: Store, record: StudyRecord, found: StudyStatistics, left_out: list[str]
) -> dict[str, str]:
    try:
        figures = dict(draw_figures(found, list(record.methods)))
    except ImportError:
        left_out.append(f"figures, because matplotlib is not installed ({_INSTALL})")
        return {}
    for name, svg in figures.items():
        out.write(f"{FIGURES_PREFIX}/{name}.svg", svg.encode())
    return figures


def _strips(out: Store, found: StudyStatistics, *, embed_pictures: bool) -> dict[str, list[Strip]]:
    def write(name: str, data: bytes) -> str:
        out.write(f"{PICTURES_PREFIX}/{name}", data)
        return f"{PICTURES_PREFIX}/{quote(name)}"

    return make_strips(out, found.collections, embed if embed_pictures else write)


def _write_page(out: Store, content: PageContent) -> str:
    out.write(REPORT_KEY, make_page(content).encode())
    return out.uri(REPORT_KEY)


def _load(out: Store, record: StudyRecord, states: Sequence[CellStatus]) -> list[CollectionScores]:
    """Read the scores of all finished cells."""
    collections = []
    for collection in record.collections:
        labels = [s.label for s in states if s.collection == collection and s.state == "done"]
        if labels:
            collections.append(load_scores(out, record, collection, labels))
    if not collections:
        raise NotFoundError(
            f"{out.url} has no finished cell to report; `irfuse study status {out.url}` shows why"
        )
    return collections


def _choose_metrics(scores: CollectionScores, options: StudyReportOptions) -> CollectionScores:
    if options.metrics is None:
        return scores
    chosen = [name for given in options.metrics for name in _columns(given)]
    for name in chosen:
        if name not in scores.metrics:
            raise InvalidValueError(unknown_name("metric of this study", name, scores.metrics))
    return scores.keep_metrics(list(dict.fromkeys(chosen)))


def _columns(name: str) -> Iterable[str]:
    """Return the metrics that a name, or that of a preset, stands for."""
    return PRESETS[name].columns if name in PRESETS else (column_of(name),)


def _check_trained(collections: Sequence[CollectionScores], *, untrained: bool) -> None:
    random = sorted(
        {
            label
            for scores in collections
            for label, run in zip(scores.labels, scores.runs, strict=True)
            if run.origin.trained is False
        }
    )
    if random and not untrained:
        raise InvalidValueError(
            f"{', '.join(random)} has untrained weights, which say nothing about the method; "
            "--untrained accepts them, and marks them in every table"
        )


def _check_baseline(baseline: str | None, collections: Sequence[CollectionScores]) -> None:
    labels = list(dict.fromkeys(label for scores in collections for label in scores.labels))
    if baseline is not None and baseline not in labels:
        raise InvalidValueError(unknown_name("finished method", baseline, labels))


def _statistics_settings(record: StudyRecord, options: StudyReportOptions) -> StatisticsSettings:
    names = ("alpha", "correction", "block", "max_failure_rate")
    given = {name: getattr(options, name) for name in names}
    changed = {name: value for name, value in given.items() if value is not None}
    return record.statistics.model_copy(update=changed)


def _ranking(found: StudyStatistics) -> list[RankedMethod]:
    ranked = []
    for each in found.collections:
        overall = each.intervals(ALL_METRICS)
        for label in each.order() if overall is not None else ():
            assert overall is not None
            place = each.labels.index(label)
            ranked.append(
                RankedMethod(
                    collection=each.collection,
                    label=label,
                    rank_mean=float(overall.mean[place]),
                    rank_low=float(overall.low[place]),
                    rank_high=float(overall.high[place]),
                    p_first=float(overall.p_first[place]),
                )
            )
    return ranked
