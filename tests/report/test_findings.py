"""Verdicts and doubts: each has data that call for it, and data that do not."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import pdbiomarker as pb
from pdbiomarker import plot
from pdbiomarker.decide import Review
from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import select, set_label
from pdbiomarker.report import build
from pdbiomarker.report.content import RuleLine, Table, Text
from pdbiomarker.report.findings import SIMULATED, find_doubts, key_findings, notices, primary_rows
from pdbiomarker.report.methods import limits_text, methods_text
from pdbiomarker.report.privacy import clean, relative_name, shareable
from pdbiomarker.report.problems import problems_of
from pdbiomarker.report.reconcile import both_true

DENSITY = "CD8_density_tissue"
#: Changes that a paired t-test calls (p .027), but not without the fifth (p .063; scipy).
CARRIED = [0.2, 0.7, 0.3, 1.5, 1.3, 0.9, -0.8, 0.5, 0.9]


def _changed(fake: ModuleType, result: object, **columns: object) -> object:
    """The result with other values in the primary feature's strict row."""
    table = result.table.copy()  # type: ignore[attr-defined]
    row = (table["feature"] == DENSITY) & (table["set"] == "strict")
    for name, value in columns.items():
        table.loc[row, name] = value
    return fake.dataclasses.replace(result, table=table)


def _doubts(result: object) -> str:
    return "\n".join(find_doubts(result, select(result, DENSITY)))  # type: ignore[arg-type]


def test_a_rise_is_told_with_its_basis(fake: ModuleType) -> None:
    numbers = {"effect": 2.1, "effect_low": 1.4, "effect_high": 3.2, "q": 0.0031}
    told = _changed(fake, fake.make_result(genes=3), **numbers)
    (finding,) = key_findings(told)  # type: ignore[arg-type]
    assert finding.sentence.replace("\u00a0", " ") == (
        "CD8 density (tissue) rose 2.10-fold from screening to C2D1 (95 % CI 1.40 to 3.20), "
        "9 evaluable pairs, Holm p = 0.0031."
    )
    assert (finding.verdict, finding.headline, finding.n_pairs) == ("Change shown", "× 2.10", "9")


def test_a_fall_and_no_change_are_not_overclaimed(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    fall = _changed(fake, result, effect=0.48, effect_low=0.3, effect_high=0.8, q=0.01, estimate=-1.06)
    assert "fell to 0.480 times its baseline" in key_findings(fall)[0].sentence  # type: ignore[arg-type]
    none = _changed(fake, result, effect=1.3, effect_low=0.8, effect_high=2.1, q=0.21)
    (finding,) = key_findings(none)  # type: ignore[arg-type]
    assert finding.verdict == "No change shown"
    assert "rose" not in finding.sentence
    assert "agree with anything inside the interval (95 % CI 0.800 to 2.10)" in finding.sentence


def _rule(verdict: str, name: str) -> RuleLine:
    return RuleLine(verdict, name, "more", "less", "1 %", "90 %")


def test_a_test_and_a_rule_that_seem_to_disagree_are_joined() -> None:
    stopped = [_rule("stop", "rcv_fraction"), _rule("consider", "x"), _rule("stop", "own")]
    (fact,) = both_true("Change shown", stopped)
    assert fact.name == "change shown, and stop"
    assert "in as many participants, as rcv_fraction and own ask for." in fact.value
    assert fact.value.endswith("Both can be true.")
    assert "as own asks for." in both_true("Consider", stopped[2:])[0].value
    (fact,) = both_true("No change shown", [_rule("go", "x_of_n")])
    assert (fact.name, "x_of_n asks for something else" in fact.value) == ("no change shown, and go", True)
    agree = (("Change shown", [_rule("go", "a")]), ("Not evaluable", stopped), ("No change shown", stopped))
    for verdict, rules in (("Change shown", []), *agree):
        assert both_true(verdict, rules) == ()


def test_the_front_page_joins_a_change_and_a_rule_that_stops(
    trial: pb.PDResult, trial_review: Review
) -> None:
    found = [one for one in key_findings(trial, trial_review) if one.rules]
    assert found
    for one in found:
        stops = any(line.verdict == "stop" for line in one.rules)
        joined = [fact for fact in one.decided if fact.name.endswith(", and stop")]
        assert not any("<=" in line.asks for line in one.rules)
        assert bool(joined) == (stops and one.verdict in {"Change shown", "Consider"})


#: Names of the program's own that readers of a report do not know.
CODE_NAMES = ("identity scale", "BORROWED", "strict_pairs", "all_biopsied", "strict_tumor_content", "<=")


@pytest.mark.parametrize("name", ["trial", pytest.param("riaz", marks=pytest.mark.data)])
def test_decisions_noise_and_checks_are_told_in_words(name: str, request: pytest.FixtureRequest) -> None:
    result: pb.PDResult = request.getfixturevalue(name)
    review: Review = request.getfixturevalue(f"{name}_review")
    document = build(result.study, result, review)
    told = [f"{rule.asks} {rule.note} {rule.observed}" for one in document.findings for rule in one.rules]
    assert told
    checks = 0
    for section in (s for s in document.sections if s.key in {"decisions", "responders", "noise", "honesty"}):
        for block in section.blocks:
            if isinstance(block, Text):
                told += block.paragraphs
            elif isinstance(block, Table):
                told += [text for row in block.rows for text in row if isinstance(text, str)]
                told.append(block.message)
                checks += len(block.rows) if block.key == "honesty-checks" else 0
    assert checks >= 5
    (sets,) = [text for text in told if text.startswith(("Every set says the same (", "The sets differ ("))]
    row = primary_rows(result).iloc[0]
    assert f"strict: {format_number(row['effect'])}, " in sets
    codes = (*CODE_NAMES, f"'{row['feature']}'")
    assert [(code, text) for code in codes for text in told if code in text] == []


def test_units_and_odds_have_their_own_words(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    table = result.table.assign(family=result.table["family"].replace("panel", "primary"))
    told = fake.dataclasses.replace(result, table=table.assign(q=0.01, effect=1.5))
    sentences = [f.sentence for f in key_findings(told)]
    assert any(s.startswith("The odds of CD8+ cells (tissue) rose") for s in sentences)
    assert any(" points from screening to C2D1" in s for s in sentences)


def test_inseparable_batches_cap_the_verdict_and_lead_the_doubts(fake: ModuleType) -> None:
    note = "not separable: no batch holds both screening and C2D1"
    result = _changed(fake, fake.make_result(genes=3), note=note, q=0.001)
    (finding,) = key_findings(result)  # type: ignore[arg-type]
    assert finding.verdict == "Consider"
    assert finding.doubts[0].startswith("Batch and visit are not separable")


def test_a_row_without_estimate_is_not_evaluable(fake: ModuleType) -> None:
    result = fake.make_result(genes=3, lost=dict.fromkeys(range(10), "on"))
    (finding,) = key_findings(result)
    assert finding.verdict == "Not evaluable"
    assert "2 pairs; at least 3 are needed" in finding.sentence
    assert finding.headline == "–"


def test_trap_31_few_pairs_state_the_smallest_exact_p(fake: ModuleType) -> None:
    few = fake.make_result(genes=3, lost=dict.fromkeys(range(7), "on"))
    assert "Only 5 pairs: an exact sign-flip test could not give a two-sided p below 0.062" in _doubts(few)
    assert "sign-flip" not in _doubts(fake.make_result(genes=3))


@pytest.mark.parametrize(
    ("change", "named"),
    [([0.9, 0.8, 1.0, 0.85, 0.95, -0.2, 0.7, 0.0, -0.1], None), (CARRIED, "P07")],
)
def test_one_participant_that_carries_the_result_is_named(
    fake: ModuleType, change: list[float], named: str | None
) -> None:
    """Oracle: scipy's t-test with and without each participant."""
    people = ["P01", "P02", "P04", "P05", "P07", "P08", "P09", "P11", "P12"]
    without = [float(stats.ttest_1samp(np.delete(change, i), 0).pvalue) for i in range(9)]
    assert stats.ttest_1samp(change, 0).pvalue < 0.05
    assert (max(without) >= 0.05) == (named is not None)
    result = fake.make_result(genes=3)
    changes = result.changes.copy()
    mine = (changes["feature"] == DENSITY) & (changes["set"] == "strict") & changes["change"].notna()
    assert changes.loc[mine, "participant_id"].tolist() == people
    changes.loc[mine, "change"] = change
    told = _doubts(fake.dataclasses.replace(result, changes=changes))
    assert ("rests on one participant" in told) == (named is not None)
    if named is not None:
        assert f"without {people[int(np.argmax(without))]} gives" in told
        assert people[int(np.argmax(without))] == named


def test_sets_that_disagree_are_told(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    assert "analysis set" not in _doubts(result)
    table = result.table.copy()
    other = (table["feature"] == DENSITY) & (table["set"] == "all_biopsied")
    table.loc[other, "p"] = 0.3
    assert "Another analysis set reads differently (all biopsied" in _doubts(
        fake.dataclasses.replace(result, table=table)
    )
    table.loc[other, "estimate"] = -1.0
    assert "The direction turns" in _doubts(fake.dataclasses.replace(result, table=table))


def test_a_direction_against_expectation_is_told(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    assert "opposite" not in _doubts(result)
    assert "opposite to the one expected (up)" in _doubts(_changed(fake, result, estimate=-0.5))


def test_low_counts_are_told(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    biopsies = sorted(set(result.biopsies["biopsy_id"]))
    for n, expected in ((40.0, False), (4.0, True)):
        ihc = fake.SimpleNamespace(
            var=result.study.assays["ihc"].var,
            var_names=pd.Index([DENSITY]),
            obs_names=pd.Index(biopsies),
            layers={"numerator": np.full((len(biopsies), 1), n)},
        )
        result.study.assays["ihc"] = ihc
        assert ("median count at screening is 4" in _doubts(result)) == expected


def test_missing_pairs_and_single_arm_are_always_told(fake: ModuleType) -> None:
    told = find_doubts(fake.make_result(genes=3), select(fake.make_result(genes=3), DENSITY))
    assert told[-1].startswith("Single arm")
    assert "3 of 12 participants give no evaluable pair (2 no biopsy, 1 not adequate)" in told[-2]


def test_the_banner_counts_pairs_and_names_what_was_quarantined(fake: ModuleType) -> None:
    (notice,) = notices(fake.make_result(genes=3))
    assert notice.text == (
        "The data are incomplete: 9 of 12 participants give an evaluable pair in ihc, rna and "
        "rna_signatures; 1 slide quarantined."
    )
    assert notice.details == ("S03: The file ends before its last tile. (E-SLIDE-002)",)
    whole = fake.dataclasses.replace(fake.make_result(genes=3, lost={}), provenance={})
    assert notices(whole)[0].tone == "good"


def _without_one_value(fake: ModuleType, feature: str) -> Any:
    """Everyone has a pair, but one biopsy has no value of `feature`."""
    whole = fake.dataclasses.replace(fake.make_result(genes=3, lost={}), provenance={})
    table, changes = whole.table.copy(), whole.changes.copy()
    row = (table["feature"] == feature) & (table["set"] == "strict")
    table.loc[row, ["n_pairs", "note"]] = [11, "no value in 1 biopsy: P02-1 (96 cells, fewer than 100)"]
    gone = (changes["feature"] == feature) & (changes["participant_id"] == "P02")
    changes.loc[gone, ["baseline_value", "change", "ratio"]] = np.nan
    return fake.dataclasses.replace(whole, table=table, changes=changes)


def test_the_banner_names_a_feature_without_a_value(fake: ModuleType) -> None:
    """The assay has 12 pairs of 12; the feature 11."""
    (primary,) = notices(_without_one_value(fake, DENSITY))
    assert primary.tone == "caution"
    assert primary.text.startswith("The data are incomplete: 12 of 12 participants give an evaluable pair in")
    assert primary.text.endswith("; CD8 density (tissue): 11 of 12 pairs.")
    (other,) = notices(_without_one_value(fake, "CD8_pct_tissue"))
    assert other.text.startswith("The primary family is complete, other features are not: 12 of 12")
    assert other.text.endswith("; CD8+ cells (tissue): 11 of 12 pairs.")


def test_without_a_primary_family_every_feature_counts(fake: ModuleType) -> None:
    result = _without_one_value(fake, "CD8_pct_tissue")
    table = result.table.assign(family=result.table["family"].replace("primary", "panel"))
    (notice,) = notices(fake.dataclasses.replace(result, table=table))
    assert notice.tone == "caution"
    assert "CD8+ cells (tissue): 11 of 12 pairs" in notice.text


def test_a_missing_value_is_a_doubt_and_a_reason(fake: ModuleType) -> None:
    result = _without_one_value(fake, DENSITY)
    told = "Noted by the analysis: no value in 1 biopsy: P02-1 (96 cells, fewer than 100)."
    assert told in _doubts(result)
    assert "1 of 12 participants gives no evaluable pair (1 no value)" in _doubts(result)
    ax = plot.waterfall(result, DENSITY)
    assert [t.get_text() for t in ax.texts if t.get_text().startswith("NE")] == ["NE · no value"]


def test_a_change_in_log2_units_is_told_as_a_ratio_too(fake: ModuleType) -> None:
    """2 ** 1.12 = 2.17 by hand."""
    result = fake.make_result(genes=3)
    var = pd.DataFrame({"unit": ["log2 CPM"]}, index=["CYT"])
    result.study.assays["rna_signatures"] = fake.SimpleNamespace(var=var, layers={}, obs=None)
    table = result.table.assign(family=result.table["family"].replace("signatures", "primary"))
    table.loc[table["feature"] == "CYT", ["effect", "q"]] = [1.12, 0.01]
    told = key_findings(fake.dataclasses.replace(result, table=table))[-1]
    assert told.headline == "+1.12 log2 CPM (× 2.2)"
    assert "rose by 1.12 log2 CPM from screening" in told.sentence


def test_simulated_data_are_said_first(fake: ModuleType) -> None:
    told = notices(fake.make_result(genes=3, with_truth=True))
    assert (told[0].text, told[0].tone) == (SIMULATED, "simulated")


def test_without_a_rule_of_adequacy_nothing_is_called_adequate(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    assert set_label("strict", result) == "strict (adequate biopsies)"
    assert set_label("strict_pairs", result) == "strict, pairs only"
    result.study.spec.adequacy = {}
    assert set_label("strict", result) == "strict"
    told = " ".join(methods_text(result))
    assert "The study sets no rule of adequacy." in told
    assert "adequate biopsies" not in told


def test_problems_lose_paths_and_repetition(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    rows = list(result.provenance["problems"])
    twice = fake.dataclasses.replace(result, provenance={"problems": rows + rows})
    (told,) = problems_of(twice)
    assert told.place == "slides.csv, line 5, path"


def test_methods_follow_the_plan(fake: ModuleType) -> None:
    result = fake.make_result(genes=3)
    text = " ".join(methods_text(result))
    for told in ("~ visit + (1|participant)", "Kenward and Roger", "exactly the paired t-test", "voom",
                 "primary, by Holm's method over its features and all contrasts (1 test)",
                 "genes, by Benjamini and Hochberg's method within each contrast (3 tests)",
                 "viable_tumor_cells of at least 100", "numpy 2.3.4", "study days −28 to −1"):  # fmt: skip
        assert told in text
    result.plan.allow_negative_icc, result.plan.ddf, result.plan.replicates = False, "satterthwaite", "all"
    text = " ".join(methods_text(result))
    assert "not allowed below zero" in text
    assert "Satterthwaite's degrees of freedom" in text
    assert "all were kept" in text
    assert any("not a validated system" in t for t in limits_text(result))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/data/trial/S1.tif was read on 2024-03-01T08:30:00Z", "S1.tif was read on [date]"),
        (r"C:\Users\someone\slides\S1.svs", "S1.svs"),
        ("file:///home/someone/x.csv, line 4", "x.csv, line 4"),
        ("12 cells/mm2 and 3/4 of visits", "12 cells/mm2 and 3/4 of visits"),
        ("study day 29, plan 1.5/2", "study day 29, plan 1.5/2"),
        ("P-2024-01-99", "P-2024-01-99"),
    ],
)
def test_dates_and_paths_are_cleaned(text: str, wanted: str) -> None:
    assert clean(text) == wanted


def test_private_columns_are_left_out() -> None:
    frame = pd.DataFrame({"slide_id": ["a"], "collection_date": ["x"], "path": ["y"], "n_cells": [1]})
    frame["when"] = pd.to_datetime(["2024-03-01"])
    assert list(shareable(frame).columns) == ["slide_id", "n_cells"]
    assert relative_name("/a/b/c.csv") == "c.csv"
    assert relative_name("slides/c.tif") == "slides/c.tif"
    assert relative_name(r"D:\x\c.csv") == "c.csv"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 2.0, 2.0, 2.1], True),
        ([0.5, 0.7, 0.9, 1.1, 1.3, 0.6, 0.8, 1.0, 1.2], False),
    ],
)
def test_skewed_changes_are_told(fake: ModuleType, change: list[float], told: bool) -> None:
    """2 ** median and 2 ** mean by hand: 2**.1 = 1.07, 2**(6.7/9) = 1.68."""
    result = fake.make_result(genes=3)
    changes = result.changes.copy()
    mine = (changes["feature"] == DENSITY) & (changes["set"] == "strict") & changes["change"].notna()
    changes.loc[mine, "change"] = change
    doubts = _doubts(fake.dataclasses.replace(result, changes=changes))
    assert ("half of the pairs changed by less than 1.07-fold, and the mean is 1.68-fold" in doubts) == told
