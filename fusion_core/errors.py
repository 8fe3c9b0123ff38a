"""The exceptions of irfuse: one base class, and one subclass per kind of remedy."""

from __future__ import annotations


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
