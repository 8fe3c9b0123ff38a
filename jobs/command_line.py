"""The command that an options model stands for, without secrets."""

from __future__ import annotations

from itertools import chain

from pydantic import BaseModel

from cluster.storage import redact_text
from jobs.options.arguments import option_words

_POSITIONAL = "source"


def command_line(options: BaseModel) -> list[str]:
    """Return the command with the options that were given.

    Storage options are left out, and URLs are without their passwords and queries.
    """
    name = type(options).__name__.removesuffix("Options").lower()
    words = ["irfuse", name]
    if _POSITIONAL in options.model_fields_set:
        words.append(str(getattr(options, _POSITIONAL)))
    for field, info in type(options).model_fields.items():
        value = getattr(options, field)
        given = field in options.model_fields_set and value is not None
        if given and field != _POSITIONAL and not info.exclude:
            words += chain.from_iterable(option_words(field, info, value))
    return [redact_text(word) for word in words]
