"""The command line that stands for options, which is the inverse of parsing it."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Iterator
from typing import Any

from cyclopts import Parameter
from pydantic import BaseModel
from pydantic.fields import FieldInfo


def to_arguments(options: BaseModel, model: type[BaseModel], positional: str) -> list[str]:
    """Return the arguments of a command, quoted for a shell, one string for each option.

    Options with their default value are left out.

    Args:
        options: The options, which may have further fields than the command.
        model: The options model of the command.
        positional: The field that is its positional argument.
    """

    def rank(field: tuple[str, FieldInfo]) -> tuple[bool, int]:
        """Return the place of an option: what the command shares comes after what is its own."""
        name, info = field
        owner = next(
            place
            for place, base in enumerate(model.__mro__)
            if name in inspect.get_annotations(base)
        )
        return not info.is_required(), owner

    found = [shlex.quote(str(getattr(options, positional)))]
    for name, info in sorted(model.model_fields.items(), key=rank):
        value = getattr(options, name)
        if name == positional or value == info.get_default(call_default_factory=True):
            continue
        found += [" ".join(map(shlex.quote, part)) for part in option_words(name, info, value)]
    return found


def option_words(field: str, info: FieldInfo, value: Any) -> Iterator[list[str]]:  # noqa: ANN401
    """Yield the words of an option, once for each of several values.

    Args:
        field: Name of the field.
        info: The field of the options model.
        value: Its value.
    """
    name = _name_of(field, info)
    if isinstance(value, bool):
        yield [name if value else name.replace("--", "--no-", 1)]
        return
    values = value if isinstance(value, (list, tuple)) else (value,)
    if isinstance(value, dict):
        values = [f"{key}={_text(part)}" for key, part in value.items()]
    for text in map(_text, values):
        yield [f"{name}={text}"] if text.startswith("-") else [name, text]


def _name_of(field: str, info: FieldInfo) -> str:
    """Return the long name of an option."""
    given = [part.name for part in info.metadata if isinstance(part, Parameter) and part.name]
    names = [name for group in given for name in group if name.startswith("--")]
    return names[-1] if names else f"--{field.replace('_', '-')}"


def _text(value: Any) -> str:  # noqa: ANN401
    """Return a value as it is given on the command line."""
    if isinstance(value, (bool, dict, list, type(None))):
        return json.dumps(value)
    return f"{value:.15g}" if isinstance(value, float) else str(value)
