"""How the weights of ImageNet networks are named, found, and downloaded."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from support.environment import without_home
from support.weight_files import MakesFolder, torch_file
from support.weight_server import (
    Answer,
    WeightServer,
    hung_up,
    not_http,
    publish,
    refused,
    silent,
    stalled,
    truncated,
    truncated_in_a_chunk,
    weight_server,
    whole,
)

from fusion_core.errors import WeightsError
from fusion_core.methods import METHODS, find_weights
from fusion_core.networks.imagenet import imagenet_variant, read_imagenet_weights
from fusion_core.networks.imagenet_files import DEFAULT_VARIANT, IMAGENET_FILES
from fusion_core.networks.layers import BackboneName
from fusion_core.networks.weights import Weights

CONTENT = torch_file({"conv1.weight": torch.arange(2048.0)})
FILE_NAME = f"resnet50-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


def read(notify: Callable[[str], None] = lambda message: None) -> Weights:
    return read_imagenet_weights("resnet50", "IMAGENET1K_V1", notify, timeout_s=1.0)


def refusal() -> str:
    """Return why the weights cannot be had, after checking that it is one clean line."""
    with pytest.raises(WeightsError) as caught:
        read()
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Torch's folder of this test, which does not exist yet."""
    folder = tmp_path / "torch"
    monkeypatch.setenv("TORCH_HOME", str(folder))
    return folder


@pytest.fixture
def place(home: Path) -> Path:
    """Where the published weights belong."""
    return home / "hub" / "checkpoints" / FILE_NAME


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nobody answers, published as that of the weights."""
    with weight_server(hung_up) as server:
        url = server.url(FILE_NAME)
    publish(monkeypatch, url)
    return url


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightServer]:
    """A server of the published weights."""
    with weight_server(whole(CONTENT)) as running:
        publish(monkeypatch, running.url(FILE_NAME))
        yield running


# What a user means


@pytest.mark.parametrize("backbone", get_args(BackboneName))
def test_the_known_files_are_those_of_torchvision(backbone: BackboneName) -> None:
    published = torchvision.models.get_model_weights(backbone)
    known = [file for file in IMAGENET_FILES if file.backbone == backbone]
    assert [(str(w), w.url, round(w.meta["_file_size"])) for w in published] == [
        (file.name, file.url, file.megabytes) for file in known
    ]
    assert published.DEFAULT.url == known[-1].url


@pytest.mark.parametrize("variables", [{"TORCH_HOME": "/a"}, {"XDG_CACHE_HOME": "/b"}, {}], ids=str)
def test_the_folder_of_downloads_is_known_without_torch(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, folder in variables.items():
        monkeypatch.setenv(name, folder)
    expected = Path(torch.hub.get_dir(), "checkpoints", "vgg19-dcbb9e9d.pth")
    monkeypatch.delitem(sys.modules, "torch.hub")
    assert IMAGENET_FILES[0].path == expected


def test_a_folder_that_was_set_in_torch_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    assert IMAGENET_FILES[0].path == tmp_path / "checkpoints" / "vgg19-dcbb9e9d.pth"


@pytest.mark.parametrize("backbone", get_args(BackboneName))
def test_the_first_training_is_the_default(backbone: BackboneName) -> None:
    assert imagenet_variant(backbone, None) == DEFAULT_VARIANT == "IMAGENET1K_V1"


@pytest.mark.parametrize(
    ("source", "variant"),
    [
        ("IMAGENET1K_V1", "IMAGENET1K_V1"),
        ("IMAGENET1K_V2", "IMAGENET1K_V2"),
        ("ResNet50_Weights.IMAGENET1K_V2", "IMAGENET1K_V2"),
        ("DEFAULT", "IMAGENET1K_V2"),
        ("ResNet50_Weights.DEFAULT", "IMAGENET1K_V2"),
    ],
)
def test_a_training_is_named_as_torchvision_names_it(source: str, variant: str) -> None:
    assert imagenet_variant("resnet50", source) == variant


@pytest.mark.parametrize(
    "source",
    [
        "IMAGENET1K_V3",
        "ResNet50_Weights.IMAGENET1K_V3",
        "ResNet101_Weights.IMAGENET1K_V1",
        "VGG19_Weights.IMAGENET1K_V1",
        "IMAGENET1K_FEATURES",
    ],
)
def test_a_name_that_the_network_has_not_is_refused_with_those_it_has(source: str) -> None:
    with pytest.raises(WeightsError) as caught:
        imagenet_variant("resnet50", source)
    assert str(caught.value) == (
        f"torchvision has no weights {source} for resnet50, but: IMAGENET1K_V1, IMAGENET1K_V2"
    )


@pytest.mark.parametrize(
    "source",
    [
        "resnet50.pth",
        "weights/IMAGENET1K_V1.safetensors",
        "./IMAGENET1K_V1",
        "s3://bucket/DEFAULT",
    ],
)
def test_anything_else_is_a_file(source: str) -> None:
    assert imagenet_variant("resnet50", source) is None


@pytest.mark.parametrize(
    ("backbone", "file_name"),
    [
        ("vgg19", "vgg19-dcbb9e9d.pth"),
        ("resnet50", "resnet50-0676ba61.pth"),
        ("resnet101", "resnet101-63fe2227.pth"),
        ("resnet152", "resnet152-394f9c45.pth"),
    ],
)
def test_torchvisions_own_file_is_expected_at_torchvisions_own_place(
    backbone: BackboneName, file_name: str, home: Path
) -> None:
    path = home / "hub" / "checkpoints" / file_name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"junk")
    with pytest.raises(WeightsError) as caught:
        read_imagenet_weights(backbone, "IMAGENET1K_V1")
    assert str(caught.value).startswith(f"{path} is damaged or was changed")
    assert f"https://download.pytorch.org/models/{file_name}" in str(caught.value)


# On this machine already


def test_a_file_at_its_place_is_read_without_asking_anyone(nowhere: str, place: Path) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    weights = read(lambda message: pytest.fail(message))
    assert weights.data == CONTENT
    assert (weights.source, weights.trained) == ("ResNet50_Weights.IMAGENET1K_V1", True)
    assert weights.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_the_place_follows_torchs_own_setting(
    nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "set"))  # torch.hub.set_dir, undone
    path = tmp_path / "set" / "checkpoints" / FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert read().data == CONTENT


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"\0"], ids=len)
def test_a_file_with_another_digest_is_told_apart_and_left_alone(
    nowhere: str, place: Path, content: bytes
) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    found, published = hashlib.sha256(content).hexdigest()[:8], FILE_NAME[9:17]
    assert refusal() == (
        f"{place} is damaged or was changed: its SHA-256 begins with {found}, not with "
        f"{published}; delete it, and it is downloaded again from {nowhere}"
    )
    assert place.read_bytes() == content


@pytest.mark.parametrize("pack", [pickle.dumps, torch_file], ids=["pickle", "torch"])
def test_code_in_a_file_that_was_changed_is_not_executed(
    nowhere: str, place: Path, tmp_path: Path, pack: Callable[[Any], bytes]
) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(pack({"conv1.weight": MakesFolder(tmp_path / "executed")}))
    assert "is damaged or was changed" in refusal()
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("pack", [pickle.dumps, torch_file], ids=["pickle", "torch"])
def test_code_in_a_file_with_the_right_digest_is_not_executed_either(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pack: Callable[[Any], bytes],
) -> None:
    content = pack({"conv1.weight": MakesFolder(tmp_path / "executed")})
    name = f"resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    publish(monkeypatch, f"http://127.0.0.1:1/{name}")
    (home / "hub" / "checkpoints").mkdir(parents=True)
    (home / "hub" / "checkpoints" / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"ResNet50_Weights\.IMAGENET1K_V1 is not a weight file"):
        find_weights("resnet_zca", METHODS["resnet_zca"].parameters(), None, {}.__getitem__)
    assert not (tmp_path / "executed").exists()


def test_a_folder_in_place_of_the_file_is_told(nowhere: str, place: Path) -> None:
    place.mkdir(parents=True)
    assert refusal() == (
        f"Cannot read ResNet50_Weights.IMAGENET1K_V1 at {place}: it is a folder, not a file"
    )


def test_a_fifo_in_place_of_the_file_is_not_opened(nowhere: str, place: Path) -> None:
    place.parent.mkdir(parents=True)
    os.mkfifo(place)
    assert refusal().startswith(
        f"Cannot read ResNet50_Weights.IMAGENET1K_V1 at {place}: it is a FIFO"
    )


def test_a_place_that_cannot_be_looked_at_is_told(
    nowhere: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(home / ("long" * 100)))
    message = refusal()
    assert "File name too long" in message
    assert FILE_NAME in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_place_that_may_not_be_looked_at_is_told(nowhere: str, place: Path) -> None:
    place.parent.mkdir(parents=True)
    place.parent.chmod(0)
    message = refusal()
    assert "Permission denied" in message
    assert str(place) in message


# The download


def test_missing_weights_are_downloaded_to_their_place(server: WeightServer, place: Path) -> None:
    assert read().data == CONTENT
    assert place.read_bytes() == CONTENT
    assert server.requests == [f"/models/{FILE_NAME}"]


def test_weights_are_downloaded_once(server: WeightServer) -> None:
    assert read() == read()
    assert len(server.requests) == 1


def test_a_download_is_told_before_it_begins(server: WeightServer, place: Path) -> None:
    told: list[tuple[str, int]] = []
    read(lambda message: told.append((message, len(server.requests))))
    sentence = f"Downloading ResNet50_Weights.IMAGENET1K_V1 from {server.url(FILE_NAME)} to {place}"
    assert told == [(sentence, 0)]


def test_a_damaged_file_that_was_deleted_is_downloaded_again(
    server: WeightServer, place: Path
) -> None:
    read()
    place.write_bytes(b"damaged")
    refusal()
    place.unlink()
    assert read().data == CONTENT
    assert len(server.requests) == 2


def test_without_network_the_error_names_weights_address_place_and_ways_out(
    nowhere: str, place: Path
) -> None:
    message = refusal()
    assert message.startswith("ResNet50_Weights.IMAGENET1K_V1 is not on this machine")
    assert "Connection refused" in message
    assert message.endswith(
        f": fetch {nowhere} elsewhere and put it at {place}, or give the file with --weights "
        "FILE, or --weights random:0 for an untrained dry run"
    )


def test_a_file_that_was_put_where_the_error_says_is_taken(nowhere: str) -> None:
    found = re.search(r"put it at (.+), or give", refusal())
    assert found is not None
    Path(found[1]).write_bytes(CONTENT)
    assert read().data == CONTENT


WRONG = CONTENT[:-1] + b"\1"
BAD_ANSWERS: dict[str, tuple[Answer, str]] = {
    "not found": (refused(404), "the server responded 404 Not Found"),
    "server error": (refused(503), "the server responded 503 Service Unavailable"),
    "another file": (whole(WRONG), "truncated, or not what torchvision published"),
    "nothing": (whole(b""), "truncated, or not what torchvision published"),
    "web page": (whole(b"<html>Log in</html>"), "not what torchvision published"),
    "truncated": (truncated(CONTENT), ""),
    "truncated in a chunk": (truncated_in_a_chunk(CONTENT), ""),
    "connection closed": (hung_up, ""),
    "not HTTP": (not_http, ""),
    "silent": (silent, "the server did not respond for 1 s"),
    "silent from the middle on": (stalled(CONTENT), "the server did not respond for 1 s"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_is_told_with_its_reason_and_leaves_nothing(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, reason = BAD_ANSWERS[name]
    with weight_server(answer) as server:
        publish(monkeypatch, server.url(FILE_NAME))
        message = refusal()
        assert len(server.requests) == 1
    assert message.startswith("ResNet50_Weights.IMAGENET1K_V1 is not on this machine and cannot")
    assert reason in message
    assert f"fetch {server.url(FILE_NAME)} elsewhere and put it at {place}, or" in message
    assert list(place.parent.iterdir()) == []


def test_a_failed_download_leaves_other_connections_their_own_patience(nowhere: str) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(77.0)
    try:
        refusal()
        assert socket.getdefaulttimeout() == 77.0
    finally:
        socket.setdefaulttimeout(before)


def test_a_file_in_the_way_of_the_folder_is_told(nowhere: str, home: Path, place: Path) -> None:
    home.mkdir()
    (home / "hub").write_bytes(b"")
    message = refusal()
    assert re.search(r"Cannot read .*: Not a directory$", message)
    assert str(place) in message


def test_without_a_home_the_remedy_is_told_and_no_folder_is_made(
    server: WeightServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    without_home(monkeypatch)
    monkeypatch.chdir(tmp_path)
    message = refusal()
    assert "the home of this user is not known; TORCH_HOME sets another" in message
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_told(server: WeightServer, home: Path) -> None:
    home.mkdir()
    home.chmod(0o500)
    assert "cannot be downloaded (Permission denied)" in refusal()
    assert server.requests == []
