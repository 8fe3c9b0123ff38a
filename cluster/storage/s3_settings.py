"""The settings of obstore for a bucket: those with which s3fs would send the same request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from botocore import UNSIGNED
from botocore.exceptions import NoCredentialsError
from fsspec.asyn import sync
from obstore.exceptions import BaseError
from obstore.store import S3Store
from s3fs import S3FileSystem

from cluster.storage.s3_bucket import Bucket

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Credential

Credentials: TypeAlias = "Callable[[], S3Credential] | None"

LOGGER = logging.getLogger("irfuse.storage")

_CREDENTIALS_LIFE = timedelta(minutes=6)
"""obstore asks for credentials again five minutes before their end, which is after one minute."""
_IDLE_CONNECTION_LIFE = timedelta(seconds=12)
"""The same as in aiobotocore: servers close idle connections after a little more."""
_NO_LIMIT = timedelta(days=1)
_OPTIONS = {
    "anon", "client_kwargs", "config_kwargs", "default_block_size", "default_cache_type",
    "default_fill_cache", "endpoint_url", "fixed_upload_size", "key", "listings_expiry_time",
    "max_concurrency", "max_paths", "obstore", "password", "profile", "secret", "token",
    "use_listings_cache", "use_ssl", "username",
}  # fmt: skip
"""Options of s3fs that obstore can follow, directly or through the client that s3fs has made."""
_CLIENT_OPTIONS = {
    "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "endpoint_url",
    "region_name", "use_ssl",
}  # fmt: skip
_CONFIG_OPTIONS = {
    "connect_timeout", "max_pool_connections", "read_timeout", "region_name", "retries", "s3",
    "signature_version",
}  # fmt: skip
_S3_OPTIONS = {"addressing_style", "payload_signing_enabled", "us_east_1_regional_endpoint"}
_OTHER_SETTINGS = ("client_cert", "proxies", "use_dualstack_endpoint", "use_fips_endpoint")
"""Settings of botocore that obstore is not given."""


def connect_bucket(files: S3FileSystem, name: str, region: str | None = None) -> Bucket | None:
    """Return a bucket as s3fs would reach it, or None if only s3fs can.

    Args:
        files: The file system of s3fs, whose client and credentials are used.
        name: Name of the bucket.
        region: Region of the bucket, if it is not the one of the settings.

    Raises:
        Exception: Any error of s3fs, such as that there are no credentials.
    """
    hindrance: object = _hindrance(files, name)
    if hindrance is None:
        source = files if region is None else _in_region(files, region)
        hindrance = _hindrance_in(source.s3.meta.config)
    if hindrance is None:
        place, credentials = _address(source, name), _credentials(source)
        try:
            return _connect(source, name, place, credentials)
        except (BaseError, OSError, ValueError) as error:  # such as certificates in no known form
            hindrance = error
    LOGGER.debug("s3fs alone reads and writes s3://%s, because of %s", name, hindrance)
    return None


def _connect(
    files: S3FileSystem, name: str, place: tuple[bool, str], credentials: Credentials
) -> Bucket:
    meta, (virtual, endpoint) = files.s3.meta, place
    # Everything is given, because obstore would take it from environment variables otherwise.
    store = S3Store(
        name,
        endpoint=endpoint,
        aws_endpoint_url_s3=endpoint,
        region=meta.region_name,
        virtual_hosted_style_request=virtual,
        skip_signature=meta.config.signature_version is UNSIGNED,
        unsigned_payload=False,
        request_payer=False,
        s3_express=False,
        conditional_put="etag",
        credential_provider=credentials,
        client_options=_client_options(files, plain=endpoint.startswith("http:")),
        retry_config={"max_retries": 0},  # with_retries is the only place that retries
    )
    return Bucket(store, endpoint if virtual else f"{endpoint}/{name}", meta.region_name)


def _client_options(files: S3FileSystem, *, plain: bool) -> ClientConfig:
    """Return the settings of connections; plain ones are not encrypted."""
    config = files.s3.meta.config
    options: ClientConfig = {
        "allow_http": plain,
        "timeout": _NO_LIMIT,  # for the whole of a request
        "connect_timeout": _seconds(config.connect_timeout),
        "read_timeout": _seconds(config.read_timeout),
        "pool_idle_timeout": _IDLE_CONNECTION_LIFE,
    }
    bundle = files.session.get_config_variable("ca_bundle")
    if bundle and not plain:
        options["root_certificate"] = Path(bundle).read_bytes()
    return options


def _hindrance(files: S3FileSystem, name: str) -> str | None:
    """Return what obstore cannot do as s3fs does, None if there is nothing."""
    if name.startswith("arn:") or name.endswith(("--x-s3", "--op-s3")):
        return "the kind of the bucket"
    given: Mapping[str, Any] = files.storage_options
    for options, known in (
        (given, _OPTIONS),
        (given.get("client_kwargs") or {}, _CLIENT_OPTIONS),
        (given.get("config_kwargs") or {}, _CONFIG_OPTIONS),
    ):
        if unknown := sorted(
            name for name, value in options.items() if value and name not in known
        ):
            return f"the options {', '.join(unknown)}"
    return None


def _hindrance_in(config: Any) -> str | None:  # noqa: ANN401
    """Return the same for settings from files and the environment."""
    if config.signature_version not in (UNSIGNED, "s3v4"):
        return f"the signature version {config.signature_version}"
    others = [name for name in _OTHER_SETTINGS if getattr(config, name, None)]
    others += [
        name for name, value in (config.s3 or {}).items() if value and name not in _S3_OPTIONS
    ]
    return f"the settings {', '.join(others)}" if others else None


def _in_region(files: S3FileSystem, region: str) -> S3FileSystem:
    given = dict(files.storage_options)
    given.pop("obstore", None)
    client = {**(given.pop("client_kwargs", None) or {}), "region_name": region}
    return S3FileSystem(**given, client_kwargs=client, skip_instance_cache=True)


def _address(files: S3FileSystem, name: str) -> tuple[bool, str]:
    """Return whether the host contains the name of the bucket, and the endpoint with it."""
    client = files.s3
    # Which form botocore uses depends on many settings; an address that it makes shows it.
    parameters = {"Bucket": name, "Key": "key"}
    signed = sync(files.loop, client.generate_presigned_url, "get_object", Params=parameters)
    endpoint = urlsplit(client.meta.endpoint_url.rstrip("/"))
    if urlsplit(signed).path.endswith(f"/{name}/key"):
        return False, urlunsplit(endpoint)
    return True, urlunsplit(endpoint._replace(netloc=f"{name}.{endpoint.netloc}"))


def _seconds(limit: float | None) -> timedelta:
    return _NO_LIMIT if limit is None else timedelta(seconds=limit)


def _credentials(files: S3FileSystem) -> Credentials:
    """Return a function that returns credentials which are valid for a while.

    Raises:
        NoCredentialsError: There are none.
    """
    if files.anon:
        return None
    given = {**files.client_kwargs}
    key = given.get("aws_access_key_id") or files.key
    secret = given.get("aws_secret_access_key") or files.secret
    if key and secret:
        static: S3Credential = {
            "access_key_id": key,
            "secret_access_key": secret,
            "token": given.get("aws_session_token") or files.token,
            "expires_at": None,
        }
        return lambda: static
    return _SessionCredentials(files.loop, files.session)


class _SessionCredentials:
    """The credentials of the session of s3fs, which renews those that expire."""

    def __init__(self, loop: Any, session: Any) -> None:  # noqa: ANN401
        self._loop = loop
        self._found = sync(loop, session.get_credentials)
        if self._found is None:
            raise NoCredentialsError

    def __call__(self) -> S3Credential:
        """Return the credentials of this moment."""
        frozen = sync(self._loop, self._found.get_frozen_credentials)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LIFE,
        }
