"""The weights that irfuse includes, as files with their cards; this does not need torch."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def list_bundled_weights() -> list[str]:
    """Return the names of all weights that irfuse includes.

    >>> "densefuse" in list_bundled_weights()
    True
    """
    files = resources.files("fusion_core").joinpath("pretrained").iterdir()
    return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))


def read_weights_card(name: str) -> dict[str, Any]:
    """Read the card of weights that irfuse includes, with their training and licence.

    >>> read_weights_card("densefuse")["licence"]
    'Apache-2.0'
    """
    card: dict[str, Any] = json.loads(read_bundled_file(f"{name}.json"))
    return card


def read_bundled_file(file_name: str) -> bytes:
    """Read a file of the weights that irfuse includes, such as `densefuse.safetensors`."""
    return resources.files("fusion_core").joinpath("pretrained", file_name).read_bytes()
