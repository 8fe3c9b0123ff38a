"""The exceptions of irfuse: one base, one subclass for each kind of remedy."""

from __future__ import annotations


class IrfuseError(Exception):
    """Base of every exception that irfuse raises on purpose.

    The message is one sentence for a person: what was asked, what was found, and the remedy.
    """


class InvalidValueError(IrfuseError, ValueError):
    """An argument, option or parameter is out of its range."""


class ImageDecodeError(IrfuseError):
    """Bytes are not an image that can be read."""


class PairMismatchError(IrfuseError):
    """The two sources of a pair (or its fused image) do not fit together."""


class WeightsError(IrfuseError):
    """A weight file is missing, damaged, or made for another network."""


class StorageError(IrfuseError):
    """A location cannot be read or written."""


class NotFoundError(StorageError):
    """Nothing lies at a location."""


class AccessDeniedError(StorageError):
    """A location may not be read or written with the credentials at hand."""


class ManifestError(IrfuseError):
    """A manifest or collection does not describe pairs."""


class RunConflictError(IrfuseError):
    """The output location already holds a run with other settings."""


class RunFailedError(IrfuseError):
    """A run cannot continue: workers die, nothing can be placed, or too many pairs fail."""
