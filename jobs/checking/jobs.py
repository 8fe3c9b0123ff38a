"""Check a method or metric of the user's own."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from cluster.collections import FusedImages
from cluster.storage import Reader
from fusion_core.errors import InvalidValueError, ManifestError
from fusion_core.extensions import method as irfuse_method
from fusion_core.extensions import pack
from fusion_core.extensions.checks import FRESH_METHOD_CHECKS, METHOD_CHECKS
from fusion_core.extensions.entry_points import EntryPointGroup
from fusion_core.extensions.finding import find_target, pack_method
from fusion_core.extensions.method_subject import Image, Pair
from fusion_core.extensions.metric_checks import METRIC_CHECKS
from fusion_core.extensions.metrics import find_metric_target
from fusion_core.extensions.names import MODEL_KINDS
from fusion_core.extensions.outcomes import Outcome, failed, passed, skipped
from fusion_core.images import decode_named, decode_pair, luma, to_eight_bit, to_one_size
from fusion_core.methods import METHODS
from fusion_core.metrics import column_of, find_metric
from fusion_core.networks import Weights, find_device
from fusion_core.parameters import MethodParameters
from jobs.checking.process import RESULT, Request
from jobs.checking.report import CheckReport, CheckResult
from jobs.checking.supervision import supervise
from jobs.options import CheckMethodOptions, CheckMetricOptions, PairsOptions
from jobs.progress import Progress, SilentProgress
from jobs.sources import open_source
from jobs.weights import find_stored_weights

_METRICS: EntryPointGroup = "irfuse.metrics"
_PROCESSES = "processes"
_ANY_WEIGHTS = irfuse_method(weights=True)(lambda parameters, weights, device: None)
"""Stands for a method whose code is not imported in this process."""
_LARGEST_DIFFERENCE = 1e-3


class _Example(NamedTuple):
    pair_id: str
    pair: Pair
    fused: Image | None


def check_method(options: CheckMethodOptions, progress: Progress | None = None) -> CheckReport:
    """Check a fusion method of the user's own, in processes of its own.

    Args:
        options: Options of the job.
        progress: Receives messages; silent by default.

    Raises:
        ExtensionError: There is no such file, module or entry point.
        InvalidValueError: The options do not fit together.
        StorageError: Weights or images cannot be read.
    """
    progress = progress or SilentProgress()
    extension = (
        None
        if options.target in METHODS
        else pack_method(find_target(options.target), options.trust_code)
    )
    if options.expect is not None and options.pairs is None:
        raise InvalidValueError("--expect needs --pairs, of which the expected images were made")
    examples = list(_examples(options, options.expect))
    checks = tuple(METHOD_CHECKS)  # the first one is for model files
    request = Request(
        "method",
        options.target if extension is None else extension.name,
        checks if extension and extension.target.kind in MODEL_KINDS else checks[1:],
        extension,
        parameters=options.params,
        weights=_read_weights(options, progress),
        device=str(find_device(options.device)),
        pairs=[example.pair for example in examples],
        expected=[example.fused for example in examples if example.fused is not None],
        tolerance=options.tolerance,
        quick=options.quick,
        longest_s=options.timeout,
    )
    return _report(request, tuple(FRESH_METHOD_CHECKS), progress)


def check_metric(options: CheckMetricOptions, progress: Progress | None = None) -> CheckReport:
    """Check a metric of the user's own, in processes of its own.

    Args:
        options: Options of the job.
        progress: Receives messages; silent by default.

    Raises:
        ExtensionError: There is no such file, module or entry point.
        InvalidValueError: The options do not fit together.
        StorageError: Images or scores cannot be read.
    """
    progress = progress or SilentProgress()
    extension = None
    if find_metric(column_of(options.target)) is None:
        extension = pack(find_metric_target(options.target), _METRICS)
    given = (options.pairs, options.fused, options.expect)
    if options.expect is not None and None in given:
        raise InvalidValueError("--expect needs --pairs and --fused, the images of the scores")
    examples = list(_examples(options, options.fused))
    name = options.target if extension is None else extension.name
    scores = _read_scores(options, name.rpartition(":")[2], examples)
    request = Request(
        "metric",
        name,
        tuple(METRIC_CHECKS),
        extension,
        device=str(find_device(options.device)),
        pairs=[example.pair for example in examples],
        expected=[example.fused for example in examples if example.fused is not None],
        scores=scores,
        longest_s=options.timeout,
    )
    return _report(request, (), progress)


def _report(request: Request, fresh: tuple[str, ...], progress: Progress) -> CheckReport:
    """Check here and in a process to which the code is sent."""
    progress.message(f"Checking {request.name}")
    with tempfile.TemporaryDirectory(prefix="irfuse-check-") as folder:
        here, there = (str(Path(folder, name)) for name in ("here.npy", "there.npy"))
        first = request.checks.index("runs") + 1
        checks = (*request.checks[:first], RESULT, *request.checks[first:])
        found = supervise(replace(request, checks=checks, result=here))
        loaded = found["loads"].status == "passed"
        runs = loaded and found.get("runs") is not None and found["runs"].status == "passed"
        others: dict[str, CheckResult] = {}
        if runs:
            sent = replace(request, checks=(RESULT, *fresh), result=there, sent=True)
            others = supervise(sent)
        processes = _compare_processes(others, here, there) if runs else skipped("see runs")
    found[_PROCESSES] = CheckResult(name=_PROCESSES, **processes.model_dump())
    found |= {name: others.get(name) or _skipped(name) for name in fresh}
    order = ("loads", *request.checks, _PROCESSES, *fresh)
    extension = request.extension
    return CheckReport(
        target=request.name,
        digest=extension.origin.sha256 if extension else None,
        origin=extension.origin.model_dump() if extension else {"kind": "built_in"},
        checks=[found[name] for name in order if name in found] if loaded else [found["loads"]],
    )


def _skipped(name: str) -> CheckResult:
    return CheckResult(name=name, **skipped("see runs").model_dump())


def _compare_processes(others: dict[str, CheckResult], here: str, there: str) -> Outcome:
    """Compare the result of a process that has received the code with that of another."""
    loads = others["loads"]
    if loads.status == "failed":
        return failed(f"as sent to a worker, it cannot be loaded: {loads.hint}")
    if not (Path(here).exists() and Path(there).exists()):
        return skipped("not checked, because there is no result")
    difference = float(np.nanmax(np.abs(np.load(here) - np.load(there)), initial=0.0))
    if difference > _LARGEST_DIFFERENCE:
        return failed(
            "another process, which has loaded it as a worker does, gets another result",
            difference,
            _LARGEST_DIFFERENCE,
        )
    return passed(difference, _LARGEST_DIFFERENCE)


def _read_weights(options: CheckMethodOptions, progress: Progress) -> Weights | None:
    """Find the weights, of a method of the user's own without importing its code."""
    spec = METHODS.get(options.target, _ANY_WEIGHTS)
    if spec is _ANY_WEIGHTS:
        if options.weights is None:
            return None
        return find_stored_weights(spec, options, MethodParameters(), progress)
    return find_stored_weights(spec, options, spec.parameters.parse(options.params), progress)


def _examples(
    options: CheckMethodOptions | CheckMetricOptions, fused: str | None
) -> Iterator[_Example]:
    """Read the first pairs of a collection, with their fused images if a folder is given."""
    if options.pairs is None:
        return
    source = PairsOptions(
        source=options.pairs, limit=options.limit, storage_options=options.storage_options
    )
    read = open_source(source).read
    if fused is not None:
        read = FusedImages(options.store(fused)).added_to(read)
    reader = Reader(options.storage_options, max_pixels=options.max_pixels)
    for row in pa.Table.from_batches(list(read())).to_pylist():
        ir, vis = decode_pair(
            reader.read(row["ir_uri"]),
            None if row["ir_uri"] == row["vis_uri"] else reader.read(row["vis_uri"]),
            options.bands,
            max_pixels=options.max_pixels,
        )
        one, other, _ = to_one_size(to_eight_bit(ir), to_eight_bit(vis), options.resize)
        image: Image | None = None
        if fused is not None:
            if not row.get("fused_uri"):
                raise ManifestError(f"{fused} has no image of the pair {row['pair_id']}")
            data = reader.read(row["fused_uri"])
            image = to_eight_bit(decode_named("fused", data, max_pixels=options.max_pixels))
        yield _Example(row["pair_id"], (luma(one), other), image)


def _read_scores(
    options: CheckMetricOptions, metric: str, examples: list[_Example]
) -> list[float | None]:
    if options.expect is None:
        return []
    store, name = options.file(options.expect)
    rows = list(csv.DictReader(io.StringIO(store.read(name).decode())))
    if not rows or not {"pair_id", metric} <= rows[0].keys():
        raise InvalidValueError(
            f"Expected the columns pair_id and {metric} in {options.expect}, but got "
            f"{', '.join(rows[0]) if rows else 'no row'}"
        )
    values = {row["pair_id"]: float(row[metric]) if row[metric] else None for row in rows}
    return [values.get(example.pair_id) for example in examples]
