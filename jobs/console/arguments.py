"""Command-line arguments from options models: spelled once, in `jobs.options`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from cyclopts import Group, Parameter
from pydantic import BaseModel

from fusion_core.errors import InvalidValueError

Options = TypeVar("Options", bound=BaseModel)

_CLUSTER = Group("Ray", sort_key=2)
_CLUSTER_FIELDS = {"address", "workers", "device", "pair_timeout", "start_timeout"}
_KEY_VALUE_FIELDS = {
    "params": "A parameter of the method as NAME=VALUE, repeated for each; see irfuse methods.",
    "storage_options": "Option for fsspec as NAME=VALUE, repeated, or one JSON object.",
}
_FLAG_NAMES = {"params": "--param", "out": ("--out", "-o"), "metrics": "--metrics"}


def command_of(
    model: type[Options], job: Callable[[Options], None], *, first: str = "source"
) -> Callable[..., None]:
    """Make a command whose arguments are the fields of an options model.

    Args:
        model: The options; each field's docstring is its help.
        job: What to run with the options; its docstring is the command's help.
        first: The field that is given without its name.
    """

    def command(*named: Any, **values: Any) -> None:  # noqa: ANN401
        values.update(zip((first,), named, strict=False))
        given = {name: value for name, value in values.items() if value is not None}
        for name in _KEY_VALUE_FIELDS:
            if name in given:
                given[name] = parse_key_values(given[name])
        if "metrics" in given:
            given["metrics"] = tuple(name for name in given["metrics"].split(",") if name)
        job(model(**given))

    fields = sorted(model.model_fields.items(), key=lambda item: not item[1].is_required())
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_parameter(name, model, first) for name, _ in fields], return_annotation=None
    )
    command.__annotations__ = {name: _annotation(name, model) for name, _ in fields}
    command.__name__ = job.__name__
    command.__doc__ = job.__doc__
    return command


def _parameter(name: str, model: type[BaseModel], first: str) -> inspect.Parameter:
    info = model.model_fields[name]
    kind = (
        inspect.Parameter.POSITIONAL_OR_KEYWORD if name == first else inspect.Parameter.KEYWORD_ONLY
    )
    default: Any = inspect.Parameter.empty
    if not info.is_required():
        default = None if name in _KEY_VALUE_FIELDS else info.get_default()
    return inspect.Parameter(name, kind, default=default, annotation=_annotation(name, model))


def _annotation(name: str, model: type[BaseModel]) -> Any:  # noqa: ANN401
    info = model.model_fields[name]
    kind: Any = info.annotation
    if name in _KEY_VALUE_FIELDS:
        kind = list[str] | None
    elif name in ("metrics", "weights"):
        kind = str | None
    text = _KEY_VALUE_FIELDS.get(name) or " ".join((info.description or "").split())
    settings: dict[str, Any] = {"help": text}
    if name in _FLAG_NAMES:
        settings["name"] = _FLAG_NAMES[name]
    if name in _KEY_VALUE_FIELDS:
        settings["negative"] = ()
    if name in _CLUSTER_FIELDS:
        settings["group"] = _CLUSTER
    return Annotated[kind, Parameter(**settings)]


def parse_key_values(texts: Sequence[str] | None) -> dict[str, Any]:
    """Parse `NAME=VALUE` texts, or a JSON object.

    Raises:
        InvalidValueError: A text is neither.
    """
    values: dict[str, Any] = {}
    for text in texts or ():
        if text.lstrip().startswith("{"):
            try:
                values.update(json.loads(text))
            except json.JSONDecodeError as error:
                # The text itself may hold a secret.
                raise InvalidValueError(
                    f"Expected a JSON object: {error.msg} at character {error.pos + 1}"
                ) from None
            continue
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidValueError("Expected NAME=VALUE, but one has no name or no equals sign")
        values[name] = value
    return values
