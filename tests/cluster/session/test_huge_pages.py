"""Memory in huge pages, without which networks take a third of the time more."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from support.environment import child_environment

from cluster.session import WORKER_ENVIRONMENT
from jobs.console.main import HUGE_PAGES

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
HUGE = """
def huge():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))
"""
IN_A_THREAD = f"""
import ctypes, threading
{HUGE}
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
def allocate():
    for size in (24 * 2**20, 16 * 2**20):  # what is freed once is no longer returned to the system
        blocks = [ctypes.c_void_p(c.malloc(ctypes.c_size_t(size))) for _ in range(3)]
        for block in blocks:
            c.memset(block, 1, ctypes.c_size_t(size))
        print(huge())
        for block in blocks:
            c.free(block)
thread = threading.Thread(target=allocate)
thread.start()
thread.join()
"""
IN_TORCH = f"""
import torch
{HUGE}
before = huge()
tensor = torch.ones(16 * 2**20)
print(huge() - before)
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not SETTING.exists() or "[never]" in SETTING.read_text(),
    reason="this system has no huge pages that processes can request",
)


def huge_kilobytes(code: str, variables: dict[str, str]) -> int:
    """Return the last number that a process prints."""
    command = [sys.executable, "-c", code]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, env=child_environment(variables)
    )
    return int(shown.stdout.split()[-1])


def test_threads_of_workers_allocate_huge_pages() -> None:
    assert huge_kilobytes(IN_A_THREAD, dict(WORKER_ENVIRONMENT)) >= 40 * 1024


@pytest.mark.slow
def test_torch_allocates_huge_pages_in_commands() -> None:
    assert huge_kilobytes(IN_TORCH, {HUGE_PAGES: "1"}) >= 56 * 1024
    if "[always]" not in SETTING.read_text():
        assert huge_kilobytes(IN_TORCH, {HUGE_PAGES: "0"}) < 8 * 1024


@pytest.mark.parametrize(("given", "kept"), [(None, "1"), ("0", "0")])
def test_commands_request_huge_pages_unless_the_user_does_not_want_them(
    given: str | None, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.console.main import main

    monkeypatch.setenv(HUGE_PAGES, given or "")
    if given is None:
        monkeypatch.delenv(HUGE_PAGES)
    monkeypatch.setattr(sys, "argv", ["irfuse", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ[HUGE_PAGES] == kept
