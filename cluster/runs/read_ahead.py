"""Iteration ahead of the consumer, in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_END: Any = object()


def read_ahead(items: Generator[T], count: int) -> Generator[T]:
    """Yield the items of a generator, of which a thread makes the next ones meanwhile.

    An error of the generator is raised where its item would have been. When the result is closed,
    so is the generator, as soon as the item in work is made.

    Args:
        items: The generator.
        count: Number of items that are made while one is in use; with 0, there is no thread.

    >>> list(read_ahead((n * n for n in range(4)), 2))
    [0, 1, 4, 9]
    """
    if count == 0:
        yield from items
        return
    thread = ThreadPoolExecutor(1, thread_name_prefix="irfuse-ahead")
    try:
        waiting = deque(thread.submit(next, items, _END) for _ in range(count))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(thread.submit(next, items, _END))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)
        items.close()
