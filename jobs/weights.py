"""Weights that a person names: a file of any store, or a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.locations import redact
from cluster.storage import Store, split_object_url
from fusion_core.errors import NotFoundError, WeightsError
from fusion_core.methods import find_weights
from fusion_core.parameters import MethodParameters
from fusion_core.weights import Weights
from jobs.progress import Progress


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
