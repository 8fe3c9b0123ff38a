"""What the developer's shell may not decide: credentials, clusters, proxies and threads."""

import os
from collections.abc import MutableMapping
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def isolate(environ: MutableMapping[str, str]) -> None:
    """Remove the developer's cloud and cluster settings and use one thread per process."""
    for name in [name for name in environ if name.startswith("AWS_") or name == "RAY_ADDRESS"]:
        del environ[name]
    environ.update(
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        RAY_USAGE_STATS_ENABLED="0",
        OMP_NUM_THREADS="1",
        NO_PROXY="127.0.0.1,localhost",
        no_proxy="127.0.0.1,localhost",
    )


def child_environment(**extra: str) -> dict[str, str]:
    """Return the environment of a child process that imports this checkout, installed or not."""
    paths = [str(PROJECT_ROOT), str(PROJECT_ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **extra}
