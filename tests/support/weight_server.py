"""A local HTTP server of one weight file, which can also return faulty responses."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fusion_core.networks.imagenet_files import ImageNetFile

Answer = Callable[[BaseHTTPRequestHandler, threading.Event], None]
"""Responds to one request; the event is set when the server ends."""


class WeightServer:
    """A server on 127.0.0.1, on a port that the system chooses."""

    def __init__(self, port: int) -> None:
        self.requests: list[str] = []
        """The requested paths."""
        self._root = f"http://127.0.0.1:{port}"

    def url(self, file_name: str) -> str:
        """Return the address of a file."""
        return f"{self._root}/models/{file_name}"


def whole(body: bytes) -> Answer:
    """Send a file."""

    def answer(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        _send_head(handler, len(body))
        handler.wfile.write(body)

    return answer


def refused(code: int) -> Answer:
    """Send an error such as 404."""

    def answer(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        handler.send_error(code)

    return answer


def truncated(body: bytes) -> Answer:
    """Send the first half of a file, and close the connection."""

    def answer(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        _send_head(handler, len(body))
        handler.wfile.write(body[: len(body) // 2])

    return answer


def truncated_in_a_chunk(body: bytes) -> Answer:
    """Announce a chunk as long as the file, send half of it, and close the connection."""

    def answer(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n" % len(body) + body[: len(body) // 2])

    return answer


def stalled(body: bytes) -> Answer:
    """Send the first half of a file, and nothing afterwards."""

    def answer(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        _send_head(handler, len(body))
        handler.wfile.write(body[: len(body) // 2])
        ended.wait()

    return answer


def silent(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
    """Accept the request, and send nothing."""
    ended.wait()


def hung_up(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
    """Close the connection without a response."""


def not_http(handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
    """Respond in another protocol."""
    handler.wfile.write(b"220 ready\r\n")


@contextmanager
def weight_server(answer: Answer) -> Iterator[WeightServer]:
    """Serve for the duration of the block; afterwards connections are refused."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.requests.append(self.path)
            self.close_connection = True
            answer(self, ended)

        def log_message(self, *args: object) -> None:
            """Discard log messages."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = WeightServer(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def _send_head(handler: BaseHTTPRequestHandler, length: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def publish(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let torchvision publish the weights of ResNet-50 at this address."""
    file = ImageNetFile("resnet50", "IMAGENET1K_V1", url)
    monkeypatch.setattr("fusion_core.networks.imagenet.imagenet_file", lambda *names: file)
