"""Methods that are model files: ONNX, torch.export and TorchScript."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.models import (
    MINMAX_CARD,
    ExportedDenseFuse,
    Mean,
    StackedMean,
    export_onnx,
    export_onnx_by_default,
    export_pt2,
    export_torchscript,
)

import irfuse
from fusion_core.errors import ExtensionError
from fusion_core.extensions.checks import METHOD_CHECKS
from fusion_core.extensions.finding import describe_method, find_method, pack_method
from fusion_core.extensions.method_subject import MethodSubject
from fusion_core.extensions.model_card import match_inputs
from fusion_core.extensions.models import ModelBuild
from fusion_core.extensions.names import parse_target
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.methods.densefuse import DenseFuseNetwork
from fusion_core.networks.state_dicts import load_weights
from fusion_core.networks.weights import read_bundled_weights

IR, VIS = synthetic_pair(45, 62, seed=0, colour=False)
EXPORTS = {"m.onnx": export_onnx, "m.pt2": export_pt2, "m.pt": export_torchscript}
exports = pytest.mark.parametrize("name", EXPORTS)
PAIRS = range(1, 22)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fuse(path: Path, ir: NDArray[np.uint8] = IR, vis: NDArray[np.uint8] = VIS) -> NDArray[np.uint8]:
    trust = None if path.suffix == ".onnx" else digest(path)[:8]
    return irfuse.fuse(ir, vis, method=str(path), trust_code=trust)


def expected_mean() -> NDArray[np.uint8]:
    return np.floor((IR * 2.0 + VIS) / 3 + 0.5).astype(np.uint8)


@exports
@pytest.mark.parametrize("module", [Mean(), StackedMean()], ids=["two inputs", "stacked"])
def test_a_model_of_either_kind_of_inputs_is_a_method(
    tmp_path: Path, name: str, module: Mean | StackedMean
) -> None:
    path = EXPORTS[name](module, tmp_path / name)
    difference = fuse(path).astype(int) - expected_mean()
    assert np.abs(difference).max() <= 1
    assert np.abs(difference).mean() < 0.01


@pytest.fixture(scope="module")
def exported_densefuse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights that irfuse includes, as models."""
    folder = tmp_path_factory.mktemp("densefuse")
    network = DenseFuseNetwork()
    load_weights(network, read_bundled_weights("densefuse"))
    network.requires_grad_(False)
    for name, export in EXPORTS.items():
        export(ExportedDenseFuse(network), folder / name)
    (folder / "m.toml").write_text(MINMAX_CARD)
    return folder


@exports
def test_exported_densefuse_is_the_method_of_irfuse(exported_densefuse: Path, name: str) -> None:
    difference = fuse(exported_densefuse / name).astype(int) - irfuse.fuse(IR, VIS)
    assert np.abs(difference).mean() <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["m.onnx", "m.pt2"])
def test_exported_densefuse_is_the_method_of_irfuse_on_all_published_pairs(
    exported_densefuse: Path, name: str, shared_reference: Path
) -> None:
    for pair in PAIRS:
        ir, vis = (
            np.asarray(Image.open(shared_reference / "tno" / f"{kind}{pair}.png").convert("L"))
            for kind in ("IR", "VIS")
        )
        found = fuse(exported_densefuse / name, ir, vis)
        expected = irfuse.fuse(ir, vis, convolution="direct")
        assert np.abs(found.astype(int) - expected).mean() <= 0.01
        scores, others = irfuse.score(ir, vis, found), irfuse.score(ir, vis, expected)
        for metric, value in scores.items():
            assert value == pytest.approx(others[metric], abs=1e-4), (pair, metric)


@exports
def test_a_side_file_states_ranges_title_and_paper(tmp_path: Path, name: str) -> None:
    path = EXPORTS[name](Mean(), tmp_path / name)
    (tmp_path / "m.toml").write_text(
        'title = "SeAFusion"\npaper = "Tang et al. 2022"\nlicense = "MIT"\n'
        "input_range = [0, 1]\noutput_range = [0, 2]\npad_multiple = 16\n"
    )
    stated = digest(tmp_path / "m.toml")
    trust = digest(path) if name != "m.onnx" else None
    found = find_method(str(path), trust)
    assert (found.spec.title, found.spec.paper and found.spec.paper.year) == ("SeAFusion", 2022)
    assert np.abs(fuse(path).astype(int) - expected_mean() / 2).max() <= 1
    (tmp_path / "m.toml").write_text("input_range = [0, 1]\n")
    assert np.abs(fuse(path).astype(int) - expected_mean()).max() <= 1
    assert found.extension is not None
    assert found.extension.origin.side_file_sha256 == stated


def test_a_model_of_one_size_is_computed_in_tiles(tmp_path: Path) -> None:
    path = export_onnx(Mean(), tmp_path / "m.onnx", dynamic=False, batch=1)
    assert np.abs(fuse(path).astype(int) - expected_mean()).max() <= 1
    path = export_onnx(Mean(), tmp_path / "m.onnx", dynamic=False, batch=3)
    with pytest.raises(ExtensionError, match="takes 3 pairs at once"):
        fuse(path)


def test_what_is_guessed_of_a_model_is_said(tmp_path: Path) -> None:
    path = export_onnx(Mean(), tmp_path / "m.onnx", input_names=["rgb", "thermal"])
    spec = find_method(str(path)).spec
    build = spec.build.build  # type: ignore[attr-defined]
    assert isinstance(build, ModelBuild)
    assert build.guessed == ("the range of the values (0..1)", "ir = thermal, vis = rgb")
    swapped = np.floor((VIS * 2.0 + IR) / 3 + 0.5)
    assert np.abs(fuse(path) - swapped).max() <= 1


@pytest.mark.parametrize(
    ("names", "infrared"),
    [
        (("ir", "vis"), 0),
        (("vis", "ir"), 1),
        (("a", "b"), 0),
        (("y_vi", "x"), 1),
        (("x", "inf"), 1),
    ],
)
def test_inputs_are_told_apart_by_their_names(names: tuple[str, str], infrared: int) -> None:
    assert match_inputs(names)["ir"] == names[infrared]


def test_the_metadata_of_an_onnx_file_may_state_the_same(tmp_path: Path) -> None:
    path = export_onnx(Mean(), tmp_path / "m.onnx")
    model = onnx.load(str(path))
    for key, value in {"irfuse.title": '"Inside"', "irfuse.input_range": "[0, 255]"}.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
    found = find_method(str(path))
    assert found.spec.title == "Inside"
    assert found.extension is not None
    details = found.extension.origin.details
    assert details["producer"].startswith("pytorch")
    assert details["operators"].startswith("ai.onnx ")


def test_weights_of_the_same_folder_are_part_of_the_model(tmp_path: Path) -> None:
    network = DenseFuseNetwork().requires_grad_(False)
    path = export_onnx(ExportedDenseFuse(network), tmp_path / "whole.onnx")
    whole = fuse(path)
    save_external(path, tmp_path / "m.onnx", "m.onnx.data")
    assert np.array_equal(fuse(tmp_path / "m.onnx"), whole)
    before = find_method(str(tmp_path / "m.onnx"))
    data = bytearray((tmp_path / "m.onnx.data").read_bytes())
    data[0] ^= 1
    (tmp_path / "m.onnx.data").write_bytes(data)
    assert find_method(str(tmp_path / "m.onnx")) != before
    assert before.extension is not None
    assert set(before.extension.files) == {"m.onnx", "m.onnx.data"}


@pytest.mark.slow
def test_a_model_that_is_exported_with_the_defaults_of_pytorch_is_a_method(tmp_path: Path) -> None:
    network = DenseFuseNetwork().requires_grad_(False)
    path = export_onnx_by_default(ExportedDenseFuse(network), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx.data").exists()
    other = export_onnx(ExportedDenseFuse(network), tmp_path / "other.onnx")
    assert np.abs(fuse(path).astype(int) - fuse(other)).max() <= 1


def save_external(source: Path, path: Path, location: str) -> None:
    onnx.save(
        onnx.load(str(source)), str(path), save_as_external_data=True, location=location,
        size_threshold=1024,
    )  # fmt: skip


def test_weights_of_another_folder_are_refused(tmp_path: Path) -> None:
    network = DenseFuseNetwork().requires_grad_(False)
    path = export_onnx(ExportedDenseFuse(network), tmp_path / "m.onnx")
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExtensionError, match="is not a file of the same folder"):
        find_method(str(path))


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("pad = 3", "m.toml: pad: Extra inputs are not permitted"),
        ("channels = 2", "m.toml: channels: Input should be 1 or 3"),
        ("title", "m.toml is not TOML"),
        ('inputs = { ir = "a", vis = "b" }', "has no input 'a'; it has ir, vis"),
        ('output = "x"', "has no output 'x'; it has fused"),
    ],
)
def test_a_wrong_side_file_is_an_error(tmp_path: Path, card: str, message: str) -> None:
    path = export_onnx(Mean(), tmp_path / "m.onnx")
    (tmp_path / "m.toml").write_text(card)
    with pytest.raises(ExtensionError, match=message):
        find_method(str(path))


def test_a_damaged_onnx_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ExtensionError, match="not an ONNX model"):
        find_method(str(tmp_path / "m.onnx"))


class Explosive:
    """What executes code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('exploded')",))


@pytest.mark.parametrize("name", ["m.pt2", "m.pt"])
def test_a_file_that_executes_code_is_refused_before_it_is_parsed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps(Explosive()))
    for loader in ("torch.export.load", "torch.jit.load", "torch.load", "zipfile.ZipFile"):
        monkeypatch.setattr(loader, lambda *_, **__: pytest.fail("it was parsed"))
    sha256 = digest(path)
    with pytest.raises(ExtensionError, match=f"executes code .* --trust-code {sha256[:12]} "):
        find_method(str(path))
    with pytest.raises(ExtensionError, match="is the digest of another file"):
        find_method(str(path), "0123456789")
    with pytest.raises(ExtensionError, match="at least 8 digits"):
        find_method(str(path), sha256[:7])
    assert find_method(str(path), sha256[:8].upper()).extension is not None


def test_the_check_of_a_model_says_what_is_missing_in_its_side_file(tmp_path: Path) -> None:
    path = export_onnx(Mean(), tmp_path / "m.onnx")
    spec = describe_method(pack_method(parse_target(str(path))))
    outcome = METHOD_CHECKS["model"](MethodSubject(spec, spec.parameters()))
    assert outcome.status == "warning"
    assert "the range of the values (0..1)" in outcome.hint
    assert "m.toml" in outcome.hint
