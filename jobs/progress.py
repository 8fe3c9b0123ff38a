"""Progress of a job, as the job reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cluster.runs import Snapshot
    from cluster.storage import SettingsRecord


class Progress(Protocol):
    """Receives the progress of a job."""

    def message(self, text: str) -> None:
        """Show a message about the current activity."""

    def note(self, text: str) -> None:
        """Show a message that stays visible."""

    def planned(self, rows: int, todo: int, finished: int, shards: int) -> None:
        """Show the number of pairs and shards, and how many remain."""

    def update(self, snapshot: Snapshot) -> None:
        """Show the latest counts."""

    def steps(self, done: int, total: int, text: str) -> None:
        """Show the progress of a job in steps, with a text such as the losses."""


class SilentProgress:
    """Discards all progress."""

    def message(self, text: str) -> None:
        """Discard the message."""

    def note(self, text: str) -> None:
        """Discard the note."""

    def planned(self, rows: int, todo: int, finished: int, shards: int) -> None:
        """Discard the plan."""

    def update(self, snapshot: Snapshot) -> None:
        """Discard the counts."""

    def steps(self, done: int, total: int, text: str) -> None:
        """Discard the step."""


def note_changed_code(
    record: SettingsRecord, requested: SettingsRecord, progress: Progress
) -> None:
    """Say so if a job was begun with other code of irfuse than that which resumes it."""
    if record.code_sha256 not in (None, requested.code_sha256):
        progress.note(
            f"The code of irfuse has changed since this {record.noun} began; what is computed now "
            "is computed with the present code"
        )
