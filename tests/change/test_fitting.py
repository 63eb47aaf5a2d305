"""Which model decides, moderation, and where a change is given at."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from builders import assay, study_folder

from pdbiomarker.change import pd_change
from pdbiomarker.mixed import fit
from pdbiomarker.mixed.glmm import fit_counts, fit_proportions
from pdbiomarker.mixed.moderate import squeeze_variances
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study

PAIRS = 12


@pytest.fixture
def study(tmp_path):
    rows = ["participant_id,biopsy_id,visit,dose_mg"]
    for i in range(PAIRS):
        rows += [
            f"P{i:02d},P{i:02d}{v},{visit},{10 * (1 + i % 3)}" for v, visit in (("a", "Pre"), ("b", "On"))
        ]
    plan = 'formula: "~ visit + (1|participant)"\ncontrasts: {on: On - Pre}\n'
    folder = study_folder(
        tmp_path, biopsies="\n".join(rows) + "\n", study="id: T\nvisits: {Pre: {}, On: {}}\n", plan=plan
    )
    return read_study(folder)


def plan_of(tmp_path, study, **changes):
    return dataclasses.replace(Plan.read(tmp_path / "plan.yaml", study), **changes)


def cells(rng, mean, area):
    """Counts of 24 biopsies with a participant effect: (biopsy -> [count]), (biopsy -> [area])."""
    level = np.exp(rng.normal(0, 0.5, PAIRS))
    counts, areas = {}, {}
    for i in range(PAIRS):
        for k, v in enumerate("ab"):
            biopsy = f"P{i:02d}{v}"
            areas[biopsy] = [area[k]]
            counts[biopsy] = [float(rng.poisson(mean * area[k] * level[i]))]
    return counts, areas


def strict(result):
    return result.table.query("set == 'strict'").iloc[0]


def test_few_cells_are_left_to_the_negative_binomial_model(tmp_path, study):
    """A density that does not change while the area shrinks from 8 to 2 mm2: log2 would see a rise."""
    counts, areas = cells(np.random.default_rng(3), 1.0, (8.0, 2.0))
    density = {b: [counts[b][0] / areas[b][0]] for b in counts}
    study = study.with_assay(
        "ihc", assay(density, ["CD8_density_tissue"], kind="density", numerator=counts, denominator=areas)
    )
    row = strict(pd_change(study, plan_of(tmp_path, study)))
    assert (row["model"], row["df_method"], row["df"]) == ("negative binomial mixed", "pairs - 1", PAIRS - 1)
    order = list(counts)
    X = np.column_stack([np.ones(24), [b.endswith("b") for b in order]]).astype(float)
    expected = fit_counts(
        np.array([counts[b][0] for b in order]),
        X,
        [b[:3] for b in order],
        offset=np.log([areas[b][0] for b in order]),
        contrasts=[[0.0, 1.0]],
    )
    assert row["estimate"] == pytest.approx(expected.estimate[0, 0] / np.log(2), rel=1e-6)
    assert row["p"] == pytest.approx(expected.p[0, 0], rel=1e-5)
    assert row["effect_low"] == pytest.approx(2 ** row["ci_low"], rel=1e-12)
    assert "count" in row["note"]


def test_many_cells_are_left_to_the_linear_model(tmp_path, study):
    counts, areas = cells(np.random.default_rng(4), 100.0, (2.0, 2.0))
    density = {b: [counts[b][0] / areas[b][0]] for b in counts}
    study = study.with_assay(
        "ihc", assay(density, ["CD8_density_tissue"], kind="density", numerator=counts, denominator=areas)
    )
    row = strict(pd_change(study, plan_of(tmp_path, study)))
    assert (row["model"], row["df_method"]) == ("linear mixed", "kenward-roger")


def test_proportions_of_few_cells_are_left_to_the_beta_binomial_model(tmp_path, study):
    rng = np.random.default_rng(5)
    of = {f"P{i:02d}{v}": [float(rng.integers(8, 40))] for i in range(PAIRS) for v in "ab"}
    k = {b: [float(rng.binomial(int(n[0]), 0.08))] for b, n in of.items()}
    share = {b: [k[b][0] / of[b][0]] for b in of}
    study = study.with_assay(
        "ihc", assay(share, ["Ki67_pct_tissue"], kind="proportion", numerator=k, denominator=of)
    )
    row = strict(pd_change(study, plan_of(tmp_path, study)))
    X = np.column_stack([np.ones(24), [b.endswith("b") for b in of]]).astype(float)
    expected = fit_proportions(
        [v[0] for v in k.values()],
        X,
        [b[:3] for b in of],
        n=[v[0] for v in of.values()],
        contrasts=[[0.0, 1.0]],
    )
    assert row["model"] == "beta-binomial mixed"
    assert row["estimate"] == pytest.approx(expected.estimate[0, 0], rel=1e-6)
    assert row["effect"] == pytest.approx(np.exp(row["estimate"]), rel=1e-12)


def genes(rng, n=300):
    """Negative binomial counts, biopsy -> values."""
    base = np.exp(rng.normal(5, 1, n))
    out = {}
    for i in range(PAIRS):
        level = base * np.exp(rng.normal(0, 0.4, n))
        for v in "ab":
            out[f"P{i:02d}{v}"] = list(rng.poisson(level * rng.gamma(5, 0.2, n)).astype(float))
    return out


def test_genes_are_moderated_and_can_be_left_alone(tmp_path, study):
    """By hand from the unmoderated rows: s2 -> (d0 s0 + df s2)/(d0 + df), df -> df + d0."""
    values = genes(np.random.default_rng(6))
    study = study.with_assay("rna", assay(values, [f"G{i:03d}" for i in range(300)], kind="count"))
    plan = plan_of(tmp_path, study)
    table = pd_change(study, plan).table
    plain = pd_change(study, dataclasses.replace(plan, moderation=False)).table
    assert set(plain["model"]) == {"linear mixed"}
    fitted = plain["status"].isin(["ok", "singular"])
    assert fitted.sum() > 250
    table, plain = table[fitted], plain[fitted]
    assert set(table["model"]) == {"linear mixed, moderated"}
    prior = squeeze_variances(plain["var_residual"], plain["df"], definition="limma-3.62")
    np.testing.assert_allclose(table["df"], plain["df"] + prior.df_prior, rtol=1e-9)
    np.testing.assert_allclose(
        table["se"], plain["se"] * np.sqrt(prior.s2_post / plain["var_residual"]), rtol=1e-9
    )
    np.testing.assert_array_equal(table["estimate"], plain["estimate"])
    assert (table["df"] > plain["df"]).all()


def test_an_interaction_says_where_the_change_is_given(tmp_path, study):
    rng = np.random.default_rng(7)
    values = {f"P{i:02d}{v}": [float(rng.normal())] for i in range(PAIRS) for v in "ab"}
    study = study.with_assay("ihc", assay(values, ["f"]))
    plan = plan_of(tmp_path, study, formula="~ visit * dose_mg + (1|participant)")
    row = strict(pd_change(study, plan))
    assert "the change at dose_mg = 20 (its mean)" in row["note"]
    dose = np.repeat([10.0 * (1 + i % 3) for i in range(PAIRS)], 2)
    on = np.tile([0.0, 1.0], PAIRS)
    X = np.column_stack([np.ones(24), on, dose, on * dose])
    expected = fit(
        [[v[0] for v in values.values()]],
        X,
        [b[:3] for b in values],
        contrasts=[[0, 1, 0, 20]],
        allow_negative_icc=True,
    )
    assert row["estimate"] == pytest.approx(expected.estimate[0, 0], rel=1e-9)
    assert row["p"] == pytest.approx(expected.p[0, 0], rel=1e-9)
    fixed = plan_of(tmp_path, study, formula=plan.formula, contrasts={"on": "On - Pre at dose_mg = 10"})
    assert "dose_mg = 10" in strict(pd_change(study, fixed))["note"]


def test_a_density_without_counts_keeps_the_linear_model_and_says_so(tmp_path, study):
    rng = np.random.default_rng(8)
    density = {f"P{i:02d}{v}": [float(rng.lognormal(3))] for i in range(PAIRS) for v in "ab"}
    unknown = {b: [np.nan] for b in density}
    study = study.with_assay(
        "ihc", assay(density, ["CD8_density_tissue"], kind="density", numerator=unknown, denominator=unknown)
    )
    row = strict(pd_change(study, plan_of(tmp_path, study)))
    assert (row["model"], row["status"]) == ("linear mixed", "ok")
    assert row["note"] == "no cell counts beside the density: counting error is not known"


def test_few_cells_are_not_permuted(tmp_path, study):
    """Sign flips of log densities would see a rise where only the area shrinks."""
    counts, areas = cells(np.random.default_rng(3), 0.3, (8.0, 2.0))
    density = {b: [counts[b][0] / areas[b][0]] for b in counts}
    study = study.with_assay(
        "ihc", assay(density, ["CD8_density_tissue"], kind="density", numerator=counts, denominator=areas)
    )
    plan = plan_of(tmp_path, study)
    model = strict(pd_change(study, plan))
    row = strict(pd_change(study, dataclasses.replace(plan, ddf="permutation")))
    assert (row["model"], row["df_method"]) == ("negative binomial mixed", "permutation")
    assert row["estimate"] == model["estimate"]
    assert np.isnan(row["p"])
    assert "no sign-flip test" in row["note"]
