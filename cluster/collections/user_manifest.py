"""Reading of manifests in CSV or Parquet, normalised and with absolute locations."""

from __future__ import annotations

import csv
import io
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from cluster.collections.frozen_manifest import (
    FURTHER_COLUMNS,
    ROW_GROUP_ROWS,
    TEXT_COLUMNS,
)
from cluster.storage import (
    LOCAL_PROTOCOLS,
    REMOTE_PROTOCOLS,
    Store,
    check_location,
    protocol_of,
    redact,
    split_query,
)
from fusion_core.errors import ManifestError, StorageError, reason_without_content

REQUIRED_COLUMNS = ("ir_uri", "vis_uri")
_SUBSET_ALIAS = "group"
"""Column that takes the place of `subset` if there is none."""
_HEADER_BYTES = 65536
_CSV_BLOCK_BYTES = 1024 * 1024
_MOST_FOLDERS = 4096
_SPECIAL = re.compile("[:@~]")
"""Characters of names that need parsing: of protocols, passwords and home folders."""


def is_manifest(url: str) -> bool:
    """Whether a source is a manifest file rather than a folder of images."""
    return url.lower().endswith((".csv", ".parquet", ".pq"))


def collection_name(url: str) -> str:
    """Return the name of a collection: that of its folder, or of its manifest without extension.

    >>> collection_name("s3://bucket/data/TNO")
    'TNO'
    >>> collection_name("/data/msrs.v2.parquet")
    'msrs.v2'
    """
    name = posixpath.basename(split_query(url)[0].rstrip("/"))
    return (posixpath.splitext(name)[0] if is_manifest(name) else name) or url


def read_user_manifest(
    store: Store, name: str, *, allow_local_files: bool = False
) -> Iterator[pa.RecordBatch]:
    """Stream a CSV or Parquet manifest in normalised batches.

    Relative locations are resolved against the folder of the manifest. A missing `pair_id` is
    derived from the infrared location, a missing `subset` has the values of the column `group`, or
    is empty, and additional columns are kept.

    Locations may be on object stores, on the web, or on the same kind of storage as the manifest.

    Raises:
        ManifestError: A required column is missing, or a location contains a password or is not
            allowed, such as a local file in a remote manifest without `allow_local_files`.
        StorageError: The manifest cannot be read.
    """
    batches = (
        _read_csv(store, name) if name.lower().endswith(".csv") else _read_parquet(store, name)
    )
    locator = _Locator(store, allow_local_files)
    for batch in batches:
        yield _normalise(batch, store, name, locator)


def _read_csv(store: Store, name: str) -> Iterator[pa.RecordBatch]:
    with store.open(name) as file:
        try:
            # The last character may be incomplete.
            head = file.read(_HEADER_BYTES).decode("utf-8-sig", errors="ignore")
            file.seek(0)
            header = next(csv.reader(io.StringIO(head)), [])
            yield from pyarrow.csv.open_csv(
                file,
                read_options=pyarrow.csv.ReadOptions(
                    block_size=_CSV_BLOCK_BYTES, use_threads=False
                ),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={column: pa.string() for column in header},
                    strings_can_be_null=False,
                ),
            )
        except (pa.ArrowException, csv.Error) as error:
            reason = reason_without_content(error)
            raise ManifestError(f"{store.uri(name)} is not a CSV manifest: {reason}") from None


def _read_parquet(store: Store, name: str) -> Iterator[pa.RecordBatch]:
    with store.open(name) as file:
        try:
            parquet = pq.ParquetFile(file, pre_buffer=False)
            # Further threads would use more memory and not speed up the job.
            for batch in parquet.iter_batches(batch_size=ROW_GROUP_ROWS, use_threads=False):
                batch.validate(full=True)  # detects invalid UTF-8
                yield batch
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ManifestError(f"{store.uri(name)} is not a Parquet manifest: {error}") from None


def _normalise(batch: pa.RecordBatch, store: Store, name: str, locator: _Locator) -> pa.RecordBatch:
    try:
        names = batch.schema.names
    except UnicodeDecodeError:
        raise ManifestError(f"{store.uri(name)} has column names that are not UTF-8") from None
    repeated = [column for column, count in Counter(names).items() if count > 1]
    if repeated:
        which = repr(repeated[0]) if repeated[0].isidentifier() else "of one name"
        raise ManifestError(f"{store.uri(name)} has more than one column {which}")
    missing = [column for column in REQUIRED_COLUMNS if column not in names]
    if missing:
        raise ManifestError(
            f"{store.uri(name)} has no column {missing[0]!r}; a manifest requires ir_uri and "
            f"vis_uri, and may have pair_id and subset, but the columns are: {', '.join(names)}"
        )
    columns: dict[str, pa.Array] = {}
    for column in TEXT_COLUMNS:
        if column in names:
            columns[column] = _as_text(batch.column(column), column)
    _check_further(store, name, names)
    for column in set(TEXT_COLUMNS) - {"pair_id", "subset"}:
        if column in columns:
            columns[column] = pa.array(locator.locate(columns[column].to_pylist()), pa.string())
    if "pair_id" not in columns:
        paths = [split_query(uri)[0] for uri in columns["ir_uri"].to_pylist()]
        stems = [posixpath.splitext(path)[0] for path in paths]
        columns["pair_id"] = pa.array([_below(stem, store.url) for stem in stems], pa.string())
    if "subset" not in columns:
        columns["subset"] = (
            _as_text(batch.column(_SUBSET_ALIAS), _SUBSET_ALIAS)
            if _SUBSET_ALIAS in names
            else pa.array([""] * batch.num_rows, pa.string())
        )
    ordered = {column: columns[column] for column in TEXT_COLUMNS if column in columns}
    extra = {c: batch.column(c) for c in names if c not in ordered}
    return pa.RecordBatch.from_pydict({**ordered, **extra})


def _check_further(store: Store, name: str, names: Sequence[str]) -> None:
    """Check that the further sources are numbered without a gap."""
    present = [column in names for column in FURTHER_COLUMNS]
    if present != sorted(present, reverse=True):
        missing = FURTHER_COLUMNS[present.index(False)]
        raise ManifestError(
            f"{store.uri(name)} has no column {missing!r}; the sources after the infrared and the "
            "visible image are numbered from 3 without a gap"
        )


def _as_text(column: pa.Array, name: str) -> pa.Array:
    try:
        return column.cast(pa.string()).fill_null("")
    except pa.ArrowException:
        raise ManifestError(
            f"Column {name!r} must contain text, but its type is {column.type}"
        ) from None


def _below(path: str, root: str) -> str:
    return path[len(root) + 1 :] if path.startswith(f"{root}/") else path


class _Locator:
    """Makes locations absolute or rejects them, with a cache of the folders."""

    def __init__(self, store: Store, allow_local_files: bool) -> None:
        self._store = store
        self._allow_local_files = allow_local_files
        self._folders: dict[str, str] = {}

    def locate(self, uris: Iterable[str]) -> list[str]:
        """Return absolute locations.

        Raises:
            ManifestError: A location is not allowed.
        """
        located = []
        for uri in uris:
            name = uri.rpartition("/")[2]
            folder = uri.removesuffix(name)
            plain = name and name not in (".", "..") and not _SPECIAL.search(name)
            if not plain:
                located.append(_locate(uri, self._store, self._allow_local_files))
                continue
            if folder not in self._folders:
                if len(self._folders) == _MOST_FOLDERS:
                    self._folders.clear()
                absolute = _locate(uri, self._store, self._allow_local_files)
                self._folders[folder] = absolute.removesuffix(name)
            located.append(self._folders[folder] + name)
        return located


def _locate(uri: str, store: Store, allow_local_files: bool) -> str:
    """Make a location of a manifest absolute, or reject it."""
    if not uri:
        return uri
    protocol = protocol_of(uri)
    if protocol is None and not uri.startswith(("/", "~")):
        return _absolute(uri, store)
    try:
        check_location(uri)
    except StorageError as error:
        raise ManifestError(f"The manifest at {store.url}: {error}") from None
    if protocol in LOCAL_PROTOCOLS:
        if not store.is_local and not allow_local_files:
            raise ManifestError(
                f"The manifest at {store.url} refers to the local file {uri}; allow that with "
                "--allow-local-files if every worker sees the same file system"
            )
    elif protocol not in (*REMOTE_PROTOCOLS, protocol_of(store.url)):
        raise ManifestError(
            f"The manifest at {store.url} refers to {redact(uri)}, but a manifest may refer only "
            "to local files, relative locations and URLs with one of the protocols "
            f"{', '.join(REMOTE_PROTOCOLS)}"
        )
    return uri


def _absolute(uri: str, store: Store) -> str:
    path = posixpath.normpath(uri)
    if store.is_local:
        return posixpath.normpath(store.uri(path))
    if path == ".." or path.startswith("../"):
        raise ManifestError(
            f"The location {uri} in the manifest at {store.url} is outside of its folder"
        )
    return store.uri(path)
