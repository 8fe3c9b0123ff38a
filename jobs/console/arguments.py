"""Command-line arguments, derived from the options models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar, get_origin

from cyclopts import Parameter
from pydantic import BaseModel, Field, ValidationError, create_model

from fusion_core.errors import InvalidValueError
from fusion_core.suggestions import invalid_input

Options = TypeVar("Options", bound=BaseModel)


def command_of(
    model: type[Options], call: Callable[[Options], None], *, positional: Sequence[str]
) -> Callable[..., None]:
    """Return a command whose arguments are the fields of an options model.

    Args:
        model: The options; its docstring is the help of the command, and the docstrings of its
            fields are the help of the arguments.
        call: Called with the options.
        positional: The fields that are positional arguments, in their order.
    """

    def command(given: Any) -> None:  # noqa: ANN401
        fields = () if given is None else given.model_fields_set
        call(model(**{name: getattr(given, name) for name in fields}))

    arguments: Any = _with_arguments(model, positional)
    command.__annotations__ = {"given": Annotated[arguments, Parameter(name="*")], "return": None}
    if not any(info.is_required() for info in model.model_fields.values()):
        command.__defaults__ = (None,)
    command.__doc__ = model.__doc__
    return command


def _with_arguments(model: type[BaseModel], positional: Sequence[str]) -> type[BaseModel]:
    """Return the model for the command line: strings for mappings, and positional fields."""
    texts: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if get_origin(info.annotation) is dict:
            own = [part for part in info.metadata if isinstance(part, Parameter)]
            parameters = (Parameter(negative=(), show_default=False, metavar="NAME=VALUE"), *own)
            default: Any = Field(
                default=[], description=info.description, repr=info.repr, exclude=info.exclude
            )
            # Not `list[str]`: cyclopts parses an item that looks like JSON.
            texts[name] = (Annotated[(list[Any], *parameters)], default)
    arguments: type[BaseModel] = create_model(model.__name__, __base__=model, **texts)
    fields = arguments.model_fields
    for name, info in fields.items():
        info.kw_only = name not in positional
        if info.default == ():
            info.metadata = [*info.metadata, Parameter(show_default=False)]

    def rank(name: str) -> tuple[bool, bool, bool]:
        """Return the place in the help: what commands share comes after what is the command's."""
        own = model.__annotations__
        return name not in positional, not fields[name].is_required(), name not in own

    ordered = {name: fields[name] for name in sorted(fields, key=rank)}
    fields.clear()
    fields.update(ordered)
    return arguments


def explain_invalid(error: ValidationError) -> InvalidValueError:
    """Return the first validation error, with the name of the option in its message."""
    first = error.errors()[0]
    option = "-".join(str(part) for part in first["loc"]).replace("_", "-")
    option = {"params": "param"}.get(option, option)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return InvalidValueError(f"--{option} is missing")
    if not option:  # a check of several options, whose message is complete
        return InvalidValueError(message)
    if first["type"] == "value_error" or first["loc"][0] == "storage_options":
        # The input may be a secret.
        return InvalidValueError(f"--{option}: {message}")
    return InvalidValueError(f"--{option}: {invalid_input(message, first['input'])}")
