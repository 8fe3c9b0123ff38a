"""Methods and metrics of installed packages, which their entry points name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Literal

from fusion_core.errors import ExtensionError

EntryPointGroup = Literal["irfuse.methods", "irfuse.metrics"]
"""Groups of entry points that irfuse looks into."""


def list_entry_points(group: EntryPointGroup) -> dict[str, list[EntryPoint]]:
    """Return the entry points of all installed packages by name."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        same = found.setdefault(point.name, [])
        if describe(point) not in map(describe, same):  # a package may be on the path twice
            same.append(point)
    return dict(sorted(found.items()))


def find_entry_point(group: EntryPointGroup, name: str) -> EntryPoint | None:
    """Return an entry point, None if there is none of this name.

    Raises:
        ExtensionError: Several packages have one of this name.
    """
    found = list_entry_points(group).get(name, [])
    if len(found) > 1:
        raise ExtensionError(
            f"{' and '.join(map(describe, found))} both have {name!r} in {group}: uninstall one "
            f"of them, or name what you mean as MODULE:NAME ({found[0].value})"
        )
    return found[0] if found else None


def describe(point: EntryPoint) -> str:
    """Return the installed package of an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
