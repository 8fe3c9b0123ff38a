"""Iteration ahead of the consumer."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from cluster.runs.read_ahead import read_ahead


class Made:
    """Numbers that are made, and whether their generator is closed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.made = [threading.Event() for _ in range(count)]
        self.closed = False

    def items(self) -> Generator[int]:
        try:
            for number in range(self.count):
                self.made[number].set()
                yield number
        finally:
            self.closed = True


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_all_items_are_yielded_in_their_order(count: int) -> None:
    made = Made(5)
    assert list(read_ahead(made.items(), count)) == [0, 1, 2, 3, 4]
    assert made.closed


def test_as_many_items_as_wanted_are_made_while_one_is_in_use() -> None:
    made = Made(6)
    items = read_ahead(made.items(), 2)
    assert next(items) == 0
    assert made.made[2].wait(10)
    assert not made.made[3].wait(0.05)
    items.close()


def test_nothing_is_made_ahead_with_none() -> None:
    made = Made(2)
    items = read_ahead(made.items(), 0)
    assert next(items) == 0
    assert not made.made[1].is_set()


def test_the_generator_is_closed_with_the_result() -> None:
    made = Made(6)
    items = read_ahead(made.items(), 1)
    next(items)
    items.close()
    assert made.closed
    assert not made.made[3].is_set()


def test_an_error_is_raised_in_place_of_its_item() -> None:
    def items() -> Generator[int]:
        yield 1
        raise KeyError("second")

    found = read_ahead(items(), 1)
    assert next(found) == 1
    with pytest.raises(KeyError, match="second"):
        next(found)
