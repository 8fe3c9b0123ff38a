"""How many workers a node may have after its memory has run out."""

from cluster.runs.node_limits import NodeLimits


def limit_of(limits: NodeLimits, node: str = "a") -> int | None:
    """Return the limit of a node, or None if there is none."""
    surplus = limits.surplus(node, 1000)
    return 1000 - surplus if surplus else None


def test_each_death_halves_the_workers_down_to_one() -> None:
    limits = NodeLimits()
    found = []
    for workers in (9, 4, 2, 1):
        limits.halve("a", workers)
        found.append(limit_of(limits))
    assert found == [4, 2, 1, 1]
    assert limits.withheld == 8


def test_a_limit_grows_by_a_quarter_whenever_each_worker_has_committed_a_shard() -> None:
    limits = NodeLimits()
    limits.halve("a", 16)
    found = []
    while (limit := limit_of(limits)) is not None:
        found.append(limit)
        for _ in range(limit):
            limits.note_commit("a")
    assert found == [8, 10, 12, 15]
    assert limits.withheld == 0


def test_a_death_before_the_limit_has_grown_discards_the_commits_so_far() -> None:
    limits = NodeLimits()
    limits.halve("a", 8)
    for _ in range(3):
        limits.note_commit("a")
    limits.halve("a", 4)
    limits.note_commit("a")
    assert limit_of(limits) == 2


def test_a_limit_is_never_raised_by_another_one() -> None:
    limits = NodeLimits()
    limits.set("a", 8, 1)
    limits.halve("a", 8)
    assert limit_of(limits) == 1


def test_only_the_nodes_that_may_have_no_further_worker_are_full() -> None:
    limits = NodeLimits()
    for node in ("a", "b"):
        limits.halve(node, 4)
    assert limits.full({"a": 2, "b": 1, "c": 9}) == ["a"]
    assert limits.surplus("a", 3) == 1
    assert limits.surplus("c", 9) == 0


def test_lost_nodes_are_forgotten() -> None:
    limits = NodeLimits()
    limits.halve("a", 4)
    limits.halve("b", 8)
    limits.keep(["b", "c"])
    assert limit_of(limits) is None
    assert limits.withheld == 4
