"""ImageNet weights of torchvision, which are downloaded once."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import torch

from fusion_core.errors import WeightsError
from fusion_core.networks.backbones import BackboneName
from fusion_core.networks.weights import Weights

DEFAULT_VARIANT = "IMAGENET1K_V1"
"""Torchvision's first weights, whose training is closest to that of the papers'."""

_VARIANT = re.compile(
    r"(?:(?P<enum>[A-Za-z0-9]+_Weights)\.)?(?P<name>IMAGENET[A-Z0-9_]+|DEFAULT)", re.IGNORECASE
)
_DIGEST = re.compile(r"-([0-9a-f]{8,})\.pth$")


def imagenet_variant(backbone: BackboneName, source: str | None) -> str | None:
    """Return the name of torchvision's weights, or None if the source is a file.

    Args:
        backbone: The network.
        source: None, a name such as `IMAGENET1K_V2` or `ResNet50_Weights.IMAGENET1K_V2`, or a file.

    Raises:
        WeightsError: The name is not one of this network's.
    """
    if source is None:
        return DEFAULT_VARIANT
    match = _VARIANT.fullmatch(source)
    if match is None:
        return None
    known = _enum(backbone)
    name = match["name"].upper()
    if name not in known.__members__ or match["enum"] not in (None, known.__name__):
        others = ", ".join(name for name in known.__members__ if name != "DEFAULT")
        raise WeightsError(f"torchvision has no weights {source} for {backbone}, but: {others}")
    return str(known[name].name)


def read_imagenet_weights(
    backbone: BackboneName,
    variant: str,
    notify: Callable[[str], None] = lambda message: None,
    *,
    timeout_s: float = 30.0,
) -> Weights:
    """Read weights from torchvision's cache, and download them first if necessary.

    Args:
        backbone: The network.
        variant: Name of the weights, such as `IMAGENET1K_V1`.
        notify: Called with a message before a download starts.
        timeout_s: Longest time in seconds without a response of the server.

    Raises:
        WeightsError: The weights are missing and cannot be downloaded, or differ from those that
            torchvision published.
    """
    member = _enum(backbone)[variant]
    name = f"{type(member).__name__}.{member.name}"
    file_name = member.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    published = _DIGEST.search(file_name)
    prefix = published[1] if published else ""
    data = _read(path, name)
    if data is None:
        notify(f"Downloading {name} from {member.url} to {path}")
        _download(member.url, path, prefix, name, timeout_s)
        data = _read(path, name) or b""
    found = hashlib.sha256(data).hexdigest()
    if not found.startswith(prefix):
        raise WeightsError(
            f"{path} is damaged or was changed: its SHA-256 begins with {found[: len(prefix)]}, "
            f"not with {prefix}; delete it, and it is downloaded again from {member.url}"
        )
    return Weights.from_file(data, name)


def _enum(backbone: BackboneName) -> Any:  # noqa: ANN401
    from torchvision.models import get_model_weights  # type: ignore[import-untyped]

    return get_model_weights(backbone)


def _read(path: Path, name: str) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WeightsError(f"Cannot read {name} at {path}: {error.strerror}") from None


def _download(url: str, path: Path, prefix: str, name: str, timeout_s: float) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(timeout_s):
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
    except HTTPError as error:
        reason = f"the server responded {error.code} {error.reason}".splitlines()[0]
    except URLError as error:
        reason = getattr(error.reason, "strerror", None) or str(error.reason)
    except TimeoutError:
        reason = f"the server did not respond for {timeout_s:.0f} s"
    except (RuntimeError, HTTPException, ValueError):
        reason = "the download is truncated, or not what torchvision published"
    except ConnectionError:
        reason = "the server closed the connection"
    except OSError as error:
        reason = f"{path.parent}: {error.strerror or type(error).__name__}"
    else:
        return
    raise WeightsError(
        f"{name} is not on this machine and cannot be downloaded ({reason}): fetch {url} elsewhere "
        f"and put it at {path}, or give the file with --weights FILE, or --weights random:0 for an "
        "untrained dry run"
    )


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Set a timeout for downloads, because torch sets none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
