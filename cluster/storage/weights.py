"""Weights that a person names: a file of any store, or a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.storage.locations import redact
from cluster.storage.reader import split_object_url
from cluster.storage.store import Store
from fusion_core.errors import NotFoundError, WeightsError
from fusion_core.methods import find_weights
from fusion_core.networks.weights import Weights
from fusion_core.parameters import MethodParameters
from jobs.console.progress import Progress


def find_stored_weights(
    method: str,
    parameters: MethodParameters,
    source: str | None,
    storage_options: Mapping[str, Any] | None,
    progress: Progress,
) -> Weights | None:
    """Find the weights of a method, as `fusion_core.methods.find_weights`, files in any store.

    Raises:
        WeightsError: They are missing, damaged, changed, or of another network.
        StorageError: The file cannot be read.
    """

    def read(shown: str) -> bytes:
        folder, name = split_object_url(source or "")
        try:
            return Store(folder, storage_options).read(name)
        except NotFoundError:
            raise WeightsError(f"There is no weight file at {shown}") from None

    shown = None if source is None else redact(source)
    return find_weights(method, parameters, shown, read, progress.message)
