"""The Triton kernel of FMI without a GPU: its values, its compilation, and what replaces it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.environment import PROJECT_ROOT, child_environment
from support.reference_data import read_golden
from torch import Tensor

from fusion_core.metrics.feature_mi import window_means

pytest.importorskip("triton", reason="Triton comes with the CUDA build of PyTorch alone")

DEADLINE_S = 200
TOLERANCE = 1e-6
"""As of the other codes: windows are float32."""

INTERPRET = """
import json, sys
import numpy as np
import torch
from fusion_core.compiled import dispatch
from fusion_core.metrics.feature_mi.fmi_kernels import feature_mutual_information
from fusion_core.metrics.feature_mi.fmi_triton import feature_information
from fusion_core.metrics.feature_mi.window_means import NOISE, _triton_kernel, compare_windows

drawn = np.random.default_rng(1)
height, width = 7, 14
few_levels = drawn.integers(0, 2, (3, height, width)) * (drawn.random((3, height, width)) > 0.6)
maps = {
    "any values": drawn.random((3, height, width)),
    "flat windows, single peaks, identical windows": few_levels,
    "nothing but rounding": 0.5 + 1e-15 * drawn.standard_normal((3, height, width)),
}
maps = {name: torch.from_numpy(images).double() for name, images in maps.items()}
images = torch.stack(list(maps.values()), dim=1)
values = {
    "interpreted": feature_information(images, NOISE, block=32),  # the last of two is not full
    "compiled": dispatch.each_pair(feature_mutual_information, images[:2], images[2], NOISE),
    "tensors": compare_windows(images),
}
found = {name: dict(zip(maps, v.tolist(), strict=True)) for name, v in values.items()}
assert _triton_kernel(torch.device("cpu")) is feature_information  # it agrees in the trial
print(json.dumps(found))
"""

SCORE = """
import json, sys
from pathlib import Path
import torch
from support.reference_data import read_gray, read_sources
from fusion_core.metrics.base import ScoredBatch, Sources
from fusion_core.metrics.feature_mi import fmi
from fusion_core.metrics.feature_mi.fmi_triton import feature_information
from fusion_core.metrics.feature_mi.window_means import NOISE

reference, pair, method = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
images = [*read_sources(reference, pair), read_gray(reference / "fused" / method / f"{pair}.png")]
a, b, f = (torch.tensor(image)[None, None] for image in images)
batch = ScoredBatch(Sources(a, b), f)
found = {}
for name, features in {"FMI_dct": fmi.cosine_features, "FMI_w": fmi.wavelet_features}.items():
    maps = torch.cat((batch.sources.cached(features), batch.fused.cached(features)[None]))
    found[name] = feature_information(maps, NOISE, block=1 << 14).item()
print(json.dumps(found))
"""

COMPILE = """
import json
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from fusion_core.metrics.feature_mi.fmi_triton import BLOCK, sum_information
from fusion_core.metrics.feature_mi.window_means import NOISE

types = {"maps": "*fp64", "sums": "*fp64", "batch": "i32", "height": "i32", "width": "i32"}
constants = {"noise": NOISE, "BLOCK": BLOCK}
signature = types | dict.fromkeys(constants, "constexpr")
source = ASTSource(sum_information, signature, constants)
options = {"enable_fp_fusion": True}
for generation in (80, 90):
    target = GPUTarget("cuda", generation, 32)
    print(len(triton.compile(source, target=target, options=options).asm["cubin"]))
"""


def run(code: str, *arguments: object, **variables: str) -> str:
    """Run code in a process of its own: Triton reads its variables when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=child_environment() | variables,
        cwd=PROJECT_ROOT / "tests",
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def interpret(code: str, *arguments: object) -> Any:
    return json.loads(run(code, *arguments, TRITON_INTERPRET="1"))


@pytest.fixture(autouse=True)
def _trial() -> Iterator[None]:
    window_means._triton_kernel.cache_clear()
    yield
    window_means._triton_kernel.cache_clear()


def test_interpreted_kernel_equals_the_compiled_loops_and_the_tensor_operations() -> None:
    found = interpret(INTERPRET)
    assert found["interpreted"] == pytest.approx(found["compiled"], rel=0, abs=TOLERANCE)
    assert found["interpreted"] == pytest.approx(found["tensors"], rel=0, abs=TOLERANCE)


@pytest.mark.slow
def test_interpreted_kernel_reproduces_published_scores(shared_reference: Path) -> None:
    rows = [row for row in read_golden(shared_reference) if row[:2] == ("wls", 8)]
    published = {row.metric: row for row in rows if row.metric in ("FMI_dct", "FMI_w")}
    scores = interpret(SCORE, shared_reference, 8, "wls")
    assert {
        name: abs(scores[name] - row.value) < row.tolerance for name, row in published.items()
    } == {"FMI_dct": True, "FMI_w": True}


def test_kernel_compiles_for_two_generations_of_gpus(tmp_path: Path) -> None:
    sizes = [int(size) for size in run(COMPILE, TRITON_CACHE_DIR=str(tmp_path)).split()]
    assert (len(sizes), min(sizes) > 0) == (2, True)


def test_tensor_operations_replace_a_kernel_that_cannot_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, window_means.LOGGER.name):
        kernels = [window_means._triton_kernel(torch.device("cpu")) for _ in range(2)]
    assert kernels == [None, None]
    assert [record.getMessage().partition(", because")[0] for record in caplog.records] == [
        "FMI_dct and FMI_w are computed by tensor operations, which takes longer"
    ]


def test_tensor_operations_replace_a_kernel_that_returns_other_values(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fusion_core.metrics.feature_mi import fmi_triton

    def wrong(maps: Tensor, noise: float) -> Tensor:
        return window_means.compare_windows(maps) + 2e-5

    monkeypatch.setattr(fmi_triton, "feature_information", wrong)
    with caplog.at_level(logging.WARNING, window_means.LOGGER.name):
        assert window_means._triton_kernel(torch.device("cpu")) is None
    assert "it returns" in caplog.text
