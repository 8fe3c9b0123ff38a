"""The job of fusing: a method, its weights, and what is recorded of both."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cluster.runs import MethodOrigin, Payload
from fusion_core.errors import ExtensionError, RunFailedError
from fusion_core.extensions import find_method
from fusion_core.methods import check_source_count, check_weights
from fusion_core.parameters import MethodParameters
from jobs.options import CheckMethodOptions, RunOptions
from jobs.planning import Job
from jobs.progress import Progress
from jobs.weights import find_stored_weights

if TYPE_CHECKING:
    from jobs.checking.report import CheckReport

CHECKS_KEY = "checks.json"


def plan_fusing(options: RunOptions, progress: Progress) -> Job:
    """Return the job of fusing, after its method and weights were found.

    Raises:
        InvalidValueError: A method or parameter is unknown.
        WeightsError: The weights are missing, damaged or of another network.
    """
    checks = _check(options, progress) if options.check else None
    method = find_method(options.method, options.trust_code)
    parameters = method.spec.parameters.parse(options.params)
    weights = find_stored_weights(method.spec, options, parameters, progress)
    # Invalid weights and code of the user's own that fails are reported before anything is written.
    if method.extension is None:
        check_weights(method.spec, parameters, weights)
    else:
        from fusion_core.methods import build_method  # needs torch, which others do not

        build_method(method.spec, parameters, weights)
    origin = MethodOrigin(
        method=method.name,
        parameters=parameters.model_dump(),
        weights=None if weights is None else weights.source,
        weights_sha256=None if weights is None else weights.sha256,
        weights_trained=None if weights is None else weights.trained,
        method_origin=None if method.extension is None else method.extension.origin,
        keep_images=options.keep_images,
    )
    mark = " [untrained]" if origin.trained is False else ""
    name = f"{options.name or default_name(method.name, parameters)}{mark}"
    payload = Payload(weights, method.extension)
    check_sources = partial(check_source_count, method.name, method.spec)
    job = Job(options, origin, name, payload, check_sources=check_sources)
    if checks is not None:
        report = checks.model_dump_json(indent=2).encode()
        job = replace(job, documents={CHECKS_KEY: report})
    return job


def _check(options: RunOptions, progress: Progress) -> CheckReport:
    """Check the method of a run.

    Raises:
        ExtensionError: It cannot be loaded.
        RunFailedError: A check has failed.
    """
    from jobs.checking.jobs import check_method  # needs torch, which other runs do not

    names = ("params", "weights", "trust_code", "storage_options")
    given = {name: getattr(options, name) for name in names}
    report = check_method(
        CheckMethodOptions(
            target=options.method, quick=True, timeout=options.pair_timeout, **given
        ),
        progress,
    )
    if not report.loaded:
        raise ExtensionError(report.checks[0].hint)
    if report.failed:
        failed = next(check for check in report.checks if check.status == "failed")
        raise RunFailedError(
            f"The check {failed.name!r} of {report.target} failed: {failed.hint}; `irfuse "
            "check-method` shows all checks"
        )
    return report


def default_name(method: str, parameters: MethodParameters) -> str:
    """Return the name of a run: the method and the parameters that differ from their defaults."""
    changed = parameters.model_dump(exclude_defaults=True)
    details = ", ".join(f"{name}={value}" for name, value in changed.items())
    return f"{method}({details})" if details else method
