"""Listings of S3 in pages, of several folders at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from cluster.storage.listing import Entry, Listing
from cluster.storage.publishing import modified_in, version_in
from cluster.storage.walking import walk

if TYPE_CHECKING:
    from s3fs import S3FileSystem

_THREADS = 8
"""Fewer than the connections of s3fs."""
_MOST_FOLDERS = 64
"""A prefix with more folders is listed as a whole, because each would take a request."""
_DEPTH = 2
"""Number of levels of folders that are listed one by one."""


class _Page(NamedTuple):
    """A page of a listing."""

    prefix: str
    depth: int = 0
    whole: bool = False
    """Whether everything below the prefix is listed, rather than its direct members."""
    token: str | None = None
    """Where the page begins."""


def list_pages(
    filesystem: S3FileSystem,
    path: str,
    root: str,
    call: Callable[[Callable[[], dict[str, Any]]], dict[str, Any]],
    *,
    apart: bool = False,
) -> Iterator[Listing]:
    """Yield every object below a folder, in parts of a thousand in any order.

    Args:
        filesystem: The file system of s3fs.
        path: Path of the folder, with the bucket.
        root: Path that keys are relative to.
        call: Calls a function that sends a request, with retries.
        apart: Whether the folders in this one are listed one by one, each as a whole, also if they
            are many.
    """
    bucket, folder, _ = filesystem.split_path(path)
    start = len(root) - len(bucket)

    def visit(page: _Page) -> tuple[Listing, list[_Page]]:
        answer = call(lambda: _request(filesystem, bucket, page))
        folders = [found["Prefix"] for found in answer.get("CommonPrefixes", ())]
        one_by_one = len(folders) <= _MOST_FOLDERS or (apart and page.depth == 0)
        if page.token is None and not one_by_one:
            return Listing(), [page._replace(whole=True)]
        listing = Listing()
        for found in answer.get("Contents", ()):
            version, modified = version_in(found), modified_in(found)
            if found["Key"] == page.prefix and not version.strip('"'):
                continue  # some servers name the folder itself, which is no object
            listing.add(Entry(found["Key"][start:], int(found["Size"]), version, modified))
        depth = page.depth + 1
        whole = depth > _DEPTH or page.token is not None or len(folders) > _MOST_FOLDERS
        further = [_Page(prefix, depth, whole) for prefix in folders]
        if answer.get("IsTruncated"):
            further.append(page._replace(token=answer["NextContinuationToken"]))
        return listing, further

    yield from walk(_Page(f"{folder}/" if folder else ""), visit, _THREADS)


def _request(filesystem: S3FileSystem, bucket: str, page: _Page) -> dict[str, Any]:
    options = {"ContinuationToken": page.token} if page.token else {}
    answer: dict[str, Any] = filesystem.call_s3(
        "list_objects_v2",
        Bucket=bucket,
        Prefix=page.prefix,
        Delimiter="" if page.whole else "/",
        **options,
        **filesystem.req_kw,
    )
    return answer
