"""Damaged shards: which ones, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion_core.errors import StorageError
from fusion_core.wording import count_of

_NAMED_DAMAGES = 3


@dataclass(frozen=True, slots=True)
class Damage:
    """A shard whose object does not hold the rows that the plan of the run demands."""

    shard: int
    reason: str
    version: str
    """Version of the object."""


class DamagedShardError(StorageError):
    """A shard is damaged."""

    def __init__(self, uri: str, damage: Damage) -> None:
        super().__init__(f"{uri} is damaged: {damage.reason}; {how_to_mend(1)}")
        self.uri, self.damage = uri, damage

    def __reduce__(self) -> tuple[type[DamagedShardError], tuple[str, Damage]]:
        return type(self), (self.uri, self.damage)


class DamagedRunError(StorageError):
    """Shards of a run are damaged."""

    def __init__(self, url: str, damages: Sequence[Damage]) -> None:
        super().__init__(f"{describe_damages(damages)} in {url}; {how_to_mend(len(damages))}")
        self.damages = damages


def how_to_mend(shards: int) -> str:
    """Return the remedy for a number of damaged shards."""
    return (
        "run the command that made the run (`irfuse run` or `irfuse score`) again with --verify, "
        f"which computes {'it' if shards == 1 else 'them'} again"
    )


def describe_damages(damages: Sequence[Damage]) -> str:
    """Return a phrase that names the first damaged shards with the reasons."""
    named = "; ".join(f"shard {d.shard}: {d.reason}" for d in damages[:_NAMED_DAMAGES])
    more = len(damages) - _NAMED_DAMAGES
    rest = f"; and {more} more" if more > 0 else ""
    return f"{count_of(len(damages), 'shard')} damaged ({named}{rest})"
