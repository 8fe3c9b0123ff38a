"""What there is to choose from: methods, metrics and weights, without importing torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from fusion_core.errors import ExtensionError, InvalidValueError, WeightsError
from fusion_core.extensions import (
    CodeOrigin,
    FoundMethod,
    FoundMetric,
    find_method,
    find_own_metric,
    list_entry_points,
)
from fusion_core.methods import METHODS, MethodSpec, default_weights
from fusion_core.metrics import (
    LIBRARIES,
    LIBRARY_METRICS,
    METRICS,
    PRESETS,
    Metric,
    Preset,
    is_measure,
    select_metrics,
)
from fusion_core.networks import KnownWeights, list_known_weights
from fusion_core.suggestions import unknown_name
from jobs.options import MethodsOptions, MetricsOptions, WeightsOptions
from jobs.progress import Progress

if TYPE_CHECKING:
    from jobs.identify import Identification

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CheckedWeights:
    """Weights that irfuse finds by itself, and whether their file is intact."""

    weights: KnownWeights
    methods: list[str]
    """Methods that use them by default."""
    sha256: str | None
    """Digest of the file on this machine; None if it is not here or not intact."""
    problem: str | None
    """What is wrong with the file; None if nothing is, or if it is not here."""

    @property
    def state(self) -> str:
        """`ok`, `damaged` or `not here`."""
        return "damaged" if self.problem else "ok" if self.sha256 else "not here"


@dataclass(frozen=True, slots=True)
class ChosenMetrics:
    """Metrics by name."""

    metrics: dict[str, Metric]
    preset: Preset | None = None
    """The preset that contains them, if one was requested."""
    identification: Identification | None = None
    """The metrics that have a published value, if one was given."""
    origins: dict[str, CodeOrigin] = field(default_factory=dict)
    """Code of those metrics that are not of irfuse."""
    problems: dict[str, str] = field(default_factory=dict)
    """Why metrics of installed packages cannot be loaded, by their names."""


@dataclass(frozen=True, slots=True)
class ListedMethod:
    """A method, and where it comes from."""

    spec: MethodSpec | None
    """Its description; None if it cannot be loaded."""
    origin: CodeOrigin | None = None
    """Code of a method that is not one of irfuse."""
    problem: str | None = None
    """Why it cannot be loaded."""


def methods(options: MethodsOptions, progress: Progress | None = None) -> dict[str, ListedMethod]:
    """Return the requested methods by name: one, or those of irfuse and of installed packages.

    Args:
        options: Options of the job.
        progress: Not used.

    Raises:
        InvalidValueError: The method is unknown.
        ExtensionError: A method of the user's own cannot be loaded.
    """
    if options.name is not None:
        found = find_method(options.name, options.trust_code)
        return {found.name: _listed(found)}
    listed = {name: ListedMethod(spec) for name, spec in METHODS.items()}
    for name in list_entry_points("irfuse.methods"):
        if name not in METHODS:
            try:
                listed[name] = _listed(find_method(name))
            except ExtensionError as error:
                listed[name] = ListedMethod(None, problem=str(error))
    return listed


def _listed(found: FoundMethod) -> ListedMethod:
    return ListedMethod(found.spec, found.extension.origin if found.extension else None)


def metrics(options: MetricsOptions, progress: Progress | None = None) -> ChosenMetrics:
    """Return the requested metrics by name, or those that have a published value.

    Args:
        options: Options of the job.
        progress: Not used.

    Raises:
        InvalidValueError: The name is neither that of a metric nor that of a preset, or a published
            value is not NAME=VALUE and three images.
        IrfuseError: An image cannot be read, or the images differ in size.
    """
    if options.identify is not None:
        from jobs.identify import identify_value  # imports torch

        return ChosenMetrics({}, identification=identify_value(options.identify, options.names))
    if len(options.names) > 1:
        raise InvalidValueError(f"Expected one metric or preset, but got {len(options.names)}")
    name = options.names[0] if options.names else None
    preset = PRESETS.get(name or "")
    if preset is not None:
        return ChosenMetrics({name: METRICS[name] for name in preset.columns}, preset)
    if name in LIBRARIES:
        return ChosenMetrics({n: m for n, m in LIBRARY_METRICS.items() if m.library == name})
    if name is not None and is_measure(name):
        (column,) = select_metrics([name])
        return ChosenMetrics({column: LIBRARY_METRICS[column]})
    if name is not None and name not in METRICS:
        own = find_own_metric(name)
        return _with_own(ChosenMetrics({}), own)
    chosen = ChosenMetrics(_select("metric", name, METRICS))
    for point in list_entry_points("irfuse.metrics") if name is None else ():
        if point not in METRICS:
            try:
                chosen = _with_own(chosen, find_own_metric(point))
            except ExtensionError as error:
                chosen = replace(chosen, problems={**chosen.problems, point: str(error)})
    return chosen


def _with_own(chosen: ChosenMetrics, own: FoundMetric) -> ChosenMetrics:
    name = own.metric.name
    return replace(
        chosen,
        metrics={**chosen.metrics, name: own.metric},
        origins={**chosen.origins, name: own.extension.origin},
    )


def weights(options: WeightsOptions, progress: Progress | None = None) -> list[CheckedWeights]:
    """Return the requested weights, whose files on this machine are verified.

    Args:
        options: Options of the job.
        progress: Not used.

    Raises:
        InvalidValueError: The weights are unknown.
    """
    users: dict[str, list[str]] = {}
    for name, spec in METHODS.items():
        if (default := default_weights(spec)) is not None:
            users.setdefault(default.name, []).append(name)
    known = {found.name: found for found in list_known_weights()}
    chosen = _select("weights", options.name, known)
    return [_check(found, users.get(name, [])) for name, found in chosen.items()]


def _select(kind: str, name: str | None, known: dict[str, T]) -> dict[str, T]:
    if name is None:
        return known
    if name not in known:
        raise InvalidValueError(unknown_name(kind, name, known))
    return {name: known[name]}


def _check(weights: KnownWeights, users: list[str]) -> CheckedWeights:
    try:
        return CheckedWeights(weights, users, weights.verify() if weights.here else None, None)
    except WeightsError as error:
        return CheckedWeights(weights, users, None, str(error))
