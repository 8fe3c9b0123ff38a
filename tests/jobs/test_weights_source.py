"""Weights that a person names: nothing in them is executed, and no signature is repeated."""

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.collections import write_pairs
from support.weight_files import MakesFolder, torch_file

import irfuse
from fusion_core.errors import WeightsError
from fusion_core.methods import get_method
from fusion_core.networks.weights import read_bundled_weights
from irfuse import RunOptions
from jobs.progress import SilentProgress
from jobs.weights import find_stored_weights

SECRET = "hushhush"


FORMATS: dict[str, Callable[[Any], bytes]] = {
    "zip": torch_file,
    "legacy": lambda content: torch_file(content, _use_new_zipfile_serialization=False),
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("to_file", FORMATS.values(), ids=FORMATS)
def test_a_run_with_a_malicious_weight_file_executes_nothing(
    tmp_path: Path, to_file: Callable[[Any], bytes], name: str
) -> None:
    executed = tmp_path / "executed"
    (tmp_path / name).write_bytes(to_file({"c1.weight": MakesFolder(executed)}))
    store = write_pairs(tmp_path / "in", 1)
    options = RunOptions(
        source=store.url,
        out=str(tmp_path / "out"),
        weights=str(tmp_path / name),
    )
    with pytest.raises(WeightsError, match="can be read safely"):
        irfuse.run(options)
    assert not executed.exists()
    assert not (tmp_path / "out").exists()


@contextmanager
def server_of(body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if f"sig={SECRET}/x" in self.path else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def find(url: str) -> Any:
    method = get_method("densefuse")
    options = RunOptions(source="x", out="y", weights=url)
    return find_stored_weights(method, options, method.parameters(), SilentProgress())


def test_weights_at_a_signed_url_are_known_without_their_signature() -> None:
    data = read_bundled_weights("densefuse").data or b""
    with server_of(data) as url:
        weights = find(f"{url}/w.safetensors?sig={SECRET}/x")
    assert weights.data == data
    assert weights.source == f"{url}/w.safetensors?..."


@pytest.mark.parametrize("signature", [f"{SECRET}/x", f"not-{SECRET}"])
def test_errors_of_weights_at_a_signed_url_do_not_repeat_it(signature: str) -> None:
    with (
        server_of(b"no weights") as url,
        pytest.raises(WeightsError, match=r"w\.safetensors\?\.\.\.") as caught,
    ):
        irfuse.run(RunOptions(source="x", out="y", weights=f"{url}/w.safetensors?sig={signature}"))
    assert SECRET not in str(caught.value)
