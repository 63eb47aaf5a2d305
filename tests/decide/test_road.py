"""A drug that does nothing, through the road with its noise estimated: go no more often than printed."""

from __future__ import annotations

import numpy as np
import pytest
from builders import assay, study_folder

import pdbiomarker as pb
from pdbiomarker.decide import DecideOptions, Declared, decide, default_presets, preset
from pdbiomarker.noise import Noise, choose_noise

SIGMA, PEOPLE, TWICE = 0.7, 12, 6
LOCKED = Declared(plan_locked=True, pairs_share_run=True)


def _trials(tmp_path, n_trials, seed):
    """Each trial is a feature of one study: 12 participants, six of them with two baselines; no effect."""
    random = np.random.default_rng(seed)
    truth = random.normal(6.0, 1.5, size=(PEOPLE, n_trials))
    rows, values = [], {}
    for i in range(PEOPLE):
        for visit, day, copies in (("screening", -7, 2 if i < TWICE else 1), ("C2D1", 29, 1)):
            for c in range(copies):
                name = f"P{i:02d}{visit[0]}{c}"
                rows.append(f"P{i:02d},{name},{visit},{day}")
                values[name] = (2 ** (truth[i] + SIGMA * random.standard_normal(n_trials))).tolist()
    folder = study_folder(
        tmp_path, biopsies="participant_id,biopsy_id,visit,study_day\n" + "\n".join(rows) + "\n"
    )
    names = [f"t{t}" for t in range(n_trials)]
    study = pb.read_study(folder).with_assay("ihc", assay(values, names, kind="intensity"))
    return pb.pd_change(study, pb.Plan.read(folder / "plan.yaml")), [f"ihc:{name}" for name in names]


def _rules():
    # Two of twelve, so that an inert drug reaches the verdict at all.
    count = preset("x_of_n").model_copy(update={"go_at_least": 2, "consider_at_least": 1, "of": 12})
    own = [preset(name) for name in default_presets() if name not in {"x_of_n", "rubinstein_2010"}]
    return [count, *own, preset("rubinstein_2010").model_copy(update={"go_at_least": 3, "of": 12})]


def _go_shares(tmp_path, n_trials, seed):
    result, features = _trials(tmp_path, n_trials, seed)
    noise, reasons = choose_noise(result.study, features)
    assert not reasons
    df = {round(noise[f].df, 6) for f in features}
    assert df == {float(TWICE)}
    rules = _rules()
    cohort = decide(
        result, rules, features, noise=noise, declared=LOCKED, options=DecideOptions(n_sims=0, by=None)
    ).cohort
    known = {features[0]: Noise("t0", "log2", SIGMA, float(TWICE), "replicate biopsies")}
    printed = decide(
        result,
        rules,
        features[:1],
        noise=known,
        declared=LOCKED,
        options=DecideOptions(n_sims=20_000, by=None),
    ).operating
    expected = printed[printed["inert"]].set_index("rule")["p_go"]
    shares = cohort.assign(go=cohort["verdict"] == "go").groupby("rule")["go"].mean()
    return shares, expected


def _check(shares, expected, n_trials):
    for rule, p in expected.items():
        error = 3 * np.sqrt(max(p * (1 - p), 0.002) / n_trials)
        assert shares[rule] <= p + error, (rule, shares[rule], p)
    # The rules do err: what is held here is not a rate of nought.
    assert expected["rcv_fraction"] > 0.03
    assert shares["rcv_fraction"] > 0


def test_an_inert_drug_with_its_noise_estimated_goes_no_more_often_than_printed(tmp_path):
    """200 trials from values to verdicts; the bound is the printed rate and 3 Monte Carlo standard errors."""
    _check(*_go_shares(tmp_path, 200, 31), 200)


@pytest.mark.slow
def test_an_inert_drug_in_many_trials_goes_no_more_often_than_printed(tmp_path, pytestconfig):
    """2,000 trials, the same bound."""
    if not pytestconfig.getoption("--slow"):
        pytest.skip("a simulation at full size: --slow")
    _check(*_go_shares(tmp_path, 2_000, 32), 2_000)
