"""Retries of storage calls: which errors are transient, and how long to wait."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import stamina
from fsspec.exceptions import FSTimeoutError

T = TypeVar("T")

_ATTEMPTS = 6
_LONGEST_WAIT_S = 8.0
_LONGEST_CALL_S = 120.0
"""No retry starts later; well below the time after which a worker is considered hung."""
_TRANSIENT_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EINTR", "EIO",
        "EPIPE", "EREMOTEIO", "ESTALE", "ETIMEDOUT",
    )
    if hasattr(errno, name)
)  # fmt: skip
_BOTOCORE, _AIOHTTP = "botocore.exceptions", "aiohttp"
_TRANSIENT_OF_BOTOCORE = (
    "HTTPClientError",
    "ConnectionClosedError",
    "ConnectTimeoutError",
    "EndpointConnectionError",  # also raised when a connection breaks while a request is sent
)
_TRANSIENT_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


@dataclass(frozen=True, slots=True)
class Retry:
    """A request to the storage that is about to be repeated."""

    operation: str
    """What was to be done, such as `read` or `list`."""
    code: str
    """HTTP status, symbol of an operating system's error, or class of the error."""


_LISTENERS: list[Callable[[Retry], None]] = []


@contextmanager
def watched_retries(listener: Callable[[Retry], None]) -> Iterator[None]:
    """Call a function before each repeated request of this process, while the block runs."""
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)


def store_errors() -> tuple[type[Exception], ...]:
    """Return all errors that stores raise."""
    botocore = _classes(_BOTOCORE, "BotoCoreError", "ClientError")
    return (OSError, FSTimeoutError, *botocore, *_classes(_AIOHTTP, "ClientError"))


def _classes(module: str, *names: str) -> tuple[type[Exception], ...]:
    """Return errors of a library, none if nothing has imported it and could have raised them.

    The libraries of object stores take a second to import, which local files do not need.
    """
    found = sys.modules.get(module)
    return () if found is None else tuple(getattr(found, name) for name in names)


def _credential_errors() -> tuple[type[Exception], ...]:
    return _classes(_BOTOCORE, "NoCredentialsError", "PartialCredentialsError")


def with_retries(action: Callable[[], T], operation: str) -> T:
    """Run one storage action, and retry it with exponential backoff on transient errors."""

    def repeat(error: Exception) -> bool:
        transient = is_transient(error)
        if transient and attempt.num < _ATTEMPTS:
            for listener in _LISTENERS:
                listener(Retry(operation, _code_of(error)))
        return transient

    for attempt in stamina.retry_context(
        on=repeat,
        attempts=_ATTEMPTS,
        timeout=_LONGEST_CALL_S,
        wait_initial=0.2,
        wait_max=_LONGEST_WAIT_S,
    ):
        with attempt:
            return action()
    raise AssertionError("stamina returns or raises")


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed when it is retried."""
    expired = _classes("s3fs.utils", "FileExpired")
    if isinstance(error, (FileNotFoundError, FileExistsError, PermissionError, *expired)):
        return False
    if (status := _response_status(error)) is not None:
        return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT_STATUSES
    timeouts = (ConnectionError, TimeoutError, FSTimeoutError)
    if isinstance(error, (*timeouts, *_classes(_AIOHTTP, "ClientError"))):
        return True
    if isinstance(error, _credential_errors()):
        return False
    transient = _classes(_BOTOCORE, *_TRANSIENT_OF_BOTOCORE)
    if isinstance(error, (*transient, *_classes("botocore.parsers", "ResponseParserError"))):
        return True
    return isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS


def is_access_denied(error: Exception) -> bool:
    """Whether a store denied access, for lack of credentials or permissions."""
    if (status := _response_status(error)) is not None:
        return status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    return isinstance(error, (PermissionError, *_credential_errors()))


def _response_status(error: Exception) -> int | None:
    """Return the status of a web server's response, None for other errors."""
    if isinstance(error, _classes(_AIOHTTP, "ClientResponseError")):
        return int(error.status)  # type: ignore[attr-defined]
    return None


def _code_of(error: Exception) -> str:
    """Return a short name of an error, of which there are few."""
    cause = error.__cause__ or error
    answer = getattr(cause, "response", None)  # of botocore, whose errors s3fs translates
    if isinstance(answer, dict) and "HTTPStatusCode" in answer.get("ResponseMetadata", {}):
        return str(answer["ResponseMetadata"]["HTTPStatusCode"])
    if (status := _response_status(error)) is not None:
        return str(status)
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number or 0, type(error).__name__)


def reason_of(error: BaseException) -> str:
    """Return the first line of an error, without the location, which the caller adds."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
