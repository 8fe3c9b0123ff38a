"""Exports of runs of `irfuse score`, whose rows only name the fused images."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.computed_runs import compute_run, score_run

import irfuse
from irfuse import ExportFolderOptions

KEY = "key=hush"


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


def test_images_at_signed_locations_are_exported(host: str, tmp_path: Path) -> None:
    run, _ = compute_run(tmp_path / "run", 2)
    irfuse.export_folder(
        ExportFolderOptions(run=run.url, out=str(tmp_path / "files"), preset="pair-id")
    )
    names = ["0000.png", "0001.png"]
    rows = [f"{n[:4]},run/in/ir/{n},run/in/vis/{n},{host}/{n}?{KEY}" for n in names]
    scored, _ = score_run(tmp_path, rows)
    out = tmp_path / "out"
    irfuse.export_folder(ExportFolderOptions(run=scored.url, out=str(out), preset="pair-id"))
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "files" / name).read_bytes()
    texts = [path.read_bytes() for path in (out / "_irfuse").rglob("*") if path.is_file()]
    assert not [text for text in texts if b"hush" in text]
