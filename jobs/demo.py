"""The demo: a small made-up collection through the main job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cluster.storage.store import Store
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair
from jobs.console.progress import Progress
from jobs.execution import RunResult, run
from jobs.options import RunOptions

DEMO_SIZES = ((240, 320), (256, 256), (180, 321), (200, 150))
DEMO_PAIRS = 12


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Where the demo left what it made."""

    source: str
    run: RunResult


def write_demo_collection(folder: str) -> None:
    """Write the demo's pairs as `day|night/{ir,visible}/00001.png`, in four sizes."""
    store = Store(folder)
    for number in range(DEMO_PAIRS):
        height, width = DEMO_SIZES[number % len(DEMO_SIZES)]
        scene = "day" if number % 2 == 0 else "night"
        ir, vis = synthetic_pair(height, width, seed=number, colour=scene == "day")
        store.write(f"{scene}/ir/{number + 1:05d}.png", encode_png(ir))
        store.write(f"{scene}/visible/{number + 1:05d}.png", encode_png(vis))


def demo(folder: str, progress: Progress | None = None) -> DemoResult:
    """Make the collection, unless it is there, and fuse it with DenseFuse and irfuse's own weights.

    Args:
        folder: Where `source` and `run` go.
        progress: Where to tell how far it is.

    Raises:
        IrfuseError: As `jobs.run`.
    """
    source = str(Path(folder) / "source")
    if not Store(source).entries():
        write_demo_collection(source)
    options = RunOptions(source=source, out=str(Path(folder) / "run"), method="densefuse")
    return DemoResult(source, run(options, progress))
