"""Checks of a quality metric: what goes wrong in most metrics that were written for one program."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from fusion_core.errors import ContractError
from fusion_core.extensions.guarding import ProcessState
from fusion_core.extensions.importing import place_of
from fusion_core.extensions.method_subject import Image, Pair, make_pair
from fusion_core.extensions.metric_definitions import GuardedScore, PairScore
from fusion_core.extensions.outcomes import Outcome, failed, passed, skipped, warned
from fusion_core.images import luma
from fusion_core.metrics.base import ScoredBatch, Sources
from fusion_core.metrics.metric import Metric

_NOISE = 1e-9
_TOLERANCE = 1e-4
_SIZES = ((1, 1), (3, 5), (64, 64), (65, 97), (240, 320))
_NUMBER = re.compile(r"-?(?:inf|\d+(?:\.\d+)?(?:e-?\d+)?)")
_SHORTEST_S = 1.0
Triple = tuple[Image, Image, Image]


@dataclass
class MetricSubject:
    """A metric that is checked, in the process in which it is checked."""

    metric: Metric
    device: str = "cpu"
    pairs: Sequence[Pair] = ()
    """Pairs of the user."""
    fused: Sequence[Image] = ()
    """Their fused images."""
    scores: Sequence[float | None] = ()
    """What the metric should be."""
    attempts: list[str] = field(default_factory=list)
    """Places in the network that were asked for."""
    before_loading: ProcessState | None = None
    """State of the process before the metric was loaded."""
    on_call: Callable[[], None] = lambda: None
    """Called after each call of the metric."""

    def score(self, *triples: Triple) -> list[float]:
        """Return the metric of gray images of one size, as one batch."""
        stacks = [
            torch.from_numpy(np.stack([luma(image) for image in images])).unsqueeze(1)
            for images in zip(*triples, strict=True)
        ]
        ir, vis, fused = (stack.to(self.device) for stack in stacks)
        with torch.inference_mode():
            values = self.metric.score_batch(ScoredBatch(Sources(ir, vis), fused))
        self.on_call()
        return [float(value) for value in values]


Check = Callable[[MetricSubject], Outcome]


def make_triple(height: int, width: int, seed: int = 0) -> Triple:
    """Return a generated pair and its mean."""
    ir, vis = make_pair(height, width, seed)
    return ir, vis, ((ir.astype(np.int16) + vis) // 2).astype(np.uint8)


def score_example(subject: MetricSubject) -> NDArray[np.float64]:
    """Return the metric of an example, to compare it between processes."""
    return np.array(subject.score(make_triple(96, 128)))


def check_runs(subject: MetricSubject) -> Outcome:
    """The metric of a pair is computed without an exception."""
    try:
        (value,) = subject.score(make_triple(96, 128))
    except Exception as error:  # noqa: BLE001 - code of the user
        return _explain(subject, error)
    return passed(f"{value:.6g}")


def _explain(subject: MetricSubject, error: Exception) -> Outcome:
    if subject.attempts:
        return skipped(f"not checked, because it needs the network ({subject.attempts[0]})")
    if isinstance(error, ContractError):
        return failed(str(error))
    text = " ".join(str(error).split())[:200]
    return failed(f"{text or 'no message'} ({type(error).__name__}{place_of(error)})")


def _explained(check: Check) -> Check:
    def run(subject: MetricSubject) -> Outcome:
        try:
            return check(subject)
        except Exception as error:  # noqa: BLE001 - code of the user
            return _explain(subject, error)

    return run


def check_sizes(subject: MetricSubject) -> Outcome:
    """Small images have a value, or NaN, but are no error."""
    for height, width in _SIZES:
        try:
            subject.score(make_triple(height, width))
        except Exception as error:  # noqa: BLE001 - code of the user
            return warned(
                f"{type(error).__name__} at {width}x{height}, which fails the whole row: return "
                "NaN where the metric is undefined",
                f"{width}x{height}",
            )
    return passed(", ".join(f"{width}x{height}" for height, width in _SIZES))


def _extreme_triples() -> dict[str, Triple]:
    ir, vis, fused = make_triple(96, 128)
    black, white = np.zeros_like(ir), np.full_like(ir, 255)
    noise = np.random.default_rng(0).integers(0, 256, ir.shape, dtype=np.uint8)
    return {
        "an average": (ir, vis, fused),
        "the infrared image": (ir, vis, ir),
        "the visible image": (ir, vis, vis),
        "noise": (ir, vis, noise),
        "a black image": (ir, vis, black),
        "a white image": (ir, vis, white),
        "three equal images": (vis, vis, vis),
        "three flat images": (black, black, black),
    }


def check_range(subject: MetricSubject) -> Outcome:
    """Values are in the range that the metric states."""
    numbers = [float(text) for text in _NUMBER.findall(subject.metric.range.replace("..", " "))]
    if len(numbers) != 2:
        return skipped(f"the range {subject.metric.range!r} has no two numbers")
    low, high = numbers
    found = {name: subject.score(triple)[0] for name, triple in _extreme_triples().items()}
    values = [value for value in found.values() if math.isfinite(value)]
    shown = f"{min(values):.4g}..{max(values):.4g}" if values else "no value"
    slack = 1e-6 * max(1.0, *(abs(limit) for limit in numbers if math.isfinite(limit)), 1.0)
    for name, value in found.items():
        if math.isfinite(value) and not low - slack <= value <= high + slack:
            return failed(f"{value:.6g} for {name}", shown, subject.metric.range)
    return passed(shown, subject.metric.range)


def check_defined(subject: MetricSubject) -> Outcome:
    """Values are NaN only where the metric says that it is undefined."""
    undefined = [
        name
        for name, triple in _extreme_triples().items()
        if not math.isfinite(subject.score(triple)[0])
    ]
    if "an average" in undefined:
        return failed("NaN or infinite for the average of an ordinary pair")
    if undefined and subject.metric.undefined in ("", "it returned NaN"):
        return warned(
            f"NaN or infinite for {', '.join(undefined)}: state when with undefined=…, which rows "
            "give as the reason"
        )
    return passed(f"NaN for {', '.join(undefined)}" if undefined else "always")


def check_batch(subject: MetricSubject) -> Outcome:
    """The value of a pair does not depend on the other pairs of its batch."""
    triples = [make_triple(96, 128, seed) for seed in range(4)]
    together = subject.score(*triples)
    alone = [subject.score(triple)[0] for triple in triples]
    difference = float(np.nanmax(np.abs(np.subtract(together, alone)), initial=0.0))
    if difference > _NOISE:
        return failed("values depend on the rest of the batch", difference, _NOISE)
    return passed(difference, _NOISE)


def check_levels(subject: MetricSubject) -> Outcome:
    """Gray levels are not computed with in 8 bits, where 200 + 100 is 44."""
    function = _pair_function(subject.metric)
    if function is None:
        return skipped("only for functions of arrays")
    images = make_triple(96, 128)
    eight_bits = float(function(*images))
    wide = float(function(*(image.astype(np.float64) for image in images)))
    unit = float(function(*(image / 255.0 for image in images)))
    if not math.isclose(eight_bits, wide, rel_tol=1e-3, abs_tol=1e-6):
        return failed(
            f"{eight_bits:.6g} of uint8 but {wide:.6g} of the same values in float: sums and "
            "differences overflow; convert with image.astype(float) first",
            eight_bits, wide,
        )  # fmt: skip
    return Outcome(
        status="passed",
        value=f"{eight_bits:.4g}",
        hint=f"of images in 0..1 it would be {unit:.4g}; it gets 0..255",
    )


def _pair_function(metric: Metric) -> Callable[..., float] | None:
    score = metric.score_batch
    inner = score.score if isinstance(score, GuardedScore) else score
    return inner.function if isinstance(inner, PairScore) else None


def check_determinism(subject: MetricSubject) -> Outcome:
    """Two calls return the same."""
    triple = make_triple(96, 128)
    one, other = subject.score(triple)[0], subject.score(triple)[0]
    if one != other and not math.isnan(one):
        return failed("two calls differ", one - other, 0.0)
    return passed()


def check_symmetry(subject: MetricSubject) -> Outcome:
    """Whether the sources may be exchanged, which is for information only."""
    ir, vis, fused = make_triple(96, 128)
    difference = abs(subject.score((ir, vis, fused))[0] - subject.score((vis, ir, fused))[0])
    return passed("symmetric" if difference <= _NOISE else f"differs by {difference:.3g}")


def check_state(subject: MetricSubject) -> Outcome:
    """Global state of the process stays as it is."""
    function = _pair_function(subject.metric)
    changed = subject.before_loading.changes() if subject.before_loading else []
    if not changed and function is not None:
        before = ProcessState.now()
        function(*make_triple(96, 128))
        changed = before.changes()
        before.restore()
    if changed:
        return failed(f"changes {', '.join(changed)}; runs restore it, other programs will not")
    return passed()


def check_network(subject: MetricSubject) -> Outcome:
    """Nothing is requested from the network, which nodes may not have."""
    if subject.attempts:
        places = ", ".join(dict.fromkeys(subject.attempts))
        return failed("nodes may have no network; put what it needs into the package", places)
    return passed()


def check_expected(subject: MetricSubject) -> Outcome:
    """Scores are those that were given."""
    if not subject.scores:
        return skipped("give --pairs, --fused and --expect to compare with known scores")
    largest, worst = 0.0, 0
    for number, (pair, fused, expected) in enumerate(
        zip(subject.pairs, subject.fused, subject.scores, strict=True), start=1
    ):
        (value,) = subject.score((*pair, fused))
        if expected is None:
            continue
        difference = abs(value - expected) / max(1.0, abs(expected))
        if not difference <= largest:
            largest, worst = difference, number
    if not largest <= _TOLERANCE:
        return failed(f"pair {worst} of {len(subject.scores)} differs most", largest, _TOLERANCE)
    return Outcome(
        status="passed", value=largest, limit=_TOLERANCE, hint=f"{len(subject.scores)} pairs"
    )


def check_speed(subject: MetricSubject) -> Outcome:
    """Time per megapixel."""
    triple = make_triple(480, 640)
    subject.score(triple)
    started, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - started < _SHORTEST_S:
        subject.score(triple)
        calls += 1
    seconds = (time.perf_counter() - started) / calls / (480 * 640 / 1e6)
    return Outcome(status="passed", value=round(seconds, 4), hint="s/Mpx")


METRIC_CHECKS: dict[str, Check] = {
    "runs": check_runs,
    "sizes": _explained(check_sizes),
    "range": _explained(check_range),
    "defined": _explained(check_defined),
    "batch": _explained(check_batch),
    "gray levels": _explained(check_levels),
    "deterministic": _explained(check_determinism),
    "symmetry": _explained(check_symmetry),
    "global state": _explained(check_state),
    "network": check_network,
    "expected scores": _explained(check_expected),
    "speed": _explained(check_speed),
}
"""Checks of a metric in the process that has loaded it, in their order."""
