"""The files of ImageNet weights that torchvision publishes, known without importing it."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from fusion_core.networks.layers import BackboneName

DEFAULT_VARIANT = "IMAGENET1K_V1"
"""Torchvision's first weights, whose training is closest to that of the papers'."""

_MODELS = "https://download.pytorch.org/models"
_TITLES: dict[BackboneName, str] = {
    "vgg19": "VGG-19",
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "resnet152": "ResNet-152",
}
_DIGEST = re.compile(r"-([0-9a-f]{8,})\.pth$")


@dataclass(frozen=True, slots=True)
class ImageNetFile:
    """A file of weights of an ImageNet network."""

    backbone: BackboneName
    variant: str
    """Name of the training, such as `IMAGENET1K_V1`."""
    url: str
    """Where torchvision publishes the file."""
    megabytes: int = 0
    """Size of the file."""

    @property
    def name(self) -> str:
        """Torchvision's name, such as `ResNet50_Weights.IMAGENET1K_V1`."""
        return f"{_enumeration(self.backbone)}.{self.variant}"

    @property
    def sha256_prefix(self) -> str:
        """First digits of the SHA-256 of the file, which torchvision publishes in its name."""
        found = _DIGEST.search(self.url)
        return found[1] if found else ""

    @property
    def path(self) -> Path:
        """Where the file belongs on this machine."""
        return _hub_folder() / "checkpoints" / self.url.rpartition("/")[2]


IMAGENET_FILES = (
    ImageNetFile("vgg19", "IMAGENET1K_V1", f"{_MODELS}/vgg19-dcbb9e9d.pth", 548),
    ImageNetFile("resnet50", "IMAGENET1K_V1", f"{_MODELS}/resnet50-0676ba61.pth", 98),
    ImageNetFile("resnet50", "IMAGENET1K_V2", f"{_MODELS}/resnet50-11ad3fa6.pth", 98),
    ImageNetFile("resnet101", "IMAGENET1K_V1", f"{_MODELS}/resnet101-63fe2227.pth", 171),
    ImageNetFile("resnet101", "IMAGENET1K_V2", f"{_MODELS}/resnet101-cd907fc2.pth", 171),
    ImageNetFile("resnet152", "IMAGENET1K_V1", f"{_MODELS}/resnet152-394f9c45.pth", 230),
    ImageNetFile("resnet152", "IMAGENET1K_V2", f"{_MODELS}/resnet152-f82ba261.pth", 230),
)
"""Every file, the latest training of each network last."""


def network_title(backbone: BackboneName) -> str:
    """Return the name of a network as papers write it.

    >>> network_title("vgg19")
    'VGG-19'
    """
    return _TITLES[backbone]


def imagenet_file(backbone: BackboneName, variant: str, enumeration: str = "") -> ImageNetFile:
    """Return a file by the name of its training.

    Args:
        backbone: The network.
        variant: Name of the training, or `DEFAULT` for the latest.
        enumeration: Torchvision's name of the network's weights, such as `VGG19_Weights`, if given.

    Raises:
        LookupError: The network has no such weights; the message lists those that it has.

    >>> imagenet_file("vgg19", "DEFAULT").name
    'VGG19_Weights.IMAGENET1K_V1'
    """
    files = {file.variant: file for file in IMAGENET_FILES if file.backbone == backbone}
    files["DEFAULT"] = [*files.values()][-1]
    if variant not in files or enumeration not in ("", _enumeration(backbone)):
        raise LookupError(", ".join(name for name in files if name != "DEFAULT"))
    return files[variant]


def _enumeration(backbone: BackboneName) -> str:
    return f"{_TITLES[backbone].replace('-', '')}_Weights"


def _hub_folder() -> Path:
    """Return torch's folder of downloads; importing torch only for this would take seconds.

    The folder begins with `~` if the home of the user is not known.
    """
    hub = sys.modules.get("torch.hub")
    if hub is not None:
        return Path(hub.get_dir())
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    return Path(os.path.expanduser(os.getenv("TORCH_HOME", f"{cache}/torch")), "hub")
