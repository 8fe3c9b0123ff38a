from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from fusion_core.errors import InvalidValueError
from fusion_core.networks.devices import find_device, full_precision

CUDA = torch.device("cuda")
CUDNN: Any = torch.backends.cudnn
MATMUL: Any = torch.backends.cuda.matmul


def flags() -> tuple[object, ...]:
    """All settings of PyTorch that decide how a GPU computes in float32."""
    precisions = (CUDNN.conv.fp32_precision, MATMUL.fp32_precision)
    return (CUDNN.enabled, CUDNN.benchmark, CUDNN.deterministic, *precisions)


@pytest.fixture(autouse=True)
def settings_of_a_user() -> Iterator[None]:
    before = (
        CUDNN.benchmark,
        CUDNN.deterministic,
        CUDNN.conv.fp32_precision,
        MATMUL.fp32_precision,
    )
    CUDNN.benchmark = CUDNN.deterministic = True
    CUDNN.conv.fp32_precision = MATMUL.fp32_precision = "tf32"
    yield
    CUDNN.benchmark, CUDNN.deterministic, CUDNN.conv.fp32_precision, MATMUL.fp32_precision = before


def test_full_precision_changes_the_precision_alone_and_restores_it() -> None:
    assert flags() == (True, True, True, "tf32", "tf32")
    with full_precision(CUDA):
        assert flags() == (True, True, True, "ieee", "ieee")
    assert flags() == (True, True, True, "tf32", "tf32")


def test_full_precision_is_restored_after_an_error() -> None:
    with pytest.raises(ValueError, match="reason"), full_precision(CUDA):
        raise ValueError("reason")
    assert flags() == (True, True, True, "tf32", "tf32")


def test_full_precision_holds_until_the_last_thread_has_left() -> None:
    entered, leave = threading.Event(), threading.Event()

    def compute() -> None:
        with full_precision(CUDA):
            entered.set()
            leave.wait()

    other = threading.Thread(target=compute)
    with full_precision(CUDA):
        other.start()
        entered.wait()
    assert flags()[3:] == ("ieee", "ieee")
    leave.set()
    other.join()
    assert flags()[3:] == ("tf32", "tf32")


def test_a_cpu_needs_no_change() -> None:
    with full_precision(torch.device("cpu")):
        assert flags()[3:] == ("tf32", "tf32")


def test_auto_finds_a_device() -> None:
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InvalidValueError, match="Cannot compute on device 'nothing'"):
        find_device("nothing")
