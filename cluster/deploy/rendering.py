"""Templates of cluster files, filled in with values."""

from __future__ import annotations

import json
from importlib import resources
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

OBJECT_STORE_BYTES = 1_000_000_000
"""Ray's object store on each node, which holds the weights, and rows of isolated shards. By default
it has 30 % of the memory, which workers can use better."""

_UNITS = {"Ti": 2**40, "Gi": 2**30, "Mi": 2**20, "G": 10**9, "M": 10**6}


def render(template: str, **values: Any) -> str:  # noqa: ANN401
    """Fill in a template of this package.

    Variables are `@{ name }`, because shell scripts and the templates of Prometheus have braces of
    their own. The filter `yaml` quotes a value for YAML.

    Args:
        template: File name of the template, without the suffix `.jinja`.
        **values: The variables; those of the versions of irfuse and Ray are known.
    """
    environment = Environment(
        loader=PackageLoader("cluster.deploy", ""),
        variable_start_string="@{",
        variable_end_string="}",
        comment_start_string="@#",
        comment_end_string="#@",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["yaml"] = lambda value: json.dumps(value, ensure_ascii=False)
    known = {"version": version("irfuse"), "ray_version": version("ray")}
    return environment.get_template(f"{template}.jinja").render(**known, **values)


def packaged_file(name: str) -> str:
    """Return the text of a file of this package that is used as it is."""
    return resources.files("cluster.deploy").joinpath(name).read_text("utf-8")


def quantity(size: int) -> str:
    """Return a number of bytes in the notation of Kubernetes, without loss.

    >>> quantity(16 * 2**30), quantity(1_500_000_000), quantity(1)
    ('16Gi', '1500M', '1')
    """
    for unit, factor in _UNITS.items():
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
