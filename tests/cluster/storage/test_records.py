"""Records of what was asked for, and the claim of an output location."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cluster.storage.records import SettingsRecord, claim_location, find_record, read_record
from cluster.storage.store import Store
from fusion_core.errors import NotFoundError, RunConflictError, StorageError


class Work(SettingsRecord):
    """Some work."""

    key: ClassVar[str] = "work.json"
    noun: ClassVar[str] = "work"
    informative: ClassVar[Mapping[str, Any]] = {"place": True}

    size: int
    options: dict[str, Any]
    place: str = ""


WORK = Work(size=1, options={"a": {"b": 2}, "c": 3})


def test_settings_are_flat_and_leave_out_what_informs_only() -> None:
    assert WORK.settings == {"size": 1, "options.a.b": 2, "options.c": 3}
    assert WORK.fingerprint == WORK.model_copy(update={"place": "elsewhere"}).fingerprint
    assert WORK.fingerprint != WORK.model_copy(update={"size": 2}).fingerprint


class LaterWork(Work):
    """The same work in a later version, which has a further setting."""

    speed: str = "as before"


def test_a_later_version_with_further_settings_finds_the_same_fingerprint(tmp_path: Path) -> None:
    out = Store(str(tmp_path))
    claim_location(out, WORK, None)
    later = read_record(out, LaterWork)
    assert later.settings["speed"] == "as before"
    assert later.fingerprint == WORK.fingerprint
    assert later.model_copy(update={"speed": "twice"}).fingerprint != WORK.fingerprint


def test_the_first_claim_is_kept_and_the_same_settings_find_it(tmp_path: Path) -> None:
    out = Store(str(tmp_path))
    assert find_record(out, Work) is None
    assert claim_location(out, WORK, None) is WORK
    again = WORK.model_copy(update={"place": "elsewhere"})
    # Another process may have created the record after this one has looked for it.
    assert claim_location(out, again, None) == claim_location(out, again, WORK) == WORK
    assert read_record(out, Work) == WORK


def test_a_conflict_names_only_what_differs(tmp_path: Path) -> None:
    other = WORK.model_copy(update={"options": {"a": {"b": 5}, "c": 3}})
    with pytest.raises(RunConflictError) as caught:
        claim_location(Store(str(tmp_path)), other, WORK)
    assert "(options.a.b: existing 2, requested 5)" in str(caught.value)


def test_a_conflict_names_the_one_word_by_which_a_list_differs(tmp_path: Path) -> None:
    metrics = ["EN", "MI", "SCD"]
    found = WORK.model_copy(update={"options": {"metrics": metrics}})
    for requested, difference in (
        (["EN", "SCD"], "requested without MI"),
        (["EN", "MI", "SCD", "SD"], "existing without SD"),
        (["SD"], "existing without SD, requested without EN, MI, SCD"),
    ):
        other = WORK.model_copy(update={"options": {"metrics": requested}})
        with pytest.raises(RunConflictError) as caught:
            claim_location(Store(str(tmp_path)), other, found)
        assert f"(options.metrics: {difference})" in str(caught.value)


def test_a_conflict_shows_the_first_digits_of_digests(tmp_path: Path) -> None:
    found, other = (WORK.model_copy(update={"options": {"sha256": d * 64}}) for d in "ab")
    with pytest.raises(RunConflictError, match=r"existing 'a{12}…', requested 'b{12}…'\)"):
        claim_location(Store(str(tmp_path)), other, found)


def test_a_conflict_leaves_out_what_follows_from_another_setting(tmp_path: Path) -> None:
    class Named(Work):
        consequences: ClassVar[Mapping[str, tuple[str, ...]]] = {"size": ("options.",)}

    found = Named(**dict(WORK))
    for changed, named in (
        ({"size": 2}, "(size: existing 1, requested 2)"),
        ({"size": 2, "options": {"a": {"b": 5}, "c": 3}}, "(options.a.b: existing 2, requested 5)"),
    ):
        with pytest.raises(RunConflictError) as caught:
            claim_location(Store(str(tmp_path)), found.model_copy(update=changed), found)
        assert named in str(caught.value)


@pytest.mark.parametrize("content", [b"", b'{"size": '])
def test_a_damaged_record_is_named_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    out = Store(str(tmp_path))
    out.write("work.json", content)
    with pytest.raises(StorageError, match=r"work\.json is damaged .* delete it and run the same"):
        find_record(out, Work)


def test_missing_and_foreign_records_are_clear_errors(tmp_path: Path) -> None:
    out = Store(str(tmp_path))
    with pytest.raises(NotFoundError, match=r"contains no work \(work\.json does not exist\)"):
        read_record(out, Work)
    out.write("work.json", b"{}")
    with pytest.raises(StorageError, match=r"work\.json is not a work record .*\(size: Field"):
        find_record(out, Work)
