import os
import random

import numpy as np
import pytest
import torch

from fusion_core.errors import ContractError
from fusion_core.extensions.guarding import ProcessState, guard

SOURCES = torch.zeros(2, 1, 1, 4, 4)


def meddle() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    os.chdir("/")


def test_a_call_leaves_the_process_as_it_was() -> None:
    def fuse(sources: torch.Tensor) -> torch.Tensor:
        meddle()
        return sources[0]

    before = ProcessState.now()
    guard(fuse)(SOURCES)
    assert before.changes() == []


def test_each_change_is_named(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    before = ProcessState.now()
    try:
        meddle()
        assert before.changes() == [
            "the global random generator of torch",
            "the global random generator of numpy",
            "the global random generator of random",
            "the default type of torch",
            "the number of threads",
            "the working directory",
        ]
    finally:
        before.restore()


def test_random_numbers_are_the_same_in_each_call() -> None:
    def fuse(sources: torch.Tensor) -> torch.Tensor:
        noise = torch.rand(4, 4) + torch.from_numpy(np.random.rand(4, 4))  # noqa: NPY002
        noise += random.random()
        return sources[0] + noise

    assert torch.equal(guard(fuse)(SOURCES), guard(fuse)(SOURCES))


def test_a_wrong_result_is_an_error() -> None:
    with pytest.raises(ContractError, match=r"\(1, 4, 4\), but its sources require \(1, 1, 4, 4\)"):
        guard(lambda sources: sources[0, 0])(SOURCES)
