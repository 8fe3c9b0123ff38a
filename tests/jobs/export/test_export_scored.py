"""Exports of runs of `irfuse score`, whose rows only name the fused images."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from support.computed_runs import compute_run, score_run

import irfuse
from cluster.runs import Gallery, RunRecord
from cluster.storage import Store, read_record
from fusion_core.images import decode_image
from irfuse import ExportFolderOptions
from irfuse.dataset import FusedPairs, FusedStream

KEY = "key=hush"
NAMES = ("0000.png", "0001.png")


class _Signed(SimpleHTTPRequestHandler):
    """Sends a file only if the query has the key."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if query != KEY:
            self.send_error(403)
            return
        self.path = path
        super().do_GET()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """URL of a server of the files in `files`, which needs a key."""
    handler = functools.partial(_Signed, directory=str(tmp_path / "files"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def scored(host: str, tmp_path: Path) -> Store:
    """A score of fused images at signed locations, which are in `files`, too."""
    run, _ = compute_run(tmp_path / "run", 2)
    irfuse.export_folder(
        ExportFolderOptions(run=run.url, out=str(tmp_path / "files"), preset="pair-id")
    )
    rows = [f"{n[:4]},run/in/ir/{n},run/in/vis/{n},{host}/{n}?{KEY}" for n in NAMES]
    return score_run(tmp_path, rows)[0]


def test_images_at_signed_locations_are_exported(scored: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    irfuse.export_folder(ExportFolderOptions(run=scored.url, out=str(out), preset="pair-id"))
    for name in NAMES:
        assert (out / name).read_bytes() == (tmp_path / "files" / name).read_bytes()
    texts = [path.read_bytes() for path in (out / "_irfuse").rglob("*") if path.is_file()]
    assert not [text for text in texts if b"hush" in text]


def test_images_at_signed_locations_are_shown_and_read(scored: Store, tmp_path: Path) -> None:
    expected = [decode_image((tmp_path / "files" / name).read_bytes()) for name in NAMES]
    for found in (FusedPairs(scored.url), FusedStream(scored.url)):
        for pair, image in zip(found, expected, strict=True):
            assert np.array_equal(pair["fused"].permute(1, 2, 0).squeeze(-1), image)
    gallery = Gallery(scored, read_record(scored, RunRecord), whole=True)
    for position, image in enumerate(expected):
        assert np.array_equal(gallery.view(position).fused, image)
