"""Contrasts of one visit, two visits and more: against least squares, t-tests and marginal means by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from builders import assay, study_folder
from scipy import stats

from pdbiomarker.change import pd_change
from pdbiomarker.errors import PlanError
from pdbiomarker.formula import contrast_vector, design_matrix, parse, parse_contrast
from pdbiomarker.mixed import fit
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study

VISITS = ("screening", "C1D15", "C2D1")
PEOPLE = 12


@pytest.fixture
def study(tmp_path):
    """Twelve participants at doses 1, 3, 10 and two cohorts; three visits; P03 lacks C1D15, P07 C2D1."""
    rng = np.random.default_rng(11)
    people = ["participant_id,dose_mg,cohort"]
    rows, values = ["participant_id,biopsy_id,visit"], {}
    for i in range(PEOPLE):
        dose, cohort = (1, 3, 10)[i % 3], "AB"[(i // 3) % 2]
        people.append(f"P{i:02d},{dose},{cohort}")
        level = rng.normal(size=4)
        for k, visit in enumerate(VISITS):
            if (i, visit) in {(3, "C1D15"), (7, "C2D1")}:
                continue
            rows.append(f"P{i:02d},P{i:02d}v{k},{visit}")
            values[f"P{i:02d}v{k}"] = list(level + 0.5 * rng.normal(size=4) + 0.1 * k * dose)
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        participants="\n".join(people) + "\n",
        study="id: T\nvisits: {screening: {}, C1D15: {}, C2D1: {}}\n",
        plan="contrasts: {a: C2D1 - screening}\n",
    )
    return read_study(folder).with_assay("ihc", assay(values, [f"f{j}" for j in range(4)]))


def answer(study, formula, contrasts, **changes):
    plan = dataclasses.replace(Plan.default(study), formula=formula, contrasts=contrasts, **changes)
    result = pd_change(study, plan)
    return result, result.table[result.table["set"] == "strict"].reset_index(drop=True)


def frame_of(study, visits):
    table = study.biopsies.loc[sorted(study.assays["ihc"].obs_names)]
    table = table[table["visit"].isin(visits)]
    people = study.participants.loc[table["participant_id"]]
    table = table.assign(
        participant=table["participant_id"],
        dose_mg=people["dose_mg"].to_numpy(),
        cohort=people["cohort"].to_numpy(),
    )
    return table, np.asarray(study.assays["ihc"][table.index.to_numpy()].X).T


def test_doses_at_a_visit_are_compared_by_least_squares_on_its_biopsies(study):
    _, found = answer(study, "~ visit * dose_mg + cohort + (1|participant)", {"x": "dose_mg: 10 - 3 at C2D1"})
    table, y = frame_of(study, ["C2D1"])
    X = np.column_stack([np.ones(len(table)), table["dose_mg"], table["cohort"] == "B"]).astype(float)
    for j, row in found.iterrows():
        b, rest, _, _ = np.linalg.lstsq(X, y[j], rcond=None)
        df = len(X) - 3
        se = 7 * np.sqrt(rest[0] / df * np.linalg.inv(X.T @ X)[1, 1])
        assert row["estimate"] == pytest.approx(7 * b[1], rel=1e-9)
        assert row["se"] == pytest.approx(se, rel=1e-9)
        assert (row["df"], row["df_method"], row["model"]) == (df, "residual", "linear")
        assert row["p"] == pytest.approx(2 * stats.t.sf(abs(7 * b[1] / se), df), rel=1e-8)
    assert found["n_pairs"].isna().all()
    assert (found["n_biopsies"] == 11).all()
    assert found["note"].tolist() == ["fitted on the biopsies of C2D1 alone, without a participant term"] * 4


@pytest.mark.parametrize(
    "text",
    [
        "(C2D1 - screening at dose_mg = 10) - (C2D1 - screening at dose_mg = 3)",
        "C2D1 - screening at dose_mg = 10",
        "(C2D1 at dose_mg = 10) - (screening at dose_mg = 3)",
    ],
)
def test_contrasts_over_two_visits_are_fitted_on_those_two(study, text):
    formula = "~ visit * dose_mg + (1|participant)"
    _, found = answer(study, formula, {"x": text})
    table, y = frame_of(study, ["screening", "C2D1"])
    design = design_matrix(parse(formula), table, levels={"visit": ["screening", "C2D1"]})
    vector = contrast_vector(design, table, text)
    expected = fit(y, design.matrix, table["participant"].to_numpy(dtype=str), contrasts=[vector])
    np.testing.assert_allclose(found["estimate"], expected.estimate[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found["p"], expected.p[:, 0], rtol=1e-8)
    assert (found["n_pairs"] == 11).all()
    assert (found["n_biopsies"] == 23).all()
    if not text.startswith("C2D1"):
        assert found["note"].str.contains("fitted on screening and C2D1").all()


def test_the_mean_of_two_visits_is_a_t_test_of_everybodys_own_contrast(study):
    result, found = answer(
        study, "~ visit + (1|participant)", {"x": "(C1D15 + C2D1)/2 - screening", "y": "C1D15 - screening"}
    )
    found = found[found["contrast"] == "x"].reset_index(drop=True)
    table, y = frame_of(study, VISITS)
    own = []
    for _, rows in table.assign(at=range(len(table))).groupby("participant"):
        at = dict(zip(rows["visit"], rows["at"], strict=True))
        if len(at) == 3:
            own.append((y[:, at["C1D15"]] + y[:, at["C2D1"]]) / 2 - y[:, at["screening"]])
    z = np.array(own)
    expected = stats.ttest_1samp(z, 0.0)
    np.testing.assert_allclose(found["estimate"], z.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found["t"], expected.statistic, rtol=1e-9)
    np.testing.assert_allclose(found["p"], expected.pvalue, rtol=1e-8)
    assert found["df"].tolist() == [9.0] * 4
    assert (found["n_pairs"] == 10).all()
    assert found["note"].str.contains("who has screening, C1D15 and C2D1: their weighted sum").all()
    one = result.changes.query("contrast == 'x' and feature == 'f0' and set == 'strict'")
    np.testing.assert_allclose(sorted(one["change"]), sorted(z[:, 0]), rtol=1e-9)
    assert one["baseline_value"].notna().all()
    assert one["on_value"].isna().all()  # two visits have no one value
    robust = result.robustness.query("contrast == 'x'").iloc[0]
    assert robust["mean_change"] == pytest.approx(z[:, 0].mean(), rel=1e-9)


def test_three_visits_with_doses_are_a_regression_of_everybodys_own_contrast(study):
    text = "((C1D15 + C2D1)/2 - screening at dose_mg = 10) - ((C1D15 + C2D1)/2 - screening at dose_mg = 3)"
    result, found = answer(study, "~ visit * dose_mg + cohort + (1|participant)", {"x": text})
    table, y = frame_of(study, VISITS)
    z, dose = [], []
    for _, rows in table.assign(at=range(len(table))).groupby("participant"):
        at = dict(zip(rows["visit"], rows["at"], strict=True))
        if len(at) == 3:
            z.append((y[:, at["C1D15"]] + y[:, at["C2D1"]]) / 2 - y[:, at["screening"]])
            dose.append(rows["dose_mg"].iloc[0])
    line = [stats.linregress(dose, column) for column in np.array(z).T]
    np.testing.assert_allclose(found["estimate"], [7 * one.slope for one in line], rtol=1e-8)
    np.testing.assert_allclose(found["p"], [one.pvalue for one in line], rtol=1e-7)
    assert (found["model"] == "linear on weighted sums").all()
    robust = result.robustness.iloc[0]
    assert np.isnan(robust["sign_flip_p"])
    assert "not the mean of the changes" in robust["note"]


def test_a_late_heterogeneity_does_not_spoil_a_contrast_of_three_visits(tmp_path):
    """2,000 null features, slope SD 1 at the last of three visits: .05 within three standard errors."""
    rng = np.random.default_rng(5)
    n, features = 12, 2000
    rows, values = ["participant_id,biopsy_id,visit"], {}
    for i in range(n):
        level = rng.normal(size=features)
        for k, visit in enumerate(VISITS):
            late = rng.normal(size=features) if k == 2 else 0.0
            rows.append(f"P{i:02d},P{i:02d}v{k},{visit}")
            values[f"P{i:02d}v{k}"] = list(level + 0.7 * rng.normal(size=features) + late)
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study="id: T\nvisits: {screening: {}, C1D15: {}, C2D1: {}}\n",
        plan="contrasts: {mean: (C1D15 + C2D1)/2 - screening, late: C2D1 - screening}\n",
    )
    study = read_study(folder).with_assay("ihc", assay(values, [f"f{j}" for j in range(features)]))
    table = pd_change(study, Plan.read(folder / "plan.yaml", study)).table
    for contrast in ("mean", "late"):
        rate = (table.loc[table["contrast"] == contrast, "p"] < 0.05).mean()
        assert rate == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / features))


def test_cohorts_over_two_visits_are_compared_between_participants(study):
    """Complete pairs: the t-test of the participants' means, exactly."""
    two = dataclasses.replace(
        study,
        spec=dataclasses.replace(study.spec, visits=tuple(v for v in study.spec.visits if v.name != "C1D15")),
    )
    keep = study.biopsies["participant_id"].ne("P07") & study.biopsies["visit"].ne("C1D15")
    own = two.libraries[two.libraries["biopsy_id"].isin(study.biopsies.index[keep])]
    two = dataclasses.replace(two, biopsies=study.biopsies[keep], libraries=own, assays={})
    adata = study.assays["ihc"]
    two = two.with_assay("ihc", adata[adata.obs_names.isin(two.biopsies.index)].copy())
    _, found = answer(two, "~ visit * cohort + (1|participant)", {"x": "cohort: B - A"})
    table, y = frame_of(two, ["screening", "C2D1"])
    cohort = two.participants["cohort"]
    means = {p: y[:, (table["participant"] == p).to_numpy()].mean(axis=1) for p in set(table["participant"])}
    a, b = (np.array([m for p, m in means.items() if cohort[p] == c]) for c in "AB")
    expected = stats.ttest_ind(b, a)
    np.testing.assert_allclose(found["t"], expected.statistic, rtol=1e-6)
    np.testing.assert_allclose(found["p"], expected.pvalue, rtol=1e-5)


def test_contrasts_of_different_visits_in_different_people_are_refused(study):
    text = "(C2D1 - screening at dose_mg = 10) - (C1D15 - screening at dose_mg = 3)"
    with pytest.raises(PlanError, match=r"E-PLAN-002.*different visits in different participants"):
        answer(study, "~ visit * dose_mg + (1|participant)", {"x": text})


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("C2D1 - screening", {"screening": -1, "C2D1": 1}),
        ("(C1D15 + C2D1)/2 - screening", {"screening": -1, "C1D15": 0.5, "C2D1": 0.5}),
        ("dose_mg: 10 - 3 at C2D1", {"C2D1": 1}),
        (
            "(C2D1 - screening at dose_mg = 3) - (C2D1 - screening at dose_mg = 1)",
            {"screening": -1, "C2D1": 1},
        ),
        ("cohort: B - A", {"screening": 1 / 3, "C1D15": 1 / 3, "C2D1": 1 / 3}),
        ("(C2D1 at dose_mg = 10) - (screening at dose_mg = 3)", None),
    ],
)
def test_weights_of_the_visits_in_one_participant(text, weights):
    found = parse_contrast(text, VISITS).visit_weights
    assert found == (None if weights is None else pytest.approx(weights))


def test_a_design_that_cannot_be_built_is_told_with_the_weights(study, tmp_path):
    """Only one cohort is left: the trend of voom rests on one mean, and the row says so."""
    people = study.participants.assign(cohort="A")
    rng = np.random.default_rng(1)
    counts = {b: list(rng.poisson(50, 30).astype(float)) for b in study.biopsies.index}
    study = dataclasses.replace(study, participants=people, assays={})
    study = study.with_assay("rna", assay(counts, [f"g{k}" for k in range(30)], kind="count"))
    _, found = answer(study, "~ visit + cohort + (1|participant)", {"x": "C2D1 - screening"})
    assert (found["status"] == "not_estimable").all()
    assert found["note"].str.contains("voom weights from one mean, not the plan's design").all()


def test_genes_over_three_visits_are_weighted_least_squares(study):
    """With the voom weights w of y: z = sum c y of those with all visits, weight 1 / sum(c^2 / w)."""
    rng = np.random.default_rng(2)
    base = np.exp(rng.normal(5, 1, 60))
    counts = {b: list(rng.poisson(base * rng.gamma(5, 0.2, 60)).astype(float)) for b in study.biopsies.index}
    study = dataclasses.replace(study, assays={})
    study = study.with_assay("rna", assay(counts, [f"g{k}" for k in range(60)], kind="count"))
    text = {"x": "(C1D15 + C2D1)/2 - screening"}
    result, found = answer(study, "~ visit + (1|participant)", text, moderation=False)
    filled = result.study.assays["rna"]
    y, w = (np.asarray(filled[:, found["feature"].tolist()].layers[name]) for name in ("y", "w"))
    at = {b: k for k, b in enumerate(filled.obs_names)}
    c = np.array([-1.0, 0.5, 0.5])
    rows = [[at[f"P{i:02d}v{k}"] for k in range(3)] for i in range(PEOPLE) if i not in {3, 7}]
    z = np.array([c @ y[r] for r in rows])
    weight = np.array([1 / (c**2 @ (1 / w[r])) for r in rows])
    mean = (weight * z).sum(axis=0) / weight.sum(axis=0)
    s2 = (weight * (z - mean) ** 2).sum(axis=0) / (len(rows) - 1)
    se = np.sqrt(s2 / weight.sum(axis=0))
    np.testing.assert_allclose(found["estimate"], mean, rtol=1e-9)
    np.testing.assert_allclose(found["se"], se, rtol=1e-9)
    np.testing.assert_allclose(found["var_residual"], s2 / (c @ c), rtol=1e-9)
    np.testing.assert_allclose(found["p"], 2 * stats.t.sf(abs(mean / se), len(rows) - 1), rtol=1e-8)
    _, moderated = answer(study, "~ visit + (1|participant)", text)
    assert set(moderated["model"]) == {"linear on weighted sums, moderated"}
    assert (moderated["df"] > found["df"]).all()


def test_a_study_without_contrasts_has_no_rows(study):
    result, found = answer(study, "~ visit + (1|participant)", {})
    assert len(found) == len(result.robustness) == len(result.changes) == 0


def test_weights_of_the_plan_average_factors(study):
    """Cohorts of 6, of which one biopsy is missing: equal weights are (1/2, 1/2), others (n_A, n_B)/n."""
    formula, contrasts = "~ visit * cohort + (1|participant)", {"x": "C2D1 - screening"}
    table, y = frame_of(study, ["screening", "C2D1"])
    X = design_matrix(parse(formula), table, levels={"visit": ["screening", "C2D1"]})
    share = (table["cohort"] == "B").mean()
    expectations = [("equal", 0.5, "with equal weights"), ("proportional", share, "as often as they occur")]
    for weights, half, said in expectations:
        _, found = answer(study, formula, contrasts, weights=weights)
        vector = [0.0, 1.0, 0.0, half]
        expected = fit(y, X.matrix, table["participant"].to_numpy(dtype=str), contrasts=[vector])
        np.testing.assert_allclose(found["estimate"], expected.estimate[:, 0], rtol=1e-9)
        assert found["note"].str.contains(said).all()
    assert share != 0.5


def test_too_few_genes_for_a_prior_say_so(study):
    rng = np.random.default_rng(1)
    counts = {b: list(rng.poisson(50, 30).astype(float)) for b in study.biopsies.index}
    study = dataclasses.replace(study, assays={})
    study = study.with_assay("rna", assay(counts, [f"g{k}" for k in range(30)], kind="count"))
    _, found = answer(study, "~ visit + (1|participant)", {"x": "C2D1 - screening"})
    assert (found["model"] == "linear mixed").all()
    assert found["note"].str.contains("not moderated: 30 genes, fewer than 50, share no prior").all()


def test_aliased_columns_are_named_at_one_visit(study):
    study.participants["twice"] = 2.0 * study.participants["dose_mg"].astype(float)
    contrasts = {"x": "dose_mg: 10 - 3 at C2D1", "y": "cohort: B - A at C2D1"}
    _, found = answer(study, "~ visit + dose_mg + twice + cohort + (1|participant)", contrasts)
    status = found.groupby("contrast")["status"].unique()
    assert (status["x"].tolist(), status["y"].tolist()) == (["not_estimable"], ["ok"])
    assert found["note"].str.contains("aliased with the terms before: twice").all()


def test_sums_of_visits_have_a_residual_variance_where_the_participant_cancels(study):
    formula = "~ visit * dose_mg + (1|participant)"
    _, found = answer(study, formula, {"x": "dose_mg: 10 - 3", "y": "(C1D15 + C2D1)/2 - screening"})
    x, y = (found[found["contrast"] == name] for name in "xy")
    assert (found["status"] == "ok").all()
    assert x["var_residual"].isna().all()
    assert (y["var_residual"] > 0).all()
