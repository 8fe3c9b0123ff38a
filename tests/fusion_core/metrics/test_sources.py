"""Several fused images of one pair, whose sources are analysed once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fusion_core.compiled import dispatch
from fusion_core.errors import InvalidValueError
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.metrics import METRICS, ScoredBatch, Sources, score_batch, select_channels
from fusion_core.metrics.scoring import score_fused_images, score_images

Pixels = NDArray[np.uint8]
SIZE = (162, 163)
NAMES = [name for name, metric in METRICS.items() if not metric.needs_reference]


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def fused_images(ir: Pixels, vis: Pixels) -> list[Pixels]:
    mean = (ir.astype(int) + vis) // 2
    return [mean.astype(np.uint8), np.maximum(ir, vis), 255 - ir, np.full_like(ir, 9)]


@pytest.fixture(params=["kernels", "tensors"])
def _code(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "tensors":
        monkeypatch.setattr(dispatch, "use_kernels", lambda images: False)


@pytest.mark.usefixtures("_code")
def test_fused_images_that_share_a_pair_score_as_each_with_sources_of_its_own() -> None:
    ir, vis = synthetic_pair(*SIZE, seed=1, colour=False)
    fused = fused_images(ir, vis)
    single = [score_batch(ScoredBatch(Sources(ir, vis), image), NAMES) for image in fused]
    stack = torch.from_numpy(np.stack(fused)).unsqueeze(1)
    together = score_batch(ScoredBatch(Sources(ir, vis), stack), NAMES)
    torch.testing.assert_close(
        together, torch.cat(single, dim=1), rtol=1e-9, atol=1e-13, equal_nan=True
    )


@pytest.mark.usefixtures("_code")
def test_metrics_leave_what_is_kept_of_the_sources_as_it_is() -> None:
    ir, vis = synthetic_pair(*SIZE, seed=2, colour=False)
    kept, fused = Sources(ir, vis), fused_images(ir, vis)
    found = [score_batch(ScoredBatch(kept, image), NAMES) for image in (*fused, fused[0])]
    fresh = score_batch(ScoredBatch(Sources(ir, vis), fused[0]), NAMES)
    torch.testing.assert_close(found[-1], fresh, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(found[0], fresh, rtol=0, atol=0, equal_nan=True)


def test_what_metrics_need_of_the_sources_alone_is_computed_once() -> None:
    calls: list[Sources] = []

    def mean(sources: Sources) -> float:
        calls.append(sources)
        return sources.unit.mean().item()

    kept = Sources(noise(1, 4, 5), noise(2, 4, 5))
    batches = [ScoredBatch(kept, noise(seed, 4, 5)) for seed in (3, 4)]
    assert len({batch.sources.cached(mean) for batch in batches}) == 1
    assert calls == [kept]


def test_a_batch_of_pairs_takes_as_many_fused_images() -> None:
    pairs = torch.zeros(2, 1, 4, 5, dtype=torch.uint8)
    with pytest.raises(InvalidValueError, match=r"of one shape, but got .*\(3, 1, 4, 5\)"):
        ScoredBatch(Sources(pairs, pairs), torch.zeros(3, 1, 4, 5, dtype=torch.uint8))


def test_fused_images_have_the_size_of_the_pair_that_they_share() -> None:
    with pytest.raises(InvalidValueError, match="of one shape"):
        ScoredBatch(Sources(noise(1, 4, 5), noise(2, 4, 5)), noise(3, 5, 4))


@pytest.mark.parametrize("colour", ["luma", "per_channel", "as_toolkit"])
def test_scores_of_fused_images_of_one_pair_are_those_of_the_pair_with_each(colour: str) -> None:
    ir, vis = noise(1, 12, 17), noise(2, 12, 17, 3)
    fused = [noise(3, 12, 17, 3), noise(4, 12, 17), noise(5, 12, 17, 3)]
    names = list(
        dict.fromkeys(["EN", "MI", "FMI_dct", "Qcb", *select_channels(["vifb"], "as_toolkit")])
    )
    channels = select_channels(["vifb"], colour)  # type: ignore[arg-type]
    found = score_fused_images(ir, vis, fused, names, channels=channels)
    expected = [score_images([ir], [vis], [image], names, channels=channels)[0] for image in fused]
    assert [scores.notes for scores in found] == [scores.notes for scores in expected]
    for scores, single in zip(found, expected, strict=True):
        assert scores.values == pytest.approx(single.values, rel=1e-12)


def test_fused_images_of_another_size_than_their_pair_are_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"one size, but got sizes \[\(4, 5\), \(5, 4\)\]"):
        score_fused_images(noise(1, 4, 5), noise(2, 4, 5), [noise(3, 5, 4)], ["EN"])
