"""Exact tests, influence and bootstrap beside the model: against scipy, brute force and refits by hand."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from builders import assay, study_folder
from scipy import stats

from pdbiomarker.change import ROBUSTNESS_COLUMNS, pd_change
from pdbiomarker.mixed import fit
from pdbiomarker.mixed.glmm import fit_counts
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study

PAIRS = 8


def study_of(tmp_path, values, *, kind="score", single=(), people=PAIRS, **layers):
    """Participants with both visits, but those in `single`, who lack the second."""
    rows = ["participant_id,biopsy_id,visit,dose_mg"]
    for i in range(people):
        for v, visit in (("a", "Pre"), ("b", "On")):
            if v == "a" or i not in single:
                rows.append(f"P{i:02d},P{i:02d}{v},{visit},{1 + i % 3}")
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study="id: T\nvisits: {Pre: {}, On: {}}\n",
        plan="contrasts: {on: On - Pre}\n",
    )
    study = read_study(folder)
    keep = {b: v for b, v in values.items() if b in study.biopsies.index}
    names = [f"f{j}" for j in range(len(next(iter(values.values()))))]
    tables = {k: {b: t[b] for b in keep} for k, t in layers.items()}
    return study.with_assay("ihc", assay(keep, names, kind=kind, **tables))


def normal(seed, features=3, people=PAIRS):
    rng = np.random.default_rng(seed)
    out = {}
    for i in range(people):
        level = rng.normal(size=features)
        for v in "ab":
            out[f"P{i:02d}{v}"] = list(level + 0.7 * rng.normal(size=features) + 0.6 * (v == "b"))
    return out


def changes_of(values, people=PAIRS):
    return np.array([np.subtract(values[f"P{i:02d}b"], values[f"P{i:02d}a"]) for i in range(people)])


def test_exact_tests_equal_enumeration_and_scipy(tmp_path):
    values = normal(1)
    study = study_of(tmp_path, values)
    result = pd_change(study, Plan.default(study))
    assert list(result.robustness.columns) == list(ROBUSTNESS_COLUMNS)
    assert len(result.robustness) == 3
    d = changes_of(values)
    for j, row in result.robustness.iterrows():
        signs = np.array(list(itertools.product([-1, 1], repeat=PAIRS)))
        sums = np.abs(signs @ np.abs(d[:, j]))
        expected = (sums >= abs(d[:, j].sum()) - 1e-12).mean()
        assert row["sign_flip_p"] == pytest.approx(expected, rel=1e-12)
        assert row["signed_rank_p"] == pytest.approx(
            stats.wilcoxon(d[:, j], method="exact").pvalue, rel=1e-12
        )
        assert row["sign_flip_smallest_p"] == row["signed_rank_smallest_p"] == 2 / 2**PAIRS
        assert (row["sign_flip_method"], row["signed_rank_method"], row["zeros"]) == (
            "exact",
            "exact",
            "wilcox",
        )
        assert row["mean_change"] == pytest.approx(d[:, j].mean(), rel=1e-12)
        assert row["bootstrap_low"] < row["mean_change"] < row["bootstrap_high"]
        assert row["note"].startswith("bootstrap: secondary figure")


def test_without_each_participant_equals_the_paired_t_test_without_him(tmp_path):
    values = normal(2)
    study = study_of(tmp_path, values)
    robust = pd_change(study, Plan.default(study)).robustness
    d = changes_of(values)
    for j, row in robust.iterrows():
        without = np.array([np.delete(d[:, j], i).mean() for i in range(PAIRS)])
        p = [stats.ttest_1samp(np.delete(d[:, j], i), 0).pvalue for i in range(PAIRS)]
        assert (row["without_low"], row["without_high"]) == (
            pytest.approx(without.min(), rel=1e-9),
            pytest.approx(without.max(), rel=1e-9),
        )
        assert row["without_largest_p"] == pytest.approx(max(p), rel=1e-6)
        most = int(np.argmax(np.abs(without - d[:, j].mean())))
        assert row["moves_most"] == f"P{most:02d}"
        assert row["without_moves_most"] == pytest.approx(without[most], rel=1e-9)
        assert row["without_model"] == "linear mixed"


def test_an_unpaired_participant_moves_the_model_too(tmp_path):
    """Refits of the model with a covariate, one participant with a single visit, by hand."""
    values = normal(3)
    study = study_of(tmp_path, values, single=(2,))
    plan = dataclasses.replace(Plan.default(study), formula="~ visit * dose_mg + (1|participant)")
    row = pd_change(study, plan).robustness.iloc[0]
    names = sorted(study.biopsies.index)
    person = np.array([b[:3] for b in names])
    on = np.array([b.endswith("b") for b in names]).astype(float)
    dose = np.array([1 + int(b[1:3]) % 3 for b in names], dtype=float)
    y = np.array([values[b][0] for b in names])
    X = np.column_stack([np.ones(len(y)), on, dose, on * dose])
    L = [[0.0, 1.0, 0.0, dose.mean()]]  # at the mean dose of all biopsies
    found = []
    for who in sorted(set(person)):
        keep = person != who
        complete = who == "P02"
        found.append(
            fit([y[keep]], X[keep], person[keep], contrasts=L, allow_negative_icc=complete).estimate[0, 0]
        )
    assert row["without_low"] == pytest.approx(min(found), rel=1e-8)
    assert row["without_high"] == pytest.approx(max(found), rel=1e-8)
    assert np.isnan(row["sign_flip_p"])
    assert "the contrast is not the mean of the changes" in row["note"]


def test_count_models_of_primary_features_are_refitted(tmp_path):
    rng = np.random.default_rng(4)
    area = {f"P{i:02d}{v}": [2.0, 2.0] for i in range(PAIRS) for v in "ab"}
    cells = {b: [float(rng.poisson(4)), float(rng.poisson(4))] for b in area}
    density = {b: list(np.divide(cells[b], area[b])) for b in area}
    study = study_of(tmp_path, density, kind="density", numerator=cells, denominator=area)
    plan = dataclasses.replace(
        Plan.default(study), families={"primary": ("ihc:f0",)}, adjust={"primary": "holm"}
    )
    robust = pd_change(study, plan).robustness.set_index("feature")
    row = robust.loc["f0"]
    assert row["without_model"] == "negative binomial mixed"
    names = sorted(area)
    X = np.column_stack([np.ones(len(names)), [b.endswith("b") for b in names]]).astype(float)
    without = []
    for i in range(PAIRS):
        keep = np.array([not b.startswith(f"P{i:02d}") for b in names])
        y = np.array([cells[b][0] for b in names])[keep]
        one = fit_counts(y, X[keep], np.array([b[:3] for b in names])[keep], contrasts=[[0.0, 1.0]])
        without.append(one.estimate[0, 0] / np.log(2))
    assert row["without_low"] == pytest.approx(min(without), rel=1e-5)
    assert row["without_effect_high"] == pytest.approx(2 ** max(without), rel=1e-5)
    assert np.isnan(robust.loc["f1", "without_low"])
    assert "not refitted without each participant" in robust.loc["f1", "note"]


def test_many_pairs_are_sampled_with_the_seed_of_the_plan(tmp_path):
    values = normal(5, features=1, people=22)
    study = study_of(tmp_path, values, people=22)
    plan = Plan.default(study)
    first, again, other = (
        pd_change(study, dataclasses.replace(plan, seed=seed)).robustness.iloc[0] for seed in (1, 1, 2)
    )
    assert first["sign_flip_method"] == "monte-carlo"
    assert first["sign_flip_smallest_p"] == pytest.approx(1 / 100_001)
    pd.testing.assert_series_equal(first, again)
    assert first["bootstrap_low"] != other["bootstrap_low"]
    assert first["note"] == ""  # twenty pairs are enough for a bootstrap without caution


def test_permutation_may_decide(tmp_path):
    values = normal(6)
    study = study_of(tmp_path, values, single=(2,))
    plan = dataclasses.replace(Plan.default(study), ddf="permutation")
    result = pd_change(study, plan)
    table = result.table[result.table["set"] == "strict"].reset_index(drop=True)
    d = np.delete(changes_of(values), 2, axis=0)
    np.testing.assert_allclose(table["estimate"], d.mean(axis=0), rtol=1e-10)
    np.testing.assert_array_equal(table["p"], result.robustness["sign_flip_p"])
    assert set(table["df_method"]) == {"permutation"}
    low = stats.ttest_1samp(d, 0).confidence_interval(0.95).low
    np.testing.assert_allclose(table["ci_low"], low, rtol=1e-8)
    assert table["note"].str.contains("p of all sign flips of 7 changes, smallest attainable 0.0156").all()
    held = dataclasses.replace(plan, formula="~ visit * dose_mg + (1|participant)")
    lost = pd_change(study, held).table
    assert lost["p"].isna().all()
    assert lost["note"].str.contains("no sign-flip test").all()


def test_the_order_of_rows_and_other_features_move_nothing(tmp_path):
    values = normal(7)
    study = study_of(tmp_path, values)
    turned = study.with_assay("ihc", study.assays["ihc"][::-1, ::-1].copy())
    plan = Plan.default(study)
    first = pd_change(study, plan).robustness.set_index("feature")
    second = pd_change(turned, plan).robustness.set_index("feature").loc[first.index]
    pd.testing.assert_frame_equal(first, second, rtol=1e-12)


def test_large_assays_have_no_robustness(tmp_path):
    rng = np.random.default_rng(8)
    values = {f"P{i:02d}{v}": list(rng.normal(size=201)) for i in range(PAIRS) for v in "ab"}
    study = study_of(tmp_path, values)
    result = pd_change(study, Plan.default(study))
    assert len(result.robustness) == 0
    assert list(result.robustness.columns) == list(ROBUSTNESS_COLUMNS)


def test_permutation_of_equal_changes_has_no_interval(tmp_path):
    values = normal(9, features=2)
    for i in range(PAIRS):
        values[f"P{i:02d}b"][0] = values[f"P{i:02d}a"][0] + 1.5
    study = study_of(tmp_path, values)
    result = pd_change(study, dataclasses.replace(Plan.default(study), ddf="permutation"))
    row = result.table[result.table["set"] == "strict"].iloc[0]
    assert row["p"] == 2 / 2**PAIRS
    assert np.isnan([row["se"], row["t"], row["df"], row["ci_low"], row["ci_high"]]).all()
    assert "no interval: all changes are equal" in row["note"]


def test_permutation_is_repeated_without_each_participant(tmp_path):
    """What decided is the mean of the changes: the unpaired biopsy of P02 has no part in it."""
    values = normal(10)
    study = study_of(tmp_path, values, single=(2,))
    result = pd_change(study, dataclasses.replace(Plan.default(study), ddf="permutation"))
    d = np.delete(changes_of(values), 2, axis=0)
    n = len(d)
    rest = np.array([np.delete(d, k, axis=0).mean(axis=0) for k in range(n)])
    signs = np.array(list(itertools.product([-1, 1], repeat=n - 1)))
    p = [
        [(np.abs(signs @ x) >= np.abs(x.sum()) * (1 - 1e-12)).mean() for x in np.delete(d, k, axis=0).T]
        for k in range(n)
    ]
    robust = result.robustness
    assert set(robust["without_model"]) == {"sign-flip test of changes"}
    np.testing.assert_allclose(robust["without_low"], rest.min(axis=0), rtol=1e-10)
    np.testing.assert_allclose(robust["without_high"], rest.max(axis=0), rtol=1e-10)
    np.testing.assert_allclose(robust["without_largest_p"], np.max(p, axis=0), rtol=1e-10)
