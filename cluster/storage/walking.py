"""Listing of several folders at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Task = TypeVar("Task")
Part = TypeVar("Part")


def walk(
    first: Task, visit: Callable[[Task], tuple[Part, Iterable[Task]]], threads: int
) -> Iterator[Part]:
    """Visit a task and all further ones that follow from it, several at the same time.

    Few tasks wait, and fewer results, because the last tasks are begun first.

    Args:
        first: The first task.
        visit: Returns a part of the result and further tasks.
        threads: Number of tasks that are visited at the same time.

    Yields:
        The parts of the result, in any order. The first error of a visit is raised.
    """
    waiting, running = [iter((first,))], set[Future[tuple[Part, Iterable[Task]]]]()
    with ThreadPoolExecutor(threads, thread_name_prefix="walk") as pool:
        while True:
            while waiting and len(running) < threads:
                try:
                    running.add(pool.submit(visit, next(waiting[-1])))
                except StopIteration:
                    waiting.pop()
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                part, further = future.result()
                waiting.append(iter(further))
                yield part
