"""Common functions of the benchmarks: threads, repeats, memory, and the name of the machine."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from threadpoolctl import threadpool_limits

from fusion_core.errors import InvalidValueError
from fusion_core.images import synthetic_pair

_NOISE = 6.0
"""Standard deviation in gray levels of the noise that simulates a camera."""


class Report(BaseModel):
    """Base of the reports of benchmarks."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    machine: str
    """Processor and operating system, or GPU."""
    versions: dict[str, str]
    """Versions of irfuse and of the packages that it computes with."""


def check_setting(smallest: int, device: str) -> None:
    """Check that the smallest of the sizes and counts is positive, and that the device exists.

    Raises:
        InvalidValueError: A number is below 1, or the device does not exist.
    """
    if smallest < 1:
        raise InvalidValueError(f"Expected sizes and counts of at least 1, but got {smallest}")
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InvalidValueError(f"Expected cpu, or cuda if there is a GPU, but got {device}")


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch and Numba to one CPU thread in the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def noisy_pair(height: int, width: int, seed: int) -> list[NDArray[np.float64]]:
    """Generate an infrared and a visible image with camera noise, not clipped to 0..255."""
    generator = np.random.default_rng(seed)
    ir, vis = synthetic_pair(height, width, seed=seed, colour=False)
    images = [ir.astype(np.float64), vis.astype(np.float64)]
    return [image + generator.normal(0.0, _NOISE, image.shape) for image in images]


def to_levels(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Round an image to gray levels."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def time_repeats(action: Callable[[], object], repeats: int, warm_ups: int) -> list[float]:
    """Return the seconds of each repeat after warm-up."""
    for _ in range(warm_ups):
        action()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return seconds


def synchronised(action: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """Return an action that waits until the device has finished."""

    def run() -> None:
        action()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def versions(*names: str) -> dict[str, str]:
    """Return the versions of Python and of installed packages."""
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def memory_mb(device: str) -> float:
    """Return the resident memory of the process, or the allocated memory on a GPU."""
    if device == "cuda":
        return torch.cuda.memory_allocated() / 1e6
    statistics_of_process = Path("/proc/self/statm")
    if not statistics_of_process.exists():
        return peak_memory_mb(device)
    return int(statistics_of_process.read_text().split()[1]) * resource.getpagesize() / 1e6


def peak_memory_mb(device: str) -> float:
    """Return the peak of the same memory so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    status_of_process = Path("/proc/self/status")
    if status_of_process.exists():
        # getrusage is not used, because on Linux it starts with the memory of the parent process.
        (line,) = [x for x in status_of_process.read_text().splitlines() if x.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def describe_machine(device: str) -> str:
    """Return the name of the processor and operating system, or of the GPU."""
    if device == "cuda":
        return str(torch.cuda.get_device_name())
    names = [
        line.partition(":")[2].strip()
        for path in [Path("/proc/cpuinfo")]
        if path.exists()
        for line in path.read_text().splitlines()
        if line.startswith("model name")
    ]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {torch.backends.cpu.get_cpu_capability()}, {platform.system()}"
