"""The process in which a method or metric is checked, which tells another one how far it is."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from fusion_core.errors import IrfuseError
from fusion_core.extensions import Extension
from fusion_core.extensions.checks import FRESH_METHOD_CHECKS, METHOD_CHECKS
from fusion_core.extensions.finding import describe_method
from fusion_core.extensions.guarding import ProcessState
from fusion_core.extensions.method_subject import (
    Image,
    MethodSubject,
    Pair,
    reference_result,
)
from fusion_core.extensions.metric_checks import METRIC_CHECKS, MetricSubject, score_example
from fusion_core.extensions.metrics import load_metric
from fusion_core.extensions.outcomes import Outcome, failed, passed, skipped
from fusion_core.extensions.watching import network_refused
from fusion_core.methods import get_method, require_weights
from fusion_core.methods.base import MethodSpec
from fusion_core.metrics import column_of, get_metric
from fusion_core.networks import Weights

STOPPERS = ("loads", "parameters", "runs")
"""Checks without which the others make no sense."""
RESULT = "result"
"""Pseudo-check that writes the result for an example to a file."""


@dataclass(frozen=True)
class Request:
    """What is checked in a process."""

    kind: Literal["method", "metric"]
    name: str
    checks: tuple[str, ...]
    extension: Extension | None = None
    """Code of the user's own; None for a method or metric of irfuse."""
    sent: bool = False
    """Whether the code is loaded as a worker does that has received it."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    device: str = "cpu"
    pairs: Sequence[Pair] = ()
    expected: Sequence[Image] = ()
    scores: Sequence[float | None] = ()
    """What the metric should be for the pairs, of which `expected` are the fused images."""
    tolerance: float = 1.0
    quick: bool = False
    longest_s: float = 300.0
    result: str = ""
    """File for the result of an example."""


class _Reporter:
    """Writes lines of JSON to a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, **event: Any) -> None:  # noqa: ANN401
        os.write(self._descriptor, f"{json.dumps(event)}\n".encode())

    def run(self, name: str, check: Callable[[], Outcome]) -> Outcome:
        """Run a check between the reports of its begin and its end."""
        self(begin=name)
        started = time.perf_counter()
        outcome = check()
        seconds = time.perf_counter() - started
        self(end=name, seconds=seconds, outcome=outcome.model_dump())
        return outcome


def main(request_path: str, descriptor: int) -> None:
    """Check what a file describes, and report to a pipe."""
    request: Request = pickle.loads(Path(request_path).read_bytes())
    torch.set_num_threads(1)
    report = _Reporter(descriptor)
    before = ProcessState.now()
    with network_refused() as attempts:
        subject: MethodSubject | MetricSubject | None = None

        def load() -> Outcome:
            nonlocal subject
            try:
                subject = _SUBJECTS[request.kind](request, before, attempts)
            except IrfuseError as error:
                return failed(str(error))
            except Exception as error:  # noqa: BLE001 - code of the user
                return failed(f"{error} ({type(error).__name__})")
            return passed()

        outcome = report.run("loads", load)
        if outcome.status == "failed" or subject is None:
            return
        subject.on_call = lambda: report(alive=True)
        known = dict(_CHECKS[request.kind])
        known[RESULT] = partial(_write_result, request)
        stopped = ""
        for name in request.checks:
            if stopped:
                report(end=name, seconds=0.0, outcome=skipped(f"see {stopped}").model_dump())
                continue
            outcome = report.run(name, partial(known[name], subject))
            if name in STOPPERS and outcome.status in ("failed", "skipped"):
                stopped = "network" if outcome.status == "skipped" else name
                if attempts:
                    network = METHOD_CHECKS["network"](subject)  # type: ignore[arg-type]
                    report(end="network", seconds=0.0, outcome=network.model_dump())


def _write_result(request: Request, subject: MethodSubject | MetricSubject) -> Outcome:
    try:
        if isinstance(subject, MethodSubject):
            np.save(request.result, reference_result(subject))
        else:
            np.save(request.result, score_example(subject))
    except Exception as error:  # noqa: BLE001 - code of the user; another check explains it
        return failed(f"{error} ({type(error).__name__})")
    return passed()


def _load_method(request: Request, before: ProcessState, attempts: list[str]) -> MethodSubject:
    extension = request.extension
    spec: MethodSpec
    if extension is None:
        spec = get_method(request.name)
    else:
        spec = describe_method(extension, sent=request.sent)
    weights = require_weights(spec, request.weights) if spec.needs_weights else None
    subject = MethodSubject(
        spec,
        spec.parameters.parse(dict(request.parameters)),
        weights,
        request.device,
        request.pairs,
        request.expected,
        request.tolerance,
        request.quick,
        request.longest_s,
        attempts,
        before,
    )
    subject.build()
    return subject


def _load_metric(request: Request, before: ProcessState, attempts: list[str]) -> MetricSubject:
    extension = request.extension
    if extension is None:
        metric = get_metric(column_of(request.name))
    else:
        metric = load_metric(extension, sent=request.sent)
    return MetricSubject(
        metric, request.device, request.pairs, request.expected, request.scores, attempts, before
    )


_SUBJECTS: dict[str, Callable[..., MethodSubject | MetricSubject]] = {
    "method": _load_method,
    "metric": _load_metric,
}
_CHECKS: dict[str, dict[str, Callable[[Any], Outcome]]] = {
    "method": {**METHOD_CHECKS, **FRESH_METHOD_CHECKS},
    "metric": {**METRIC_CHECKS},
}
