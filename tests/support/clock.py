"""A clock for tests of what measurements make of it."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def steps_of(seconds: float) -> Iterator[None]:
    """Let `time.perf_counter` go on by so much at each look, whatever happens in between."""
    looks = itertools.count()
    with patch.object(time, "perf_counter", lambda: next(looks) * seconds):
        yield
