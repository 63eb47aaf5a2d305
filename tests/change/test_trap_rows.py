"""Traps of a paired change that a careful reviewer tries: percentages, families, small n, dose and lot."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from builders import assay, study_folder
from scipy import stats

from pdbiomarker.change import pd_change
from pdbiomarker.mixed.adjust import adjust
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study

STUDY = "id: T\nvisits: {Pre: {}, Early: {}, On: {}}\n"


def study_of(path, values, *, visits=("Pre", "On"), plan="contrasts: {on: On - Pre}\n", people="", **options):
    """A study of (participants, visits, features) values; participants P00, P01 ..., biopsies P00Pre ..."""
    values = np.asarray(values, dtype=float)
    rows, cells = ["participant_id,biopsy_id,visit" + options.pop("header", "")], {}
    extra = options.pop("extra", lambda i, visit: "")
    for i, person in enumerate(values):
        for visit, row in zip(visits, person, strict=True):
            rows.append(f"P{i:02d},P{i:02d}{visit},{visit}{extra(i, visit)}")
            cells[f"P{i:02d}{visit}"] = row.tolist()
    folder = study_folder(path, biopsies="\n".join(rows) + "\n", study=STUDY, plan=plan, participants=people)
    features = [f"f{j}" for j in range(values.shape[2])]
    layers = {}
    if "numerator" in options:
        layers = {
            name: dict(zip(cells, np.asarray(options[name]).reshape(len(cells), -1), strict=True))
            for name in ("numerator", "denominator")
        }
    study = read_study(folder).with_assay(
        "ihc", assay(cells, features, kind=options.get("kind", "score"), **layers)
    )
    return study, Plan.read(folder / "plan.yaml", study)


def strict(result):
    return result.table[result.table["set"] == "strict"]


def test_trap_05_a_doubling_and_a_halving_are_no_change(tmp_path):
    """The mean percentage change of x2 and x1/2 is +25 %; the ratio of geometric means is 1."""
    cells = np.tile([[4000.0, 8000.0], [8000.0, 4000.0]], (4, 1))
    area = np.full_like(cells, 2.0)
    study, plan = study_of(
        tmp_path, (cells / area)[:, :, None], kind="density", numerator=cells, denominator=area
    )
    result = pd_change(study, plan)
    row = strict(result).iloc[0]
    assert np.mean(cells[:, 1] / cells[:, 0] - 1) == pytest.approx(0.25)
    assert row["effect"] == pytest.approx(1.0, abs=1e-12)
    assert row["effect_unit"] == "ratio of geometric means"
    assert row["p"] == pytest.approx(1.0, abs=1e-6)
    # No table of the result holds a percentage change.
    for table in (result.table, result.changes, result.robustness):
        assert not [c for c in table.columns if "pct" in c or "percent" in c]


def test_trap_05_a_baseline_of_zero_cells_has_a_finite_change(tmp_path):
    """log2((12 + 1/2)/2) - log2((0 + 1/2)/1) by hand; a percentage would be infinite."""
    cells = np.array([[0.0, 12.0], [30.0, 66.0], [25.0, 40.0], [18.0, 52.0], [40.0, 70.0]])
    area = np.tile([1.0, 2.0], (5, 1))
    study, plan = study_of(
        tmp_path, (cells / area)[:, :, None], kind="density", numerator=cells, denominator=area
    )
    changes = pd_change(study, plan).changes
    mine = changes[(changes["set"] == "strict") & (changes["participant_id"] == "P00")].iloc[0]
    assert mine["baseline_value"] == 0
    assert mine["change"] == pytest.approx(np.log2(12.5 / 2) - np.log2(0.5))
    assert mine["ratio"] == pytest.approx(12.5)
    assert np.isfinite(changes["ratio"]).all()


def family_study(path, *, seed=4):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(8, 3, 4)) + np.array([0.0, 0.8, 1.2])[None, :, None]
    plan = (
        "contrasts: {early: Early - Pre, on: On - Pre}\n"
        "families: {primary: ['ihc:f0', 'ihc:f1'], rest: ['ihc:f2', 'ihc:f3']}\n"
    )
    return study_of(path, values, visits=("Pre", "Early", "On"), plan=plan)


def test_trap_18_the_primary_family_spans_features_and_contrasts_in_one_set(tmp_path):
    """Holm over 2 features x 2 contrasts by hand; Benjamini-Hochberg of the others within each contrast."""
    table = pd_change(*family_study(tmp_path)).table
    primary = table[(table["set"] == "strict") & (table["family"] == "primary")]
    assert len(primary) == 4
    order = np.argsort(primary["p"].to_numpy())
    expected = np.empty(4)
    expected[order] = np.minimum(1, np.maximum.accumulate(primary["p"].to_numpy()[order] * [4, 3, 2, 1]))
    np.testing.assert_allclose(primary["q"], expected, rtol=1e-12)
    assert set(primary["n_tests"]) == {4}
    rest = table[(table["set"] == "strict") & (table["family"] == "rest")]
    for _, rows in rest.groupby("contrast"):
        np.testing.assert_allclose(rows["q"], stats.false_discovery_control(rows["p"]), rtol=1e-12)


def test_trap_18_only_the_primary_set_carries_adjusted_p(tmp_path):
    result = pd_change(*family_study(tmp_path))
    other = result.table[result.table["set"] != "strict"]
    assert len(other)
    assert other["q"].isna().all()
    assert set(other["adjustment"]) == {"none: sensitivity"}
    assert other["p"].notna().all()
    assert not {"q", "adjusted_p"} & {*result.robustness.columns, *result.listings["estimands"].columns}


def test_trap_18_holm_within_each_contrast_would_not_hold_the_level():
    """Null, 2,000 families of 2 features x 8 contrasts: adjusted together at most .05, apart about .34."""
    rng = np.random.default_rng(18)
    together = apart = 0
    for _ in range(2000):
        p = rng.uniform(size=(8, 2))
        together += bool((adjust(p.ravel(), "holm").p <= 0.05).any())
        apart += any((adjust(row, "holm").p <= 0.05).any() for row in p)
    # Holm and Bonferroni: 1 - (1 - .05 / 16)^16 = .0488; 1 - (1 - .05 / 2)^16 = .333.
    assert together / 2000 == pytest.approx(1 - (1 - 0.05 / 16) ** 16, abs=0.015)
    assert apart / 2000 == pytest.approx(1 - (1 - 0.05 / 2) ** 16, abs=0.032)


def test_trap_18_which_genes_are_tested_does_not_look_at_the_change(tmp_path):
    """Visits exchanged within half of the participants: other changes, the same genes tested."""
    rng = np.random.default_rng(8)
    mean = np.r_[np.full(20, 0.3), np.full(20, 8.0), np.full(40, 300.0)]
    counts = rng.poisson(mean, size=(6, 2, 80)).astype(float)
    counts[:, 1, 20:30] *= 6  # some genes change greatly, and would pass a filter on the change
    swapped = counts.copy()
    swapped[:3] = swapped[:3, ::-1]
    tested = []
    for name, values in (("a", counts), ("b", swapped)):
        rows = strict(pd_change(*study_of(tmp_path / name, values, kind="count")))
        tested.append((rows["status"] != "excluded").tolist())
        assert rows.loc[rows["status"] == "excluded", ["p", "q"]].isna().all(axis=None)
    assert tested[0] == tested[1]
    assert 0 < sum(tested[0]) < 80


def test_trap_31_five_pairs_cannot_reach_05_exactly(tmp_path):
    """Five equal signs: 2 / 2^5 = .0625, however large the change; the t-test alone would say .0000..."""
    before = np.array([1.0, 1.4, 0.8, 1.1, 1.3])
    after = before + np.array([9.0, 9.1, 8.9, 9.2, 9.05])
    study, plan = study_of(tmp_path, np.stack([before, after], axis=1)[:, :, None])
    result = pd_change(study, plan)
    assert strict(result)["p"].iloc[0] < 1e-6
    row = result.robustness.iloc[0]
    assert row["sign_flip_p"] == row["sign_flip_smallest_p"] == 2 / 2**5
    assert row["signed_rank_p"] == row["signed_rank_smallest_p"] == 2 / 2**5
    exact = pd_change(study, dataclasses.replace(plan, ddf="permutation"))
    assert strict(exact)["p"].iloc[0] == 2 / 2**5


def test_trap_30_dose_levels_of_one_lot_each_are_not_told_apart_from_it(tmp_path):
    """Each dose was stained with a lot of its own: with the lot in the model the doses have no estimate."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(6, 2, 1))
    people = "participant_id,dose_mg\n" + "".join(f"P{i:02d},{1 if i < 3 else 10}\n" for i in range(6))
    plan = (
        'formula: "~ visit + C(dose_mg) + lot + (1|participant)"\n'
        "contrasts: {doses: 'dose_mg: 10 - 1 at On', on: On - Pre}\n"
    )
    study, plan = study_of(
        tmp_path, values, plan=plan, people=people, header=",lot",
        extra=lambda i, visit: f",{'A' if i < 3 else 'B'}",
    )  # fmt: skip
    rows = strict(pd_change(study, plan)).set_index("contrast")
    assert rows.loc["doses", "status"] == "not_estimable"
    assert pd.isna(rows.loc["doses", "p"])
    # The change within participants is not touched by what differs between them.
    assert rows.loc["on", "status"] in {"ok", "singular"}
    change = values[:, 1, 0] - values[:, 0, 0]
    assert rows.loc["on", "estimate"] == pytest.approx(change.mean(), rel=1e-6)
