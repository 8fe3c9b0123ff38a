"""Parsing, validation and redaction of locations, so that no message repeats a secret.

Only `http://` and `https://` URLs have a query. In all other locations `?` is a character of a
name, but text after it that looks like a signature is redacted nevertheless.
"""

from __future__ import annotations

import re

from fsspec.core import split_protocol

from fusion_core.errors import StorageError

LOCAL_PROTOCOLS = (None, "file", "local")
REMOTE_PROTOCOLS = (
    "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "hf", "http", "https",
)  # fmt: skip
"""Protocols that never access the file system of the machine that reads them."""

WEB_PROTOCOLS = ("http", "https")
_ACCOUNT_PROTOCOLS = ("az", "abfs", "abfss")
_HIDDEN = "..."
# An AWS secret may contain slashes, so the host does not necessarily end at the first slash.
_USER_AND_SECRET = re.compile(r"(?!arn:)[^/@:\[]+:(?!\d+(?:/|\Z))[^@]*@")
_USER = re.compile(r"[^/@]*@")
_SIGNED = re.compile(
    r"\?(?:.*&)?(?:x-(?:amz|goog|ms)-[\w-]+|awsaccesskeyid|googleaccessid|signature|sig|token)=",
    re.IGNORECASE,
)
_UNSLASHED = re.compile(
    rf"({'|'.join((*REMOTE_PROTOCOLS, 'file', 'local', 'memory'))}):(?!//|:)(.*)", re.DOTALL
)
_URL = re.compile(r"\b[a-z][\w+.:-]*://[^\s'\"<>]*", re.IGNORECASE)


def protocol_of(location: str) -> str | None:
    """Return the protocol of a URL, or None for a path."""
    protocol: str | None = split_protocol(location)[0]
    return protocol


def is_unicode(location: str) -> bool:
    """Whether a location can be encoded, which local names with other bytes cannot."""
    try:
        location.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_local(location: str) -> bool:
    """Whether a location is on the local file system."""
    return protocol_of(location) in LOCAL_PROTOCOLS


def check_location(location: str) -> None:
    """Reject a location that is certainly not what its author means, or that contains a secret.

    A path with such a name, such as a folder `s3:`, can be given as `./s3:`.

    Raises:
        StorageError: The location is empty, a URL without its slashes or bucket, a URL of an object
            store with `..`, or a URL with a user name or password.
    """
    if not location:
        raise StorageError("A location is empty; give a path or URL, such as . for this folder")
    unslashed = _UNSLASHED.match(location)
    if unslashed:
        protocol, rest = unslashed[1], unslashed[2].lstrip("/")
        root = "/" if protocol in LOCAL_PROTOCOLS else ""
        meant = redact(f"{protocol}://{root}{rest}")
        raise StorageError(f"The slashes after {protocol}: are missing; did you mean {meant}?")
    check_no_secret(location)
    if protocol_of(location) in REMOTE_PROTOCOLS:
        container, *folders = location.partition("://")[2].split("/")
        if not container:
            raise StorageError(f"{redact(location)} has no bucket or host; check the URL")
        if ".." in (container, *folders):
            raise StorageError(f"{redact(location)} contains '..'; give the URL without it")


def check_no_secret(location: str) -> None:
    """Reject a URL that contains a user name or password, without repeating it.

    Raises:
        StorageError: The URL contains a user name or password.
    """
    protocol, _, rest = location.partition("://")
    if not rest or is_local(location):
        return
    user = protocol not in _ACCOUNT_PROTOCOLS and _USER.match(rest)
    if user or _USER_AND_SECRET.match(rest):
        raise StorageError(
            f"A {protocol}:// location contains a user name or password; remove them, and provide "
            "them through the provider's usual chain of credentials or --storage-options"
        )


def split_query(location: str) -> tuple[str, str]:
    """Split a web URL before its `?` or `#`; for other locations the second part is empty."""
    protocol = location.partition("://")[0].rpartition("::")[2]
    if protocol.lower() in WEB_PROTOCOLS:
        found = re.search(r"[?#]", location)
        if found:
            return location[: found.start()], location[found.start() :]
    return location, ""


def split_object_url(url: str) -> tuple[str, str]:
    """Split an object's URL or path into its folder and its name."""
    path, query = split_query(url)
    folder, _, name = path.rpartition("/")
    return (folder or ("/" if url.startswith("/") else ".")), name + query


def redact(location: str) -> str:
    """Return a location without its user name, password and query, for messages."""
    protocol, mark, rest = location.partition("://")
    if not mark or is_local(location):
        return location
    users = [_USER_AND_SECRET] if protocol in _ACCOUNT_PROTOCOLS else [_USER_AND_SECRET, _USER]
    for user in users:
        rest = user.sub(f"{_HIDDEN}@", rest, count=1) if user.match(rest) else rest
    path, query = split_query(f"{protocol}://{rest}")
    signed = None if query else _SIGNED.search(path)
    if signed:
        return f"{path[: signed.start()]}?{_HIDDEN}"
    return f"{path}?{_HIDDEN}" if query else path


def redact_text(text: str) -> str:
    """Return a message in which every URL is redacted."""
    return _URL.sub(lambda found: redact(found[0]), text)
