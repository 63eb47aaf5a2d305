"""What cannot be told apart: batch and visit (trap 9), dose and calendar time (trap 30), analysis sets."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
from scipy import stats

from pdbiomarker.decide import analysis_sets, batch_and_visit, dose_and_time
from pdbiomarker.errors import InputError

PEOPLE = ["P1", "P1", "P2", "P2", "P3", "P3"]
VISITS = ["pre", "on"] * 3


def test_trap_09_all_baselines_in_one_run_is_not_separable():
    found = batch_and_visit(PEOPLE, VISITS, ["1", "2"] * 3)
    assert found.finding == "caution"
    assert found.verdict.startswith("Not separable")
    assert found.table.set_index("batch").loc["1"].to_dict() == {"on": 0, "pre": 3}


@pytest.mark.parametrize(
    ("batches", "finding", "said"),
    [
        (["1", "1", "1", "1", "2", "2"], "clear", "All 3 pairs"),
        (["1", "1", "2", "2", "1", "2"], "clear", "2 of 3 pairs"),
        (["1", "1", "1", "2", "1", "2"], "caution", "1 of 3 pairs"),
        ([None, None, None, None, "1", "1"], "not told", "4 of 6 biopsies is not recorded"),
    ],
)
def test_pairs_in_one_run_can_be_told(batches, finding, said):
    found = batch_and_visit(PEOPLE, VISITS, batches)
    assert found.finding == finding
    assert said in found.verdict
    with pytest.raises(InputError, match="E-RULE-003"):
        batch_and_visit(PEOPLE, VISITS, ["1"])


def test_trap_30_escalation_follows_the_calendar():
    doses = [1, 1, 3, 3, 10, 10]
    dates = [f"2025-{m:02d}-01" for m in range(1, 7)]
    found = dose_and_time(doses, dates)
    assert found.finding == "caution"
    assert found.verdict.startswith("Not separable")
    assert found.table["first"].tolist() == ["2025-01-01", "2025-03-01", "2025-05-01"]
    mixed = dose_and_time([1, 10, 3, 1, 10, 3, 1, 10], [f"2025-{m:02d}-01" for m in range(1, 9)])
    assert mixed.finding == "clear"
    assert dose_and_time([1, 1, 1, 1], dates[:4]).finding == "not told"
    assert dose_and_time(doses, ["", "", "", "", "2025-01-01", "2025-02-01"]).finding == "not told"
    with pytest.raises(InputError, match="E-RULE-003"):
        dose_and_time(doses, dates[:2])


def test_sets_that_differ_are_told():
    rows = [
        ("ihc", "CD8", "C", "strict", 1.0, 0.2, 1.8, 0.01, 12, 15, "ok"),
        ("ihc", "CD8", "C", "strict_pairs", 0.9, 0.1, 1.7, 0.03, 12, 12, "ok"),
        ("ihc", "CD8", "C", "all_biopsied", 0.4, -0.4, 1.2, 0.3, 16, 18, "ok"),
    ]
    columns = ["assay", "feature", "contrast", "set", "estimate", "ci_low", "ci_high", "p", "n_pairs"]
    table = pd.DataFrame(rows, columns=[*columns, "n_participants", "status"])
    found = analysis_sets(table, "ihc", "CD8", contrast="C")
    assert found.finding == "caution"
    assert "all_biopsied: 0.40, p 0.3" in found.verdict
    assert analysis_sets(table.iloc[:2], "ihc", "CD8", contrast="C").finding == "clear"
    assert analysis_sets(table.iloc[:1], "ihc", "CD8", contrast="C").finding == "not told"
    assert found.name == "analysis sets"
    with pytest.raises(InputError, match="E-RULE-003") as caught:
        analysis_sets(table, "ihc", "CD3", contrast="C")
    assert [(p.column, p.value) for p in caught.value.problems] == [("feature", "ihc:CD3 C")]


@pytest.mark.parametrize(
    ("doses", "days", "finding"),
    [
        # The one participant at dose 10 came last: rank correlation .52, but no date is shared.
        ([1] * 9 + [10], range(10), "caution"),
        # Two neighbours changed places: levels overlap by a day, rank correlation above .8.
        ([1, 1, 3, 1, 3, 3, 10, 3, 10, 10], range(10), "caution"),
        # Doses 3 and 10 alternate, both after dose 1: they can be told from time.
        ([1, 10, 3, 10, 3, 10, 3, 10, 3], range(9), "clear"),
    ],
)
def test_levels_one_after_another_or_a_high_correlation_are_enough(doses, days, finding):
    dates = [f"2025-01-{day + 1:02d}" for day in days]
    rho = abs(stats.spearmanr(doses, list(days)).statistic)
    apart = all(
        min(day for dose, day in zip(doses, days, strict=True) if dose == high)
        > max(day for dose, day in zip(doses, days, strict=True) if dose == low)
        for low, high in pairwise(sorted(set(doses)))
    )
    assert finding == ("caution" if rho >= 0.8 or apart else "clear")
    assert dose_and_time(doses, dates).finding == finding
