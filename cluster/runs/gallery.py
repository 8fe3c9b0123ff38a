"""Single pairs of a run with their images, for pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.runs.origins import EightBit
from cluster.runs.record import RunRecord
from cluster.runs.shards import Row, Shards
from cluster.storage import Reader, Store
from fusion_core.errors import IrfuseError, NotFoundError
from fusion_core.images import Pixels, decode_image, decode_pair, fit, to_eight_bit

_UNREADABLE = "cannot be read now"


@dataclass(frozen=True, slots=True)
class PairView:
    """A pair of a run: its row, and its images as far as they can be read."""

    row: Row
    """The row, without the fused image."""
    ir: EightBit | str
    """Infrared image, reduced to the size of a cell of a sheet unless the gallery shows whole
    images, or why there is none."""
    vis: EightBit | str
    """Visible image, likewise."""
    fused: EightBit | str
    """Fused image, likewise."""


class Gallery:
    """Reads single pairs of a run: no shard as a whole, and no pair that is not asked for.

    Args:
        out: Output location of the run.
        record: Record of the run.
        whole: Whether images keep their size.

    Raises:
        NotFoundError: The run has no manifest.
        RunConflictError: The manifest is not that of the run.
    """

    def __init__(self, out: Store, record: RunRecord, *, whole: bool = False) -> None:
        self._record = record
        self._whole = whole
        self._shards = Shards(out, record)
        self._reader = Reader(out.storage_options, max_pixels=record.max_pixels)

    def rows(self, shard: int, columns: Sequence[str]) -> list[Row]:
        """Return columns of all rows of a shard.

        Raises:
            StorageError: The shard does not exist, is damaged or cannot be read.
        """
        return self._shards.read(shard, columns).to_rows()

    def view(self, position: int) -> PairView:
        """Return the pair at a position of the manifest.

        Raises:
            NotFoundError: The pair is not computed yet.
            StorageError: Its shard is damaged or cannot be read.
        """
        row, fused = self.fused(position)
        (pair,) = self._shards.manifest.read(position, position + 1)
        ir, vis = self._sources(pair.ir_uri, pair.vis_uri)
        return PairView(row, ir, vis, fused)

    def fused(self, position: int) -> tuple[Row, EightBit | str]:
        """Return the row at a position of the manifest, and its fused image or why there is none.

        Raises:
            NotFoundError: The pair is not computed yet.
            StorageError: Its shard is damaged or cannot be read.
        """
        try:
            row = dict(self._shards.read_row(*divmod(position, self._record.shard_size)))
        except NotFoundError:
            (pair,) = self._shards.manifest.read(position, position + 1)
            raise NotFoundError(
                f"The pair {pair.pair_id!r} is not computed yet; continue the run with the command "
                "that began it"
            ) from None
        cell = row.pop("fused") or {}
        if cell.get("path"):  # without its query, which the manifest has
            (pair,) = self._shards.manifest.read(position, position + 1)
            cell = {"path": pair.fused_uri or cell["path"]}
        return row, self._fused(row, cell)

    def _sources(self, ir_uri: str, vis_uri: str) -> list[EightBit | str]:
        bands, limit = self._record.bands, self._record.max_pixels
        if ir_uri != vis_uri:
            return [self._image(ir_uri, bands.ir), self._image(vis_uri, bands.vis)]
        try:
            both = decode_pair(self._reader.read(ir_uri), None, bands, max_pixels=limit)
        except (IrfuseError, OSError):
            return [_UNREADABLE] * 2
        return [self._reduced(image) for image in both]

    def _fused(self, row: Row, cell: Row) -> EightBit | str:
        if row["status"] == "failed":
            return f"failed at {row['error_stage']}: {row['error_message']}"
        if cell.get("bytes"):
            return self._decoded(lambda: cell["bytes"])
        return self._image(cell["path"]) if cell.get("path") else "not kept"

    def _image(self, uri: str, bands: str | None = None) -> EightBit | str:
        return self._decoded(lambda: self._reader.read(uri), bands)

    def _decoded(self, read: Callable[[], bytes], bands: str | None = None) -> EightBit | str:
        limit = self._record.max_pixels
        try:
            return self._reduced(decode_image(read(), bands=bands, max_pixels=limit))
        except (IrfuseError, OSError):
            return _UNREADABLE

    def _reduced(self, image: Pixels) -> EightBit:
        eight_bit = to_eight_bit(image, self._record.origin.sixteen_bit)
        return eight_bit if self._whole else fit(eight_bit)
