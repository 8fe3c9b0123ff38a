"""The errors of obstore, as those that s3fs raises for the same responses.

obstore keeps the response of a server only in the text of its errors.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from s3fs.errors import translate_boto_error

_DETAILS = "\n\nDebug source:"
_STATUS = re.compile(r"status code: (\d{3})(.*)", re.DOTALL)
_CODE = re.compile(r"<Code>\s*([^<]+?)\s*</Code>")
_MESSAGE = re.compile(r"<Message>\s*([^<]+?)\s*</Message>")
_KIND = re.compile(r"HttpError \{\s*kind: (\w+)")
_UNREACHABLE = ("tcp connect error", "dns error")
_OPERATIONS = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject"}
_OTHER_REGION_CODES = (
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
)


class OtherRegionError(Exception):
    """The bucket is in another region than the request was sent to."""


class UnknownFailureError(Exception):
    """A request failed in a way that is not known from s3fs."""


def s3fs_error(error: Exception, method: str, url: str) -> Exception:
    """Return the error that s3fs raises where obstore raised another one.

    Args:
        error: The error of obstore.
        method: The method of the request, such as GET.
        url: The address of the object.
    """
    text, _, details = str(error).partition(_DETAILS)
    if status := _STATUS.search(text):
        return _of_response(int(status[1]), status[2], method)
    if "redirect without LOCATION" in text:
        return OtherRegionError(url)
    kind = _KIND.search(details)
    if kind is None:
        return UnknownFailureError(text)
    return _of_connection(kind[1], details, url) or UnknownFailureError(text)


def status_of(error: Exception) -> int | None:
    """Return the status of the response behind an error of s3fs, None if there was none."""
    status: int | None = _metadata_of(error).get("HTTPStatusCode")
    return status


def headers_of(error: Exception) -> dict[str, str]:
    """Return the headers of the response behind an error of s3fs."""
    headers: dict[str, str] = _metadata_of(error).get("HTTPHeaders", {})
    return headers


def _metadata_of(error: Exception) -> dict[str, Any]:
    response = getattr(error.__cause__, "response", None) or {}
    metadata: dict[str, Any] = response.get("ResponseMetadata", {})
    return metadata


def _of_response(status: int, body: str, method: str) -> Exception:
    found = _CODE.search(body)
    code = unescape(found[1]) if found else str(status)
    if code in _OTHER_REGION_CODES:
        return OtherRegionError(code)
    found = _MESSAGE.search(body)
    message = unescape(found[1]) if found else f"the server responded with status {status}"
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    translated: Exception = translate_boto_error(ClientError(response, _OPERATIONS[method]))
    return translated


def _of_connection(kind: str, details: str, url: str) -> BotoCoreError | None:
    if kind == "Connect":
        if any(reason in details for reason in _UNREACHABLE):
            return EndpointConnectionError(endpoint_url=url)
        return None  # such as a certificate that is not trusted
    if kind == "Timeout":
        return ReadTimeoutError(endpoint_url=url)
    if "kind: Body" in details:
        return ResponseStreamingError(error="the response ended early")
    return ConnectionClosedError(endpoint_url=url) if kind == "Interrupted" else None
