"""The first stages of a pair: read, decode, check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.runs.origins import Origin
from cluster.runs.steps import PairState, Steps
from cluster.storage import Reader
from fusion_core.errors import IrfuseError
from fusion_core.images import Pixels, decode_four_channel, decode_image, to_eight_bit
from fusion_core.methods import check_registered

_WORDS = {"ir": "infrared", "vis": "visible", "fused": "fused"}


class PairLoader:
    """Reads, decodes and checks the images of pairs.

    Args:
        origin: Origin of the fused images, which are loaded if they are existing files.
        max_pixels: Largest accepted image.
        storage_options: Options of the stores of the images.
        steps: Runs and counts the steps.
    """

    def __init__(
        self, origin: Origin, max_pixels: int, storage_options: Mapping[str, Any], steps: Steps
    ) -> None:
        self._origin = origin
        self._max_pixels = max_pixels
        self._reader = Reader(storage_options)
        self._steps = steps

    def load(self, state: PairState) -> PairState:
        """Read, decode and check one pair, and its fused image if that is an existing file."""
        uris = {"ir": state.row.ir_uri, "vis": state.row.vis_uri}
        if self._origin.reads_fused:
            uris["fused"] = state.row.fused_uri
        data = self._steps.run([state], "read", lambda: self._read(uris))
        if data is None:
            return state
        images = self._steps.run([state], "decode", lambda: self._decode(data))
        if images is None:
            return state
        state.size = images[0].shape[1], images[0].shape[0]
        if self._steps.run([state], "check", lambda: _check_sizes(images)) is None:
            return state
        convert = self._to_eight_bit
        eight_bit = self._steps.run([state], "decode", lambda: [convert(i) for i in images])
        if eight_bit is not None:
            state.ir, state.vis = eight_bit[:2]
            state.fused = eight_bit[2] if len(eight_bit) > 2 else None
        return state

    def _read(self, uris: Mapping[str, str]) -> dict[str, bytes]:
        for name, uri in uris.items():
            if not uri:
                raise IrfuseError(f"The manifest has no {_WORDS[name]} image for this pair")
        if uris["ir"] == uris["vis"]:
            shared = self._read_object(uris["ir"])
            return {n: shared if n != "fused" else self._read_object(u) for n, u in uris.items()}
        return {name: self._read_object(uri) for name, uri in uris.items()}

    def _read_object(self, uri: str) -> bytes:
        data = self._reader.read(uri)
        self._steps.count()
        return data

    def _decode(self, data: Mapping[str, bytes]) -> list[Pixels]:
        limit = self._max_pixels
        if data["ir"] is data["vis"]:
            images = list(decode_four_channel(data["ir"], max_pixels=limit))
        else:
            images = [_decode_named(name, data[name], limit) for name in ("ir", "vis")]
        if "fused" in data:
            images.append(_decode_named("fused", data["fused"], limit))
        return images

    def _to_eight_bit(self, image: Pixels) -> NDArray[np.uint8]:
        return to_eight_bit(image, self._origin.sixteen_bit)


def _check_sizes(images: Sequence[Pixels]) -> bool:
    check_registered(*images)
    return True


def _decode_named(name: str, data: bytes, max_pixels: int) -> Pixels:
    try:
        return decode_image(data, max_pixels=max_pixels)
    except IrfuseError as error:
        raise type(error)(f"{_WORDS[name]} image: {error}") from None
