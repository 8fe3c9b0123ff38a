"""The first stages of a pair: read, decode, check."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from cluster.runs.config import WorkerConfig
from cluster.runs.origins import EightBit, Origin
from cluster.runs.pair_state import PairState
from cluster.runs.read_ahead import read_ahead
from cluster.runs.steps import Steps
from cluster.storage import Reader
from fusion_core.choices import FURTHER_SOURCES
from fusion_core.errors import IrfuseError
from fusion_core.images import (
    Pixels,
    count_pixels,
    decode_named,
    decode_pair,
    to_eight_bit,
    to_one_size,
)
from fusion_core.methods import check_registered

_WORDS = {"ir": "infrared", "vis": "visible"}
_MOST_PAIRS = 16
"""Pairs of a window."""
_FIRST_PAIRS = 2
"""Pairs that a worker reads at first, when it does not know how large they are."""
_WINDOW_PIXELS = {"cpu": 16 * 1024 * 1024, "cuda": 32 * 1024 * 1024}
"""Pixels of a window, unless a single pair has more. A GPU computes so fast that several images
must be decoded at the same time."""
WINDOWS_AHEAD = {"cpu": 0, "cuda": 1}
"""Windows that are decoded, and others that are encoded, while one is computed. A CPU is busy with
that one."""
_FETCHED_AHEAD = 1
"""Times that files are read while others are decoded."""
_READ_THREADS = {"cpu": 8, "cuda": 32}
"""Pairs that are read at the same time, most of which wait for the answers of a store."""
_BYTES_PER_PIXEL = 4
"""Bytes of files per pixel of a window that are read ahead, unless a single pair has more."""


class PairLoader:
    """Reads, decodes and checks the images of pairs, in windows of bounded size.

    Args:
        config: Settings of the worker.
        steps: Runs and counts the steps.
        io: Threads that decode.
    """

    def __init__(self, config: WorkerConfig, steps: Steps, io: ThreadPoolExecutor) -> None:
        self._origin: Origin = config.record.origin
        self._max_pixels = config.record.max_pixels
        self._bands, self._resize = config.record.bands, config.record.resize
        self._reader = Reader(config.out.storage_options, max_pixels=self._max_pixels)
        self._steps = steps
        self._io = io
        self._reads = ThreadPoolExecutor(
            _READ_THREADS[config.device], thread_name_prefix="irfuse-read"
        )
        self._windows_ahead = WINDOWS_AHEAD[config.device]
        self._window_pixels = _WINDOW_PIXELS[config.device]
        self._pairs_ahead = _FIRST_PAIRS

    def windows(self, states: Sequence[PairState], fused: int = 1) -> Generator[list[PairState]]:
        """Load pairs, as many at once as the memory for a window holds.

        A pair that cannot be loaded has a failure and no images. The images of a window must be
        released before the next one is requested; with a GPU, that is decoded already.

        Args:
            states: The pairs.
            fused: Number of fused images of each pair that are held besides its sources.
        """
        limit = self._window_pixels * 3 // (2 + fused)
        fetched = read_ahead(self._fetched(states, limit), _FETCHED_AHEAD)
        yield from read_ahead(self._decoded(fetched, limit), self._windows_ahead)

    def _fetched(self, states: Sequence[PairState], limit: int) -> Generator[list[PairState]]:
        """Read the files of pairs, of several at the same time."""
        waiting = list(states)
        while waiting:
            ahead, waiting = waiting[: self._pairs_ahead], waiting[self._pairs_ahead :]
            list(self._reads.map(self._fetch, ahead))
            self._adapt(ahead, limit)
            yield ahead

    def _decoded(
        self, fetched: Generator[list[PairState]], limit: int
    ) -> Generator[list[PairState]]:
        with closing(fetched):
            for states in fetched:
                for window in self._split(states, limit):
                    list(self._io.map(self._prepare, window))
                    yield window

    def load(self, states: Sequence[PairState]) -> None:
        """Load a window of pairs whose sources another run has loaded."""
        list(self._reads.map(self._fetch, states))
        list(self._io.map(self._prepare, states))

    def _adapt(self, states: Sequence[PairState], limit: int) -> None:
        """Read as many pairs at once as fit, if all are as large as the largest of the last ones.

        The number at most doubles, because the first pairs may be the smallest.
        """
        largest = max(sum(map(len, (state.files or {}).values())) for state in states)
        fitting = limit * _BYTES_PER_PIXEL // max(1, largest)
        self._pairs_ahead = max(1, min(_MOST_PAIRS, fitting, 2 * self._pairs_ahead))

    def _split(self, states: Sequence[PairState], limit: int) -> Iterator[list[PairState]]:
        """Split pairs into windows by the sizes that the headers of their images state."""
        window: list[PairState] = []
        pixels = 0
        for state in states:
            if window and pixels + state.pixels > limit:
                yield window
                window, pixels = [], 0
            window.append(state)
            pixels += state.pixels
        yield window

    def _fetch(self, state: PairState) -> None:
        """Read the images of one pair, and its fused image if that is an existing file."""
        uris = {"ir": state.row.ir_uri, "vis": state.row.vis_uri}
        if state.sources is not None:
            uris = {}
        if self._origin.reads_fused:
            uris["fused"] = state.row.fused_uri
        if self._origin.reads_reference and state.row.reference_uri:
            uris["reference"] = state.row.reference_uri
        if self._origin.reads_further:
            uris |= dict(zip(FURTHER_SOURCES, state.row.further_uris, strict=False))
        data = self._steps.run([state], "read", lambda: self._read(uris))
        if data is not None:
            state.files = data
            state.bytes_read = sum({id(file): len(file) for file in data.values()}.values())
            state.pixels = self._steps.run([state], "decode", lambda: _most_pixels(data)) or 0

    def _prepare(self, state: PairState) -> None:
        """Decode and check the images of one pair, and release their files."""
        data, state.files = state.files, None
        if data is None or state.failure is not None:
            return
        if state.sources is not None:
            self._prepare_fused(state, state.sources, data["fused"])
            return
        images = self._steps.run([state], "decode", lambda: self._decode(data))
        if images is None:
            return
        height, width = images["ir"].shape[:2]
        state.size = width, height
        eight_bit = self._steps.run([state], "decode", lambda: self._to_eight_bit(images))
        if eight_bit is not None:
            self._steps.run([state], "check", lambda: self._accept(state, eight_bit))

    def _prepare_fused(self, state: PairState, other: PairState, data: bytes) -> None:
        """Decode the fused image of a pair, and take its sources from another run."""

        def decode() -> EightBit:
            image = decode_named("fused", data, max_pixels=self._max_pixels)
            return to_eight_bit(image, self._origin.sixteen_bit)

        def accept(fused: EightBit) -> None:
            assert other.ir is not None
            assert other.vis is not None
            state.size, state.resized = other.size, other.resized
            check_registered(other.ir, other.vis, {"fused": fused})
            state.ir, state.vis, state.fused = other.ir, other.vis, fused

        fused = self._steps.run([state], "decode", decode)
        if fused is not None:
            self._steps.run([state], "check", lambda: accept(fused))

    def _read(self, uris: Mapping[str, str]) -> dict[str, bytes]:
        for name, uri in uris.items():
            if not uri:
                raise IrfuseError(
                    f"The manifest has no {_WORDS.get(name, name)} image for this pair"
                )
        data = {name: self._read_object(uri) for name, uri in uris.items() if name != "vis"}
        if "vis" not in uris:
            return data
        shared = uris["ir"] == uris["vis"]
        data["vis"] = data["ir"] if shared else self._read_object(uris["vis"])
        return data

    def _read_object(self, uri: str) -> bytes:
        data = self._reader.read(uri)
        self._steps.count()
        return data

    def _decode(self, data: Mapping[str, bytes]) -> dict[str, Pixels]:
        shared = data["vis"] is data["ir"]
        vis = None if shared else data["vis"]
        pair = decode_pair(data["ir"], vis, self._bands, max_pixels=self._max_pixels)
        images = dict(zip(_WORDS, pair, strict=True))
        for name, file in data.items():
            if name not in images:
                images[name] = decode_named(name, file, max_pixels=self._max_pixels)
        return images

    def _to_eight_bit(self, images: Mapping[str, Pixels]) -> dict[str, EightBit]:
        rule = self._origin.sixteen_bit
        return {name: to_eight_bit(image, rule) for name, image in images.items()}

    def _accept(self, state: PairState, images: Mapping[str, EightBit]) -> None:
        """Bring the sources to one size, if that is requested, and check all sizes."""
        ir, vis, resized = to_one_size(images["ir"], images["vis"], self._resize)
        state.size, state.resized = (ir.shape[1], ir.shape[0]), resized
        others = {name: image for name, image in images.items() if name not in _WORDS}
        check_registered(ir, vis, others)
        state.ir, state.vis = ir, vis
        state.further = [others[kind] for kind in FURTHER_SOURCES if kind in others]
        state.fused, state.reference = others.get("fused"), others.get("reference")


def _most_pixels(data: Mapping[str, bytes]) -> int:
    return max(count_pixels(file) for file in data.values())
