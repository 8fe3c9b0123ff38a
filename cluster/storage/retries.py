"""Which faults of a store pass by themselves, and how long to wait for that."""

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

T = TypeVar("T")

_ATTEMPTS = 6
_LONGEST_WAIT_S = 8.0
_LONGEST_CALL_S = 120.0
"""No retry begins later; well under the time after which a worker is taken for hung."""
_PASSING_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EINTR", "EIO",
        "EPIPE", "EREMOTEIO", "ESTALE", "ETIMEDOUT",
    )
    if hasattr(errno, name)
)  # fmt: skip
_PASSING_ERRORS = (
    HTTPClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,  # also one that breaks while a request is sent
    ResponseParserError,
)
_PASSING_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
CREDENTIAL_ERRORS = (NoCredentialsError, PartialCredentialsError)
"""What stores raise when there is nobody to be."""
STORE_ERRORS = (OSError, FSTimeoutError, BotoCoreError, ClientError, aiohttp.ClientError)
"""What stores raise at all."""


def with_retries(action: Callable[[], T]) -> T:
    """Run one action of a store, again with growing pauses while its faults are passing ones."""
    for attempt in stamina.retry_context(
        on=is_passing,
        attempts=_ATTEMPTS,
        timeout=_LONGEST_CALL_S,
        wait_initial=0.2,
        wait_max=_LONGEST_WAIT_S,
    ):
        with attempt:
            return action()
    raise AssertionError("stamina returns or raises")


def is_passing(error: Exception) -> bool:
    """Whether the same call may succeed in a moment."""
    if isinstance(error, (FileNotFoundError, FileExistsError, PermissionError)):
        return False
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.status in _PASSING_STATUSES
    if isinstance(error, (ConnectionError, TimeoutError, FSTimeoutError, aiohttp.ClientError)):
        return True
    if isinstance(error, CREDENTIAL_ERRORS):
        return False
    if isinstance(error, _PASSING_ERRORS):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING_ERRNOS


def is_refusal(error: Exception) -> bool:
    """Whether a store knows what is asked for, but not for whom."""
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    return isinstance(error, (PermissionError, *CREDENTIAL_ERRORS))


def reason_of(error: BaseException) -> str:
    """Return the first line of an error, without the location that the caller names anyway."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
