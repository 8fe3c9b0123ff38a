"""ImageNet weights of torchvision, which are downloaded once."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from urllib.error import HTTPError, URLError

from fusion_core.errors import WeightsError
from fusion_core.networks.imagenet_files import DEFAULT_VARIANT, ImageNetFile, imagenet_file
from fusion_core.networks.known_weights import torchvision_weights
from fusion_core.networks.layers import BackboneName
from fusion_core.networks.weights import Weights

_VARIANT = re.compile(
    r"(?:(?P<enum>[A-Za-z0-9]+_Weights)\.)?(?P<name>IMAGENET[A-Z0-9_]+|DEFAULT)", re.IGNORECASE
)


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
    try:
        return imagenet_file(backbone, match["name"].upper(), match["enum"] or "").variant
    except LookupError as error:
        raise WeightsError(
            f"torchvision has no weights {source} for {backbone}, but: {error}"
        ) from None


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
    file = imagenet_file(backbone, variant)
    known = torchvision_weights(file)
    if not known.here:
        notify(f"Downloading {known.name} from {known.url} to {known.path}")
        _download(file, timeout_s)
    return Weights.from_file(known.read(), known.name)


def _download(file: ImageNetFile, timeout_s: float) -> None:
    import torch  # only downloads need it

    folder = file.path.parent
    try:
        if folder.parts[0] == "~":  # it would become a folder of this name
            raise NotADirectoryError(None, "the home of this user is not known")
        folder.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(timeout_s):
            torch.hub.download_url_to_file(
                file.url, str(file.path), hash_prefix=file.sha256_prefix, progress=False
            )
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
        reason = f"{folder}: {error.strerror or type(error).__name__}; TORCH_HOME sets another"
    else:
        return
    raise WeightsError(
        f"{file.name} is not on this machine and cannot be downloaded ({reason}): fetch {file.url} "
        f"elsewhere and put it at {file.path}, or give the file with --weights FILE, or --weights "
        "random:0 for an untrained dry run"
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
