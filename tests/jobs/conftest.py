"""Fixtures of the tests of runs: collections, and undisturbed runs."""

from pathlib import Path

import pytest
from support.collections import PAIRS, SMALL, FinishedRun, run_options, write_pairs

import irfuse


@pytest.fixture(scope="session")
def small(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A few pairs and their rows, for tests that only read them."""
    folder = tmp_path_factory.mktemp("small")
    write_pairs(folder / "in", SMALL)
    result = irfuse.run(run_options(folder / "in", folder / "out", address=ray_address))
    assert (result.rows, result.failed, result.computed) == (SMALL, 0, SMALL)
    return FinishedRun(folder / "in", folder / "out")


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs large enough that something can happen to a run of them."""
    folder = tmp_path_factory.mktemp("collection")
    write_pairs(folder, PAIRS, scale=3)
    return folder


@pytest.fixture(scope="session")
def undisturbed(
    collection: Path, ray_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run of the collection."""
    out = tmp_path_factory.mktemp("undisturbed")
    result = irfuse.run(run_options(collection, out, address=ray_address))
    assert (result.rows, result.failed, result.computed) == (PAIRS, 0, PAIRS)
    return out
