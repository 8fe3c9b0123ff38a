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

SEGFAULT, HANG, KILL, EXHAUST, REFUSE, CROWD = (
    b"irfuse-test-" + end
    for end in (b"segfault", b"hang", b"kill", b"exhaust", b"refuse", b"crowd")
)
STEP_BYTES, BEYOND_BYTES, LONGEST_S = 64 * 1024**2, 512 * 1024**2, 120


class PoisonFinder(importlib.abc.MetaPathFinder):
    """Wraps functions as soon as the modules that define or use them are imported."""

    def __init__(self):
        """Name the functions and what wraps them."""
        self.wrappers = {
            "fusion_core.images.pairs": ("decode_image", poisoned),
            "cluster.session.memory": ("count_memory_kills", with_simulated_kills),
        }

    def find_spec(self, name, path, target=None):
        """Step aside and wrap the loader of a module that matters."""
        function, wrap = self.wrappers.pop(name, (None, None))
        if function is None:
            return None
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_wrap(module):
            load(module)
            setattr(module, function, wrap(getattr(module, function)))

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
        if CROWD in data and has_neighbours():
            simulate_memory_kill()
        if REFUSE in data:
            raise MemoryError("cannot allocate 64 GiB")
        return decode(data, **options)

    return decode_or_die


def has_neighbours():
    """Whether the node of this worker has other workers."""
    import psutil

    def is_worker(process):
        try:
            return "FusionWorker" in "".join(process.cmdline()[:1])
        except psutil.Error:  # it has just ended
            return False

    siblings = psutil.Process().parent().children()
    return any(is_worker(process) for process in siblings if process.pid != os.getpid())


def simulate_memory_kill():
    """End this process as the kernel does for lack of memory: it counts, and kills without a word.

    The count is kept in a file of the cluster, because only the kernel can raise its own.
    """
    with open(simulated_kills(), "ab", buffering=0) as file:
        file.write(b"x")
    os.kill(os.getpid(), signal.SIGKILL)


def with_simulated_kills(count):
    """Return a function that adds the simulated kills to those of the kernel."""

    def count_all():
        path = simulated_kills()
        return (count() or 0) + (os.path.getsize(path) if os.path.exists(path) else 0)

    return count_all


def simulated_kills():
    """Return the file that has one byte per simulated kill."""
    return os.path.join(os.environ.get("RAY_TMPDIR", ""), "irfuse-test-memory-kills")


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
