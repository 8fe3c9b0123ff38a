"""Lists and descriptions of methods and weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fusion_core.errors import WeightsError
from fusion_core.methods import MethodSpec, NoWeights, default_weights, network_name
from fusion_core.parameters import MethodParameters, NetworkParameters, ParameterDescription
from jobs.console.layout import print_fields, print_list, print_text

if TYPE_CHECKING:
    from fusion_core.extensions import CodeOrigin
    from fusion_core.networks import KnownWeights
    from jobs.catalogue import CheckedWeights, ListedMethod
    from jobs.options import MethodsOptions, WeightsOptions

_DIGITS = 12
"""Digits of a SHA-256 in the list."""
_COMMON = (*MethodParameters.model_fields, *NetworkParameters.model_fields, "input_scale")
"""Parameters that other methods have, too."""


def print_methods(
    console: Console, methods: Mapping[str, ListedMethod], options: MethodsOptions
) -> None:
    """Print one line per method, or all about one, or JSON."""
    if options.json_output:
        _print_json({name: _method_json(found) for name, found in methods.items()})
    elif options.name is not None:
        ((name, found),) = methods.items()
        _describe_method(console, name, found)
    else:
        own = {name: found for name, found in methods.items() if found.origin or not found.spec}
        rows = (
            (name, *_method_cells(found.spec))
            for name, found in methods.items()
            if found.spec and name not in own
        )
        headings = ("method", "year", "network", "weights", "s/Mpx", "variants", "title")
        print_list(console, headings, rows, right="s/Mpx")
        console.print()
        if own:
            print_text(console, "Of installed packages:")
            others = ((name, *_origin_cells(found)) for name, found in own.items())
            print_list(console, ("method", "package", "title"), others)
            console.print()
        print_text(
            console,
            "s/Mpx: seconds per megapixel on one CPU thread, with direct convolutions. `irfuse "
            "methods NAME` describes a method with its paper and parameters; `irfuse weights` "
            "verifies the weights.",
        )


def print_weights(
    console: Console, weights: Sequence[CheckedWeights], options: WeightsOptions
) -> None:
    """Print one line per file of weights, or all about one, or JSON.

    Raises:
        WeightsError: A file is damaged; it is printed before.
    """
    if options.json_output:
        _print_json({found.weights.name: _weights_json(found) for found in weights})
    elif options.name is not None:
        (found,) = weights
        print_fields(console, f"{found.weights.name}: {found.state}", _weights_fields(found))
    else:
        rows = ((found.weights.name, *_weights_cells(found)) for found in weights)
        headings = ("weights", "file", "MB", "SHA-256", "default of")
        print_list(console, headings, rows, right="MB")
        console.print()
        print_text(
            console,
            "`irfuse weights NAME` shows licence, location and the whole digest. Weights that are "
            "not here are downloaded when a method first uses them.",
        )
    if problems := [found.problem for found in weights if found.problem]:
        raise WeightsError("; ".join(problems))


def _origin_cells(found: ListedMethod) -> tuple[str, str]:
    title = found.spec.title if found.spec else f"! {found.problem}"
    return origin_text(found.origin) if found.origin else "–", title


def origin_text(origin: CodeOrigin) -> str:
    """Return where the code of a method or metric comes from."""
    if origin.distribution:
        return f"{origin.distribution} {origin.version}"
    return f"{origin.kind.replace('_', ' ')}, SHA-256 {origin.sha256[:_DIGITS]}…"


def _method_cells(spec: MethodSpec) -> tuple[str, ...]:
    variants = [p.name for p in _own_parameters(spec) if p.type == "choice"]
    return (
        str(spec.paper.year) if spec.paper and spec.paper.year else "–",
        network_name(spec),
        _weights_state(spec),
        _seconds(spec),
        ", ".join(variants) or "–",
        spec.title,
    )


def _weights_state(spec: MethodSpec) -> str:
    weights = default_weights(spec)
    if weights is None:
        if spec.needs_weights:
            return "to train"
        return "none" if isinstance(spec.weights, NoWeights) else "learned"
    if weights.source == "irfuse":
        return "included"
    return "here" if weights.here else "to download"


def _seconds(spec: MethodSpec) -> str:
    if spec.ms_per_megapixel is None:
        return "–"
    return f"{spec.ms_per_megapixel / 1000:.1f}" if spec.ms_per_megapixel >= 100 else "<0.1"


def _own_parameters(spec: MethodSpec) -> list[ParameterDescription]:
    """Return the parameters that distinguish the method from others."""
    return [parameter for parameter in spec.parameters.describe() if parameter.name not in _COMMON]


def _describe_method(console: Console, name: str, found: ListedMethod) -> None:
    spec = found.spec
    assert spec is not None  # a method that was requested by name can be loaded
    lines = _method_fields(spec)
    if found.origin is not None:
        lines["from"] = origin_text(found.origin)
    print_fields(console, f"{name}: {spec.title}", lines)
    console.print("\nParameters, given as --param NAME=VALUE:\n")
    own = _own_parameters(spec)
    for parameter in (*own, *(p for p in spec.parameters.describe() if p not in own)):
        values = parameter.choices
        if parameter.type in ("integer", "number"):
            values = f"{parameter.type} {values}".rstrip()
        line = f"{parameter.name}: {values} (default {parameter.default})"
        print_text(console, line, first=2, indent=6, style="bold")
        print_text(console, parameter.meaning, first=6, indent=6)


def _method_fields(spec: MethodSpec) -> dict[str, str]:
    lines = {}
    if spec.paper is not None:
        lines = {"paper": spec.paper.citation}
        if spec.paper.link not in spec.paper.citation:
            lines[""] = spec.paper.link
    lines |= {"network": network_name(spec), "weights": _weights_state(spec)}
    if (weights := default_weights(spec)) is not None:
        lines["weights"] += f": {weights.name} ({weights.licence})"
    lines["sources"] = "any number" if spec.most_sources is None else str(spec.most_sources)
    if spec.ms_per_megapixel is not None:
        how = ", with direct convolutions" if issubclass(spec.parameters, NetworkParameters) else ""
        lines["speed"] = f"{_seconds(spec)} s per megapixel on one CPU thread{how}"
    return lines


def _method_json(found: ListedMethod) -> dict[str, Any]:
    origin = found.origin.model_dump() if found.origin else {"kind": "built_in"}
    spec = found.spec
    if spec is None:
        return {"problem": found.problem}
    weights = default_weights(spec)
    return {
        "origin": origin,
        "title": spec.title,
        "paper": None if spec.paper is None else asdict(spec.paper),
        "network": network_name(spec),
        "weights": None if weights is None else weights.name,
        "weights_state": _weights_state(spec),
        "most_sources": spec.most_sources,
        "ms_per_megapixel": spec.ms_per_megapixel,
        "parameters": [asdict(parameter) for parameter in spec.parameters.describe()],
        "variants": [dict(variant) for variant in spec.variants],
    }


def _weights_cells(found: CheckedWeights) -> tuple[str, ...]:
    digest = found.sha256 or found.weights.sha256
    users = ", ".join(found.methods) or "–"
    return found.state, _megabytes(found.weights), digest[:_DIGITS], users


def _weights_fields(found: CheckedWeights) -> dict[str, str]:
    weights = found.weights
    return {
        "size": f"{_megabytes(weights)} MB",
        "from": weights.url or "irfuse, which includes them",
        "licence": weights.licence,
        "file": str(weights.path),
        "SHA-256": found.sha256 or f"{weights.sha256} (as published)",
        "default of": ", ".join(found.methods) or "no method",
    }


def _weights_json(found: CheckedWeights) -> dict[str, Any]:
    known = asdict(found.weights)
    return {
        **known,
        "path": str(found.weights.path),
        "published_sha256": known["sha256"],
        "sha256": found.sha256,
        "state": found.state,
        "problem": found.problem,
        "default_of": found.methods,
    }


def _megabytes(weights: KnownWeights) -> str:
    return f"{weights.megabytes:.{1 if weights.megabytes < 10 else 0}f}"


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2))
