"""Runs side by side: which are compared, and which are best."""

from support.summaries import metric_summary, run_summary, subset_summary

from jobs.comparison import Comparison, Rank, compare, comparison_notes
from jobs.summary import Summary


def ranks(comparison: Comparison, metric: str) -> dict[str, Rank | None]:
    return {row.run: row.cells[metric].rank for row in comparison.rows if metric in row.cells}


def compare_one(*summaries: Summary) -> Comparison:
    (comparison,) = compare(summaries)
    return comparison


def test_the_best_and_the_second_best_follow_the_direction_of_the_metric() -> None:
    found = compare_one(
        run_summary("a", EN=7.0, Nabf=0.1), run_summary("b", EN=6.0, Nabf=0.3),
        run_summary("c", EN=6.5, Nabf=0.2),
    )  # fmt: skip
    assert ranks(found, "EN") == {"a": "best", "b": None, "c": "second"}
    assert ranks(found, "Nabf") == {"a": "best", "b": None, "c": "second"}


def test_means_that_are_printed_alike_share_their_rank() -> None:
    means = {"a": 7.00001, "b": 7.00002, "c": 6.5}
    found = compare_one(*(run_summary(name, EN=mean) for name, mean in means.items()))
    assert ranks(found, "EN") == {"a": "best", "b": "best", "c": None}
    two_second = compare_one(*(run_summary(n, EN=m) for n, m in (("a", 7), ("b", 6), ("c", 6))))
    assert ranks(two_second, "EN") == {"a": "best", "b": "second", "c": "second"}


def test_nothing_is_best_where_all_are_equal_or_alone_and_of_two_none_is_second() -> None:
    assert ranks(compare_one(run_summary("a", EN=7.0)), "EN") == {"a": None}
    equal = compare_one(run_summary("a", EN=7.0), run_summary("b", EN=7.0))
    assert ranks(equal, "EN") == {"a": None, "b": None}
    two = compare_one(run_summary("a", EN=7.0), run_summary("b", EN=6.0))
    assert ranks(two, "EN") == {"a": "best", "b": None}


def test_a_mean_over_other_pairs_is_not_compared() -> None:
    partial = metric_summary(9.0, count=12, pairs_digest="some")
    found = compare_one(
        run_summary("a", EN=7.0), run_summary("b", EN=6.0), run_summary("c", EN=partial)
    )
    assert ranks(found, "EN") == {"a": "best", "b": None, "c": None}
    assert [row.cells["EN"].compared for row in found.rows] == [True, True, False]
    alone = compare_one(run_summary("c", EN=partial), run_summary("a", EN=7.0))
    assert [row.cells["EN"].compared for row in alone.rows] == [False, True]
    assert set(ranks(alone, "EN").values()) == {None}


def test_subsets_are_compared_one_by_one() -> None:
    a, b = (
        run_summary(name, subset_summary("day", {"EN": metric_summary(mean)}), EN=7.0)
        for name, mean in (("a", 5.0), ("b", 6.0))
    )
    found = compare_one(a, b)
    rows = [(row.subset, row.run, row.cells["EN"].rank) for row in found.rows]
    assert rows == [
        ("(all)", "a", None), ("(all)", "b", None), ("day", "a", None), ("day", "b", "best"),
    ]  # fmt: skip


def test_each_collection_is_compared_by_itself() -> None:
    other = run_summary("c", EN=metric_summary(9.0, pairs_digest="others"))
    other = other.model_copy(update={"collection": "LLVIP"})
    found = compare([run_summary("a", EN=7.0), other, run_summary("b", EN=6.0)])
    assert [comparison.collection for comparison in found] == ["TNO", "LLVIP"]
    assert ranks(found[0], "EN") == {"a": "best", "b": None}


def test_a_collection_of_the_same_pairs_under_another_name_is_the_same() -> None:
    other = run_summary("b", EN=6.0).model_copy(update={"collection": "tno.v2"})
    found = compare_one(run_summary("a", EN=7.0), other)
    assert found.collection == "TNO, tno.v2"
    assert ranks(found, "EN") == {"a": "best", "b": None}


def test_metrics_have_the_order_of_the_registry_and_unknown_ones_no_best() -> None:
    found = compare_one(
        run_summary("a", NEW=1.0, SCD=1.0), run_summary("b", EN=6.0, NEW=2.0, SCD=None)
    )
    assert found.metrics == ("EN", "SCD", "NEW")
    assert set(ranks(found, "NEW").values()) == {None}
    assert ranks(found, "SCD") == {"a": None, "b": None}


def test_nothing_is_best_in_a_metric_without_a_better_direction() -> None:
    found = compare_one(run_summary("a", TE_mefb=1.0), run_summary("b", TE_mefb=2.0))
    assert ranks(found, "TE_mefb") == {"a": None, "b": None}


def test_notes_name_unfinished_runs_and_metrics_that_some_pairs_lack() -> None:
    partial = run_summary("a", EN=7.0, MS_SSIM=metric_summary(0.9, count=20))
    partial = partial.model_copy(update={"rows": 21, "total_rows": 30})
    assert list(comparison_notes(compare_one(partial))) == [
        "a is unfinished: 21 of 30 pairs have a row",
        "a has pairs without a value of MS_SSIM (n = 20)",
    ]
