from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from fusion_core import api, score
from fusion_core.threads import one_thread

IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def in_another_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_one_thread_affects_neither_other_threads_nor_what_follows() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
        assert in_another_thread() == 2
    assert torch.get_num_threads() == 2


def test_the_number_of_threads_is_restored_after_an_error() -> None:
    with pytest.raises(ValueError, match="reason"), one_thread():
        raise ValueError("reason")
    assert torch.get_num_threads() == 2


def test_a_pair_is_scored_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    compute = api.score_images

    def watch(*images: object) -> object:
        seen.append(torch.get_num_threads())
        return compute(*images)  # type: ignore[arg-type]

    monkeypatch.setattr(api, "score_images", watch)
    score(IMAGE, IMAGE, IMAGE, metrics=["EN"])
    assert (seen, torch.get_num_threads()) == ([1], 2)
