"""Loaded by every Python process that has this folder on PYTHONPATH: makes marked files deadly.

A picture that contains one of the marks below kills, hangs or starves the process that decodes it,
as a bug in a native decoder would.
"""

import ctypes
import importlib.abc
import importlib.util
import os
import signal
import sys
import threading
import time

SEGFAULT, HANG, KILL, EXHAUST, REFUSE = (
    b"irfuse-test-" + end for end in (b"segfault", b"hang", b"kill", b"exhaust", b"refuse")
)
STEP_BYTES, BEYOND_BYTES, LONGEST_S = 64 * 1024**2, 512 * 1024**2, 120


class PoisonFinder(importlib.abc.MetaPathFinder):
    """Wraps the decoder of `cluster.runs.loading` as soon as that module is imported."""

    def find_spec(self, name, path, target=None):
        """Step aside and wrap the loader of the one module that matters."""
        if name != "cluster.runs.loading":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_wrap(module):
            load(module)
            module.decode_image = poisoned(module.decode_image)

        spec.loader.exec_module = load_and_wrap
        return spec


def poisoned(decode):
    """Return a decoder that dies of marked files."""

    def decode_or_die(data, **options):
        if SEGFAULT in data:
            ctypes.string_at(0)
        if HANG in data:
            threading.Event().wait()
        if KILL in data:
            os.kill(os.getpid(), signal.SIGKILL)
        if EXHAUST in data:
            exhaust_memory()
        if REFUSE in data:
            raise MemoryError("cannot allocate 64 GiB")
        return decode(data, **options)

    return decode_or_die


def exhaust_memory():
    """Take memory until the machine uses more than Ray's limit; give it back if nobody minds."""
    import psutil

    limit = float(os.environ["RAY_memory_usage_threshold"])  # noqa: SIM112 - as Ray spells it
    taken = []
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        memory = psutil.virtual_memory()
        if memory.total - memory.available < limit * memory.total + BEYOND_BYTES:
            taken.append(b"x" * STEP_BYTES)
        time.sleep(0.02)


sys.meta_path.insert(0, PoisonFinder())
