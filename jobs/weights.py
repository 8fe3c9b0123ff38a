"""Weights of a user: a file on any store, or a name."""

from __future__ import annotations

from cluster.storage import redact
from fusion_core.errors import NotFoundError, WeightsError
from fusion_core.methods import MethodSpec, find_weights
from fusion_core.networks import Weights
from fusion_core.parameters import MethodParameters
from jobs.options import CheckMethodOptions, FuseOptions, ReconstructOptions, RunOptions
from jobs.progress import Progress


def find_stored_weights(
    method: MethodSpec,
    options: RunOptions | FuseOptions | ReconstructOptions | CheckMethodOptions,
    parameters: MethodParameters,
    progress: Progress,
) -> Weights | None:
    """Find weights like `fusion_core.methods.find_weights`, with files on any store.

    Raises:
        WeightsError: The weights are missing, damaged, changed, or of another network.
        StorageError: The file cannot be read.
    """
    source = None if options.weights is None else str(options.weights)

    def read(shown: str) -> bytes:
        store, name = options.file(source or "")
        try:
            return store.read(name)
        except NotFoundError:
            raise WeightsError(f"There is no weight file at {shown}") from None

    shown = None if source is None else redact(source)
    return find_weights(method, parameters, shown, read, progress.message)
