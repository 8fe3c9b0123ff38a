"""Datasets of PyTorch: samples, order, sharing between ranks and workers, and resuming."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.collections import read_rows
from support.computed_runs import compute_run
from support.environment import child_environment
from support.processes import free_ports
from support.s3 import S3Server
from torch.utils.data import DataLoader

from cluster.runs import RunRecord, shard_key
from cluster.storage import Store
from fusion_core.errors import InvalidValueError, NotFoundError, StorageError
from irfuse.dataset import FusedPairs, FusedStream
from jobs.dataset.partition import buffered_shuffle, find_rank, share

PAIRS = 11
SUBSETS = ("day", "night")
LABEL = b"0 .5 .5 .1 .1\n"
Run = tuple[Store, RunRecord]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 22 pairs in six shards, of which day/0003 failed and day/0001 has a label."""
    folder = tmp_path_factory.mktemp("dataset")
    files = {"labels/day/0001.txt": LABEL}
    return compute_run(folder, PAIRS, subsets=SUBSETS, damaged=(3,), files=files)


@pytest.fixture(scope="module")
def rows(run: Run) -> list[dict[str, Any]]:
    return [row for row in read_rows(run[0].url) if row["status"] == "ok"]


def decoded(row: dict[str, Any]) -> torch.Tensor:
    image = torch.from_numpy(np.array(Image.open(io.BytesIO(row["fused"]["bytes"]))))
    return image[None] if image.ndim == 2 else image.permute(2, 0, 1)


def ids(samples: Any) -> list[str]:
    return [sample["pair_id"] for sample in samples]


def batched_ids(loader: Any) -> list[str]:
    return [pair_id for batch in loader for pair_id in batch["pair_id"]]


def test_samples_are_the_rows_of_the_run(run: Run, rows: list[dict[str, Any]]) -> None:
    pairs = FusedPairs(run[0].url)
    assert len(pairs) == len(rows) == 2 * PAIRS - 1
    for number in [*range(len(rows)), 4, -1]:
        sample, row = pairs[number], rows[number]
        assert torch.equal(sample["fused"], decoded(row))
        assert sample["metrics"] == {"EN": row["EN"], "SD": row["SD"]}
        assert [sample[name] for name in ("pair_id", "subset", "run")] == [
            row["pair_id"], row["subset"], "average",
        ]  # fmt: skip
    with pytest.raises(IndexError):
        pairs[len(rows)]


def test_sources_and_labels_come_on_request(run: Run) -> None:
    pairs = FusedPairs(run[0].url, columns=("pair_id",), sources=True, labels=True)
    samples = {sample["pair_id"]: sample for sample in (pairs[n] for n in range(len(pairs)))}
    sample = samples["day/0001"]
    for name, folder in (("infrared", "ir"), ("visible", "vis")):
        source = np.array(Image.open(f"{run[1].source}/day/{folder}/0001.png"))
        found = sample[name].squeeze(0) if source.ndim == 2 else sample[name].permute(1, 2, 0)
        assert np.array_equal(found.numpy(), source)
    assert (sample["label"], sample["label_name"]) == (LABEL, "0001.txt")
    assert (samples["night/0001"]["label"], samples["night/0001"]["label_name"]) == (b"", "")


def test_a_condition_columns_channels_and_a_transform_select_what_is_returned(run: Run) -> None:
    pairs = FusedPairs(
        run[0].url,
        where="subset = 'night'",
        columns=("fused",),
        channels=3,
        transform=lambda sample: sample["fused"].float(),
    )
    assert len(pairs) == PAIRS
    assert {pairs[n].shape[0] for n in range(3)} == {3}
    assert pairs[0].dtype == torch.float32
    assert FusedPairs(run[0].url, channels=1)[1]["fused"].shape[0] == 1


def test_several_runs_keep_their_names(run: Run) -> None:
    pairs = FusedPairs({"a": run[0].url, "b": run[0].url}, columns=("run",))
    assert Counter(pairs[n]["run"] for n in range(len(pairs))) == {"a": 21, "b": 21}
    with pytest.raises(InvalidValueError, match="Two runs are named 'average'"):
        FusedPairs([run[0].url, run[0].url])


def test_an_unfinished_run_must_be_accepted(tmp_path: Path) -> None:
    out, _ = compute_run(tmp_path, 6, shards=range(1))
    with pytest.raises(NotFoundError, match=r"1 of 2 shards are committed; .* complete=False"):
        FusedPairs(out.url)
    assert len(FusedPairs(out.url, complete=False)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ("fuse",)}, "[Uu]nknown column 'fuse'"),
        ({"where": "entropy > 1"}, "[Uu]nknown column 'entropy'"),
        ({"buffer": 0}, "at least one row"),
    ],
)
def test_bad_arguments_are_errors(run: Run, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        FusedStream(run[0].url, **options)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("dataset", [FusedPairs, FusedStream])
def test_a_data_loader_gives_every_pair_once_after_it_was_read_here(
    run: Run, rows: list[dict[str, Any]], dataset: Any, workers: int
) -> None:
    pairs = dataset(run[0].url, columns=("pair_id", "metrics"))
    next(iter(pairs))  # opens files, which workers must not share
    loader = DataLoader(pairs, batch_size=4, num_workers=workers)
    assert sorted(batched_ids(loader)) == sorted(row["pair_id"] for row in rows)


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_ranks_get_equal_numbers_and_all_rows(world_size: int, workers: int, rows: int) -> None:
    of_ranks = [
        [
            share(rows, rank=rank, world_size=world_size, worker=worker, workers=workers).tolist()
            for worker in range(workers)
        ]
        for rank in range(world_size)
    ]
    assert len({tuple(map(len, of_workers)) for of_workers in of_ranks}) == 1
    taken = [row for of_workers in of_ranks for part in of_workers for row in part]
    assert set(taken) == set(range(rows))
    assert 0 <= len(taken) - rows < world_size


@pytest.mark.parametrize("buffer", [1, 5, 100])
def test_a_buffered_shuffle_gives_every_number_at_most_a_buffer_too_early(buffer: int) -> None:
    order = list(buffered_shuffle(40, buffer, np.random.default_rng(0)))
    assert sorted(order) == list(range(40))
    assert all(number < place + buffer for place, number in enumerate(order))
    assert (order == list(range(40))) == (buffer == 1)


def test_the_order_depends_on_seed_and_epoch_alone(run: Run) -> None:
    def order(seed: int, epoch: int) -> list[str]:
        stream = FusedStream(run[0].url, shuffle=True, seed=seed, buffer=8, columns=("pair_id",))
        stream.set_epoch(epoch)
        return ids(stream)

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(*of)) for of in ((0, 0), (0, 1), (1, 0))}) == 3
    assert sorted(order(0, 0)) == sorted(order(1, 5))


def test_ranks_share_an_epoch(run: Run, rows: list[dict[str, Any]]) -> None:
    streams = [
        FusedStream(run[0].url, shuffle=True, rank=rank, world_size=4, columns=("pair_id",))
        for rank in range(4)
    ]
    taken = [ids(stream) for stream in streams]
    assert [len(part) for part in taken] == [len(stream) for stream in streams] == [6] * 4
    assert {pair_id for part in taken for pair_id in part} == {row["pair_id"] for row in rows}
    dropped = FusedStream(run[0].url, rank=0, world_size=4, drop_last=True, columns=("pair_id",))
    assert len(ids(dropped)) == len(dropped) == 5


@pytest.mark.parametrize("position", [0, 1, 13, 21])
def test_a_stream_resumes_at_the_sample(run: Run, position: int) -> None:
    def stream() -> FusedStream:
        return FusedStream(run[0].url, shuffle=True, buffer=6, columns=("pair_id", "fused"))

    first = stream()
    first.set_epoch(3)
    expected = ids(first)
    interrupted = stream()
    interrupted.set_epoch(3)
    samples = iter(interrupted)
    for _ in range(position):
        next(samples)
    resumed = stream()
    resumed.load_state_dict(interrupted.state_dict() if position else {"epoch": 3, "position": 0})
    assert ids(resumed) == expected[position:]
    resumed.set_epoch(4)
    assert len(ids(resumed)) == len(expected)


def test_damage_is_an_error_that_names_the_pair_or_is_skipped(tmp_path: Path) -> None:
    out, _ = compute_run(tmp_path, 6)
    row = read_rows(out.url)[4]
    data = out.read(shard_key(1))
    place = data.index(row["fused"]["bytes"]) + len(row["fused"]["bytes"]) // 2
    pairs = FusedPairs(out.url)
    assert pairs[5]["pair_id"] == "0005"  # notes where the images of the shard are
    with open(out.uri(shard_key(1)), "r+b") as file:
        file.seek(place)
        file.write(bytes(40))
    with pytest.raises(StorageError, match=r"'0004' \(shard 1, row 0\)"):
        pairs[4]
    with pytest.raises(StorageError, match=r"shard-000001.parquet is damaged"):
        list(FusedStream(out.url))
    stream = FusedStream(out.url, on_error="skip", columns=("pair_id", "fused"))
    assert ids(stream) == ["0000", "0001", "0002", "0003"]
    assert stream.skipped == 2


def test_remote_runs_are_read_and_cached(
    run: Run, rows: list[dict[str, Any]], s3_moto: S3Server, tmp_path: Path
) -> None:
    options, bucket = s3_moto.storage_options, s3_moto.new_bucket()
    remote = Store(f"s3://{bucket}/run", options)
    for entry in run[0].entries():
        remote.write(entry.key, run[0].read(entry.key))
    given = {"storage_options": options, "columns": ("pair_id", "fused")}
    pairs = FusedPairs(remote.url, **given)
    for number in (9, 0, 9):
        assert torch.equal(pairs[number]["fused"], decoded(rows[number]))
    cached = FusedPairs(remote.url, cache=tmp_path, **given)
    assert torch.equal(cached[3]["fused"], decoded(rows[3]))
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    stream = FusedStream(remote.url, shuffle=True, storage_options=options, columns=("pair_id",))
    loader = DataLoader(stream, batch_size=4, num_workers=2)
    assert sorted(batched_ids(loader)) == sorted(row["pair_id"] for row in rows)


FORKING_PROGRAM = """
import sys
from torch.utils.data import DataLoader
from cluster.storage import s3
from irfuse.dataset import FusedStream

def in_obstore(sample):
    return s3._Process.used and not s3._Process.lost

stream = FusedStream(sys.argv[1], columns=("pair_id",), transform=in_obstore)
loader = DataLoader(stream, num_workers=1, multiprocessing_context="fork")
assert all(loader)
"""


def test_forked_workers_read_with_obstore(run: Run, s3_moto: S3Server) -> None:
    remote = Store(f"s3://{s3_moto.new_bucket()}/run", s3_moto.storage_options)
    for entry in run[0].entries():
        remote.write(entry.key, run[0].read(entry.key))
    result = subprocess.run(
        [sys.executable, "-c", FORKING_PROGRAM, remote.url],
        env=child_environment(s3_moto.env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_rank_and_number_of_ranks_come_from_arguments_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_rank(None, None) == (0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert find_rank(None, None) == (2, 3)
    assert find_rank(0, 2) == (0, 2)
    with pytest.raises(ValueError, match="together"):
        find_rank(0, None)


PROGRAM = """
import sys
import torch.distributed as dist
from torch.utils.data import DataLoader
from irfuse.dataset import FusedStream

url, rank, port = sys.argv[1:]
dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=int(rank), world_size=2)
stream = FusedStream(url, shuffle=True, columns=("pair_id",))
for epoch in range(3):
    stream.set_epoch(epoch)
    for batch in DataLoader(stream, batch_size=4, num_workers=1):
        dist.barrier()
        print(epoch, *batch["pair_id"])
dist.destroy_process_group()
assert "ray" not in sys.modules
"""


def test_two_processes_train_in_step_without_ray(run: Run, rows: list[dict[str, Any]]) -> None:
    (port,) = free_ports(1)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, run[0].url, str(rank), str(port)],
            env=child_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    lines = [process.communicate(timeout=200)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [len(part) for part in lines] == [9, 9]  # three batches of 11 samples, three epochs
    for epoch in range(3):
        assert epoch_ids(lines, epoch) == {row["pair_id"] for row in rows}


def epoch_ids(lines: Sequence[Sequence[str]], epoch: int) -> set[str]:
    words = [line.split() for part in lines for line in part]
    return {pair_id for number, *found in words if int(number) == epoch for pair_id in found}
