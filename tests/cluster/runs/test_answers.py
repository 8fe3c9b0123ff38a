"""Answers to calls of the driver."""

from concurrent.futures import Future
from typing import Any

import pytest

from cluster.runs.answers import Answers


class Call:
    """A reference of Ray, as far as it is used."""

    def __init__(self) -> None:
        self.answer: Future[Any] = Future()

    def future(self) -> Future[Any]:
        return self.answer


def calls(count: int) -> list[Any]:
    return [Call() for _ in range(count)]


def test_answers_come_in_the_order_in_which_the_calls_are_answered() -> None:
    answers, asked = Answers[str](), calls(3)
    for name, call in zip("abc", asked, strict=True):
        answers.expect(name, call)
    for place in (2, 0):
        asked[place].answer.set_result(place)
    found = answers.wait(1.0)
    assert [(answer.asked, answer.future.result()) for answer in found] == [("c", 2), ("a", 0)]
    assert found[0].ref is asked[2]


def test_an_answer_that_was_there_before_is_found() -> None:
    answers, (call,) = Answers[str](), calls(1)
    call.answer.set_exception(ValueError("no"))
    answers.expect("a", call)
    (found,) = answers.wait(1.0)
    with pytest.raises(ValueError, match="no"):
        found.future.result()


def test_without_an_answer_the_wait_ends() -> None:
    answers = Answers[str]()
    answers.expect("a", calls(1)[0])
    assert answers.wait(0.01) == []
