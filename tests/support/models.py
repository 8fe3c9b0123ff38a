"""Model files, as users export them."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_core.methods.densefuse import DenseFuseNetwork

MINMAX_CARD = 'input_range = [0, 255]\noutput_range = "minmax"\n'
DYNAMIC = {0: "batch", 2: "height", 3: "width"}


class ExportedDenseFuse(nn.Module):
    """DenseFuse with the strategy `addition`, in operations that can be exported."""

    def __init__(self, network: DenseFuseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """Fuse `(B, 1, H, W)` in 0..255."""
        features = self.encode(ir) + self.encode(vis)
        for layer in (self.network.c2, self.network.c3, self.network.c4):
            features = layer(self.pad(features)).relu()
        fused: Tensor = self.network.c5(self.pad(features))
        return fused

    def encode(self, image: Tensor) -> Tensor:
        features: Tensor = self.network.c1(self.pad(image)).relu()
        for layer in (self.network.dc1, self.network.dc2, self.network.dc3):
            features = torch.cat((features, layer(self.pad(features)).relu()), dim=1)
        return features

    @staticmethod
    def pad(features: Tensor) -> Tensor:
        return functional.pad(features, (1, 1, 1, 1), mode="reflect")


class Mean(nn.Module):
    """The mean of two images."""

    def forward(self, ir: Tensor, vis: Tensor) -> Tensor:
        """Fuse `(B, 1, H, W)`."""
        return (ir * 2 + vis) / 3


class StackedMean(nn.Module):
    """The mean of the channels of one input."""

    def forward(self, images: Tensor) -> Tensor:
        """Fuse `(B, 2, H, W)`."""
        return (images[:, :1] * 2 + images[:, 1:]) / 3


def example_inputs(module: nn.Module, batch: int = 2) -> tuple[Tensor, ...]:
    """Return inputs for a trace."""
    if isinstance(module, StackedMean):
        return (torch.rand(batch, 2, 32, 32),)
    return torch.rand(batch, 1, 32, 32), torch.rand(batch, 1, 32, 32)


def export_onnx(module: nn.Module, path: Path, *, dynamic: bool = True, **settings: Any) -> Path:
    """Write a module as ONNX."""
    inputs = example_inputs(module, settings.pop("batch", 2))
    names = ["ir", "vis"] if len(inputs) == 2 else ["input"]
    names = settings.pop("input_names", names)
    shapes = dict.fromkeys(names, DYNAMIC) if dynamic else None
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), inputs, str(path), input_names=names, output_names=["fused"],
            dynamic_axes=shapes, dynamo=False, **settings,
        )  # fmt: skip
    return path


def free_sizes(inputs: tuple[Tensor, ...]) -> tuple[dict[int, Any], ...]:
    """Return the dimensions of inputs that may have any size."""
    batch = torch.export.Dim("batch", min=1, max=64)
    height = torch.export.Dim("height", min=4, max=8192)
    width = torch.export.Dim("width", min=4, max=8192)
    return tuple({0: batch, 2: height, 3: width} for _ in inputs)


def export_onnx_by_default(module: nn.Module, path: Path) -> Path:
    """Write a module as ONNX with the exporter that PyTorch uses by default."""
    inputs = example_inputs(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), inputs, str(path), input_names=["ir", "vis"], output_names=["fused"],
            dynamic_shapes=free_sizes(inputs), verbose=False,
        )  # fmt: skip
    return path


def export_pt2(module: nn.Module, path: Path) -> Path:
    """Write a module with torch.export."""
    inputs = example_inputs(module)
    program = torch.export.export(module.eval(), inputs, dynamic_shapes=free_sizes(inputs))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    path.write_bytes(buffer.getvalue())
    return path


def export_torchscript(module: nn.Module, path: Path) -> Path:
    """Write a module as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module.eval(), example_inputs(module)).save(str(path))
    return path
