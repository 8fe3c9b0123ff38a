"""Whole runs on real S3 servers behind a proxy that brings faults about."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stamina
from support.collections import read_rows, stable, write_pairs
from support.s3 import S3Server
from support.s3_proxy import (
    FOR_EVER,
    cut_answer,
    cut_request,
    hang,
    refused,
    reset,
    reset_after_taking,
    s3_proxy,
    slow_down,
)

import irfuse
from cluster.storage.store import Store
from fusion_core.errors import AccessDeniedError, NotFoundError, StorageError
from irfuse import RunOptions

PAIRS = 12
SHARD_SIZE = 3
SHARDS = [f"shards/shard-{number:06d}.parquet" for number in range(PAIRS // SHARD_SIZE)]
INTERNAL_ERROR = refused(500, "InternalError")
READ_TIMEOUT = {"config_kwargs": {"read_timeout": 3}}


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collection")
    write_pairs(folder, PAIRS)
    return folder


@pytest.fixture(scope="session")
def undisturbed(
    collection: Path, ray_address: str, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The rows of a run without faults, on disk."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert irfuse.run(options(collection, out, {}, address=ray_address)).failed == 0
    return placeless(read_rows(out), collection)


def options(
    source: object, out: object, storage_options: Mapping[str, Any], **changed: Any
) -> RunOptions:
    settings = {
        "weights": "random:0",
        "metrics": ("EN", "SSIM_a"),
        "shard_size": SHARD_SIZE,
        "collection": "pairs",
        "workers": 1,
    }
    return RunOptions(
        source=str(source),
        out=str(out),
        storage_options=dict(storage_options),
        **settings | changed,
    )


def copy_to(s3: S3Server, collection: Path) -> str:
    """Put a collection into a new bucket, below `in`; return the bucket's URL."""
    bucket = f"s3://{s3.new_bucket()}"
    there = Store(f"{bucket}/in", s3.storage_options)
    here = Store(str(collection))
    for entry in here.entries():
        there.write(entry.key, here.read(entry.key))
    return bucket


def placeless(rows: Sequence[Mapping[str, Any]], source: object) -> list[dict[str, Any]]:
    """Leave out where the sources lie."""
    return [
        {k: v.removeprefix(str(source)) if k.endswith("_uri") else v for k, v in row.items()}
        for row in stable(rows)
    ]


def keys_at(url: str, s3: S3Server) -> list[str]:
    keys = [entry.key for entry in Store(url, s3.storage_options).entries()]
    return [key for key in keys if not key.startswith(("attempts/", "scores/"))]


@pytest.mark.parametrize("server", ["s3_moto", pytest.param("s3_seaweed", marks=pytest.mark.slow)])
def test_transient_faults_do_not_change_the_results_of_a_run(
    server: str,
    request: pytest.FixtureRequest,
    collection: Path,
    undisturbed: list[dict[str, Any]],
    ray_address: str,
) -> None:
    s3: S3Server = request.getfixturevalue(server)
    bucket = copy_to(s3, collection)
    out = f"{bucket}/out"
    with s3_proxy(s3) as proxy:
        # No request meets more than five of them: the sixth attempt is the last.
        faults = [
            proxy.add(slow_down, "GET", r"list-type=2"),
            proxy.add(cut_answer, "GET", r"list-type=2.*=in"),
            proxy.add(slow_down, "GET", r"/in/(ir|vis)/", times=2),
            proxy.add(cut_answer, "GET", r"/in/ir/0001\.png"),
            proxy.add(cut_answer, "GET", r"/in/vis/0007\.png"),
            proxy.add(reset, "GET", r"/in/ir/0004\.png"),
            proxy.add(hang, "GET", r"/in/vis/0010\.png"),
            proxy.add(cut_answer, "GET", r"/out/manifest\.parquet"),
            proxy.add(INTERNAL_ERROR, "GET", r"/out/manifest\.parquet"),
            proxy.add(cut_answer, "GET", r"/shard-000002\.parquet"),
            proxy.add(reset_after_taking, "PUT", r"/out/run\.json"),
            proxy.add(cut_request, "PUT", r"/out/manifest\.parquet"),
            proxy.add(slow_down, "PUT", r"/out/shards/", times=2),
            proxy.add(reset_after_taking, "PUT", r"/shard-000000\.parquet"),
            proxy.add(cut_request, "PUT", r"/shard-000001\.parquet"),
            proxy.add(hang, "PUT", r"/shard-000003\.parquet"),
            proxy.add(reset_after_taking, "PUT", r"/out/summary\.json"),
        ]
        wanted = options(
            f"{bucket}/in",
            out,
            proxy.s3.storage_options | READ_TIMEOUT,
            address=ray_address,
        )
        result = irfuse.run(wanted)
    assert [fault for fault in faults if fault.met < fault.times] == []
    assert (result.rows, result.failed) == (PAIRS, 0)
    assert placeless(read_rows(out, s3.storage_options), f"{bucket}/in") == undisturbed
    assert keys_at(out, s3) == [
        "manifest.parquet", "preview.png", "run.json", *SHARDS, "summary.csv", "summary.json",
    ]  # fmt: skip


@pytest.mark.slow
def test_images_that_stay_unreadable_are_failed_rows_until_they_are_retried(
    s3_moto: S3Server, collection: Path, undisturbed: list[dict[str, Any]], ray_address: str
) -> None:
    bucket = copy_to(s3_moto, collection)
    out = f"{bucket}/out"
    with s3_proxy(s3_moto) as proxy:
        proxy.add(slow_down, "GET", r"/in/vis/0004\.png", FOR_EVER)
        proxy.add(refused(403, "AccessDenied"), "GET", r"/in/ir/0007\.png", FOR_EVER)
        wanted = options(
            f"{bucket}/in", out, proxy.s3.storage_options, address=ray_address, max_failure_rate=0.5
        )
        assert irfuse.run(wanted).failed == 2
        failed = [row for row in read_rows(out, s3_moto.storage_options) if row["error_stage"]]
        proxy.mend()
        retried = irfuse.run(wanted.model_copy(update={"retry_failed": True}))
    assert [(row["pair_id"], row["error_stage"], row["error_type"]) for row in failed] == [
        ("0004", "read", "StorageError"),
        ("0007", "read", "AccessDeniedError"),
    ]
    assert (
        f"Cannot read {bucket}/in/vis/0004.png: it failed several times (Not now"
        in failed[0]["error_message"]
    )
    assert f"Cannot read {bucket}/in/ir/0007.png: access denied" in failed[1]["error_message"]
    assert (retried.failed, retried.computed) == (0, 2)
    assert placeless(read_rows(out, s3_moto.storage_options), f"{bucket}/in") == undisturbed


@pytest.mark.slow
def test_a_shard_that_cannot_be_written_ends_the_run_and_a_later_one_finishes_it(
    s3_seaweed: S3Server, collection: Path, undisturbed: list[dict[str, Any]], ray_address: str
) -> None:
    bucket = copy_to(s3_seaweed, collection)
    out = f"{bucket}/out"
    with s3_proxy(s3_seaweed) as proxy:
        proxy.add(slow_down, "PUT", r"/shard-000002\.parquet", FOR_EVER)
        wanted = options(f"{bucket}/in", out, proxy.s3.storage_options, address=ray_address)
        reason = rf"Cannot write {out}/{SHARDS[2]}: it failed .*SlowDown.*check that the store is"
        with pytest.raises(StorageError, match=reason) as caught:
            irfuse.run(wanted)
        left = keys_at(out, s3_seaweed)
        proxy.mend()
        assert irfuse.run(wanted).failed == 0
    assert s3_seaweed.secret_key not in str(caught.value)
    assert SHARDS[2] not in left
    assert placeless(read_rows(out, s3_seaweed.storage_options), f"{bucket}/in") == undisturbed
    assert keys_at(out, s3_seaweed) == [
        "manifest.parquet", "preview.png", "run.json", *SHARDS, "summary.csv", "summary.json",
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"secret_key": "not-theirs"}, {"access_key": "nobody"}])
@pytest.mark.parametrize("place", ["source", "out"])
def test_wrong_credentials_are_told_without_them(
    place: str, wrong: dict[str, str], s3_seaweed: S3Server, collection: Path, tmp_path: Path
) -> None:
    there = f"s3://{s3_seaweed.new_bucket()}/there"
    source, out = (there, tmp_path / "out") if place == "source" else (collection, there)
    s3 = replace(s3_seaweed, **wrong)
    with pytest.raises(AccessDeniedError, match=rf"{there}.*access denied.*credentials") as caught:
        irfuse.run(options(source, out, s3.storage_options))
    assert s3.secret_key not in str(caught.value)


def test_a_place_that_may_only_be_read_is_told_before_anything_starts(
    s3_seaweed: S3Server, collection: Path
) -> None:
    bucket = copy_to(s3_seaweed, collection)
    reader = s3_seaweed.read_only
    reason = rf"Cannot write {bucket}/out/run\.json: access denied .*permissions"
    with pytest.raises(AccessDeniedError, match=reason) as caught:
        irfuse.run(options(f"{bucket}/in", f"{bucket}/out", reader.storage_options))
    assert reader.secret_key not in str(caught.value)
    assert keys_at(f"{bucket}/out", s3_seaweed) == []


def test_an_absent_bucket_of_the_source_is_told(s3: S3Server, tmp_path: Path) -> None:
    source = "s3://no-such-bucket-here/in"
    with pytest.raises(NotFoundError, match=rf"{source}: its bucket does not exist; .*URL"):
        irfuse.run(options(source, tmp_path / "out", s3.storage_options))
    assert list(tmp_path.iterdir()) == []


def test_an_absent_bucket_of_the_results_is_told(s3_moto: S3Server, collection: Path) -> None:
    out = "s3://no-such-bucket-here/out"
    with pytest.raises(NotFoundError, match=rf"{out}/run\.json: its bucket does not exist; .*URL"):
        irfuse.run(options(collection, out, s3_moto.storage_options))


@pytest.mark.parametrize("place", ["source", "out"])
def test_a_server_that_refuses_connections_is_told(
    place: str, s3_moto: S3Server, collection: Path, tmp_path: Path
) -> None:
    there = "s3://bucket/there"
    source, out = (there, tmp_path / "out") if place == "source" else (collection, there)
    with s3_proxy(s3_moto) as proxy, stamina.set_testing(True, attempts=6, cap=True):
        proxy.down()
        reason = rf"{there}.*{proxy.s3.endpoint_url}.*check that the store is up"
        with pytest.raises(StorageError, match=reason) as caught:
            irfuse.run(options(source, out, proxy.s3.storage_options))
    assert s3_moto.secret_key not in str(caught.value)
