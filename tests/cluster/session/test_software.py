"""The comparison of the software of driver and workers."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.environment import PROJECT_ROOT

from cluster.session.software import Software, installed_software
from fusion_core.errors import RunConflictError

DRIVER = Software("1.0", "2.0", "2.60.0", "3.11.2", "/driver", {"a.py": "0", "b.py": "1"})


def copy_packages(root: Path) -> None:
    for name in ("fusion_core", "cluster", "jobs"):
        shutil.copytree(PROJECT_ROOT / name, root / name)


def test_the_code_is_the_same_in_a_checkout_and_installed(tmp_path: Path) -> None:
    copy_packages(tmp_path)
    (tmp_path / "jobs" / "public_api" / "irfuse").rename(tmp_path / "irfuse")
    (tmp_path / "jobs" / "public_api").rmdir()
    installed, checkout = installed_software(tmp_path), installed_software(PROJECT_ROOT)
    assert installed.files == checkout.files
    assert installed.code_sha256 == checkout.code_sha256
    packages = {name.partition("/")[0] for name in checkout.files}
    assert packages == {"fusion_core", "cluster", "jobs", "irfuse"}


def test_an_edited_file_is_other_code(tmp_path: Path) -> None:
    copy_packages(tmp_path)
    with (tmp_path / "fusion_core" / "choices.py").open("a") as file:
        file.write("# edited")
    checkout, edited = installed_software(PROJECT_ROOT), installed_software(tmp_path)
    assert checkout.code_sha256 != edited.code_sha256
    with pytest.raises(RunConflictError, match=r"Node n has .*: fusion_core/choices.py differs "):
        checkout.check_node("n", edited)


def test_the_same_software_elsewhere_is_accepted() -> None:
    DRIVER.check_node("n", replace(DRIVER, root="/elsewhere", python="3.11.9"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"irfuse": "1.1", "files": {}}, "Node n has irfuse 1.1, but the driver has 1.0; install"),
        ({"torch": "2.0+cpu"}, "Node n has torch 2.0+cpu, but the driver has 2.0; install"),
        ({"ray": "2.60.1"}, "Node n has Ray 2.60.1, but the driver has 2.60.0; install"),
        ({"python": "3.12.2"}, "Node n has Python 3.12, but the driver has 3.11; install"),
        ({"files": {"a.py": "0"}}, "code of irfuse than the driver: b.py differs between /driver"),
        ({"files": dict.fromkeys("abcd", "")}, r"a, a.py, b and 3 more files differ"),
    ],
)
def test_what_differs_is_named(changed: dict[str, object], message: str) -> None:
    with pytest.raises(RunConflictError) as caught:
        DRIVER.check_node("n", replace(DRIVER, **changed))
    assert message in str(caught.value)
