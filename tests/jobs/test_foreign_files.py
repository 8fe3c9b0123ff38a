"""Messages about files that are not what they should be repeat nothing of their content."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_core.errors import IrfuseError
from fusion_core.methods import DenseFuseNetwork
from fusion_core.networks.state_dicts import load_weights
from fusion_core.networks.weights import Weights
from jobs.options import PairsOptions, ReconstructOptions, StatusOptions, SummarizeOptions
from jobs.pairs import pairs
from jobs.reconstruct import reconstruct
from jobs.status import status
from jobs.summarize import summarize

SECRET = b"S3CR3T"
CONTENTS = {
    "text": SECRET * 50,
    "binary": b"\x01\x02" + SECRET * 200,
    "half a JSON object": b'{"' + SECRET + b'": ' + SECRET,
    "JSON of another kind": b'{"a": "' + SECRET + b'"}',
    "a list": b'["' + SECRET + b'"]',
    "pickle": b"\x80\x02c" + SECRET + b"\nname\n.",
    "archive": b"PK\x03\x04" + SECRET * 30,
    "Parquet": b"PAR1" + SECRET * 30 + b"PAR1",
    "safetensors": struct.pack("<Q", 40) + b'{"' + SECRET + b'":{"dtype":"F32","shape":[1],"da',
    "CSV with a short row": b"ir_uri,vis_uri\n" + SECRET + b"\n",
    "CSV with a long row": b"ir_uri,vis_uri\n" + b",".join([SECRET] * 4) + b"\n",
    "CSV with an open quote": b'ir_uri,vis_uri\n"' + SECRET,
    "CSV with odd columns": b",".join([SECRET + b"\x01"] * 2) + b"\na,b\n",
    "CSV that is not UTF-8": b"ir_uri,vis_uri\n\xff" + SECRET + b",b\n",
}
contents = pytest.mark.parametrize("content", CONTENTS.values(), ids=list(CONTENTS))


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(IrfuseError) as caught:
        call()
    message = str(caught.value)
    assert "3CR3" not in message
    assert not any(mark in message for mark in ("\\x", "b'", 'b"'))
    return message


@contents
@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_manifest_is_refused_without_its_content(
    tmp_path: Path, content: bytes, name: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert name in refused(lambda: pairs(PairsOptions(source=str(tmp_path / name))))


@contents
@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_weights_are_refused_without_their_content(content: bytes, name: str) -> None:
    assert name in refused(
        lambda: load_weights(DenseFuseNetwork(), Weights.from_file(content, name))
    )


@contents
def test_a_run_is_refused_without_its_content(tmp_path: Path, content: bytes) -> None:
    for key in ("run.json", "manifest.parquet", "summary.json", "shards/shard-000000.parquet"):
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(content)
    assert "run.json" in refused(lambda: status(StatusOptions(out=str(tmp_path))))
    assert "run.json" in refused(lambda: summarize(SummarizeOptions(outs=(str(tmp_path),))))


@contents
def test_another_table_is_refused_without_its_content(tmp_path: Path, content: bytes) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(content)
    output = tmp_path / "rows.parquet"
    output.write_bytes(content)
    options = ReconstructOptions(
        method="densefuse", images=str(images), output=str(output), weights="random:0"
    )
    assert "rows.parquet" in refused(lambda: reconstruct(options))
