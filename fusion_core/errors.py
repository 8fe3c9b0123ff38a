"""The exceptions of irfuse: one base class, and one subclass per kind of remedy."""

from __future__ import annotations

import re
from typing import Literal

_QUOTED = re.compile(r"""(?<!\w)b?(?:'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?)""")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e…]+")
_ROW = re.compile(r"(, got \d+): .*", re.DOTALL)  # of a CSV file
_LONGEST_REASON = 200


class IrfuseError(Exception):
    """Base class of the exceptions of irfuse.

    The message is one sentence for the user: what was requested, what was found, and the remedy.
    """


class InvalidValueError(IrfuseError, ValueError):
    """An argument, option or parameter has an invalid value."""


class ImageDecodeError(IrfuseError):
    """The bytes of an image cannot be decoded."""


class PairMismatchError(IrfuseError):
    """The sources of a pair, or its fused image, differ in size."""


class WeightsError(IrfuseError):
    """A weight file is missing, damaged, or of another network."""


class ExtensionError(InvalidValueError):
    """A method or metric of the user's own cannot be loaded."""


class ContractError(IrfuseError):
    """A method or metric of the user's own returned something else than it must return."""

    aspect: Literal["type", "size", "values"] = "type"
    """What was wrong: the type or the size of the result, or values that are not finite."""

    @classmethod
    def about(cls, aspect: Literal["type", "size", "values"], message: str) -> ContractError:
        """Return an error about one aspect."""
        error = cls(message)
        error.aspect = aspect
        return error


class StorageError(IrfuseError):
    """A location cannot be read or written."""


class NotFoundError(StorageError):
    """An object or location does not exist."""


class AccessDeniedError(StorageError):
    """The credentials do not permit reading or writing a location."""


class ManifestError(IrfuseError):
    """A manifest or collection does not describe pairs."""


class RunConflictError(IrfuseError):
    """The output location already contains a run with other settings."""


class RunFailedError(IrfuseError):
    """A run cannot continue: workers die or cannot be placed, or too many pairs fail."""


def reason_without_content(error: BaseException) -> str:
    """Return the message of a library without the parts of a file that it quotes.

    Messages are kept in rows and logs, and a file that is not what it seems may contain anything,
    also secrets.

    >>> reason_without_content(ValueError("invalid literal for int() with base 10: b'secret'"))
    'invalid literal for int() with base 10: …'
    >>> reason_without_content(ValueError(b"Token too long in file header: secret"))
    'Token too long in file header'
    """
    message = error.args[0] if error.args else ""
    if isinstance(message, bytes):  # Pillow builds such a message from what it has read
        text = message.partition(b":")[0].decode("ascii", "replace")
    else:
        text = _QUOTED.sub("…", _ROW.sub(r"\1", str(error)))
    text = " ".join(_UNPRINTABLE.sub(" ", text).split())
    return text[:_LONGEST_REASON] or type(error).__name__
