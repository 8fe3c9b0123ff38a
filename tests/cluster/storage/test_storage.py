"""The storage type, on the local file system, in memory and on real S3 servers."""

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import s3fs
import stamina
from support.s3 import S3Server

from cluster.storage import filesystems, publishing
from cluster.storage.listing import Entry
from cluster.storage.reader import Reader
from cluster.storage.store import Store
from fusion_core import choices
from fusion_core.choices import largest_file
from fusion_core.errors import AccessDeniedError, NotFoundError, StorageError

ODD_NAMES = ["a b.png", 'it\'s "quoted".png', "größe-红外.png", "a#b::c?d=1%20.png", "x/~/y.png"]


S3_STORES = ["moto", "seaweed", "moto-s3fs", "seaweed-s3fs"]


def s3_server(request: pytest.FixtureRequest, name: str) -> tuple[S3Server, dict[str, Any]]:
    """Return a server, and the options of a store on it, with or without obstore."""
    kind, _, alone = name.partition("-")
    server: S3Server = request.getfixturevalue(f"s3_{kind}")
    return server, {**server.storage_options, "obstore": not alone}


@pytest.fixture(params=["local", "memory", *S3_STORES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(str(tmp_path / "root"))
    if request.param == "memory":
        return Store(f"memory://{tmp_path.name}/root")
    server, options = s3_server(request, request.param)
    return Store(f"s3://{server.new_bucket()}/root", options)


def test_what_is_written_is_read_back(store: Store) -> None:
    store.write("a/b.bin", b"content")
    assert store.read("a/b.bin") == b"content"


def test_a_range_is_read(store: Store) -> None:
    store.write("a.bin", b"0123456789")
    assert store.read("a.bin", 2, 5) == b"234"


def test_a_write_replaces_an_existing_object(store: Store) -> None:
    store.write("a.bin", b"old and longer")
    store.write("a.bin", b"new")
    assert store.read("a.bin") == b"new"


def test_entries_are_sorted_with_sizes(store: Store) -> None:
    for key in ("b/2.bin", "a.bin", "b/1.bin"):
        store.write(key, key.encode())
    assert store.entries() == [Entry("a.bin", 5), Entry("b/1.bin", 7), Entry("b/2.bin", 7)]
    assert [entry.key for entry in store.entries("b")] == ["b/1.bin", "b/2.bin"]


def test_an_absent_folder_has_no_entries(store: Store) -> None:
    store.write("a.bin", b"1")
    assert store.entries("nothing/here") == []


def test_create_does_not_replace(store: Store) -> None:
    assert store.create("run.json", b"first")
    assert not store.create("run.json", b"second")
    assert store.read("run.json") == b"first"


def test_a_view_of_memory_is_published_like_bytes(store: Store) -> None:
    first = store.create("shard", memoryview(b"first"))
    assert first is not None
    assert store.create("shard", memoryview(b"first")) == first
    assert store.create("shard", memoryview(b"other")) is None
    (entry,) = store.entries()
    assert store.replace("shard", memoryview(b"second"), entry.version)
    assert store.read("shard") == b"second"


def test_create_twice_with_equal_content_counts_as_created(store: Store) -> None:
    assert store.create("run.json", b"same")
    assert store.create("run.json", b"same")


def test_an_entry_has_the_version_that_is_opened(store: Store) -> None:
    store.write("a.bin", b"content")
    (entry,) = store.entries()
    assert entry.version
    assert store.open_version("a.bin")[1] == entry.version


def test_a_replaced_object_has_another_version(store: Store) -> None:
    store.write("a.bin", b"content")
    (old,) = store.entries()
    store.write("a.bin", b"Content, with other words")
    (new,) = store.entries()
    assert new.version != old.version


def test_a_version_that_is_there_is_replaced(store: Store) -> None:
    store.write("a.bin", b"old")
    assert store.replace("a.bin", b"new", store.open_version("a.bin")[1])
    assert store.read("a.bin") == b"new"


def test_a_version_that_has_been_replaced_is_not_replaced_again(store: Store) -> None:
    store.write("a.bin", b"old")
    version = store.open_version("a.bin")[1]
    store.write("a.bin", b"newer")
    assert not store.replace("a.bin", b"new", version)
    assert store.read("a.bin") == b"newer"


def test_a_version_that_has_been_removed_is_not_replaced(store: Store) -> None:
    store.write("a.bin", b"old")
    version = store.open_version("a.bin")[1]
    store.delete("a.bin")
    assert not store.replace("a.bin", b"new", version)
    assert store.entries() == []


def test_a_repeated_replacement_counts_as_done(store: Store) -> None:
    store.write("a.bin", b"old")
    version = store.open_version("a.bin")[1]
    assert store.replace("a.bin", b"newer", version)
    assert store.replace("a.bin", b"newer", version)


@pytest.mark.parametrize("server", ["", *S3_STORES])
def test_a_published_object_has_the_version_that_is_listed(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    if server:
        s3, options = s3_server(request, server)
        store = Store(f"s3://{s3.new_bucket()}", options)
    steps: list[Callable[[], Entry | None]] = [
        lambda: store.create("a.bin", b"first"),
        lambda: store.create("a.bin", b"first"),
        lambda: store.replace("a.bin", b"other", store.open_version("a.bin")[1]),
        lambda: store.replace("a.bin", b"other", "a version that is not there"),
    ]
    for step in steps:
        published = step()
        (listed,) = store.entries()
        assert published is not None
        assert (published, published.version) == (listed, listed.version)


@pytest.mark.parametrize("server", S3_STORES)
def test_s3_itself_refuses_to_replace_another_version(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3, options = s3_server(request, server)
    store = Store(f"s3://{s3.new_bucket()}", options)
    store.write("a.bin", b"old")
    version = store.open_version("a.bin")[1]
    real = store._put

    def put_after_another_writer(key: str, data: bytes, **options: str) -> str:
        monkeypatch.setattr(store, "_put", real)
        store.write("a.bin", b"newer")
        return real(key, data, **options)

    monkeypatch.setattr(store, "_put", put_after_another_writer)
    assert not store.replace("a.bin", b"new", version)
    assert store.read("a.bin") == b"newer"


@pytest.mark.parametrize("server", S3_STORES)
def test_a_file_that_is_replaced_while_it_is_read_is_not_mixed(
    server: str, request: pytest.FixtureRequest
) -> None:
    s3, options = s3_server(request, server)
    store = Store(f"s3://{s3.new_bucket()}", options)
    store.write("a.bin", b"old" * 100)
    with store.open("a.bin") as file:
        assert file.read(3) == b"old"
        store.write("a.bin", b"new" * 100)
        with pytest.raises(StorageError, match="no longer exists"):
            file.read(3)


def test_writers_that_replace_one_version_at_the_same_time_do_so_once(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("a.bin", b"old")
    version = store.open_version("a.bin")[1]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: store.replace("a.bin", b"new %d" % n, version), range(32)))
    (number,) = (number for number, entry in enumerate(done) if entry is not None)
    assert store.read("a.bin") == b"new %d" % number


def test_a_writer_does_not_wait_for_ever_for_a_suspended_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_LOCK_WAIT_S", 0.1)
    store = Store(str(tmp_path))
    store.write("a.bin", b"old")
    version = store.open_version("a.bin")[1]
    with (tmp_path / "a.bin").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another process is replacing it"):
            store.replace("a.bin", b"new", version)
    assert store.replace("a.bin", b"new", version)


def test_an_absent_object_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"absent\.bin"):
        store.read("absent.bin")


def test_deleting_a_missing_object_does_nothing(store: Store) -> None:
    store.delete("absent.bin")
    store.write("a.bin", b"1")
    store.delete("a.bin")
    assert not store.exists("a.bin")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_survive(store: Store, name: str) -> None:
    store.write(name, b"content")
    assert [entry.key for entry in store.entries()] == [name]
    assert store.read(name) == b"content"


def test_a_full_url_is_read_by_the_reader(store: Store) -> None:
    name = ODD_NAMES[3]
    store.write(name, b"content")
    assert Reader(store.storage_options).read(store.uri(name)) == b"content"


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_local_paths_and_file_urls_name_the_same_object(tmp_path: Path, form: str) -> None:
    (tmp_path / "a b.bin").write_bytes(b"content")
    assert Reader().read(form.format(tmp_path / "a b.bin")) == b"content"


def test_a_web_address_is_read_in_addition_to_an_object_store(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"content")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with web_server(handler) as url:
        reader = Reader({"endpoint_url": "http://127.0.0.1:1", "key": "k", "secret": "s"})
        assert reader.read(f"{url}/a.png") == b"content"


def test_the_head_of_an_object_is_read_whatever_its_size(store: Store) -> None:
    for content in (b"", b"123", b"1234", b"12345"):
        store.write("a.bin", content)
        assert store.read_head("a.bin", 4) == content[:4]


def test_the_head_of_an_absent_object_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"a\.bin: it does not exist"):
        store.read_head("a.bin", 4)


class EndlessServer(BaseHTTPRequestHandler):
    """Answers every request, whatever range it asks for, with bytes that never end."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(bytes(100_000))

    def log_message(self, *args: object) -> None:
        del args


class SilentServer(EndlessServer):
    """Answers with a header and then says no more, until the client has gone."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.rfile.read(1)


@contextlib.contextmanager
def web_server(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_web_response_without_an_end_is_read_as_far_as_an_image_can_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choices, "_OTHER_BYTES", 1_000_000)
    with web_server(EndlessServer) as url:
        assert Store(url).read_head("a.png", 150_000) == bytes(150_000)
        with pytest.raises(StorageError, match=f"more than {largest_file(10_000)} bytes"):
            Reader(max_pixels=10_000).read(f"{url}/a.png")


def test_a_web_server_that_says_no_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "_READ_TIMEOUT_S", 0.2)
    with web_server(SilentServer) as url, stamina.set_testing(True, attempts=2):
        refused = pytest.raises(StorageError, match=r"failed several times .*the store is up")
        with refused:
            Reader().read(f"{url}/a.png")


def test_a_file_too_large_for_an_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**40)
    limit = largest_file(10_000)
    with pytest.raises(StorageError, match=rf"a\.png: it has more than {limit} bytes"):
        Reader(max_pixels=10_000).read(str(tmp_path / "a.png"))


def test_objects_open_for_random_reads(store: Store) -> None:
    store.write("a.bin", bytes(range(100)))
    with store.open("a.bin") as file:
        file.seek(90)
        assert file.read(5) == bytes(range(90, 95))


def test_an_absent_bucket_is_not_found(s3: S3Server) -> None:
    with pytest.raises(NotFoundError, match="bucket does not exist"):
        Store("s3://no-such-bucket-here/x", s3.storage_options).entries()


def test_transient_faults_are_retried_in_random_reads(
    s3_moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**s3_moto.storage_options, "obstore": False}
    store = Store(f"s3://{s3_moto.new_bucket()}", options)
    store.write("a.bin", bytes(range(100)))
    with store.open("a.bin") as file:
        real, faults = s3fs.core._fetch_range, [ConnectionResetError("reset"), TimeoutError("slow")]

        def faulty(*arguments: object, **options: object) -> bytes:
            if faults:
                raise faults.pop()
            return bytes(real(*arguments, **options))

        monkeypatch.setattr(s3fs.core, "_fetch_range", faulty)
        file.seek(-10, os.SEEK_END)
        assert file.read() == bytes(range(90, 100))
    assert not faults


def test_create_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    store = Store(str(tmp_path))
    assert store.create("run.json", b"first")
    assert not store.create("run.json", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_writing_to_an_absent_bucket_says_so(s3_moto: S3Server) -> None:
    with pytest.raises(NotFoundError, match="bucket does not exist"):
        Store("s3://no-such-bucket-here/x", s3_moto.storage_options).write("a", b"1")


def test_wrong_credentials_are_named_as_such(s3_seaweed: S3Server) -> None:
    options = {**s3_seaweed.storage_options, "key": "wrong", "secret": "alsowrong"}
    with pytest.raises(AccessDeniedError, match="credentials") as caught:
        Store(f"s3://{s3_seaweed.new_bucket()}", options).read("a")
    assert "alsowrong" not in str(caught.value)


def test_an_unknown_protocol_is_a_clear_error() -> None:
    with pytest.raises(StorageError, match="nonsense"):
        Store("nonsense://bucket")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    out = Store(str(tmp_path / "file" / "out"))
    for act in (lambda: out.read("run.json"), lambda: out.write("run.json", b"x")):
        with pytest.raises(StorageError, match=f"{tmp_path}/file is a file, not a folder; check"):
            act()


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(StorageError, match=r"run\.json: it is a folder, not a file; check"):
        Store(str(tmp_path)).read("run.json")


def test_a_failed_write_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    store.write("a.bin", b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="No space left on device"):
        store.write("a.bin", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert store.read("a.bin") == b"old"


def test_temporaries_of_killed_writers_are_no_entries_and_go_away(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("shards/a.bin", b"1")
    old = tmp_path / "shards" / ".b.bin.irfuse-tmp-0123"
    fresh = tmp_path / "shards" / ".c.bin.irfuse-tmp-4567"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert [entry.key for entry in store.entries()] == ["shards/a.bin"]
    store.remove_stale_temporaries("shards")
    assert not old.exists()
    assert fresh.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_rights_is_access_denied(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(AccessDeniedError):
        Store(str(tmp_path)).write("a.bin", b"1")


def test_objects_that_are_written_together_replace_existing_ones_and_leave_no_others(
    tmp_path: Path,
) -> None:
    longest = "x" * 255
    store = Store(str(tmp_path))
    store.write("a/1", b"old")
    store.write_all({"a/1": b"new", f"b/{longest}": b"", "2": b"two"}, scratch="scratch")
    assert (tmp_path / "scratch").is_dir()
    assert {entry.key: store.read(entry.key) for entry in store.entries()} == {
        "2": b"two",
        "a/1": b"new",
        f"b/{longest}": b"",
    }
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 3
