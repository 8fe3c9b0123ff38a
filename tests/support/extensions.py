"""Methods of users: files and installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

AVERAGE = """
def fuse(ir, vis, *, weight: float = 0.5):
    '''Weighted mean of the sources.'''
    return weight * ir + (1 - weight) * vis
"""

METRIC = """
import irfuse


@irfuse.metric(higher_is_better=False, range=(0, 128), decimals=2)
def contrast(ir, vis, fused):
    '''Contrast of the fused image.'''
    return fused.std()
"""


def write_code(folder: Path, files: Mapping[str, str]) -> Path:
    """Write Python files, and return their folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return folder


def install_package(
    folder: Path, name: str, points: Mapping[str, str], files: Mapping[str, str], version: str = "1"
) -> Path:
    """Write what an installed package with entry points consists of.

    Args:
        folder: Folder on the path of Python.
        name: Name of the package.
        points: Entry points as `GROUP NAME` with the object.
        files: Python files.
        version: Version of the package.
    """
    lines: list[str] = []
    for point, value in points.items():
        group, entry = point.split()
        lines += [f"[{group}]", f"{entry} = {value}"]
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    info = {"METADATA": metadata, "entry_points.txt": "\n".join(lines)}
    described = {f"{name}-{version}.dist-info/{file}": text for file, text in info.items()}
    return write_code(folder, {**files, **described})
