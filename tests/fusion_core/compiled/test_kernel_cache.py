"""When the kernels are compiled and loaded, each time in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from support.environment import PROJECT_ROOT, child_environment, without_home

CHILD_DEADLINE_S = 200

COUNTS = """
import sys
from numba.core.dispatcher import Dispatcher

def kernels():
    modules = [m for name, m in sys.modules.items() if name.startswith("fusion_core.metrics.")]
    return {id(k): k for m in modules for k in vars(m).values() if isinstance(k, Dispatcher)}

def signatures():
    used = [kernel for kernel in kernels().values() if kernel.signatures]
    return {f"{kernel.__module__}.{kernel.__name__}": len(kernel.signatures) for kernel in used}

def total(name):
    return sum(sum(getattr(k.stats, name).values()) for k in kernels().values())
"""

PREPARE = f"""
import json
from fusion_core.metrics.scoring import prepare_metrics
{COUNTS}
prepare_metrics(["EN", "Qabf"])
print(json.dumps({{"hits": total("cache_hits"), "compiled": total("cache_misses")}}))
"""

COMPUTE_AFTER_PREPARING = f"""
import json
import numpy as np
import torch
from fusion_core.metrics import METRICS
from fusion_core.metrics.scoring import prepare_metrics, score_images
{COUNTS}
def images(height, width):
    drawn = np.random.default_rng(1).integers(0, 256, (3, 3, height, width), dtype=np.uint8)
    return list(drawn)

compiled_again = {{}}
for name in METRICS:
    prepare_metrics([name])
    prepared = signatures()
    for size in ((1, 1), (1, 9), (2, 2), (5, 7), (43, 50), (48, 48)):
        score_images(*images(*size), [name])
        score_images(*(group[:1] for group in images(*size)), [name])
    score_images(*([image.T for image in group] for group in images(50, 43)), [name])
    score_images(*([image[::2, ::-1] for image in group] for group in images(86, 50)), [name])
    stacks = [torch.from_numpy(group).unsqueeze(3).permute(0, 3, 2, 1) for group in images(44, 45)]
    METRICS[name](*stacks)
    METRICS[name](*(stack[1:, :, 1:, :-1] for stack in stacks))
    METRICS[name](*(stack[:1].expand(2, -1, -1, -1) for stack in stacks))
    if signatures() != prepared:
        compiled_again[name] = [k for k, n in signatures().items() if prepared.get(k) != n]
print(json.dumps({{"compiled_again": compiled_again, "used": list(signatures())}}))
"""

DO_WITHOUT = """
import json, sys
import jobs.execution
from fusion_core.metrics import METRICS
from fusion_core.compiled import dispatch
from fusion_core.metrics.scoring import prepare_metrics
after_import = sorted(sys.modules)
dispatch.use_kernels = lambda images: False
prepare_metrics(list(METRICS))
print(json.dumps({"import": after_import, "tensors": sorted(sys.modules)}))
"""


SMALL = """
from fusion_core.metrics.edges.kernels import _HALF_PI

def double(x):
    return 2.0 * x
"""
"""A module with a kernel, which imports a module with kernels, which imports others."""


@dataclass(frozen=True)
class Child:
    """What a process printed, and the files of compiled kernels after its end."""

    printed: dict[str, Any]
    kept: dict[str, int]
    """Name to time of change."""


def python(code: str, folder: Path, **environment: str) -> dict[str, Any]:
    """Run code in a fresh interpreter and return the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment(environment),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=CHILD_DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def prepare(cache: Path) -> Child:
    printed = python(PREPARE, cache, NUMBA_CACHE_DIR=str(cache))
    return Child(
        printed,
        {str(path.relative_to(cache)): path.stat().st_mtime_ns for path in cache.glob("*/*")},
    )


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Child, Child]:
    """Two processes, one after the other, which prepare Qabf; the first finds an empty cache."""
    cache = tmp_path_factory.mktemp("cache")
    return prepare(cache), prepare(cache)


def test_preparing_metrics_compiles_their_kernels_and_keeps_them(
    processes: tuple[Child, Child],
) -> None:
    first, _ = processes
    assert first.printed["compiled"] > 0
    assert any("kernels.qabf_sums" in name for name in first.kept)


def test_preparing_some_metrics_compiles_no_others(processes: tuple[Child, Child]) -> None:
    first, _ = processes
    others = [name for name in first.kept if not name.startswith("edges_")]
    assert all("padding_kernels" in name for name in others)


def test_the_next_process_compiles_nothing(processes: tuple[Child, Child]) -> None:
    _, second = processes
    assert (second.printed["hits"] > 0, second.printed["compiled"]) == (True, 0)


def test_the_next_process_leaves_the_kept_kernels_as_they_are(
    processes: tuple[Child, Child],
) -> None:
    first, second = processes
    assert second.kept == first.kept


@pytest.mark.slow
def test_prepared_metrics_compile_nothing_whatever_images_come(tmp_path: Path) -> None:
    found = python(COMPUTE_AFTER_PREPARING, tmp_path)
    assert (found["compiled_again"], len(found["used"]) > 8) == ({}, True)


@pytest.fixture(scope="module")
def modules_of_drivers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The modules loaded after imports, and after computing by what runs on other devices."""
    printed = python(DO_WITHOUT, tmp_path_factory.mktemp("without"))
    return {when: set(modules) for when, modules in printed.items()}


@pytest.mark.parametrize("module", ["numba", "llvmlite"])
def test_importing_metrics_and_jobs_does_not_import(
    modules_of_drivers: dict[str, set[str]], module: str
) -> None:
    assert module not in modules_of_drivers["import"]


@pytest.mark.parametrize("module", ["numba", "llvmlite"])
def test_computing_on_another_device_does_not_import(
    modules_of_drivers: dict[str, set[str]], module: str
) -> None:
    assert module not in modules_of_drivers["tensors"]


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package with a small kernel more, whose cache lies inside."""
    folder = tmp_path / "fusion_core"
    source = PROJECT_ROOT / "fusion_core"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "small.py").write_text(SMALL)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder / "cache"))
    for name in ("compiled/compiling", "small"):  # forgotten after the test
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    return folder


def load(folder: Path, name: str) -> ModuleType:
    """Import a module of a folder as a new process would."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call_small_kernel(folder: Path) -> tuple[float, int]:
    """Return what the kernel returns for 1.5, and how often it was compiled for that."""
    kernel = load(folder, "compiled/compiling").compiled(load(folder, "small").double)
    return kernel(1.5), sum(kernel.stats.cache_misses.values())


def test_a_kernel_is_compiled_once(kernels: Path) -> None:
    assert [call_small_kernel(kernels) for _ in range(3)] == [(3.0, 1), (3.0, 0), (3.0, 0)]


IMPORTED = ["small", "metrics/edges/kernels", "compiled/vector_math", "compiled/compiling"]


@pytest.mark.parametrize("module", IMPORTED)
def test_a_kernel_is_compiled_again_when_what_it_may_inline_has_changed(
    kernels: Path, module: str
) -> None:
    call_small_kernel(kernels)
    with (kernels / f"{module}.py").open("a") as file:
        file.write("# changed\n")
    assert call_small_kernel(kernels) == (3.0, 1)


def test_a_kernel_is_kept_when_only_what_it_does_not_import_has_changed(kernels: Path) -> None:
    call_small_kernel(kernels)
    imported = {kernels / f"{module}.py" for module in IMPORTED}
    for source in set(kernels.rglob("*.py")) - imported:
        with source.open("a") as file:
            file.write("# changed\n")
    assert call_small_kernel(kernels) == (3.0, 0)


def test_kernels_use_nothing_of_irfuse_but_modules_of_the_package_that_they_name() -> None:
    sources = [
        path.read_text()
        for path in (PROJECT_ROOT / "fusion_core").rglob("*.py")
        if re.search("^@(compiled|compiled_fast|inlined)$", path.read_text(), re.MULTILINE)
    ]
    used = {line for text in sources for line in re.findall(r"^ *(?:from|import) .*", text, re.M)}
    own = {line for line in used if re.search("fusion_core|cluster|jobs|irfuse|from \\.", line)}
    assert len(sources) >= 6
    assert {line for line in own if not line.startswith("from fusion_core.")} == set()


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("length", [0, 40])
def test_a_kept_kernel_that_was_cut_off_is_compiled_again(
    kernels: Path, kind: str, length: int
) -> None:
    call_small_kernel(kernels)
    (path,) = kernels.glob(f"cache/*/*.{kind}")
    path.write_bytes(path.read_bytes()[:length])
    assert [call_small_kernel(kernels) for _ in range(2)] == [(3.0, 1), (3.0, 0)]


def test_a_kernel_computes_where_its_cache_stops_being_writable(kernels: Path) -> None:
    kernel = load(kernels, "compiled/compiling").compiled(load(kernels, "small").double)
    shutil.rmtree(kernels / "cache")
    (kernels / "cache").touch()
    assert kernel(1.5) == 3.0


@pytest.fixture
def nowhere_to_keep(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The copy where files stand in the way of every cache, which stops even root."""
    file = kernels / "file"
    file.touch()
    (kernels / "__pycache__").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(file / "cache"))
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(file / "cache"))
    return kernels


def test_a_kernel_computes_without_a_cache_where_none_can_be_kept(nowhere_to_keep: Path) -> None:
    kernel = load(nowhere_to_keep, "compiled/compiling").compiled(
        load(nowhere_to_keep, "small").double
    )
    assert (kernel(1.5), type(kernel._cache).__name__) == (3.0, "NullCache")


def test_a_kernel_leaves_no_folder_where_the_home_of_the_user_is_not_known(
    nowhere_to_keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    without_home(monkeypatch)
    monkeypatch.chdir(nowhere_to_keep)
    before = set(nowhere_to_keep.iterdir())
    kernel = load(nowhere_to_keep, "compiled/compiling").compiled(
        load(nowhere_to_keep, "small").double
    )
    assert (kernel(1.5), type(kernel._cache).__name__) == (3.0, "NullCache")
    assert set(nowhere_to_keep.iterdir()) == before


@contextmanager
def no_forced_switches() -> Iterator[None]:
    """Let a thread have the interpreter only when another gives it away."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e3)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def test_kernels_let_other_threads_run() -> None:
    from fusion_core.metrics.edges.kernels import qabf_sums

    images = np.random.default_rng(1).random((3, 502, 502))
    qabf_sums(*images)
    start, ran = threading.Event(), threading.Event()

    def other() -> None:
        start.wait()
        ran.set()

    thread = threading.Thread(target=other)
    with no_forced_switches():
        thread.start()
        start.set()
        seen_before = ran.is_set()
        seen_after = any(qabf_sums(*images) and ran.is_set() for _ in range(50))
    thread.join()
    assert (seen_before, seen_after) == (False, True)
