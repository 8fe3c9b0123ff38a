"""Windows of pairs: how much a worker holds at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.records import worker_config

from cluster.collections.discovery import discover
from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.collections.manifest_reader import FrozenManifest
from cluster.runs import loading
from cluster.runs.loading import PairLoader
from cluster.runs.pair_state import PairState
from cluster.runs.steps import Steps
from cluster.storage.store import Store
from fusion_core.images.encoding import encode_png

WINDOW = 1000


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_WINDOW_PIXELS", {"cpu": WINDOW})


def put(folder: Path, sizes: list[tuple[int, int]]) -> None:
    store = Store(str(folder / "in"))
    for number, size in enumerate(sizes):
        for kind in ("ir", "vis"):
            store.write(f"{kind}/{number:02}.png", encode_png(np.zeros(size, np.uint8)))


def loader_of(folder: Path, steps: Steps) -> tuple[PairLoader, list[PairState]]:
    out = Store(str(folder / "out"))
    info, manifest = freeze(discover(Store(str(folder / "in"))).batches())
    out.write(MANIFEST_KEY, manifest)
    config = worker_config(out, info)
    rows = FrozenManifest(out).read(0, info.rows)
    states = [PairState(offset, row) for offset, row in enumerate(rows)]
    return PairLoader(config, steps, ThreadPoolExecutor(2)), states


def windows(folder: Path) -> list[list[int]]:
    """Offsets of the pairs of each window, released before the next one as by a worker."""
    loader, states = loader_of(folder, Steps())
    found = []
    for window in loader.windows(states):
        found.append([state.offset for state in window])
        for state in window:
            state.ir = state.vis = None
    return found


def test_windows_hold_as_many_pairs_as_the_pixel_budget_allows(tmp_path: Path) -> None:
    put(tmp_path, [(20, 20)] * 7)  # 400 pixels each
    assert windows(tmp_path) == [[0, 1], [2, 3], [4, 5], [6]]


def test_a_pair_over_the_budget_is_a_window_of_its_own(tmp_path: Path) -> None:
    put(tmp_path, [(10, 10), (10, 10), (10, 10), (50, 50), (10, 10), (10, 10)])
    assert windows(tmp_path) == [[0, 1], [2], [3], [4, 5]]


def test_windows_of_small_pairs_grow_to_their_largest_number(tmp_path: Path) -> None:
    put(tmp_path, [(4, 4)] * 46)
    assert [len(window) for window in windows(tmp_path)] == [2, 4, 8, 16, 16]


def test_files_are_read_ahead_as_far_as_their_bytes_allow(tmp_path: Path) -> None:
    put(tmp_path, [(4, 4)] * 8)
    folder = tmp_path / "in/ir"
    for path in folder.iterdir():  # bytes after the end of a PNG are ignored
        path.write_bytes(path.read_bytes() + bytes(loading._BYTES_PER_PIXEL * WINDOW // 3))
    assert [len(window) for window in windows(tmp_path)] == [2, 2, 2, 2]


def test_no_images_are_decoded_before_the_window_is_requested(tmp_path: Path) -> None:
    put(tmp_path, [(25, 30)] * 4)
    loader, states = loader_of(tmp_path, Steps())
    for window in loader.windows(states):
        held = [state.offset for state in states if state.ir is not None]
        assert held == [state.offset for state in window]
        for state in window:
            assert state.files is None
            state.ir = state.vis = None


def test_a_pair_that_cannot_be_loaded_does_not_end_its_window(tmp_path: Path) -> None:
    put(tmp_path, [(20, 20)] * 4)
    (tmp_path / "in/ir/01.png").write_bytes(b"no image")
    loader, states = loader_of(tmp_path, Steps())
    (tmp_path / "in/vis/02.png").unlink()
    offsets = [state.offset for window in loader.windows(states) for state in window]
    assert offsets == [0, 1, 2, 3]
    failures = {state.offset: state.failure.stage for state in states if state.failure}
    assert failures == {1: "decode", 2: "read"}
