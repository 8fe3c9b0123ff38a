"""Progress that a test can look at afterwards."""

from __future__ import annotations

from jobs.progress import SilentProgress


class RecordedProgress(SilentProgress):
    """Keeps the messages and the notes of a job."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.notes: list[str] = []

    def message(self, text: str) -> None:
        """Keep the message."""
        self.messages.append(text)

    def note(self, text: str) -> None:
        """Keep the note."""
        self.notes.append(text)
