"""Intercurrent events: who is left out under each strategy, held against studies written without them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from builders import assay, study_folder, text
from scipy import stats

from pdbiomarker.change import pd_change
from pdbiomarker.errors import PlanError
from pdbiomarker.plan import Plan, estimand_of
from pdbiomarker.study import AdequacyRule, read_study

N = 9
RANDOM = np.random.default_rng(5)
BEFORE = RANDOM.normal(5.0, 1.0, N)
AFTER = BEFORE + 1.0 + RANDOM.normal(0.0, 0.5, N)
AFTER[[1, 4]] -= 2.5  # those on steroids respond less
#: P01 on day 20 and P04 on day 28 lie between baseline (day -7) and the biopsy (day 29); the others do not.
STEROIDS = {0: "-20", 1: "20", 2: "35", 4: "28"}
PLAN = """
formula: "~ visit + (1|participant)"
contrasts: {on_treatment: C2D1 - screening}
families: {primary: [ihc:score]}
intercurrent: {steroids: {column: steroids_day, strategy: STRATEGY}}
"""
NUMBERS = ["estimate", "se", "df", "p", "ci_low", "ci_high", "n_participants", "n_pairs", "n_biopsies"]


def study_of(path, strategy, *, people=tuple(range(N)), lost=(), steroids=STEROIDS, plan=PLAN, more=""):
    """A study of some participants; `lost` of them have no biopsy on treatment."""
    rows, values = ["participant_id,biopsy_id,visit,study_day"], {}
    for i in people:
        rows.append(f"P{i:02d},P{i:02d}a,screening,-7")
        values[f"P{i:02d}a"] = [BEFORE[i]]
        if i not in lost:
            rows.append(f"P{i:02d},P{i:02d}b,C2D1,29")
            values[f"P{i:02d}b"] = [AFTER[i]]
    sheet = [f"P{i:02d},{steroids.get(i, '')},2025-01-01" for i in people]
    folder = study_folder(
        path,
        biopsies="\n".join(rows) + "\n",
        participants="participant_id,steroids_day,first_dose_datetime\n" + "\n".join(sheet) + "\n",
        plan=plan.replace("STRATEGY", strategy) + more,
    )
    study = read_study(folder).with_assay("ihc", assay(values, ["score"]))
    return study, Plan.read(folder / "plan.yaml", study)


def strict(result):
    return result.table[result.table["set"] == "strict"].iloc[0]


def test_treatment_policy_keeps_every_value(tmp_path):
    row = strict(pd_change(*study_of(tmp_path / "s", "treatment_policy")))
    expected = stats.ttest_rel(AFTER, BEFORE)
    assert row["p"] == pytest.approx(expected.pvalue, rel=1e-6)
    assert row["n_pairs"] == N


@pytest.mark.parametrize("strategy", ["exclude", "hypothetical"])
def test_strategies_equal_studies_without_the_affected(tmp_path, strategy):
    """Exclude: the participants were never there. Hypothetical: their second biopsies were never taken."""
    result = pd_change(*study_of(tmp_path / "s", strategy))
    rest = tuple(i for i in range(N) if i not in {1, 4})
    other = {"exclude": {"people": rest}, "hypothetical": {"lost": (1, 4)}}[strategy]
    plain = pd_change(*study_of(tmp_path / "other", "treatment_policy", **other))
    for set_ in ("strict", "strict_pairs", "all_biopsied"):
        mine, theirs = (r.table[r.table["set"] == set_][NUMBERS].astype(float) for r in (result, plain))
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)
    assert strict(result)["n_pairs"] == 7
    assert strict(result)["n_participants"] == (7 if strategy == "exclude" else 9)


def test_every_biopsy_that_is_left_out_has_its_reason(tmp_path):
    result = pd_change(*study_of(tmp_path / "s", "exclude"))
    told = result.biopsies[(result.biopsies["set"] == "strict") & ~result.biopsies["used"]]
    reasons = dict(zip(told["biopsy_id"], told["reason"], strict=True))
    assert sorted(reasons) == ["P01a", "P01b", "P04a", "P04b"]
    assert set(told["code"]) == {"E-PLAN-014"}
    assert "steroids: on study day 20, 9 days before the biopsy" in reasons["P01b"]
    assert "steroids: on study day 28, 1 day before the biopsy" in reasons["P04b"]
    assert reasons["P01a"].startswith("The participant is left out for an event at 'C2D1'")
    pairs = result.pairs.set_index("participant_id")
    assert not pairs.loc["P01", "evaluable"]
    assert "steroids" in pairs.loc["P01", "reason"]
    flow = result.accountability
    steps = flow[flow["set"] == "strict"].set_index("step")
    assert steps.loc["evaluable pair", "n_participants"] == 7
    # The participant is left out: so is the baseline, and there the loss is told.
    assert steps.loc["screening biopsy kept despite events", "n_lost"] == 2
    assert "steroids" in steps.loc["screening biopsy kept despite events", "reason"]
    assert "left_out_for_event" not in result.study.biopsies


def test_rows_under_other_strategies_are_those_of_a_plan_that_declares_them(tmp_path):
    results = {
        s: pd_change(*study_of(tmp_path / s, s)) for s in ("treatment_policy", "hypothetical", "exclude")
    }
    for declared, result in results.items():
        rows = result.listings["estimands"]
        assert rows["strategy"].iloc[0] == declared
        assert rows["declared"].tolist() == [True, False, False]
        assert rows["n_affected"].tolist() == [2, 2, 2]
        for _, row in rows.iterrows():
            same = strict(results[row["strategy"]])
            np.testing.assert_allclose(row[NUMBERS].astype(float), same[NUMBERS].astype(float), rtol=1e-9)
        # No strategy beside the declared one carries an adjusted p.
        assert "q" not in rows


def test_an_event_that_affects_nobody_says_so(tmp_path):
    result = pd_change(*study_of(tmp_path / "s", "exclude", steroids={0: "no", 1: "-20", 3: "40"}))
    rows = result.listings["estimands"]
    assert rows["n_affected"].tolist() == [0, 0, 0]
    assert rows["note"].str.contains("every strategy reads the same").all()
    assert rows["p"].nunique() == 1
    told = result.listings["intercurrent_events"].set_index("biopsy_id")["reason"]
    assert "before the baseline biopsy; not affected" in told["P01b"]
    assert "after the biopsy; not affected" in told["P03b"]


@pytest.mark.parametrize(
    ("cell", "washout", "affected"),
    [
        ("-7", None, True),  # the day of the baseline biopsy
        ("-8", None, False),
        ("29", None, True),  # the day of the biopsy
        ("30", None, False),
        ("2025-01-20", None, True),  # day 20
        ("2025-02-09", None, False),  # day 40
        ("-20; 12;50", None, True),
        ("yes", None, True),
        ("no", None, False),
        ("15", 14, True),  # exactly the washout
        ("14", 14, False),
    ],
)
def test_an_event_counts_between_baseline_and_biopsy(tmp_path, cell, washout, affected):
    keys = "" if washout is None else f", washout_days: {washout}"
    plan = PLAN.replace("STRATEGY", f"hypothetical{keys}")
    result = pd_change(*study_of(tmp_path / "s", "", steroids={2: cell}, plan=plan))
    assert strict(result)["n_pairs"] == N - affected


def test_an_event_of_one_biopsy_leaves_the_other_of_its_visit(tmp_path):
    """Radiotherapy to one lesion: another biopsy of the visit, from another lesion, stands for it."""
    rows = ["participant_id,biopsy_id,visit,study_day,lesion_id,radiotherapy"]
    values = {}
    for i in range(4):
        rows += [f"P{i},P{i}a,screening,-7,L1,no", f"P{i},P{i}b,C2D1,29,L1,{'yes' if i == 0 else 'no'}"]
        values |= {f"P{i}a": [1.0 + i], f"P{i}b": [2.5 + 1.2 * i]}
    rows.append("P0,P0c,C2D1,30,L2,no")
    values["P0c"] = [2.2]
    plan = (
        'formula: "~ visit + (1|participant)"\ncontrasts: {on_treatment: C2D1 - screening}\n'
        "intercurrent: {radiotherapy: {column: radiotherapy, strategy: exclude}}\n"
    )
    folder = study_folder(tmp_path, biopsies="\n".join(rows) + "\n", plan=plan)
    study = read_study(folder).with_assay("ihc", assay(values, ["score"]))
    result = pd_change(study, Plan.read(folder / "plan.yaml", study))
    changes = result.changes[result.changes["set"] == "strict"].set_index("participant_id")
    assert changes.loc["P0", "on_biopsy"] == "P0c"
    assert strict(result)["n_pairs"] == 4


def test_a_column_without_a_strategy_is_told(tmp_path):
    plan = 'formula: "~ visit + (1|participant)"\ncontrasts: {on_treatment: C2D1 - screening}\n'
    result = pd_change(*study_of(tmp_path / "s", "", plan=plan))
    (problem,) = [p for p in result.provenance["problems"] if p.code == "E-PLAN-012"]
    assert (problem.file, problem.column, problem.severity) == ("participants.csv", "steroids_day", "warning")
    assert strict(result)["n_pairs"] == N
    declared = pd_change(*study_of(tmp_path / "t", "exclude"))
    assert "E-PLAN-012" not in {p.code for p in declared.provenance["problems"]}


REFUSED = [
    ("{steroids: {column: steroid_day, strategy: exclude}}", "E-PLAN-010", "steroids_day"),
    ("{steroids: {column: steroids_day, strategy: composite}}", "E-PLAN-001", "treatment_policy"),
    ("{steroids: {column: steroids_day}}", "E-PLAN-001", "missing"),
    ("{'1': {column: steroids_day, strategy: exclude}}", "E-PLAN-013", "starts with a letter"),
]


@pytest.mark.parametrize(("keys", "code", "said"), REFUSED)
def test_faulty_declarations_are_refused(tmp_path, keys, code, said):
    plan = 'formula: "~ visit + (1|participant)"\ncontrasts: {on_treatment: C2D1 - screening}\nintercurrent: '
    with pytest.raises(PlanError) as caught:
        study_of(tmp_path / "s", "", plan=plan + keys + "\n")
    assert [p.code for p in caught.value.problems] == [code]
    assert said in str(caught.value)


def test_cells_that_cannot_be_read_are_all_named(tmp_path):
    with pytest.raises(PlanError) as caught:
        study_of(tmp_path / "s", "exclude", steroids={0: "0", 3: "March", 5: "12"})
    told = [(p.code, p.file, p.row, p.value) for p in caught.value.problems]
    assert told == [
        ("E-PLAN-011", "participants.csv", 2, "0"),
        ("E-PLAN-011", "participants.csv", 5, "March"),
    ]
    with pytest.raises(PlanError, match=r"E-PLAN-013 .* of [^,]+\."):
        study_of(tmp_path / "t", "exclude, washout_days: 5", steroids={2: "12", 3: "yes"}, plan=PLAN)


def test_a_plan_with_events_reads_back_and_one_without_keeps_its_hash(tmp_path):
    study, plan = study_of(tmp_path / "s", "hypothetical, washout_days: 14")
    again = Plan.read(text(tmp_path / "again.yaml", plan.to_yaml()), study)
    assert again == plan
    assert again.hash == plan.hash
    _, other = study_of(tmp_path / "t", "exclude")
    assert other.hash != plan.hash
    plain = PLAN.split("intercurrent", maxsplit=1)[0]
    _, without = study_of(tmp_path / "u", "", plan=plain)
    assert "intercurrent" not in without.content


def test_the_estimand_names_what_makes_a_biopsy_adequate(tmp_path):
    study, plan = study_of(tmp_path / "s", "hypothetical")
    rules = {
        "viable_tumor_cells": 100,
        "necrosis_pct": {"max": 50},
        "qc_status": {"allowed": ["Pass", "Pass at Risk"]},
        "dv200": {"min": 30, "assays": ["rna"]},
    }
    adequacy = {column: AdequacyRule.read(column, facts) for column, facts in rules.items()}
    asked = dataclasses.replace(study, spec=dataclasses.replace(study.spec, adequacy=adequacy))
    assert (
        "adequate (viable_tumor_cells 100 or more; necrosis_pct 50 or less; qc_status Pass or Pass at Risk; "
        "dv200 30 or more in rna)." in estimand_of(asked, plan)["population"]
    )


def test_the_estimand_is_written_from_study_and_plan(tmp_path):
    words = pd_change(*study_of(tmp_path / "s", "hypothetical")).provenance["estimand"]
    assert list(words) == ["population", "treatment", "variable", "intercurrent_events", "summary_measure"]
    assert "TEST-1" in words["population"]
    assert "n = 9" in words["population"]
    assert "ihc:score" in words["variable"]
    assert "on_treatment = C2D1 - screening" in words["variable"]
    assert (
        "steroids: hypothetical (affected values on treatment are taken for missing"
        in (words["intercurrent_events"])
    )
    assert "difference of means (points)" in words["summary_measure"]
