"""A fake clock for tests of measurements."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def steps_of(seconds: float) -> Iterator[None]:
    """Make `time.perf_counter` advance by a fixed time at each call."""
    calls = itertools.count()
    with patch.object(time, "perf_counter", lambda: next(calls) * seconds):
        yield
