"""Retries of storage calls: which errors are transient, and how long to wait."""

from __future__ import annotations

import errno
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

import aiohttp
import stamina
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError
from fsspec.exceptions import FSTimeoutError
from s3fs.utils import FileExpired

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
_TRANSIENT_ERRORS = (
    HTTPClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,  # also raised when a connection breaks while a request is sent
    ResponseParserError,
)
_TRANSIENT_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
CREDENTIAL_ERRORS = (NoCredentialsError, PartialCredentialsError)
"""Errors that stores raise when no credentials are available."""
STORE_ERRORS = (OSError, FSTimeoutError, BotoCoreError, ClientError, aiohttp.ClientError)
"""All errors that stores raise."""


def with_retries(action: Callable[[], T]) -> T:
    """Run one storage action, and retry it with exponential backoff on transient errors."""
    for attempt in stamina.retry_context(
        on=is_transient,
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
    if isinstance(error, (FileNotFoundError, FileExistsError, PermissionError, FileExpired)):
        return False
    if isinstance(error, aiohttp.ClientResponseError):
        return (
            error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.status in _TRANSIENT_STATUSES
        )
    if isinstance(error, (ConnectionError, TimeoutError, FSTimeoutError, aiohttp.ClientError)):
        return True
    if isinstance(error, CREDENTIAL_ERRORS):
        return False
    if isinstance(error, _TRANSIENT_ERRORS):
        return True
    return isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS


def is_access_denied(error: Exception) -> bool:
    """Whether a store denied access, for lack of credentials or permissions."""
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    return isinstance(error, (PermissionError, *CREDENTIAL_ERRORS))


def reason_of(error: BaseException) -> str:
    """Return the first line of an error, without the location, which the caller adds."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
