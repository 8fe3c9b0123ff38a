import re
import sys
from pathlib import Path

import pytest
from support.extensions import AVERAGE, install_package, write_code

from fusion_core.errors import ExtensionError, InvalidValueError
from fusion_core.extensions import find_method
from fusion_core.extensions.code import Extension, pack
from fusion_core.extensions.names import parse_target

GROUP = "irfuse.methods"


def packed(text: str) -> Extension:
    return pack(parse_target(text), GROUP)


def refused(text: str) -> str:
    with pytest.raises(ExtensionError) as caught:
        packed(text).load(GROUP)
    return str(caught.value)


def test_a_file_is_identified_by_its_content_alone(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_code(tmp_path / folder, {"fuse.py": AVERAGE})
    one, other = (packed(f"{tmp_path}/{folder}/fuse.py:fuse") for folder in ("a", "b"))
    assert one.origin == other.origin
    assert one.name == "fuse.py:fuse"
    write_code(tmp_path / "b", {"fuse.py": AVERAGE + "#"})
    assert packed(f"{tmp_path}/b/fuse.py:fuse").origin != one.origin


def test_a_file_is_imported_under_a_name_of_its_own(tmp_path: Path) -> None:
    write_code(tmp_path, {"json.py": "def fuse(ir, vis):\n    return ir"})
    import json

    assert packed(f"{tmp_path}/json.py:fuse").load(GROUP)(1, 2) == 1
    assert sys.modules["json"] is json


def test_a_module_is_sent_with_its_whole_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_code(
        tmp_path,
        {
            "sentpackage/__init__.py": "",
            "sentpackage/fusion.py": "from sentpackage.parts import half\n\ndef fuse(ir, vis):\n"
            "    return half(ir + vis)\n",
            "sentpackage/parts.py": "def half(x):\n    return x / 2\n",
            "sentpackage/data.txt": "data",
            "sentpackage/__pycache__/parts.pyc": "left out",
            "sentpackage/.hidden": "left out",
        },
    )
    monkeypatch.chdir(tmp_path)
    extension = packed("sentpackage.fusion:fuse")
    names = ("__init__.py", "data.txt", "fusion.py", "parts.py")
    assert list(extension.files) == [f"sentpackage/{name}" for name in names]
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "path", sys.path[:])
    assert extension.load(GROUP, sent=True)(2, 4) == 3
    assert Path(sys.modules["sentpackage"].__file__ or "").parents[1] != tmp_path


def test_an_edited_package_has_another_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_code(tmp_path, {"editedpackage/__init__.py": "", "editedpackage/a.py": "x = 1"})
    monkeypatch.chdir(tmp_path)
    before = packed("editedpackage.a:x").origin
    write_code(tmp_path, {"editedpackage/__init__.py": "y = 1"})
    assert packed("editedpackage.a:x").origin != before


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import missing_module", "it needs the module 'missing_module', which is not installed"),
        ("raise ValueError('no licence')", r"no licence \(ValueError, m.py line 1\)"),
        ("\n\ndef f(:", r"invalid syntax .* \(SyntaxError, line 3\)"),
        ("import sys\nsys.exit(3)", r"it calls sys.exit\(3\) when it is imported"),
        ("def other(): ...", "there is no 'fuse' in it; it defines other"),
    ],
)
def test_code_that_cannot_be_loaded_is_an_error_with_its_place(
    tmp_path: Path, code: str, reason: str
) -> None:
    write_code(tmp_path, {"m.py": code})
    message = refused(f"{tmp_path}/m.py:fuse")
    assert message.startswith("Cannot load m.py:fuse: ")
    assert re.search(reason, message), message


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    assert refused(f"{tmp_path}/none.py:fuse") == f"There is no file {tmp_path}/none.py"
    assert "There is no module 'no_such_package'" in refused("no_such_package.a:fuse")


def test_a_method_of_an_installed_package_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"irfuse.methods mine": "minepackage:fuse"}
    install_package(tmp_path, "minepackage", points, {"minepackage.py": AVERAGE}, "1.5")
    monkeypatch.syspath_prepend(tmp_path)
    found = find_method("mine")
    assert found.spec.title == "Weighted mean of the sources"
    assert found.extension is not None
    assert not found.extension.files
    origin = found.extension.origin
    assert (origin.kind, origin.distribution, origin.version) == (
        "entry_point",
        "minepackage",
        "1.5",
    )
    with pytest.raises(InvalidValueError, match="did you mean mine"):
        find_method("Mine")
    write_code(tmp_path, {"minepackage.py": AVERAGE + "#"})
    with pytest.raises(ExtensionError, match=r"^The package minepackage 1.5 has other code"):
        found.extension.load(GROUP, sent=True)


def test_a_method_of_irfuse_wins_over_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"irfuse.methods average": "averagepackage:fuse"}
    install_package(tmp_path, "averagepackage", points, {"averagepackage.py": AVERAGE})
    monkeypatch.syspath_prepend(tmp_path)
    assert find_method("average").extension is None


def test_two_packages_with_one_name_are_both_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onepackage", "otherpackage"):
        points = {"irfuse.methods twice": f"{package}:fuse"}
        install_package(tmp_path / package, package, points, {f"{package}.py": AVERAGE})
        monkeypatch.syspath_prepend(tmp_path / package)
    with pytest.raises(ExtensionError, match="otherpackage 1 and onepackage 1 both have 'twice'"):
        find_method("twice")


@pytest.mark.parametrize(
    ("code", "got"),
    [
        ("fuse = 3", "but got 'int'"),
        ("def fuse(a, b): ...", r"but got a function of \(a, b\)"),
        ("def fuse(ir, vis, third): ...", r"but got a function of \(ir, vis, third\)"),
    ],
)
def test_what_is_no_method_is_refused_with_its_arguments(
    tmp_path: Path, code: str, got: str
) -> None:
    write_code(tmp_path, {"m.py": code})
    with pytest.raises(ExtensionError, match=got):
        find_method(f"{tmp_path}/m.py:fuse")
