"""Listings of S3 in pages: complete, whatever the folders, and of several at the same time."""

from __future__ import annotations

from typing import Any

import pytest
from support.s3 import S3Server

from cluster.storage import s3_pages
from cluster.storage.filesystems import filesystem_at
from cluster.storage.store import Store


class FalseS3:
    """A bucket of many keys, with pages of a few."""

    version_aware = False
    req_kw: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, keys: list[str], page: int) -> None:
        self.keys, self.page, self.requests = sorted(keys), page, 0

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.partition("/")
        return bucket, key, None

    def call_s3(self, method: str, **request: str) -> dict[str, Any]:
        assert (method, request["Bucket"]) == ("list_objects_v2", "b")
        self.requests += 1
        prefix, delimiter = request["Prefix"], request["Delimiter"]
        found = []
        for key in self.keys:
            if key.startswith(prefix):
                rest = key[len(prefix) :]
                inner = bool(delimiter) and delimiter in rest
                found.append(prefix + rest[: rest.find("/") + 1] if inner else key)
        found = list(dict.fromkeys(found))
        first = int(request.get("ContinuationToken", 0))
        part = found[first : first + self.page]
        is_file = {name: name in self.keys for name in part}
        return {
            "Contents": [{"Key": name, "Size": 7, "ETag": "e"} for name in part if is_file[name]],
            "CommonPrefixes": [{"Prefix": name} for name in part if not is_file[name]],
            "IsTruncated": first + self.page < len(found),
            "NextContinuationToken": str(first + self.page),
        }


FLAT = [f"d/{modality}/{n}.png" for modality in ("ir", "vis") for n in range(250)]
SCENES = [f"d/s{n}/{modality}.png" for n in range(250) for modality in ("ir", "vis")]
DEEP = [f"d/a/b/c/{n}/e/{modality}.png" for n in range(9) for modality in ("ir", "vis")]
OTHERS = ["d2/x.png", "x.png"]


@pytest.mark.parametrize(
    ("keys", "requests"), [(FLAT, 1 + 2 * 3), (SCENES, 1 + 5), (DEEP, 4), ([*FLAT, "d/1"], 7)]
)
@pytest.mark.parametrize("root", ["b/d", "b"])
def test_every_object_below_a_folder_is_listed_with_few_requests(
    keys: list[str], requests: int, root: str
) -> None:
    bucket = FalseS3(keys + OTHERS, page=100)
    parts = list(s3_pages.list_pages(bucket, "b/d", root, lambda send: send()))
    found = sorted(entry.key for part in parts for entry in part.entries)
    assert found == sorted(key.removeprefix("d/") if root == "b/d" else key for key in keys)
    assert bucket.requests == requests
    assert max(len(part.entries) for part in parts) <= 100


@pytest.mark.parametrize(("folders", "requests"), [(250, 3 + 250), (9, 1 + 9 * 2)])
def test_many_folders_are_listed_one_by_one_if_that_is_asked_for(
    folders: int, requests: int
) -> None:
    keys = [f"d/run{n:03}/{name}" for n in range(folders) for name in ("run.json", "shards/0")]
    bucket = FalseS3(keys, page=100)
    parts = list(s3_pages.list_pages(bucket, "b/d", "b", lambda send: send(), apart=True))
    assert sorted(entry.key for part in parts for entry in part.entries) == keys
    assert bucket.requests == requests


def test_the_pages_of_a_server_hold_what_s3fs_finds(s3: S3Server) -> None:
    store = Store(f"s3://{s3.new_bucket()}/root", s3.storage_options)
    keys = ["a b.png", "größe/1.png", "ir/1.png", "ir/2.png", "vis/deep/er/still/1.png"]
    for key in keys:
        store.write(key, b"x")
    found = filesystem_at(store.url, s3.storage_options).find(store.path(""), detail=True)
    whole = {path: (info["size"], info["ETag"]) for path, info in found.items()}
    assert [entry.key for entry in store.entries()] == keys
    assert {store.path(e.key): (e.size, e.version) for e in store.entries()} == whole
    assert [entry.key for entry in store.entries("ir")] == ["ir/1.png", "ir/2.png"]
