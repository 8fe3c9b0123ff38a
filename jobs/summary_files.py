"""The files of a run's summary: what they must hold to be believed."""

from __future__ import annotations

from pydantic import ValidationError

from cluster.runs import Listing, RunRecord
from cluster.storage import Store
from fusion_core.errors import NotFoundError
from jobs.summary import Summary, summary_csv

SUMMARY_KEY = "summary.json"
SUMMARY_CSV_KEY = "summary.csv"


def current_summary(out: Store, record: RunRecord, listing: Listing) -> Summary | None:
    """Return the summary of a complete run; None if it is missing, damaged or out of date."""
    try:
        summary = Summary.model_validate_json(out.read(SUMMARY_KEY))
    except (NotFoundError, ValidationError):
        return None
    current = (summary.fingerprint, summary.shards_digest) == (record.fingerprint, listing.digest)
    return summary if summary.complete and current else None


def find_summary(out: Store, record: RunRecord, listing: Listing) -> Summary | None:
    """Return the summary as `current_summary`; None also if its table is not the same."""
    summary = current_summary(out, record, listing)
    try:
        same = summary is not None and out.read(SUMMARY_CSV_KEY) == summary_csv([summary]).encode()
    except NotFoundError:
        return None
    return summary if same else None


def write_summary(out: Store, summary: Summary) -> None:
    """Write `summary.json` and `summary.csv`."""
    out.write(SUMMARY_CSV_KEY, summary_csv([summary]).encode())
    out.write(SUMMARY_KEY, summary.model_dump_json(indent=2).encode())


def delete_summary(out: Store) -> None:
    """Remove `summary.json` and `summary.csv`."""
    out.delete(SUMMARY_KEY)
    out.delete(SUMMARY_CSV_KEY)
