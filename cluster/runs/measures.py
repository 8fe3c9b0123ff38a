"""Measures of other libraries: the same on all nodes."""

from __future__ import annotations

import socket

from cluster.runs.record import RunRecord
from fusion_core.errors import WeightsError
from fusion_core.metrics import identify_measure, measures_among


def check_measures(record: RunRecord) -> None:
    """Check that measures of other libraries are here what they were where the run was started.

    Raises:
        InvalidValueError: A library is not installed here.
        WeightsError: Its version or the weights differ, or the weights cannot be downloaded.
    """
    for measure in measures_among(record.metrics):
        found, expected = identify_measure(measure), record.measures.get(measure.column)
        if found != expected:
            raise WeightsError(
                f"{measure.requested} on {socket.gethostname()} is {found}, and the run was "
                f"started with {expected}: install one version with the same weights on all nodes"
            )
