"""The storage type on real S3 servers behind a proxy that brings faults about."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import stamina
from support.s3 import S3Server
from support.s3_proxy import (
    FOR_EVER,
    Fault,
    S3Proxy,
    Strike,
    cut_answer,
    cut_request,
    hang,
    refused,
    reset,
    reset_after_taking,
    s3_proxy,
    slow_down,
)

from cluster.storage.store import Entry, Store
from fusion_core.errors import AccessDeniedError, StorageError

ATTEMPTS = 6
CONTENT = bytes(range(256)) * 400
READ_TIMEOUT_S = 1

INTERNAL_ERROR = refused(500, "InternalError")
READ_FAULTS = (slow_down, INTERNAL_ERROR, reset, cut_answer)
WRITE_FAULTS = (slow_down, INTERNAL_ERROR, cut_request, reset_after_taking)


@pytest.fixture(autouse=True)
def retries_without_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=ATTEMPTS, cap=True):
        yield


@pytest.fixture(params=[True, False], ids=["obstore", "s3fs"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Storage options with which obstore or s3fs reads and writes."""
    return {"obstore": request.param}


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[S3Proxy]:
    with s3_proxy(s3) as proxy:
        yield proxy


@pytest.fixture
def direct(s3: S3Server) -> Store:
    """A new place, past the proxy."""
    return Store(f"s3://{s3.new_bucket()}/root", s3.storage_options)


@pytest.fixture
def store(proxy: S3Proxy, direct: Store, options: dict[str, Any]) -> Iterator[Store]:
    """The same place, through the proxy."""
    store = Store(direct.url, proxy.s3.storage_options | options)
    yield store
    assert not given_up(store)


@pytest.fixture
def impatient(proxy: S3Proxy, direct: Store, options: dict[str, Any]) -> Iterator[Store]:
    """The same place, through the proxy, with a time limit of its own."""
    limit = {"config_kwargs": {"read_timeout": READ_TIMEOUT_S}}
    store = Store(direct.url, proxy.s3.storage_options | options | limit)
    yield store
    assert not given_up(store)


def given_up(store: Store) -> bool:
    """Whether s3fs does what obstore is meant to do."""
    return None in store._fs._buckets.values()


def add_all(proxy: S3Proxy, strikes: Sequence[Strike], method: str, pattern: str) -> list[Fault]:
    return [proxy.add(strike, method, pattern) for strike in strikes]


def test_a_given_time_limit_leaves_the_other_settings_of_the_client_alone(
    impatient: Store,
) -> None:
    settings = impatient._fs.config_kwargs
    assert settings["read_timeout"] == READ_TIMEOUT_S
    assert settings["connect_timeout"] == 10
    assert settings["retries"]["total_max_attempts"] == 1


def test_repeated_faults_of_a_read_are_transparent(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    direct.write("a.bin", CONTENT)
    faults = add_all(proxy, READ_FAULTS, "GET", r"/root/a\.bin")
    assert store.read("a.bin") == CONTENT
    assert all(fault.met for fault in faults)


def test_repeated_faults_of_a_random_read_are_transparent(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    direct.write("a.bin", CONTENT)
    with store.open("a.bin") as file:
        faults = add_all(proxy, READ_FAULTS, "GET", r"/root/a\.bin")
        file.seek(1000)
        assert file.read(500) == CONTENT[1000:1500]
    assert all(fault.met for fault in faults)


def test_repeated_faults_of_a_listing_are_transparent(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    direct.write("a.bin", CONTENT)
    faults = add_all(proxy, READ_FAULTS, "GET", r"list-type=2")
    assert store.entries() == [Entry("a.bin", len(CONTENT))]
    assert all(fault.met for fault in faults)


def test_repeated_faults_of_an_inspection_of_an_object_are_transparent(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    direct.write("a.bin", CONTENT)
    faults = add_all(proxy, READ_FAULTS[:-1], "HEAD", r"/root/a\.bin")
    assert store.exists("a.bin")
    assert all(fault.met for fault in faults)


def test_a_server_that_hangs_once_is_transparent(
    proxy: S3Proxy, direct: Store, impatient: Store
) -> None:
    faults = [proxy.add(hang, method, r"/root/a\.bin") for method in ("PUT", "GET")]
    impatient.write("a.bin", CONTENT)
    assert impatient.read("a.bin") == CONTENT
    assert [entry.key for entry in direct.entries()] == ["a.bin"]
    assert all(fault.met for fault in faults)


def test_a_bucket_that_cannot_be_looked_at_for_a_moment_is_not_taken_for_absent(
    proxy: S3Proxy, store: Store
) -> None:
    fault = proxy.add(slow_down, "HEAD", r"^/bucket-\w+/?$")
    proxy.add(slow_down, "GET", r"\?location")
    assert store.entries("shards") == []
    assert fault.met


def test_a_bucket_without_permission_to_inspect_is_not_considered_absent(
    proxy: S3Proxy, store: Store
) -> None:
    fault = proxy.add(refused(403, "AccessDenied"), "HEAD", r"^/bucket-\w+/?$", FOR_EVER)
    proxy.add(refused(403, "AccessDenied"), "GET", r"\?location", FOR_EVER)
    assert store.entries("shards") == []
    assert fault.met


def test_repeated_faults_of_a_write_are_transparent(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    direct.write("a.bin", b"old")
    faults = add_all(proxy, WRITE_FAULTS, "PUT", r"/root/a\.bin")
    store.write("a.bin", CONTENT)
    assert direct.read("a.bin") == CONTENT
    assert [entry.key for entry in direct.entries()] == ["a.bin"]
    assert all(fault.met for fault in faults)


def test_repeated_faults_of_a_creation_are_transparent(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    faults = add_all(proxy, WRITE_FAULTS, "PUT", r"/root/run\.json")
    assert store.create("run.json", CONTENT)
    assert direct.read("run.json") == CONTENT
    assert all(fault.met for fault in faults)


def test_a_creation_with_a_lost_response_still_fails_for_a_second_creator(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    faults = [
        proxy.add(reset_after_taking, "PUT", r"/root/run\.json"),
        proxy.add(slow_down, "GET", r"/root/run\.json"),
    ]
    assert store.create("run.json", b"first")
    assert not store.create("run.json", b"second")
    assert direct.read("run.json") == b"first"
    assert [fault.met for fault in faults] == [1, 1]


def test_a_large_object_is_one_put_so_that_a_lost_response_is_transparent(
    s3_moto: S3Server,
) -> None:
    size = 100 * 1024**2
    direct = Store(f"s3://{s3_moto.new_bucket()}/root", s3_moto.storage_options)
    with s3_proxy(s3_moto) as proxy:
        fault = proxy.add(reset_after_taking, "PUT", r"/root/a\.bin")
        Store(direct.url, proxy.s3.storage_options).write("a.bin", bytes(size))
    assert direct.entries() == [Entry("a.bin", size)]
    assert {request.partition("?")[2] for request in proxy.requests} <= {"", "x-id=PutObject"}
    assert fault.met


def test_a_write_that_always_fails_halfway_leaves_nothing(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    fault = proxy.add(cut_request, "PUT", r"/root/a\.bin", FOR_EVER)
    with pytest.raises(StorageError, match=r"Cannot write s3://bucket-\w+/root/a\.bin: "):
        store.write("a.bin", CONTENT)
    assert direct.entries() == []
    assert fault.met >= ATTEMPTS


def test_a_write_that_always_fails_halfway_keeps_the_existing_object(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    direct.write("a.bin", b"old")
    fault = proxy.add(cut_request, "PUT", r"/root/a\.bin", FOR_EVER)
    with pytest.raises(StorageError):
        store.write("a.bin", CONTENT)
    assert direct.read("a.bin") == b"old"
    assert fault.met >= ATTEMPTS


def test_a_server_that_stays_busy_is_named_with_the_location_after_a_few_attempts(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    direct.write("a.bin", CONTENT)
    fault = proxy.add(slow_down, "GET", r"/root/a\.bin", FOR_EVER)
    with pytest.raises(StorageError, match=r"Cannot read s3://.*/root/a\.bin: .*SlowDown"):
        store.read("a.bin")
    assert fault.met >= ATTEMPTS


def test_a_server_that_comes_back_is_transparent(
    proxy: S3Proxy, direct: Store, store: Store
) -> None:
    direct.write("a.bin", CONTENT)
    retries: list[Exception] = []

    def come_back(details: stamina.instrumentation.RetryDetails) -> None:
        if not retries:
            proxy.up()
        retries.append(details.caused_by)

    stamina.instrumentation.set_on_retry_hooks([come_back])
    try:
        proxy.down()
        assert store.read("a.bin") == CONTENT
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert retries


def test_a_server_that_refuses_connections_is_named(proxy: S3Proxy, store: Store) -> None:
    proxy.down()
    endpoint = proxy.s3.endpoint_url
    for action in (store.entries, lambda: store.read("a.bin"), lambda: store.write("a.bin", b"1")):
        with pytest.raises(StorageError, match=rf"s3://.*/root.*{endpoint}"):
            action()


def test_an_identity_that_may_only_read_cannot_write(s3_seaweed: S3Server) -> None:
    url = f"s3://{s3_seaweed.new_bucket()}/root"
    Store(url, s3_seaweed.storage_options).write("a.bin", CONTENT)
    reader = s3_seaweed.read_only
    store = Store(url, reader.storage_options)
    assert store.read("a.bin") == CONTENT
    for action in (store.write, store.create):
        with pytest.raises(
            AccessDeniedError, match=r"write s3://.*b\.bin: .*permissions"
        ) as caught:
            action("b.bin", CONTENT)
        assert reader.secret_key not in str(caught.value)
        assert reader.access_key not in str(caught.value)
    assert [entry.key for entry in store.entries()] == ["a.bin"]
