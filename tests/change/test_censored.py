"""Values beyond a limit: from a table to the Tobit row, against the likelihood of pairs by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from builders import assay, study_folder
from scipy import optimize, stats
from spdl1 import build_spdl1_study

from pdbiomarker.change import pd_change
from pdbiomarker.expression import read_values
from pdbiomarker.mixed.tobit import fit_tobit
from pdbiomarker.plan import Plan
from pdbiomarker.study import read_study


def strict(result):
    return result.table[result.table["set"] == "strict"].reset_index(drop=True)


def limited(tmp_path, *, n=10, seed=1):
    """Ten pairs of log-normal values with an LLOQ of 1 and a ULOQ of 8; the second feature has no limit."""
    rng = np.random.default_rng(seed)
    rows, values = ["participant_id,biopsy_id,visit,batch"], {}
    for i in range(n):
        level = rng.normal(1.8, 1.5)
        for v, visit in (("a", "Pre"), ("b", "On")):
            rows.append(f"P{i:02d},P{i:02d}{v},{visit},R{i % 2}")
            value = 2 ** (level + 0.5 * rng.normal() + 1.0 * (v == "b"))
            values[f"P{i:02d}{v}"] = [value, value]
    folder = study_folder(
        tmp_path,
        biopsies="\n".join(rows) + "\n",
        study="id: T\nvisits: {Pre: {}, On: {}}\n",
        plan="contrasts: {on: On - Pre}\n",
    )
    adata = assay(values, ["il6", "free"], kind="intensity")
    adata.var["lloq"], adata.var["uloq"] = [1.0, np.nan], [8.0, np.nan]
    return read_study(folder).with_assay("serum", adata)


def test_values_beyond_a_limit_go_to_the_tobit_model(tmp_path):
    study = limited(tmp_path)
    x = np.asarray(study.assays["serum"].X)[:, 0]
    assert min((x < 1).sum(), (x > 8).sum()) > 0  # there is something to see
    found = strict(pd_change(study, Plan.default(study))).set_index("feature")
    y = np.log2(np.clip(x, 1, 8))
    X = np.column_stack([np.ones(20), [b.endswith("b") for b in study.assays["serum"].obs_names]]).astype(
        float
    )
    side = np.where(x < 1, -1, np.where(x > 8, 1, 0))
    people = [b[:3] for b in study.assays["serum"].obs_names]
    expected = fit_tobit(y, X, people, censored=side, contrasts=[[0.0, 1.0]])
    row = found.loc["il6"]
    assert (row["model"], row["df_method"]) == ("tobit mixed", "pairs - 1")
    assert row["estimate"] == pytest.approx(expected.estimate[0, 0], rel=1e-8)
    assert row["p"] == pytest.approx(expected.p[0, 0], rel=1e-7)
    assert row["var_residual"] == pytest.approx(expected.residual[0] ** 2, rel=1e-8)
    assert (
        f"{(x < 1).sum()} values below a limit of the assay and {(x > 8).sum()} values above a limit of the "
        "assay, known only to lie beyond it (Tobit model)" in row["note"]
    )
    assert found.loc["free", "model"] == "linear mixed"
    # the limit itself in the place of the value would see less of the change
    assert row["estimate"] > np.diff([y[~X[:, 1].astype(bool)].mean(), y[X[:, 1].astype(bool)].mean()])[0]


def test_changes_of_censored_values_are_unknown(tmp_path):
    study = limited(tmp_path)
    result = pd_change(study, Plan.default(study))
    x = np.asarray(study.assays["serum"].X)[:, 0].reshape(10, 2)
    unknown = ((x < 1) | (x > 8)).any(axis=1)
    changes = result.changes.query("feature == 'il6' and set == 'strict'")
    assert changes["change"].isna().tolist() == unknown.tolist()
    assert changes["on_value"].notna().all()
    robust = result.robustness.set_index("feature").loc["il6"]
    assert robust["n_changes"] == (~unknown).sum()
    assert f"{unknown.sum()} changes of censored values left out" in robust["note"]


def test_the_tobit_model_is_not_asked_for_more_than_it_has(tmp_path):
    study = limited(tmp_path)
    plan = dataclasses.replace(
        Plan.default(study), formula="~ visit + (1|participant) + (1|batch)", contrasts={"on": "On - Pre"}
    )
    found = strict(pd_change(study, plan)).set_index("feature")
    assert (found.loc["il6", "status"], found.loc["free", "status"]) == ("not_estimable", "ok")
    assert np.isnan(found.loc["il6", "p"])
    assert "the Tobit model has two visits and (1|participant) only" in found.loc["il6", "note"]


def pair_log_likelihood(parameters, y, side):
    """Of pairs with mean m and m + d, participant SD s, residual SD r: no random effect is integrated out.

    The likelihood of one participant is a normal density or distribution function of one or two values.
    """
    m, d, s, r = parameters
    mean = np.array([m, m + d])
    covariance = s**2 + r**2 * np.eye(2)
    total = 0.0
    for values, sides in zip(y, side, strict=True):
        seen = np.isfinite(values) & (sides == 0)
        cut = np.isfinite(values) & (sides != 0)
        if seen.any():
            total += stats.multivariate_normal.logpdf(
                values[seen], mean[seen], covariance[np.ix_(seen, seen)]
            )
        if not cut.any():
            continue
        mu, V = mean[cut], covariance[np.ix_(cut, cut)]
        if seen.any():
            gain = covariance[np.ix_(cut, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
            mu = mu + gain @ (values[seen] - mean[seen])
            V = V - gain @ covariance[np.ix_(seen, cut)]
        # P(at least the limit) is P(-Y at most -limit)
        sign = -sides[cut]
        limit, mu, V = sign * values[cut], sign * mu, V * np.outer(sign, sign)
        total += float(np.log(stats.multivariate_normal.cdf(limit, mu, V)))
    return total


@pytest.mark.data
def test_serial_soluble_pd_l1(tmp_path, shared_data):
    """CheckMate 009 and 038: 169 participants, 21 values above the ULOQ at the first two visits.

    The Tobit row is where the likelihood of the pairs, written as normal probabilities, has its maximum.
    """
    folder = build_spdl1_study(shared_data, tmp_path / "s")
    study = read_study(folder)
    serum = read_values(folder / "spdl1.csv", study=study, spec=study.spec.assays[0])
    assert serum.shape == (455, 1)
    assert int((serum.layers["censored"] == 1).sum()) == 33
    study = study.with_assay("serum", serum)
    plan = dataclasses.replace(Plan.read(folder / "plan.yaml", study), contrasts={"early": "Post1 - Pre"})
    result = pd_change(study, plan)
    row = strict(result).set_index("contrast").loc["early"]
    assert (row["model"], row["status"], row["n_participants"]) == ("tobit mixed", "ok", 169)
    table = study.biopsies.assign(y=np.log2(serum.X[:, 0]), side=serum.layers["censored"][:, 0])
    wide = table.pivot(index="participant_id", columns="visit", values=["y", "side"])
    y = wide["y"][["Pre", "Post1"]].to_numpy(dtype=float)
    side = np.nan_to_num(wide["side"][["Pre", "Post1"]].to_numpy(dtype=float))
    found = [row["estimate"], np.sqrt(row["var_participant"]), np.sqrt(row["var_residual"])]

    def minus(m, values):
        return -pair_log_likelihood((m, *values), y, side)

    centre = np.nanmean(y[:, 0])
    mean = optimize.minimize_scalar(
        lambda m: minus(m, found), bracket=(centre - 0.05, centre + 0.05), tol=1e-5
    ).x
    at = minus(mean, found)
    step = 0.01
    for k in range(3):
        low, high = ([v + sign * step * (i == k) for i, v in enumerate(found)] for sign in (-1, 1))
        below, above = minus(mean, low), minus(mean, high)
        # A Newton step from the row's numbers leads nowhere.
        newton = 0.5 * step * (below - above) / (below - 2 * at + above)
        assert abs(newton) < 6e-4
        assert min(below, above) > at
    assert (result.table["q"].notna() == (result.table["set"] == "strict")).all()


def test_permutation_does_not_leave_censored_values_out(tmp_path):
    """The mean change of the uncensored pairs alone is another quantity than the Tobit model's."""
    study = limited(tmp_path)
    plan = Plan.default(study)
    tobit = strict(pd_change(study, plan)).set_index("feature")
    found = strict(pd_change(study, dataclasses.replace(plan, ddf="permutation"))).set_index("feature")
    assert found.loc["il6", "estimate"] == tobit.loc["il6", "estimate"]
    assert np.isnan(found.loc["il6", ["t", "p", "ci_low", "ci_high"]].astype(float)).all()
    assert "no sign-flip test" in found.loc["il6", "note"]
    assert found.loc["free", "model"] == "sign-flip test of changes"
    assert set(found["df_method"]) == {"permutation"}


def test_pairs_without_an_exact_value_give_no_degrees_of_freedom_and_the_note_says_so(tmp_path):
    study = limited(tmp_path)
    x = np.asarray(study.assays["serum"].X)[:, 0].reshape(10, 2)
    row = strict(pd_change(study, Plan.default(study))).set_index("feature").loc["il6"]
    exact = int(((x >= 1) & (x <= 8)).any(axis=1).sum())
    assert 0 < exact < row["n_pairs"] == 10
    assert row["df"] == exact - 1
    assert f"{exact} of 10 pairs have a measured value and carry the test" in row["note"]
