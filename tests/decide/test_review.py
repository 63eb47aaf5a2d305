"""One object holds all decisions: it equals its parts, follows the plan, and comes back from its files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

import pdbiomarker as pb
from pdbiomarker.decide import (
    NOT_BY_DEFAULT,
    DecideOptions,
    Declared,
    decide,
    default_presets,
    honesty_checks,
    preset,
    presets,
    review_of,
    review_of_plan,
)
from pdbiomarker.decide.asked import check_decisions, decision_files
from pdbiomarker.decide.masking import antigen_of
from pdbiomarker.decide.review import DECISIONS, TABLES
from pdbiomarker.errors import InputError
from pdbiomarker.noise import Noise, choose_noise
from pdbiomarker.run.decisions import read_review, write_review

FEATURE = "ihc:CD8_density"
QUICK = DecideOptions(n_sims=200, curves=True)
LOCKED = Declared(plan_locked=True, pairs_share_run=True)


@pytest.fixture(scope="module")
def review(result):
    return review_of(result, options=QUICK)


def test_a_review_is_the_sum_of_its_parts(result, review):
    """Decisions, noise and checks are those of the functions that make them one by one."""
    noise, _ = choose_noise(result.study, [FEATURE])
    alone = decide(result, default_presets(), [FEATURE], noise=noise, options=QUICK)
    for name in ("participants", "dose_levels", "cohort", "operating"):
        pd.testing.assert_frame_equal(getattr(review.decisions, name), getattr(alone, name))
    assert review.features == (FEATURE,)
    assert review.contrast == "on_treatment"
    checks = honesty_checks(result, FEATURE, noise=noise[FEATURE])
    assert review.honesty_checks["verdict"].tolist() == [c.verdict for c in checks]
    assert review.of("leave one out", FEATURE)["change"].tolist() == checks[1].table["change"].tolist()
    people = review.of("responders", FEATURE).set_index("participant_id")
    assert len(people) == 12
    strict = result.changes[(result.changes["set"] == "strict")].set_index("participant_id")
    assert people["change"].dropna().to_dict() == pytest.approx(strict["change"].dropna().to_dict())
    y = np.asarray(result.study.assays["ihc"].layers["y"])[:, 0]
    first = dict(zip(result.study.assays["ihc"].obs_names, y, strict=True))
    assert people.loc["P05", "baseline"] == pytest.approx(first["B05s0"])


def test_curves_are_the_operating_characteristics_over_a_grid(review):
    """Where the grid meets the rule's own truths, the same simulated trials give the same probabilities."""
    curve, told = review.decisions.curves, review.decisions.operating
    own = told[(told["level"] == "cohort") & (told["at"] == "sigma")]
    both = curve.merge(own, on=["rule", "truth"], suffixes=("", "_own"))
    assert len(both) >= 3 * both["rule"].nunique()
    assert both["p_go"].tolist() == both["p_go_own"].tolist()


def test_presets_that_do_not_fit_are_left_out_with_a_reason(review):
    assert set(default_presets()) == set(presets()) - set(NOT_BY_DEFAULT)
    assert {rule.name for rule in review.decisions.rules} == set(default_presets())
    assert "progression-free survival" in NOT_BY_DEFAULT["dejardin_2024"]


def test_presets_follow_the_expected_direction_and_rules_stay_as_written(result):
    data = result.study.assays["ihc"].copy()
    data.var["expected_direction"] = -1
    falls = dataclasses.replace(result, study=result.study.with_assay("ihc", data))
    found = review_of(falls, ["gmr_margin", preset("bayes_go")], [FEATURE], options=QUICK)
    assert [rule.direction for rule in found.decisions.rules] == ["down", "up"]
    cohort = found.decisions.cohort.set_index("rule")
    assert cohort.loc["gmr_margin", "rule_verdict"] == "stop"  # the density triples
    assert cohort.loc["bayes_go", "rule_verdict"] == "go"


@pytest.mark.parametrize(
    ("binds", "verdict", "why"),
    [
        (None, "consider", "not declared whether the drug binds PD-L1"),
        (("PD-L1",), "consider", "its epitope may be masked"),
        (("CD274",), "consider", "its epitope may be masked"),
        ((), "go", ""),
        (("PD-1",), "go", ""),
    ],
)
def test_trap_17_verdicts_on_pd_l1_are_capped_where_the_drug_may_mask_it(result, binds, verdict, why):
    data = result.study.assays["ihc"].copy()
    data.var_names = ["PDL1_density_tissue"]
    data.var["label"] = "PD-L1+ cells"
    changes = result.changes.replace({"CD8_density": "PDL1_density_tissue"})
    table = result.table.replace({"CD8_density": "PDL1_density_tissue"})
    study = result.study.with_assay("ihc", data)
    other = dataclasses.replace(result, study=study, changes=changes, table=table)
    declared = dataclasses.replace(LOCKED, drug_binds=binds)
    row = review_of(other, ["gmr_margin"], declared=declared, options=QUICK).decisions.cohort.iloc[0]
    assert row["rule_verdict"] == "go"
    assert row["verdict"] == verdict
    assert why in row["capped_by"]
    assert bool(row["capped_by"]) == bool(why)


def test_trap_17_a_stop_on_a_masked_stain_is_told_and_rna_is_not_masked(result):
    assert antigen_of("CD274", "CD274", "count") == ""
    assert antigen_of("PDL1_tps_tissue", "PD-L1 tumour proportion score", "proportion") == "PD-L1"
    binds_cd8 = dataclasses.replace(LOCKED, drug_binds=("CD8",))
    falls = preset("gmr_margin").model_copy(update={"direction": "down"})
    row = review_of(result, [falls], declared=binds_cd8, options=QUICK).decisions.cohort.iloc[0]
    assert row["verdict"] == "stop"
    assert "a fall can be an artefact" in row["note"]


def test_too_few_own_replicates_give_way_to_the_spread_of_the_pairs(result):
    """One participant with two baselines gives 1 df: no change would pass its limits (t(1) = 12.7)."""
    keep = [b for b in result.study.biopsies.index if b.endswith("0") or b == "B00s1"]
    study = result.study.with_assay("ihc", result.study.assays["ihc"][keep].copy())
    few, _ = choose_noise(study, [FEATURE])
    assert few[FEATURE].df == pytest.approx(1.0)
    change = np.array([1.0, 1.4, 2.2, 1.9, np.nan, 1.1])
    noise, reasons = choose_noise(study, [FEATURE], changes={FEATURE: change})
    own = noise[FEATURE]
    assert (own.basis, own.bound, own.df) == ("treated pairs", "upper", 4.0)
    assert own.sigma == pytest.approx(np.nanstd(change, ddof=1) / np.sqrt(2))
    assert "1 degrees of freedom only" in own.notes[-1]
    assert reasons == {}


def _same(found, expected):
    """Every number bit by bit; a text is a text, whatever holds it."""
    assert list(found.columns) == list(expected.columns)
    for column in expected:
        numeric = pd.api.types.is_numeric_dtype(expected[column])
        assert pd.api.types.is_numeric_dtype(found[column]) == numeric, column
        if numeric:
            np.testing.assert_array_equal(found[column], expected[column])
        else:
            assert [*found[column].fillna("")] == [*expected[column].fillna("")], column


def test_a_review_comes_back_from_its_files(review, tmp_path):
    paths = write_review(review, tmp_path)
    assert len({p.name for p in paths}) == len(paths)
    again = read_review(tmp_path)
    for name in DECISIONS:
        _same(getattr(again.decisions, name), getattr(review.decisions, name))
    for name in TABLES:
        _same(getattr(again, name), getattr(review, name))
    assert list(again.details) == list(review.details)
    for name, table in review.details.items():
        _same(again.details[name], table)
    assert again.decisions.rules == review.decisions.rules
    assert (again.contrast, again.features, again.declared) == (
        review.contrast,
        review.features,
        review.declared,
    )
    assert read_review(tmp_path / "nothing") is None
    (tmp_path / "noise.csv").write_text("no\n1\n", encoding="utf-8")
    with pytest.raises(InputError, match="E-FILE-005"):
        read_review(tmp_path)


def test_calendar_dates_stay_out_of_the_tables(review):
    days = review.details["dose and calendar time"]
    assert days["first"].tolist() == [0, 90, 181, 273]  # 3 January, April, July, October
    assert not [
        c
        for t in review.details.values()
        for c in t.columns
        if t[c].astype(str).str.match(r"\d{4}-\d\d-").any()
    ]


RULE = """\
name: protocol
title: "At least 3 of 8 beyond 2-fold"
criterion: responder_count
source: "Protocol, section 9"
participant: {fold: 2}
go_at_least: 3
of: 8
"""


def test_the_plan_says_what_is_decided_and_by_which_rules(result, tmp_path):
    plan = dataclasses.replace(
        result.plan,
        families={},
        decisions={"rules": ["mine.yaml", "gmr_margin"], "features": ["ihc:CD8_density"]},
    )
    (tmp_path / "mine.yaml").write_text(RULE, encoding="utf-8")
    check_decisions(plan, tmp_path)
    assert decision_files(plan) == ["mine.yaml"]
    found = review_of_plan(dataclasses.replace(result, plan=plan), tmp_path)
    assert [rule.name for rule in found.decisions.rules] == ["protocol", "gmr_margin"]
    # Without a folder the rule lies where the study was read from; without features, the primary ones.
    moved = dataclasses.replace(result.study, path=tmp_path)
    short = dataclasses.replace(result.plan, decisions={"rules": ["mine.yaml"]})
    found = review_of_plan(dataclasses.replace(result, plan=short, study=moved))
    assert [rule.name for rule in found.decisions.rules] == ["protocol"]
    assert found.features == (FEATURE,)
    nothing = dataclasses.replace(result, plan=result.plan, table=result.table.assign(family="ihc"))
    assert review_of_plan(nothing, tmp_path) is None
    with pytest.raises(InputError, match="E-RULE-003") as caught:
        review_of(nothing)
    assert [p.column for p in caught.value.problems] == ["features"]
    bad = dataclasses.replace(
        plan, decisions={"rules": ["../mine.yaml", "bayes_goo", "none.yaml"], "noise": "/n.yaml"}
    )
    with pytest.raises(InputError) as refused:
        check_decisions(bad, tmp_path)
    assert sorted(p.code for p in refused.value.problems) == [
        "E-FILE-001",
        "E-RULE-002",
        "E-RULE-010",
        "E-RULE-010",
    ]


@pytest.mark.parametrize(
    ("yaml", "decisions"),
    [
        ("decisions: gmr_margin", {"rules": ["gmr_margin"]}),
        ("decisions: [x_of_n, mine.yaml]", {"rules": ["x_of_n", "mine.yaml"]}),
        ("decisions: {features: ihc:a, noise: n.yaml}", {"features": ["ihc:a"], "noise": "n.yaml"}),
        ("", {}),
    ],
)
def test_the_key_decisions_of_a_plan(tmp_path, yaml, decisions):
    """A plan without the key keeps the hash that it had before there was one."""
    path = tmp_path / "plan.yaml"
    path.write_text(f"contrasts: {{c: B - A}}\nfamilies: {{primary: [ihc:a]}}\n{yaml}\n", encoding="utf-8")
    plan = pb.Plan.read(path)
    assert dict(plan.decisions) == decisions
    (tmp_path / "again.yaml").write_text(plan.to_yaml(), encoding="utf-8")
    assert pb.Plan.read(tmp_path / "again.yaml").hash == plan.hash
    without = dataclasses.replace(plan, decisions={})
    assert (plan.hash == without.hash) == (not decisions)


def test_noise_that_is_given_is_used_and_a_feature_without_says_so(result):
    given = {FEATURE: Noise("CD8_density", "log2", 0.9, np.inf, "replicate biopsies")}
    found = review_of(result, ["x_of_n"], noise=given, options=QUICK)
    assert found.noise["sigma"].tolist() == [0.9]
    none = review_of(result, ["x_of_n"], noise={}, options=QUICK)
    assert none.noise["note"].tolist() == ["No noise was given."]
    assert none.decisions.cohort["verdict"].tolist() == ["not evaluable"]
    assert len(none.responders) == 0
