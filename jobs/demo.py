"""The demo, which runs the main job on a small synthetic collection."""

from __future__ import annotations

from cluster.storage import Store
from fusion_core.images import encode_png, synthetic_pair
from jobs.execution import RunResult
from jobs.options import DemoOptions, RunOptions
from jobs.progress import Progress
from jobs.run import run

DEMO_SIZES = ((240, 320), (256, 256), (180, 321), (200, 150))
DEMO_PAIRS = 12


def write_demo_collection(store: Store) -> None:
    """Write the demo's pairs as `day|night/{ir,visible}/00001.png`, in four sizes."""
    for number in range(DEMO_PAIRS):
        height, width = DEMO_SIZES[number % len(DEMO_SIZES)]
        scene = "day" if number % 2 == 0 else "night"
        ir, vis = synthetic_pair(height, width, seed=number, colour=scene == "day")
        store.write(f"{scene}/ir/{number + 1:05d}.png", encode_png(ir))
        store.write(f"{scene}/visible/{number + 1:05d}.png", encode_png(vis))


def demo(options: DemoOptions, progress: Progress | None = None) -> RunResult:
    """Fuse a small synthetic collection with DenseFuse.

    Writes the collection to FOLDER/source, unless it exists, and the run to FOLDER/run.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        IrfuseError: As `jobs.run.run`.
    """
    folder = options.folder.rstrip("/")
    source = options.store(f"{folder}/source")
    if not source.entries():
        write_demo_collection(source)
    run_options = RunOptions(
        source=source.url,
        out=f"{folder}/run",
        collection="demo",
        storage_options=options.storage_options,
    )
    return run(run_options, progress)
