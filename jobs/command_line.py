"""The command that an options model stands for, without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from cluster.storage import redact_text

_POSITIONAL = ("source",)
_NAMES = {"params": "param", "json_output": "json"}


def command_line(options: BaseModel) -> list[str]:
    """Return the command with the options that were given.

    Storage options are left out, and URLs are without their passwords and queries.
    """
    name = type(options).__name__.removesuffix("Options").lower()
    given = options.model_dump(mode="json", exclude_unset=True)
    words = ["irfuse", name]
    words += [str(given.pop(field)) for field in _POSITIONAL if field in given]
    for field, value in given.items():
        words += _words(f"--{_NAMES.get(field, field).replace('_', '-')}", value)
    return [redact_text(word) for word in words]


def _words(option: str, value: Any) -> Iterator[str]:  # noqa: ANN401
    if value is None:
        return
    if isinstance(value, bool):
        yield option if value else f"--no-{option.removeprefix('--')}"
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from (option, f"{key}={part}")
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from (option, str(part))
    else:
        yield from (option, str(value))
