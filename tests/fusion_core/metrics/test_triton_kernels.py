"""The Triton kernels without a GPU: their values, their compilation, and what replaces them."""

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

from fusion_core.compiled import trial
from fusion_core.metrics.feature_mi import window_means
from fusion_core.metrics.phase import congruency

pytest.importorskip("triton", reason="Triton comes with the CUDA build of PyTorch alone")

DEADLINE_S = 200
FMI_TOLERANCE = 1e-6
"""As of the other codes: windows are float32."""

INTERPRET = """
import json, sys
import numpy as np
import torch
from fusion_core.compiled import dispatch
from fusion_core.metrics.feature_mi.fmi_kernels import feature_mutual_information
from fusion_core.metrics.feature_mi.fmi_triton import feature_information
from fusion_core.metrics.feature_mi import window_means
from fusion_core.metrics.feature_mi.window_means import NOISE, compare_windows
from fusion_core.metrics.phase import congruency, energy_triton, kernels

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

responses = torch.view_as_complex(torch.from_numpy(drawn.standard_normal((4, 17, 19, 2))))
responses[:, :3] = 0.0  # of flat areas
noise, weights = torch.tensor(0.5, dtype=torch.float64), (0.3, 0.2, -0.1)
before = torch.from_numpy(drawn.random((5, 17, 19)))
by_loops = before.clone()
flat = tuple(response.flatten().numpy() for response in responses)
kernels.add_orientation(flat, 0.5, *weights, by_loops.view(5, -1).numpy())
energies = {
    "interpreted": energy_triton.add_orientation(responses, noise, weights, before.clone()),
    "compiled": by_loops,
    "tensors": congruency.add_by_tensors(responses, noise, weights, before.clone()),
}
energies = {name: sums.flatten().tolist() for name, sums in energies.items()}

cpu = torch.device("cpu")  # the trials, which they pass
assert window_means._triton_kernel(cpu) is feature_information
assert congruency._triton_kernel(cpu) is energy_triton.add_orientation
print(json.dumps({"FMI": found, "Qp": energies}))
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
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from fusion_core.metrics.feature_mi import fmi_triton
from fusion_core.metrics.feature_mi.window_means import NOISE
from fusion_core.metrics.phase import energy_triton

windows = {"maps": "*fp64", "sums": "*fp64", "batch": "i32", "height": "i32", "width": "i32"}
weights = {"xx": "fp64", "yy": "fp64", "xy": "fp64"}
pixels = {"responses": "*fp64", "noise": "*fp64", **weights, "sums": "*fp64", "pixels": "i32"}
constants = energy_triton.CONSTANTS | {"BLOCK": energy_triton.BLOCK}
for kernel, types, fixed in (
    (fmi_triton.sum_information, windows, {"noise": NOISE, "BLOCK": fmi_triton.BLOCK}),
    (energy_triton.add_energy, pixels, constants),
):
    source = ASTSource(kernel, types | dict.fromkeys(fixed, "constexpr"), fixed)
    for generation in (80, 90):
        target = GPUTarget("cuda", generation, 32)
        options = {"enable_fp_fusion": True}
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


@pytest.fixture(scope="module")
def interpreted() -> Any:
    return interpret(INTERPRET)


@pytest.fixture(params=[window_means, congruency], ids=["FMI", "Qp"])
def user(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a module that tries a kernel."""
    request.param._triton_kernel.cache_clear()
    yield request.param
    request.param._triton_kernel.cache_clear()


@pytest.mark.parametrize(("kernel", "tolerance"), [("FMI", FMI_TOLERANCE), ("Qp", 1e-13)])
def test_interpreted_kernel_equals_the_compiled_loops_and_the_tensor_operations(
    interpreted: Any, kernel: str, tolerance: float
) -> None:
    found = interpreted[kernel]
    for expected in (found["compiled"], found["tensors"]):
        assert found["interpreted"] == pytest.approx(expected, rel=0, abs=tolerance)


@pytest.mark.slow
def test_interpreted_kernel_reproduces_published_scores(shared_reference: Path) -> None:
    rows = [row for row in read_golden(shared_reference) if row[:2] == ("wls", 8)]
    published = {row.metric: row for row in rows if row.metric in ("FMI_dct", "FMI_w")}
    scores = interpret(SCORE, shared_reference, 8, "wls")
    assert {
        name: abs(scores[name] - row.value) < row.tolerance for name, row in published.items()
    } == {"FMI_dct": True, "FMI_w": True}


def test_kernels_compile_for_two_generations_of_gpus(tmp_path: Path) -> None:
    sizes = [int(size) for size in run(COMPILE, TRITON_CACHE_DIR=str(tmp_path)).split()]
    assert (len(sizes), min(sizes) > 0) == (4, True)


def test_tensor_operations_replace_a_kernel_that_cannot_run(
    user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, trial.LOGGER.name):
        kernels = [user._triton_kernel(torch.device("cpu")) for _ in range(2)]
    assert (kernels, len(caplog.records)) == ([None, None], 1)
    assert "will be computed by tensor operations, which take longer" in caplog.text


def test_tensor_operations_replace_a_kernel_that_returns_other_values(
    user: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(*arguments: Any) -> Tensor:
        return torch.full((5, 12, 16) if user is congruency else (1,), 0.1)

    monkeypatch.setattr(user, "_load", lambda: wrong)
    with (
        caplog.at_level(logging.WARNING, trial.LOGGER.name),
        trial.collected_warnings() as collected,
    ):
        assert user._triton_kernel(torch.device("cpu")) is None
    assert collected == caplog.messages
    assert "its result is off by" in caplog.text
