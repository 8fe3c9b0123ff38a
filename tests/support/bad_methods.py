"""Methods with the mistakes that checks must find."""

BAD_METHODS = """
import ctypes
import os
import time
import urllib.request

import numpy as np
from torch import nn

import irfuse


def wrong_size(ir, vis):
    return ((2 * ir + vis) / 3)[: len(ir) // 2 * 2]


def undefined(ir, vis):
    with np.errstate(all="ignore"):
        return (ir - ir.min()) / (ir.max() - ir.min()) * 200 + vis / 5


def unit_range(ir, vis):
    return (2 * ir + vis) / 765


@irfuse.method()
def batch_normalised(parameters, weights, device):
    norm = nn.BatchNorm2d(1)
    return lambda sources: norm(sources[0]) * 40 + 128


def seeded(ir, vis):
    np.random.seed(0)
    return (2 * ir + vis) / 3 + np.random.normal(size=ir.shape)


def downloading(ir, vis):
    urllib.request.urlopen("http://irfuse.invalid/weights.pth", timeout=5)
    return ir


def exiting(ir, vis):
    os._exit(1)


def crashing(ir, vis):
    ctypes.string_at(0)


def sleeping(ir, vis):
    time.sleep(10_000)


def three_channels(ir, vis):
    return np.stack([ir] * 3, axis=-1)
"""
MISSING_IMPORT = "import no_such_module\n\n\ndef fuse(ir, vis):\n    return ir\n"

NAMED_LINES = {
    "wrong_size": "sizes",
    "undefined": "finite",
    "unit_range": "range",
    "batch_normalised": "batch",
    "seeded": "global state",
    "downloading": "network",
    "exiting": "runs",
    "crashing": "runs",
    "sleeping": "runs",
    "three_channels": "sizes",
}
"""Bad methods, and the check that must fail."""
DEADLY = ("exiting", "crashing", "sleeping")
"""Those that end or hang their process."""
