"""Fuse and score registered infrared/visible image pairs, one pair or a whole collection.

The functions for one pair take arrays and return arrays:

* `fuse` fuses a pair, `score` scores a fused image against its sources; `fuse_pair` fuses files.

Each job takes one options model and returns one result. Jobs run on Ray and write their results to
a folder or object store:

* `run` fuses and scores a collection, `score_collection` scores existing fused images, `dry_run`
  estimates what either would take,
* `list_runs` lists the runs below a location, `diff_runs` names the settings in which two differ,
* `pairs` lists the pairs of a collection, `status` reports the progress of a run, `summarize` its
  statistics, `verify` whether its shards hold what was committed,
* `run_study` compares methods on collections, `dry_run_study` estimates what that would take,
  `report_study` computes the comparison again, `study_status` reports how far it is, `add_runs`
  takes in finished runs,
* `train` trains a network, `reconstruct` measures the reconstructions of an autoencoder.

Exceptions that irfuse raises deliberately are subclasses of `IrfuseError`.

Examples:
    >>> import irfuse
    >>> import numpy as np
    >>> ir, vis = np.zeros((2, 64, 64), dtype=np.uint8)
    >>> ir[16:48, 16:48], vis[:, 32:] = 200, 100
    >>> fused = irfuse.fuse(ir, vis, method="densefuse", strategy="l1_norm")
    >>> fused.shape, fused.dtype
    ((64, 64), dtype('uint8'))
    >>> sorted(irfuse.score(ir, vis, fused, metrics=["EN", "SSIM_a"]))
    ['EN', 'SSIM_a']
"""

from __future__ import annotations

import os
import signal
import sys


def _stop(*_: object) -> None:
    """End the process at once: nothing has begun, and imports do not expect interrupts."""
    os.write(2, b"Stopped.\n")
    os._exit(130)


_IS_COMMAND = os.path.basename((sys.argv or [""])[0]) in ("irfuse", "-m")  # or `python -m irfuse`
if _IS_COMMAND and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _stop)

import ast
import importlib
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

_PACKAGES = ("fusion_core", "cluster", "jobs")


def _import_own_packages() -> None:
    """Import irfuse's packages from where they are installed.

    Their names are common words, so a file or folder of the same name may be first on the path.

    Raises:
        ImportError: The process has already imported another package of the same name.
    """
    root = next(
        folder
        for folder in Path(__file__).resolve().parents
        if (folder / "fusion_core" / "errors.py").is_file()
    )
    for name in _PACKAGES:
        module = sys.modules.get(name)
        if module is None:
            spec = PathFinder.find_spec(name, [str(root)])
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[name] = module_from_spec(spec)
            spec.loader.exec_module(module)
            continue
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        own = root / name
        if not any(
            place and own in (Path(place).resolve(), Path(place).resolve().parent)
            for place in places
        ):
            raise ImportError(
                f"irfuse requires its own package {name!r} from {root / name}, but this process "
                f"has imported {next(filter(None, places), 'another module')} under that name; "
                "import irfuse first, or rename that file"
            )


_import_own_packages()

_HOMES = {
    alias.asname or alias.name: (node.module or "", alias.name)
    for node in ast.parse(Path(__file__).with_suffix(".pyi").read_text()).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
"""Where each public name comes from; the stub states it, also for type checkers."""
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name on first use, so that `import irfuse` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, attribute = _HOMES[name]
    return getattr(importlib.import_module(home), attribute)


def __dir__() -> list[str]:
    return list(_HOMES)


def main() -> None:
    """Run the command line."""
    from jobs.console.main import main as run_command

    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run_command()
