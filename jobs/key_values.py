"""Options that are names with values: `NAME=VALUE`, repeated, or JSON objects."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from fusion_core.errors import InvalidValueError

_CREDENTIAL = re.compile("key|secret|token|password|user|account", re.IGNORECASE)


def parse_key_values(
    given: Any,  # noqa: ANN401
    parse_value: Callable[[str, str], Any] = lambda name, text: text,
) -> dict[str, Any]:
    """Parse `NAME=VALUE` strings and JSON objects; a mapping is returned unchanged.

    Args:
        given: A string, an object, or several of them.
        parse_value: Returns the value of `NAME=VALUE`; by default the text.

    Raises:
        InvalidValueError: A value is neither. The message does not repeat it: it may be a secret.
    """
    if isinstance(given, dict):
        return given
    values: dict[str, Any] = {}
    for item in given if isinstance(given, (list, tuple)) else (given,):
        if isinstance(item, dict):  # cyclopts has parsed the JSON object
            values.update(item)
        elif not isinstance(item, str):
            raise InvalidValueError("Expected NAME=VALUE or a JSON object")
        elif item.lstrip().startswith("{"):
            values.update(_parse_json(item))
        else:
            name, equals, value = item.partition("=")
            if not equals or not name:
                raise InvalidValueError(
                    "Expected NAME=VALUE, but got a value without a name or an equals sign"
                )
            values[name] = parse_value(name, value)
    return values


def _parse_json(text: str) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidValueError(
            f"Expected a JSON object: {error.msg} at character {error.pos + 1}"
        ) from None
    return values


def parse_typed_key_values(given: Any) -> dict[str, Any]:  # noqa: ANN401
    """Parse like `parse_key_values`, with values that are JSON where they can be.

    A number remains text in an option for a credential, such as a key that consists of digits.

    Raises:
        InvalidValueError: As `parse_key_values`.

    >>> parse_typed_key_values(["anon=false", "profile=lab", "secret=123"])
    {'anon': False, 'profile': 'lab', 'secret': '123'}
    """
    return parse_key_values(given, _json_or_text)


def _json_or_text(name: str, text: str) -> Any:  # noqa: ANN401
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return text
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return text if number and _CREDENTIAL.search(name) else value


def parse_bands(given: Any) -> Any:  # noqa: ANN401
    """Return the bands by image, from `BAND` for the infrared one, `ir=BAND` or `vis=BANDS`.

    Raises:
        InvalidValueError: An image is named that is not one of a pair.
    """
    if isinstance(given, dict):
        return given
    bands: dict[str, str] = {}
    for item in given if isinstance(given, (list, tuple)) else (given,):
        image, _, band = str(item).rpartition("=")
        if image not in ("", "ir", "vis"):
            raise InvalidValueError(f"Expected BAND, ir=BAND or vis=BANDS, but got {item!r}")
        bands[image or "ir"] = band
    return bands
