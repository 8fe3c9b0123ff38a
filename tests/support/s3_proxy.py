"""A proxy for an S3 server that injects faults, each a given number of times."""

import math
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from support.processes import free_ports
from support.s3 import S3Server

FOR_EVER = math.inf
_BETWEEN_TWO_PARTIES = ("connection", "expect", "keep-alive", "transfer-encoding")


class Exchange(BaseHTTPRequestHandler):
    """One request of a client, which is forwarded to the S3 server unless a fault matches it."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        fault = self.server.proxy.claim(self.command, self.path)
        (fault.strike if fault else passed_on)(self)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    @property
    def length(self) -> int:
        """Length of the request's body."""
        return int(self.headers.get("Content-Length") or 0)

    def ask(self, body: bytes) -> HTTPConnection:
        """Forward the request to the S3 server, with the original Host header, which is signed."""
        upstream = HTTPConnection(self.server.proxy.upstream, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _BETWEEN_TWO_PARTIES:
                upstream.putheader(name, value)
        upstream.endheaders(body)
        return upstream

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send a response, or a part of it if the headers announce more."""
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _BETWEEN_TWO_PARTIES:
                self.send_header(name, value)
        if self.command != "HEAD" and "content-length" not in {name.lower() for name, _ in headers}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """Reset the connection to the client."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: object) -> None:
        """Discard log messages."""


Strike = Callable[[Exchange], None]


def passed_on(exchange: Exchange) -> None:
    """Forward the request and the response."""
    response, body = _asked(exchange)
    exchange.answer(response.status, response.getheaders(), body)


def refused(status: int, code: str) -> Strike:
    """Respond with an error of S3, without forwarding the request."""

    def strike(exchange: Exchange) -> None:
        exchange.rfile.read(exchange.length)
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
            f"<Message>Not now ({code}).</Message><RequestId>1</RequestId></Error>"
        ).encode()
        headers = [("Content-Type", "application/xml")]
        exchange.answer(status, headers, b"" if exchange.command == "HEAD" else body)

    return strike


slow_down = refused(503, "SlowDown")


def cut_answer(exchange: Exchange) -> None:
    """Send the first half of an object, and close the connection."""
    response, body = _asked(exchange)
    exchange.close_connection = True
    exchange.answer(response.status, response.getheaders(), body[: len(body) // 2])


def cut_request(exchange: Exchange) -> None:
    """Reset the connections to both sides after the server has received half of an object."""
    upstream = exchange.ask(exchange.rfile.read(exchange.length // 2))
    upstream.close()
    exchange.reset()


def reset(exchange: Exchange) -> None:
    """Reset the connection before the request is forwarded."""
    exchange.rfile.read(exchange.length)
    exchange.reset()


def reset_after_taking(exchange: Exchange) -> None:
    """Forward the request, and reset the connection instead of sending a response."""
    response, _ = _asked(exchange)
    assert response.status == 200
    exchange.reset()


def hang(exchange: Exchange) -> None:
    """Accept the request, and send nothing until the client gives up."""
    exchange.close_connection = True
    exchange.rfile.read(exchange.length)
    exchange.connection.recv(1)


def _asked(exchange: Exchange) -> tuple[HTTPResponse, bytes]:
    upstream = exchange.ask(exchange.rfile.read(exchange.length))
    response = upstream.getresponse()
    body = response.read()
    upstream.close()
    return response, body


@dataclass(eq=False)
class Fault:
    """A fault for requests of one method to matching addresses, a limited number of times."""

    strike: Strike
    method: str
    pattern: str
    times: float
    met: int = 0
    """Number of times that the fault occurred."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, port: int, proxy: "S3Proxy") -> None:
        self.proxy = proxy
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Exchange)

    def handle_error(self, *_: object) -> None:
        """Record errors, except those of clients that have given up."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.proxy.errors.append(error)


class S3Proxy:
    """A proxy on 127.0.0.1, which forwards requests that no fault matches."""

    def __init__(self, s3: S3Server) -> None:
        (self._port,) = free_ports(1)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.upstream = urlsplit(s3.endpoint_url).netloc
        self.s3 = replace(s3, endpoint_url=f"http://127.0.0.1:{self._port}")
        """Address and credentials of the S3 server through the proxy."""
        self.requests: list[str] = []
        """Method and address of each received request."""
        self.errors: list[Exception] = []
        """Errors of the proxy itself."""

    def add(self, strike: Strike, method: str, pattern: str, times: float = 1) -> Fault:
        """Add a fault; if several faults match, the one added first occurs first."""
        fault = Fault(strike, method, pattern, times)
        self._faults.append(fault)
        return fault

    def claim(self, method: str, address: str) -> Fault | None:
        """Record a request, and return the fault that matches it, if any."""
        with self._lock:
            self.requests.append(f"{method} {address}")
            for fault in self._faults:
                matches = fault.method == method and re.search(fault.pattern, address)
                if matches and fault.met < fault.times:
                    fault.met += 1
                    return fault
        return None

    def mend(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def up(self) -> None:
        """Listen."""
        self._server = _Server(self._port, self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()

    def down(self) -> None:
        """Close all connections, and refuse new ones."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in list(self._server.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client was faster


@contextmanager
def s3_proxy(s3: S3Server) -> Iterator[S3Proxy]:
    """Run a proxy for an S3 server for the duration of the block."""
    proxy = S3Proxy(s3)
    proxy.up()
    try:
        yield proxy
    finally:
        proxy.down()
    if proxy.errors:
        raise ExceptionGroup("Errors of the proxy", proxy.errors)
