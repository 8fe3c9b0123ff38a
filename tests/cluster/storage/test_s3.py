"""Objects in S3 that obstore reads and writes, compared with what s3fs does."""

import logging
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import stamina
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.environment import child_environment
from support.s3 import S3Server
from support.s3_proxy import (
    FOR_EVER,
    Exchange,
    S3Proxy,
    hang,
    passed_on,
    refused,
    s3_proxy,
)

from cluster.storage import Retry, s3_settings, watched_retries
from cluster.storage.store import Store
from fusion_core.errors import StorageError

READ_TIMEOUT_S = 0.5
KEY = r"/root/a\.bin"
FAILURES = (
    refused(400, "ExpiredToken"),
    refused(400, "InvalidRequest"),
    refused(403, "AccessDenied"),
    refused(403, "InvalidObjectState"),
    refused(403, "SignatureDoesNotMatch"),
    refused(404, "NoSuchBucket"),
    refused(409, "ConditionalRequestConflict"),
    refused(429, "TooManyRequests"),
    refused(503, "SlowDown"),
    refused(599, "Unheard"),
    hang,
)


@pytest.fixture(autouse=True)
def two_attempts() -> Iterator[None]:
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


@pytest.fixture
def direct(s3_moto: S3Server) -> Store:
    """A new place with an object."""
    store = Store(f"s3://{s3_moto.new_bucket()}/root", s3_moto.storage_options)
    store.write("a.bin", b"0123456789")
    return store


@pytest.fixture
def proxy(s3_moto: S3Server) -> Iterator[S3Proxy]:
    with s3_proxy(s3_moto) as proxy:
        yield proxy


def uses_obstore(store: Store) -> bool:
    return any(store._fs._buckets.values())


def outcome(store: Store, act: Callable[[Store], object]) -> tuple[type[Exception], str, list[str]]:
    """Return the error of an action, and the codes with which it was retried."""
    retries: list[Retry] = []
    with watched_retries(retries.append), pytest.raises(StorageError) as caught:
        act(store)
    message = str(caught.value).replace(" (reached max retries: 0)", "")  # those of botocore
    return caught.type, message, [retry.code for retry in retries]


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_failures_are_the_same_errors_with_the_same_retries_as_with_s3fs(
    direct: Store, proxy: S3Proxy, method: str
) -> None:
    limit = {"config_kwargs": {"read_timeout": READ_TIMEOUT_S}}
    options = proxy.s3.storage_options | limit
    fast, slow = (Store(direct.url, options | {"obstore": obstore}) for obstore in (True, False))

    def act(store: Store) -> object:
        return store.read("a.bin") if method == "GET" else store.write("a.bin", b"new")

    for failure in FAILURES:
        proxy.mend()
        proxy.add(failure, method, KEY, FOR_EVER)
        assert outcome(fast, act) == outcome(slow, act)
    assert uses_obstore(fast)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"requester_pays": True}, "the options requester_pays"),
        ({"s3_additional_kwargs": {"ACL": "private"}}, "the options s3_additional_kwargs"),
        ({"config_kwargs": {"proxies": {"https": "http://127.0.0.1:1"}}}, "the options proxies"),
        ({"config_kwargs": {"signature_version": "s3"}}, "the signature version s3"),
        ({"config_kwargs": {"s3": {"use_arn_region": True}}}, "the settings use_arn_region"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_s3fs_does_what_obstore_would_do_differently(
    direct: Store,
    s3_moto: S3Server,
    options: dict[str, Any],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store(direct.url, s3_moto.storage_options | options)
    with caplog.at_level(logging.DEBUG, logger="irfuse.storage"):
        assert store.read("a.bin") == b"0123456789"
    assert not uses_obstore(store)
    assert reason in caplog.text


def test_obstore_can_be_switched_off(direct: Store, s3_moto: S3Server) -> None:
    store = Store(direct.url, s3_moto.storage_options | {"obstore": False})
    assert store.read("a.bin") == b"0123456789"
    assert not uses_obstore(store)


def test_a_switch_that_is_no_boolean_is_an_error() -> None:
    with pytest.raises(StorageError, match="obstore must be true or false"):
        Store("s3://bucket", {"obstore": "no"})


def test_anonymous_requests_are_not_signed(direct: Store, proxy: S3Proxy) -> None:
    signed: list[bool] = []

    def note(exchange: Exchange) -> None:
        signed.append("Authorization" in exchange.headers)
        passed_on(exchange)

    proxy.add(note, "GET", KEY, FOR_EVER)
    place = {"client_kwargs": proxy.s3.storage_options["client_kwargs"], "anon": True}
    store = Store(direct.url, place)
    outcome(store, lambda to: to.read("a.bin"))  # moto refuses them
    assert uses_obstore(store)
    assert set(signed) == {False}


def test_settings_that_only_obstore_would_take_from_the_environment_are_not_taken(
    direct: Store, s3_seaweed: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_SESSION_TOKEN": "of-other-credentials",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    }.items():
        monkeypatch.setenv(name, value)
    store = Store(f"s3://{s3_seaweed.new_bucket()}", s3_seaweed.storage_options)
    store.write("a.bin", b"content")
    assert store.read("a.bin") == b"content"
    assert uses_obstore(store)


def test_credentials_that_expire_are_renewed(
    direct: Store, proxy: S3Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    process = tmp_path / "credentials"
    process.write_text(
        f"#!/bin/sh\necho >> {tmp_path}/calls\nn=$(wc -l < {tmp_path}/calls)\n"
        'echo "{\\"Version\\": 1, \\"AccessKeyId\\": \\"KEY$n\\", \\"SecretAccessKey\\": \\"s\\",'
        f' \\"SessionToken\\": \\"t\\", \\"Expiration\\": \\"{soon}\\"}}"\n'
    )
    process.chmod(stat.S_IRWXU)
    (tmp_path / "config").write_text(f"[profile lent]\ncredential_process = {process}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr(s3_settings, "_CREDENTIALS_LIFE", timedelta(0))  # no waiting
    keys: list[str] = []

    def note(exchange: Exchange) -> None:
        keys.append(exchange.headers["Authorization"].partition("Credential=")[2].split("/")[0])
        passed_on(exchange)

    proxy.add(note, "GET", KEY, FOR_EVER)
    options = {"profile": "lent", "client_kwargs": proxy.s3.storage_options["client_kwargs"]}
    store = Store(direct.url, options)
    for _ in range(3):
        assert store.read("a.bin") == b"0123456789"
    assert uses_obstore(store)
    assert len(set(keys)) == 3


def test_a_process_without_credentials_says_so(
    direct: Store, s3_moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"client_kwargs": s3_moto.storage_options["client_kwargs"]}
    with pytest.raises(StorageError, match=r"access denied.*Unable to locate credentials"):
        Store(direct.url, options).read("a.bin")


@pytest.mark.parametrize("permitted", [True, False])
def test_a_bucket_in_another_region_is_found(
    s3_moto: S3Server, proxy: S3Proxy, permitted: bool
) -> None:
    bucket = f"bucket-elsewhere-{permitted}".lower()
    place = {"LocationConstraint": "eu-west-1"}
    s3_moto.client().create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    Store(f"s3://{bucket}/root", s3_moto.storage_options).write("a.bin", b"content")
    refuse = refused(400, "AuthorizationHeaderMalformed")

    def insist(exchange: Exchange) -> None:
        (passed_on if "/eu-west-1/s3/" in exchange.headers["Authorization"] else refuse)(exchange)

    def deny(exchange: Exchange) -> None:
        exchange.answer(403, [("x-amz-bucket-region", "eu-west-1")], b"")

    proxy.add(insist, "GET", KEY, FOR_EVER)
    proxy.add(passed_on if permitted else deny, "HEAD", rf"/{bucket}$", FOR_EVER)
    store = Store(f"s3://{bucket}/root", proxy.s3.storage_options)
    assert store.read("a.bin") == b"content"
    assert store.read("a.bin") == b"content"
    assert [bucket.region for bucket in store._fs._buckets.values()] == ["eu-west-1"]
    assert sum(request.startswith(f"GET /{bucket}/root/a.bin") for request in proxy.requests) == 3


def test_s3fs_takes_over_where_obstore_cannot_read_the_response(
    direct: Store, proxy: S3Proxy
) -> None:
    def unusual_time(exchange: Exchange) -> None:
        body = b"0123456789"
        exchange.answer(200, [("Last-Modified", "2026-11-01 00:00:00")], body)

    proxy.add(unusual_time, "GET", KEY, FOR_EVER)
    store = Store(direct.url, proxy.s3.storage_options)
    assert store.read("a.bin") == b"0123456789"
    assert not uses_obstore(store)


def test_a_key_that_obstore_cannot_name_is_left_to_s3fs(s3_moto: S3Server) -> None:
    store = Store(f"s3://{s3_moto.new_bucket()}", s3_moto.storage_options)
    store.write("a//b.bin", b"content")
    assert store.read("a//b.bin") == b"content"
    assert uses_obstore(store)
    assert [entry.key for entry in store.entries()] == ["a//b.bin"]


def test_a_large_object_is_read_in_parts(direct: Store, proxy: S3Proxy) -> None:
    store = Store(direct.url, proxy.s3.storage_options | {"default_block_size": 4})
    assert store.read("a.bin") == b"0123456789"
    assert sum(request.startswith("GET") for request in proxy.requests) == 1 + 3


def test_a_process_that_was_forked_reads_with_s3fs(direct: Store, s3_moto: S3Server) -> None:
    script = (
        "import os, sys; from cluster.storage import Store\n"
        "def read(): return Store(sys.argv[1], {}).read('a.bin')\n"
        "assert read() == b'0123456789'\n"
        "child = os.fork()\n"
        "if not child: os._exit(0 if read() == b'0123456789' else 1)\n"
        "sys.exit(os.waitpid(child, 0)[1])\n"
    )
    command = [sys.executable, "-c", script, direct.url]
    environment = child_environment(s3_moto.env)
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr


class OneObject(BaseHTTPRequestHandler):
    """Answers every request with the same object."""

    def do_GET(self) -> None:
        self.send_response(200)
        for name, value in {
            "ETag": '"1"',
            "Last-Modified": "Sun, 01 Nov 2026 00:00:00 GMT",
            "Content-Length": "7",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"content")

    def log_message(self, *args: object) -> None:
        del args


@pytest.fixture
def https_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and certificate of a server whose certificate nobody knows."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")]),
    )
    day, now = timedelta(days=1), datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(address, critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(certificate.public_bytes(encoding))
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    (tmp_path / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, tmp_path / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), OneObject) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}", path
        server.shutdown()


def test_the_certificates_of_the_environment_are_accepted(
    https_server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = https_server
    options = {"endpoint_url": url, "key": "k", "secret": "s"}
    with pytest.raises(StorageError, match=r"SSL validation failed.*certificate"):
        Store("s3://bucket", options).read("a.bin")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    store = Store("s3://bucket", options)
    assert store.read("a.bin") == b"content"
    assert uses_obstore(store)
    certificate.write_text("no certificate")
    with pytest.raises(StorageError, match=r"Cannot read s3://bucket/a\.bin: .*certificate"):
        Store("s3://bucket", options).read("a.bin")
