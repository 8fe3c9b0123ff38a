"""Loaded by every Python process that has this folder on PYTHONPATH: makes marked files deadly.

A picture that contains one of the marks below kills, hangs or starves the process that decodes it,
as a bug in a native decoder would.
"""

import ctypes
import importlib.abc
import importlib.util
import sys
import threading

SEGFAULT, HANG = b"irfuse-test-segfault", b"irfuse-test-hang"


class PoisonFinder(importlib.abc.MetaPathFinder):
    """Wraps the decoder of `cluster.stages` as soon as that module is imported."""

    def find_spec(self, name, path, target=None):
        """Step aside and wrap the loader of the one module that matters."""
        if name != "cluster.stages":
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
        return decode(data, **options)

    return decode_or_die


sys.meta_path.insert(0, PoisonFinder())
