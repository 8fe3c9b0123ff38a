"""Supervision of the process in which something is checked: it may end, hang, or be killed."""

from __future__ import annotations

import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import irfuse
from fusion_core.extensions.outcomes import failed, skipped
from jobs.checking.process import STOPPERS, Request
from jobs.checking.report import CheckResult

_CODE = """
import sys, irfuse
from jobs.checking.process import main
main(sys.argv[1], int(sys.argv[2]))
"""
_START_S = 60.0
"""Time for the imports of a process."""


def supervise(request: Request) -> dict[str, CheckResult]:
    """Run checks in a process of their own, and in another one those after a check that killed it.

    Args:
        request: What is checked.

    Returns:
        The results by name, also of `loads`.
    """
    results: dict[str, CheckResult] = {}
    remaining = list(request.checks)
    while True:
        begun, reason = "loads", "the process ended"
        for event in _events(replace(request, checks=tuple(remaining))):
            if "begin" in event:
                begun = event["begin"]
            elif "end" in event:
                name = event["end"]
                results.setdefault(
                    name, CheckResult(name=name, seconds=event["seconds"], **event["outcome"])
                )
                begun = ""
            elif "died" in event:
                reason = event["died"]
        if not begun:
            break
        results[begun] = CheckResult(name=begun, **failed(reason).model_dump())
        if begun in STOPPERS:
            break
        remaining = remaining[remaining.index(begun) + 1 :]
        if not remaining:
            break
    stop = next((n for n in STOPPERS if n in results and results[n].status == "failed"), "")
    for name in request.checks:
        if name not in results:
            results[name] = CheckResult(name=name, **skipped(f"see {stop}").model_dump())
    return results


def _events(request: Request) -> Iterator[dict[str, Any]]:
    """Start a process, yield what it reports, and finally how it died unless it ended well."""
    with tempfile.TemporaryDirectory(prefix="irfuse-check-") as folder:
        path = Path(folder, "request")
        path.write_bytes(pickle.dumps(request))
        reader, writer = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE, str(path), str(writer)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[writer],
                env=_environment(),
                start_new_session=True,
            )
        finally:
            os.close(writer)
        try:
            yield from _read(reader, request.longest_s)
            status = process.wait(timeout=5.0)
            if status:
                yield {"died": _how_it_ended(status)}
        except (TimeoutError, subprocess.TimeoutExpired):
            yield {"died": f"no answer within {request.longest_s:.0f} s; a run would give it up"}
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(reader)


def _read(reader: int, longest_s: float) -> Iterator[dict[str, Any]]:
    """Yield the lines of a pipe until it is closed.

    Raises:
        TimeoutError: Nothing comes for too long.
    """
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        deadline = time.monotonic() + longest_s + _START_S
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            data = os.read(reader, 65536)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                yield json.loads(line)
            deadline = time.monotonic() + longest_s


def _environment() -> dict[str, str]:
    """Return the environment of a process that finds the packages of this one."""
    own = str(Path(irfuse.__file__).resolve().parents[1])
    paths = [own, *(path for path in sys.path if path), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, paths)))}


def _how_it_ended(status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        return f"the process was killed by {name}; a run would lose a worker for each pair"
    return f"the process ended with exit status {status}; code must not call exit()"
