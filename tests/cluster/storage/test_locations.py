"""Locations that a manifest may refer to, and secrets in URLs, which are rejected or redacted."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.collections import read_rows
from support.records import method_origin, worker_config

from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.collections.manifest_reader import FrozenManifest
from cluster.collections.user_manifest import read_user_manifest
from cluster.runs.messages import ShardTask
from cluster.runs.worker import ShardProcessor
from cluster.storage.locations import redact, redact_text, split_object_url
from cluster.storage.reader import Reader
from cluster.storage.store import Store
from fusion_core.errors import AccessDeniedError, ManifestError, StorageError
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair

SECRET = "hushhush"
IR, VIS = (encode_png(image) for image in synthetic_pair(12, 14, seed=1))
REFUSED = [
    "FILE:///etc/passwd", "File:///etc/passwd", "simplecache::file:///etc/passwd",
    "filecache::file:///etc/passwd", "blockcache::/etc/passwd://x", "zip://x::file:///etc/passwd",
    "tar://x::/etc/passwd", "dir://x::file:///etc", "reference://etc/passwd", "data:,abc",
    "github://o:r@/x", "git:///repo/x", "sftp://localhost/etc/passwd", "smb://h/x", "jupyter://h/x",
    "nonsense://h/x", "s3::file:///etc/passwd",
]  # fmt: skip


def read(store: Store, uri: str, **options: bool) -> str:
    table = pa.table({"ir_uri": [uri], "vis_uri": ["b.png"]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    store.write("list.parquet", sink.getvalue().to_pybytes())
    (batch,) = read_user_manifest(store, "list.parquet", **options)
    return str(batch.column("ir_uri")[0])


@pytest.fixture(params=["remote", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(f"memory://{tmp_path.name}" if request.param == "remote" else str(tmp_path))


def test_a_manifest_may_not_name_stores_that_are_not_known_to_be_remote(store: Store) -> None:
    for uri in REFUSED:
        with pytest.raises(ManifestError, match=r"refer only to local files|user name or password"):
            read(store, uri)


def test_local_files_are_named_by_local_manifests_alone(tmp_path: Path) -> None:
    for uri in ["/etc/passwd", "~/x.png", "file:///etc/passwd", "local:///x"]:
        assert read(Store(str(tmp_path)), uri) == uri
        with pytest.raises(ManifestError, match="--allow-local-files"):
            read(Store("memory://local-files"), uri)


def test_permission_for_local_files_is_none_for_unknown_stores() -> None:
    with pytest.raises(ManifestError, match="may refer only"):
        read(Store("memory://allowed"), "zip://x::file:///etc/passwd", allow_local_files=True)


def test_object_stores_and_the_web_may_be_named(store: Store) -> None:
    for uri in ["s3://b/k::file:///x", "gs://b/k", "https://h/a.png?x=1", "abfss://box@account/x"]:
        assert read(store, uri) == uri


def test_a_manifest_may_name_its_own_kind_of_store() -> None:
    assert read(Store("memory://own/list"), "memory://other/x.png") == "memory://other/x.png"


def test_relative_locations_stay_below_a_remote_manifest() -> None:
    for uri in ["..", "../x", "a/../../x", "./..", "a/../.."]:
        with pytest.raises(ManifestError, match="outside of its folder"):
            read(Store("memory://m/inner"), uri)


def test_names_that_resemble_parent_folders_are_names() -> None:
    for uri in [
        "%2e%2e/x",
        "..\\x",
        "a::b.png",
        "local:/x",
        "file:/etc/passwd",
        "a\0b",
        "x" * 10_000,
    ]:
        assert read(Store("memory://m/inner"), uri) == f"memory://m/inner/{uri}"


WITH_SECRET = [
    f"https://user:{SECRET}@host/x.png", f"https://{SECRET}@host/x.png",
    f"s3://AKIA:{SECRET}@bucket/x.png", f"s3://AKIA:a/{SECRET}/b@bucket/x.png",
    f"abfss://user:{SECRET}@account/x.png",
]  # fmt: skip


def test_a_password_in_a_manifest_is_refused_and_not_repeated(store: Store) -> None:
    for uri in WITH_SECRET:
        with pytest.raises(ManifestError, match="chain of credentials") as caught:
            read(store, uri)
        assert SECRET not in str(caught.value)


def test_a_secret_in_a_root_is_refused_and_not_repeated() -> None:
    for uri in [*WITH_SECRET, f"https://host/folder?sig={SECRET}"]:
        with pytest.raises(StorageError) as caught:
            Store(uri)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("", "A location is empty"),
        ("s3:/bucket/x", "did you mean s3://bucket/x?"),
        ("s3:bucket", "did you mean s3://bucket?"),
        ("file:/data", "did you mean file:///data?"),
        (f"https:/host/x?sig={SECRET}", "did you mean https://host/x?...?"),
        (f"s3:/key:{SECRET}@bucket", "did you mean s3://...@bucket?"),
        ("s3://bucket/../other", "contains '..'"),
        ("s3:///x", "has no bucket"),
        ("s3x://bucket", "Unknown protocol 's3x'; did you mean s3?"),
    ],
)
def test_a_misspelt_location_is_refused_with_what_was_meant(location: str, message: str) -> None:
    with pytest.raises(StorageError) as caught:
        Store(location)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_path_may_have_the_name_of_a_protocol(tmp_path: Path) -> None:
    assert Store(f"{tmp_path}/s3:/x").url == f"{tmp_path}/s3:/x"


def test_a_location_is_shown_without_secrets() -> None:
    for location, shown in [
        ("https://host/a.png?X-Amz-Signature=s/g", "https://host/a.png?..."),
        ("https://host:8080/a@b.png#token", "https://host:8080/a@b.png?..."),
        ("https://user:pass@host/a.png", "https://...@host/a.png"),
        ("s3://AKIA:se/cret@bucket/a.png", "s3://...@bucket/a.png"),
        ("s3://bucket/a.png?X-Amz-Credential=1&b=2", "s3://bucket/a.png?..."),
        ("az://box/a.png?sv=1&sig=2", "az://box/a.png?..."),
        ("az://box@account/a.png", "az://box@account/a.png"),
        ("HTTPS://host/a.png?key=1", "HTTPS://host/a.png?..."),
        ("simplecache::https://host/a.png?key=1", "simplecache::https://host/a.png?..."),
        ("s3://bucket/what?x=1.png", "s3://bucket/what?x=1.png"),
        ("s3://arn:aws:s3:eu:1:accesspoint/p/a@1", "s3://arn:aws:s3:eu:1:accesspoint/p/a@1"),
        ("abfss://box@account/a.png", "abfss://box@account/a.png"),
        ("hf://datasets/o/r@main/a.png", "hf://datasets/o/r@main/a.png"),
        ("/data/me:x@y?sig=1.png", "/data/me:x@y?sig=1.png"),
        ("file:///data/a?sig=1.png", "file:///data/a?sig=1.png"),
    ]:
        assert redact(location) == shown


def test_every_url_in_a_message_is_shown_without_secrets() -> None:
    message = "403, url='https://h/x?sig=1&b=2', then https://u:p@h/y failed"
    assert redact_text(message) == "403, url='https://h/x?...', then https://...@h/y failed"


def test_a_slash_in_a_query_is_no_folder() -> None:
    assert split_object_url("https://h/a/w.bin?sig=x/y") == ("https://h/a", "w.bin?sig=x/y")


class _Signed(BaseHTTPRequestHandler):
    """Gives a picture to whoever knows the signature."""

    def do_GET(self) -> None:
        known = self.path.endswith(f"?X-Amz-Signature={SECRET}")
        self.send_response(200 if known else 403)
        body = (IR if "ir" in self.path else VIS) if known else b""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def signed_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Signed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_signed_urls_are_read_but_their_signature_is_in_no_row(tmp_path: Path) -> None:
    store, out = Store(str(tmp_path)), Store(str(tmp_path / "out"))
    with signed_server() as url:
        good = f"?X-Amz-Signature={SECRET}"
        bad = f"?X-Amz-Signature=not{SECRET}"
        rows = [f"{url}/{n}-ir.png{good},{url}/{n}-vis.png{q}" for n, q in enumerate((good, bad))]
        store.write("list.csv", "\n".join(["ir_uri,vis_uri", *rows]).encode())
        info, frozen = freeze(read_user_manifest(store, "list.csv"))
        out.write(MANIFEST_KEY, frozen)
        out = Store(out.url, {"headers": {"x-secret": SECRET}})
        config = worker_config(out, info, origin=method_origin(keep_images=False))
        ShardProcessor(config).process(ShardTask(0))
    first, second = read_rows(out.url)
    assert (first["status"], first["vis_uri"]) == ("ok", f"{url}/0-vis.png?...")
    assert (second["status"], second["error_type"]) == ("failed", AccessDeniedError.__name__)
    assert first["pair_id"] == f"{url}/0-ir"
    assert SECRET not in json.dumps([first, second])
    assert SECRET not in repr(config)
    assert SECRET in FrozenManifest(out).read(0, 1)[0].ir_uri


def test_a_refused_web_request_is_not_tried_again_and_not_shown_with_its_signature() -> None:
    with (
        signed_server() as url,
        pytest.raises(AccessDeniedError, match="access denied") as caught,
    ):
        Reader().read(f"{url}/ir.png?X-Amz-Signature=not{SECRET}")
    assert SECRET not in str(caught.value)
