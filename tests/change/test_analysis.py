"""pd_change against the paired t-test, R's sleep data, and rows that cannot be fitted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from builders import assay, study_folder
from scipy import stats

from pdbiomarker.change import CHANGE_COLUMNS, TABLE_COLUMNS, pd_change
from pdbiomarker.errors import FormulaError, PlanError
from pdbiomarker.pairing import Chooser
from pdbiomarker.pairing.choice import _judged
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study

#: R's `sleep` data: hours of extra sleep of ten people under two drugs.
SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)


def paired_study(tmp_path, n, *, extra="", header="", study="id: T\nvisits: {Pre: {}, On: {}}\n"):
    rows = [f"participant_id,biopsy_id,visit{header}"]
    for i in range(n):
        rows += [f"P{i:02d},P{i:02d}a,Pre{extra}", f"P{i:02d},P{i:02d}b,On{extra}"]
    plan = 'formula: "~ visit + (1|participant)"\ncontrasts: {on: On - Pre}\n'
    return study_folder(tmp_path, biopsies="\n".join(rows) + "\n", study=study, plan=plan)


def with_values(folder, before, after, *, name="ihc", features=None, kind="score", **layers):
    study = read_study(folder)
    before, after = (np.asarray(v, dtype=float).reshape(len(v), -1) for v in (before, after))
    values = {}
    for i, (a, b) in enumerate(zip(before, after, strict=True)):
        values[f"P{i:02d}a"], values[f"P{i:02d}b"] = list(a), list(b)
    features = features or [f"f{j}" for j in range(before.shape[1])]
    return study.with_assay(name, assay(values, features, kind=kind, **layers))


def test_trap_02_sleep_equals_r(tmp_path):
    """R: t.test(paired) and lmer + Kenward-Roger: 1.58, SE .38895872, df 9, t 4.0621277, p .0028328901."""
    study = with_values(paired_study(tmp_path, 10), *SLEEP)
    row = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table.iloc[0]
    assert row["estimate"] == pytest.approx(1.58, abs=1e-10)
    assert row["se"] == pytest.approx(0.38895872, abs=1e-8)
    assert row["df"] == pytest.approx(9, abs=1e-6)
    assert row["t"] == pytest.approx(4.0621277, abs=1e-7)
    assert row["p"] == pytest.approx(0.0028328901, abs=1e-9)
    assert row["var_participant"] == pytest.approx(2.84833336, abs=1e-6)
    assert row["var_residual"] == pytest.approx(0.75644444, abs=1e-7)
    assert (row["status"], row["df_method"], row["n_pairs"]) == ("ok", "kenward-roger", 10)


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["alike", "unlike: ICC below zero"])
def test_trap_03_complete_pairs_give_the_paired_t_test_whatever_their_correlation(tmp_path, sign):
    rng = np.random.default_rng(1)
    level = rng.normal(size=(8, 5))
    before = level + 0.3 * rng.normal(size=(8, 5))
    after = sign * level + 0.3 * rng.normal(size=(8, 5)) + 0.5
    study = with_values(paired_study(tmp_path, 8), before, after)
    table = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table
    strict = table[table["set"] == "strict"]
    expected = stats.ttest_rel(after, before)
    np.testing.assert_allclose(strict["estimate"], (after - before).mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(strict["t"], expected.statistic, rtol=1e-7)
    np.testing.assert_allclose(strict["df"], 7, rtol=1e-6)
    np.testing.assert_allclose(strict["p"], expected.pvalue, rtol=1e-6)
    low, high = expected.confidence_interval(0.95)
    np.testing.assert_allclose(strict["ci_low"], low, atol=1e-7)
    np.testing.assert_allclose(strict["ci_high"], high, atol=1e-7)


def test_columns_types_sets_and_changes(tmp_path):
    study = with_values(paired_study(tmp_path, 10), *SLEEP)
    result = pd_change(study, Plan.read(tmp_path / "plan.yaml", study))
    assert list(result.table.columns) == list(TABLE_COLUMNS)
    assert result.table["set"].tolist() == ["strict", "strict_pairs", "all_biopsied"]
    assert list(result.changes.columns) == list(CHANGE_COLUMNS)
    strict = result.changes[result.changes["set"] == "strict"]
    np.testing.assert_allclose(strict["change"], np.subtract(SLEEP[1], SLEEP[0]))
    assert strict["ratio"].isna().all()
    assert np.isfinite(result.table["q"]).tolist() == [True, False, False]
    assert result.table["adjustment"].tolist() == ["bh", "none: sensitivity", "none: sensitivity"]
    assert "P00a" in set(result.biopsies["biopsy_id"])
    assert result["ihc"].table.equals(result.table)
    with pytest.raises(KeyError, match="it holds ihc"):
        result["rna"]
    assert "3 rows (3 ok)" in repr(result)
    assert "<table" in result._repr_html_()


def test_densities_are_ratios_of_geometric_means(tmp_path):
    """log2((n + 1/2)/area) by hand, from the count and the area."""
    n = 6
    rng = np.random.default_rng(2)
    cells = {f"P{i:02d}{v}": [float(rng.integers(50, 400))] for i in range(n) for v in "ab"}
    area = {b: [float(rng.uniform(0.5, 2))] for b in cells}
    density = {b: [cells[b][0] / area[b][0]] for b in cells}
    study = read_study(paired_study(tmp_path, n))
    study = study.with_assay(
        "ihc", assay(density, ["CD8_density_tissue"], kind="density", numerator=cells, denominator=area)
    )
    row = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table.iloc[0]
    y = {b: np.log2((cells[b][0] + 0.5) / area[b][0]) for b in cells}
    change = np.mean([y[f"P{i:02d}b"] - y[f"P{i:02d}a"] for i in range(n)])
    assert row["estimate"] == pytest.approx(change, rel=1e-9)
    assert row["effect"] == pytest.approx(2**change, rel=1e-9)
    assert row["effect_unit"] == "ratio of geometric means"


def test_nothing_disappears(tmp_path):
    """A constant feature, one never measured, one with a single pair, and a good one all have their row."""
    before = np.array([[1.0, 5.0, np.nan, 1.0], [2.0, 5.0, np.nan, np.nan], [4.0, 5.0, np.nan, np.nan]])
    after = np.array([[2.5, 5.0, np.nan, 2.0], [2.0, 5.0, np.nan, 3.0], [5.0, 5.0, np.nan, np.nan]])
    names = ["good", "constant", "empty", "single"]
    study = with_values(paired_study(tmp_path, 3), before, after, features=names)
    table = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table
    strict = table[table["set"] == "strict"].set_index("feature")
    assert strict["status"].to_dict() == {
        "good": "ok",
        "constant": "constant",
        "empty": "excluded",
        "single": "too_few",
    }
    assert strict.loc["constant", "estimate"] == 0
    assert np.isnan(strict.loc["constant", "p"])
    assert strict.loc["good", "q"] == strict.loc["good", "p"]  # the others are not tests
    assert strict["n_tests"].tolist() == [1, 1, 1, 1]
    assert (strict.loc[["constant", "empty", "single"], "note"] != "").all()
    assert "an exact sign-flip test cannot go below p 0.25" in strict.loc["good", "note"]


def test_other_features_do_not_move_a_feature(tmp_path):
    rng = np.random.default_rng(3)
    before, after = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    folder = paired_study(tmp_path, 6)
    both = with_values(folder, before, after)
    one = with_values(folder, before[:, [1]], after[:, [1]], features=["f1"])
    plan = Plan.read(tmp_path / "plan.yaml", both)
    columns = ["estimate", "se", "df", "p"]
    first = pd_change(both, plan).table.query("feature == 'f1'")[columns].to_numpy()
    np.testing.assert_allclose(first, pd_change(one, plan).table[columns].to_numpy(), rtol=1e-12)


def test_one_visit_only_gives_rows_that_say_so(tmp_path):
    folder = study_folder(
        tmp_path,
        biopsies="participant_id,biopsy_id,visit\nP1,a,Pre\nP2,b,Pre\n",
        study="id: T\nvisits: {Pre: {}, On: {}}\n",
        plan="contrasts: {on: On - Pre}\n",
    )
    study = read_study(folder).with_assay("ihc", assay({"a": [1.0], "b": [2.0]}, ["f"]))
    row = pd_change(study, Plan.read(folder / "plan.yaml", study)).table.iloc[0]
    assert row["status"] == "too_few"
    assert "no usable biopsy at On" in row["note"]
    assert "0 evaluable pairs" in row["note"]


def test_batch_that_follows_visit_is_told(tmp_path):
    rows = ["participant_id,biopsy_id,visit,batch"]
    for i in range(6):
        rows += [f"P{i:02d},P{i:02d}a,Pre,run1", f"P{i:02d},P{i:02d}b,On,run2"]
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study="id: T\nvisits: {Pre: {}, On: {}}\n",
        plan="contrasts: {on: On - Pre}\n",
    )
    study = with_values(folder, SLEEP[0][:6], SLEEP[1][:6])
    table = pd_change(study, Plan.read(folder / "plan.yaml", study)).table
    assert table["note"].str.contains("not separable: no batch holds both Pre and On").all()


def test_a_covariate_without_value_excludes_the_biopsy_with_its_reason(tmp_path):
    rows = ["participant_id,biopsy_id,visit,tumor_content_pct"]
    for i in range(6):
        rows += [f"P{i:02d},P{i:02d}a,Pre,{30 + i}", f"P{i:02d},P{i:02d}b,On,{'' if i == 2 else 50 - i * i}"]
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study="id: T\nvisits: {Pre: {}, On: {}}\n",
        plan='formula: "~ visit + tumor_content_pct + (1|participant)"\ncontrasts: {on: On - Pre}\n',
    )
    study = with_values(folder, SLEEP[0][:6], SLEEP[1][:6])
    result = pd_change(study, Plan.read(folder / "plan.yaml", study))
    assert result.table.iloc[0]["n_biopsies"] == 11
    left_out = result.biopsies.query("biopsy_id == 'P02b' and set == 'strict'").iloc[0]
    assert (left_out["used"], left_out["code"]) == (False, "E-SHEET-017")
    # Complete pairs, the flow of the participants and the pairs know it too.
    pairs_only = result.table.query("set == 'strict_pairs'").iloc[0]
    assert (pairs_only["n_biopsies"], pairs_only["n_pairs"]) == (10, 5)
    pair = result.pairs.set_index("participant_id").loc["P02"]
    assert (pair["evaluable"], pair["code"]) == (False, "E-SHEET-017")
    assert result.pairs["evaluable"].sum() == result.table.iloc[0]["n_pairs"] == 5
    lost = result.dispositions.query("set == 'strict' and outcome == 'lost'")
    assert lost[["participant_id", "step", "group"]].to_numpy().tolist() == [
        ["P02", "On columns of the model known", "column of the model unknown"]
    ]
    flow = result.accountability.query("set == 'strict'").set_index("step")["n_participants"]
    assert (flow["On biopsy measured"], flow["evaluable pair"]) == (6, 5)


def test_of_two_biopsies_that_one_is_chosen_whose_covariates_are_known(tmp_path):
    rows = ["participant_id,biopsy_id,visit,study_day,tumor_content_pct"]
    for i in range(6):
        rows += [f"P{i:02d},P{i:02d}a,Pre,-3,{30 + i}", f"P{i:02d},P{i:02d}b,On,29,{50 - i * i}"]
    rows += ["P02,P02c,On,28,"]  # closer to its day, but the model cannot use it
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study="id: T\nvisits:\n  Pre: [-28, -1]\n  On: {day: 28, window: 7}\n",
        plan='formula: "~ visit + tumor_content_pct + (1|participant)"\ncontrasts: {on: On - Pre}\n',
    )
    study = with_values(folder, SLEEP[0][:6], SLEEP[1][:6])
    result = pd_change(study, Plan.read(folder / "plan.yaml", study))
    chosen = result.pairs.set_index("participant_id").loc["P02"]
    assert (chosen["evaluable"], chosen["on_biopsy"]) == (True, "P02b")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"replicates": "all"}, PlanError, "E-PLAN-004"),
        ({"formula": "~ visit"}, FormulaError, "E-FORMULA-006"),
        ({"formula": "~ visit + (1|participant) + (1|biopsy)"}, FormulaError, "A row is one biopsy"),
        ({"formula": "~ 1 + (1|participant)"}, PlanError, "no term 'visit'"),
        ({"families": {"primary": ("ihc:CD9",)}}, PlanError, "E-PLAN-003"),
    ],
)
def test_models_that_are_not_fitted_are_refused(tmp_path, changes, error, message):
    study = with_values(paired_study(tmp_path, 10), *SLEEP)
    plan = dataclasses.replace(Plan.read(tmp_path / "plan.yaml", study), **changes)
    with pytest.raises(error, match=message):
        pd_change(study, plan)


def test_type_one_error_of_the_road(tmp_path):
    """2,000 null features of 8 pairs, ICC .5: at .05 within three Monte Carlo standard errors."""
    rng = np.random.default_rng(4)
    level = rng.normal(size=(8, 2000))
    before, after = level + rng.normal(size=(8, 2000)), level + rng.normal(size=(8, 2000))
    study = with_values(paired_study(tmp_path, 8), before, after)
    table = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table
    assert (table["p"] < 0.05).mean() == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 2000))


def test_rows_of_a_feature_stand_together(tmp_path):
    rng = np.random.default_rng(5)
    study = with_values(paired_study(tmp_path, 6), rng.normal(size=(6, 2)), rng.normal(size=(6, 2)))
    table = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table
    assert table["feature"].tolist() == ["f0"] * 3 + ["f1"] * 3
    assert table["set"].tolist() == ["strict", "strict_pairs", "all_biopsied"] * 2


def test_strict_pairs_is_the_paired_t_test_of_each_feature(tmp_path):
    """A value missing in one feature unpairs the participant in that feature only."""
    rng = np.random.default_rng(6)
    before, after = rng.normal(size=(7, 2)), rng.normal(size=(7, 2)) + 1
    after[2, 1] = np.nan
    study = with_values(paired_study(tmp_path, 7), before, after)
    table = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table
    row = table.query("set == 'strict_pairs' and feature == 'f1'").iloc[0]
    keep = np.isfinite(after[:, 1])
    expected = stats.ttest_rel(after[keep, 1], before[keep, 1])
    assert row["p"] == pytest.approx(expected.pvalue, rel=1e-6)
    assert (row["n_pairs"], row["n_biopsies"]) == (6, 12)
    assert table.query("set == 'strict' and feature == 'f1'").iloc[0]["n_biopsies"] == 13


@pytest.mark.parametrize(
    "text", ["dose_mg: 10 - 3 at On", "On - Later", "On + Pre", "(On - Pre at participant = P00) -"]
)
def test_contrasts_that_cannot_be_read_are_refused(tmp_path, text):
    study = with_values(paired_study(tmp_path, 10), *SLEEP)
    plan = dataclasses.replace(Plan.read(tmp_path / "plan.yaml", study), contrasts={"odd": text})
    with pytest.raises(PlanError, match=r"E-PLAN-002 plan.yaml \[contrasts.odd\]"):
        pd_change(study, plan)


def test_a_biopsy_without_a_value_is_named_with_the_readers_reason(tmp_path):
    before = np.array([SLEEP[0], SLEEP[0]]).T
    after = np.array([SLEEP[1], SLEEP[1]]).T
    after[3, 0] = np.nan
    study = with_values(paired_study(tmp_path, 10), before, after)
    adata = study.assays["ihc"].copy()
    adata.var["unmeasured"] = ['{"P03b": "96 cells, fewer than 100"}', "{}"]
    study = study.with_assay("ihc", adata)
    table = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table.query("set == 'strict'")
    assert table["note"].tolist() == ["no value in 1 biopsy: P03b (96 cells, fewer than 100)", ""]
    assert table["n_pairs"].tolist() == [9, 10]


def test_a_sheets_own_column_is_not_hidden_by_a_readers(tmp_path):
    rows = ["participant_id,biopsy_id,visit,library_size"]
    for i in range(8):
        rows += [f"P{i:02d},P{i:02d}a,Pre,{i * i}", f"P{i:02d},P{i:02d}b,On,{7 - i}"]
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study="id: T\nvisits: {Pre: {}, On: {}}\n",
        plan='formula: "~ visit + library_size + (1|participant)"\ncontrasts: {on: On - Pre}\n',
    )
    study = with_values(folder, SLEEP[0][:8], SLEEP[1][:8])
    plan = Plan.read(folder / "plan.yaml", study)
    expected = pd_change(study, plan).table["estimate"].to_numpy()
    adata = study.assays["ihc"].copy()
    adata.obs["library_size"] = np.random.default_rng(1).normal(size=adata.n_obs)
    found = pd_change(study.with_assay("ihc", adata), plan).table["estimate"].to_numpy()
    np.testing.assert_array_equal(found, expected)


def test_the_order_of_the_sheets_rows_is_no_part_of_the_result(tmp_path):
    rng = np.random.default_rng(9)
    before, after = rng.normal(size=(9, 4)), rng.normal(size=(9, 4))
    folder = paired_study(tmp_path, 9)
    study = with_values(folder, before, after)
    plan = Plan.read(folder / "plan.yaml", study)
    turned = study.assays["ihc"][::-1].copy()
    for name, table in (("as read", study), ("turned", study.with_assay("ihc", turned))):
        frame = pd_change(table, plan).table
        if name == "as read":
            expected = frame
    assert frame.equals(expected)


def test_more_terms_than_biopsies_says_so(tmp_path):
    rows = ["participant_id,biopsy_id,visit,site"]
    for i in range(3):
        rows += [f"P{i:02d},P{i:02d}a,Pre,s{i}", f"P{i:02d},P{i:02d}b,On,t{i}"]
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study="id: T\nvisits: {Pre: {}, On: {}}\n",
        plan='formula: "~ visit + site + (1|participant)"\ncontrasts: {on: On - Pre}\n',
    )
    study = with_values(folder, SLEEP[0][:3], SLEEP[1][:3])
    row = pd_change(study, Plan.read(folder / "plan.yaml", study)).table.iloc[0]
    assert row["status"] in {"too_few", "not_estimable"}
    assert "at least 2 needed" not in row["note"]
    assert row["note"]


def test_trap_03_negative_correlations_are_for_complete_pairs_only(tmp_path):
    """With an unpaired participant the participant variance stops at 0; without, it may lie below."""
    rng = np.random.default_rng(10)
    level = rng.normal(size=(9, 1))
    before, after = level + 0.1 * rng.normal(size=(9, 1)), -level + 0.1 * rng.normal(size=(9, 1))
    after[8] = np.nan
    study = with_values(paired_study(tmp_path, 9), before, after)
    table = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table.set_index("set")
    assert table.loc["strict", "var_participant"] == 0
    assert table.loc["strict", "status"] == "singular"
    assert table.loc["strict_pairs", "var_participant"] < 0


def test_the_same_change_in_everyone_is_not_tested_and_says_so(tmp_path):
    before = np.array(SLEEP[0]).reshape(-1, 1)
    study = with_values(paired_study(tmp_path, 10), before, before + 1.5)
    row = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table.iloc[0]
    assert row["estimate"] == pytest.approx(1.5)
    assert np.isnan(row["p"])
    assert row["q"] != row["q"]
    assert "no residual variation within participants: not tested" in row["note"]


@pytest.mark.parametrize("ddf", ["kenward-roger", "satterthwaite", "residual"])
def test_opposite_pairs_are_the_paired_t_test(tmp_path, ddf):
    """Equal sums in every pair: the likelihood has no maximum, the changes have a t-test (SciPy)."""
    rng = np.random.default_rng(5)
    before = rng.normal(size=(8, 2))
    after = np.column_stack([10 - before[:, 0], 0.8 * before[:, 1] + rng.normal(size=8)])
    study = with_values(paired_study(tmp_path, 8), before, after)
    plan = dataclasses.replace(Plan.read(tmp_path / "plan.yaml", study), ddf=ddf)
    result = pd_change(study, plan)
    strict = result.table.query("set == 'strict'").reset_index(drop=True)
    expected = stats.ttest_rel(after, before)
    df = 14 if ddf == "residual" else 7
    assert strict["status"].tolist() == ["singular", "ok"]
    np.testing.assert_allclose(strict["estimate"], (after - before).mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(strict["t"], expected.statistic, rtol=1e-7)
    np.testing.assert_allclose(strict["df"], df, rtol=1e-6)
    np.testing.assert_allclose(strict["p"], 2 * stats.t.sf(np.abs(expected.statistic), df), rtol=1e-6)
    # The correlation is at its bound of -1.
    assert strict["var_participant"][0] == pytest.approx(-strict["var_residual"][0] / 2)
    np.testing.assert_allclose(strict["var_residual"], (after - before).var(axis=0, ddof=1) / 2, rtol=1e-7)
    assert result.robustness["n_changes"].tolist() == [8, 8]


def test_opposite_pairs_of_three_doses_are_least_squares_of_their_changes(tmp_path):
    rng = np.random.default_rng(6)
    before, dose = rng.normal(size=9), np.tile([1.0, 3.0, 10.0], 3)
    rows = ["participant_id,biopsy_id,visit,dose"]
    for i in range(9):
        rows += [f"P{i:02d},P{i:02d}a,Pre,{dose[i]}", f"P{i:02d},P{i:02d}b,On,{dose[i]}"]
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study="id: T\nvisits: {Pre: {}, On: {}}\n",
        plan='formula: "~ visit * dose + (1|participant)"\ncontrasts: {on: On - Pre at dose = 10}\n',
    )
    study = with_values(folder, before, 5 - before)
    row = pd_change(study, Plan.read(tmp_path / "plan.yaml", study)).table.iloc[0]
    X, at = np.column_stack([np.ones(9), dose]), np.array([1.0, 10.0])
    b, squares = np.linalg.lstsq(X, 5 - 2 * before, rcond=None)[:2]
    se = np.sqrt(squares[0] / 7 * at @ np.linalg.solve(X.T @ X, at))
    np.testing.assert_allclose([row["estimate"], row["se"], row["df"]], [at @ b, se, 7], rtol=1e-9)
    # Purity varies within pairs and between them: there is no such limit, and the row says so.
    purity = rng.uniform(size=18)
    study.biopsies["purity"] = purity
    plan = dataclasses.replace(
        Plan.read(tmp_path / "plan.yaml", study),
        formula="~ visit + purity + (1|participant)",
        contrasts={"on": "On - Pre"},
    )
    row = pd_change(study, plan).table.iloc[0]
    assert row["status"] == "not_converged"
    assert "the fit did not converge" in row["note"]


def test_biopsies_are_placed_and_chosen_once_for_model_flow_and_pairs(tmp_path, monkeypatch):
    study = with_values(paired_study(tmp_path, 6), np.arange(6.0), np.arange(6.0) + 1)
    asked = []

    def judged(*given):
        asked.append(given[2:])
        return _judged(*given)

    monkeypatch.setattr("pdbiomarker.pairing.choice._judged", judged)
    result = pd_change(study, Plan.default(study))
    assert len(result.table) == len(asked) == len(set(map(str, asked)))
    assert result.pairs["evaluable"].all()


def test_what_a_chooser_gives_may_be_changed(tmp_path):
    study = with_values(paired_study(tmp_path, 2), [1.0, 2.0], [2.0, 3.0])
    chooser = Chooser(study)
    first = chooser.usable("ihc", visits=["Pre", "On"])
    first["used"] = False
    assert chooser.usable("ihc", visits=["Pre", "On"])["used"].all()
