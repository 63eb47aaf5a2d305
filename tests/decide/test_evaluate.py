"""`decide` on results: groups, caps, reasons, and an inert drug's go rate against the printed one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from builders import assay, study_folder
from scipy import stats

import pdbiomarker as pb
from pdbiomarker.decide import DECISION_COLUMNS, DecideOptions, Declared, decide, preset
from pdbiomarker.errors import InputError
from pdbiomarker.noise import Noise
from pdbiomarker.tables import read_table

LOCKED = Declared(plan_locked=True)
SIGMA = Noise("CD8_density", "log2", 0.5, np.inf, "replicate biopsies")


def result(tmp_path, baseline, on, *, doses=None, batches=None, kind="signature"):
    """A study of one feature through pd_change; NaN = no biopsy. Values are on the model scale."""
    n = len(baseline)
    rows, values, runs = [], {}, []
    for i in range(n):
        for visit, day, value in (("screening", -7, baseline[i]), ("C2D1", 29, on[i])):
            if np.isfinite(value):
                rows.append(f"P{i:02d},P{i:02d}{visit[0]},{visit},{day}")
                values[f"P{i:02d}{visit[0]}"] = [2.0**value if kind == "intensity" else value]
                runs.append("" if batches is None else batches(i, visit))
    people = "participant_id,dose_mg\n" + "\n".join(
        f"P{i:02d},{'' if doses is None else doses[i]}" for i in range(n)
    )
    folder = study_folder(
        tmp_path,
        biopsies="participant_id,biopsy_id,visit,study_day\n" + "\n".join(rows) + "\n",
        participants=people + "\n",
    )
    data = assay(values, ["CD8_density"], kind=kind)
    if batches is not None:
        data.obs["batch"] = runs
    study = pb.read_study(folder).with_assay("ihc", data)
    return pb.pd_change(study, pb.Plan.read(folder / "plan.yaml", study))


def test_every_group_and_every_participant_has_a_row(tmp_path):
    baseline = [5.0, 6.0, 4.5, 5.5, 5.2, np.nan, 6.1]
    on = [7.0, 8.2, 6.4, 5.6, np.nan, 7.0, 8.5]
    found = decide(
        result(tmp_path, baseline, on, doses=[1, 1, 1, 10, 10, 10, 10], kind="intensity"),
        ["x_of_n", "gmr_margin"],
        ["ihc:CD8_density"],
        noise={"CD8_density": SIGMA},
        declared=LOCKED,
    )
    assert [len(t) for t in (found.participants, found.dose_levels, found.cohort)] == [14, 4, 2]
    for table in (found.participants, found.dose_levels, found.cohort):
        assert list(table.columns) == list(DECISION_COLUMNS)
    rows = found.participants.set_index(["rule", "unit"])
    assert rows.loc[("x_of_n", "P00"), "verdict"] == "go"
    assert rows.loc[("x_of_n", "P03"), "verdict"] == "stop"
    assert rows.loc[("x_of_n", "P00"), "observed"] == "ratio 4"
    for person, lost in (("P04", "C2D1"), ("P05", "screening")):
        row = rows.loc[("x_of_n", person)]
        assert row["verdict"] == "not evaluable"
        assert lost in row["note"]
    assert rows.loc[("gmr_margin", "P00"), "note"] == "the rule judges groups, not participants"
    doses = found.dose_levels.set_index(["rule", "unit"])
    assert doses.loc[("gmr_margin", "dose_mg = 1"), "n_evaluable"] == 3
    assert doses.loc[("gmr_margin", "dose_mg = 1"), "verdict"] == "not evaluable"
    cohort = found.cohort.set_index("rule")
    d = np.array([2.0, 2.2, 1.9, 0.1, 2.4])
    p = stats.ttest_1samp(d, np.log2(1.25), alternative="greater").pvalue
    assert cohort.loc["gmr_margin", "observed"] == f"ratio {2 ** d.mean():.3g}, p {p:.3g}"
    assert cohort.loc["gmr_margin", "verdict"] == ("go" if p <= 0.05 else "consider")
    assert cohort.loc["gmr_margin", "n_evaluable"] == 5
    assert "Staining" not in cohort.loc["gmr_margin", "capped_by"]
    assert "staining runs not recorded" in cohort.loc["gmr_margin", "note"]


def strong(tmp_path, **more):
    random = np.random.default_rng(1)
    baseline = random.normal(6, 1, 12)
    return result(tmp_path, baseline, baseline + 2.0 + 0.3 * random.normal(size=12), kind="intensity", **more)


@pytest.mark.parametrize(
    ("declared", "batches", "verdict", "said"),
    [
        (LOCKED, lambda i, visit: f"run {i // 4}", "go", ""),
        (LOCKED, lambda i, visit: f"run {visit}", "consider", "never share a staining run"),
        (Declared(plan_locked=False), None, "consider", "was not locked before unblinding"),
        (Declared(), None, "consider", "not declared that the plan was locked"),
        (None, None, "consider", "not declared that the plan was locked"),
        (Declared(True, False), lambda i, visit: "one run", "consider", "never share a staining run"),
        (Declared(True, True), lambda i, visit: f"run {visit}", "go", ""),
    ],
)
def test_trap_09_verdicts_are_capped_where_run_or_plan_may_have_made_them(
    tmp_path, declared, batches, verdict, said
):
    found = decide(
        strong(tmp_path, batches=batches),
        ["gmr_margin"],
        ["ihc:CD8_density"],
        noise={"ihc:CD8_density": SIGMA},
        declared=declared,
    )
    row = found.cohort.iloc[0]
    assert (row["verdict"], row["rule_verdict"]) == (verdict, "go")
    assert said in row["capped_by"]
    # Under a cap the probability is that of consider or more.
    operating = found.operating[found.operating["level"] == "cohort"].set_index("truth")
    expected = ["p_go", "p_consider"] if said else ["p_go"]
    assert row["p_if_target"] == pytest.approx(operating.loc[2.0, expected].sum())
    assert row["p_if_inert"] == pytest.approx(operating.loc[1.0, expected].sum())


def test_dejardin_is_for_cd8_densities_and_never_a_go(tmp_path):
    random = np.random.default_rng(2)
    baseline = np.log2(400) + random.normal(0, 0.5, 8)
    found = result(tmp_path, baseline, baseline + 2.0 + 0.2 * random.normal(size=8), kind="intensity")
    row = decide(
        found, ["dejardin_2024"], ["ihc:CD8_density"], noise={"CD8_density": SIGMA}, declared=LOCKED
    ).cohort.iloc[0]
    assert (row["verdict"], row["rule_verdict"]) == ("consider", "consider")
    assert "on treatment" in row["observed"]
    other = preset("dejardin_2024").model_copy(update={"features": ["CD3_density"]})
    refused = decide(found, [other], ["ihc:CD8_density"], noise={"CD8_density": SIGMA}, declared=LOCKED)
    assert refused.cohort.iloc[0]["verdict"] == "not evaluable"
    assert refused.cohort.iloc[0]["note"].startswith("the rule is for CD3_density")


def test_borrowed_noise_and_missing_noise_are_told(tmp_path):
    found = strong(tmp_path)
    borrowed = Noise("f", "log2", 0.5, 20.0, "replicate biopsies", borrowed=True, source="a paper")
    row = decide(
        found, ["x_of_n"], ["ihc:CD8_density"], noise={"CD8_density": borrowed}, declared=LOCKED
    ).cohort.iloc[0]
    assert row["sigma_basis"] == "borrowed, replicate biopsies"
    assert "noise borrowed: a paper" in row["note"]
    without = decide(found, ["x_of_n", "gmr_margin"], ["ihc:CD8_density"], noise={}, declared=LOCKED)
    assert without.cohort["verdict"].tolist() == ["not evaluable", "go"]
    assert "noise from the spread of the changes" in without.cohort["note"].iloc[1]
    with pytest.raises(InputError, match="logit scale") as caught:
        decide(
            found,
            ["x_of_n"],
            ["ihc:CD8_density"],
            noise={"CD8_density": Noise("f", "logit", 0.5, 20.0, "replicate biopsies")},
        )
    (problem,) = caught.value.problems
    assert (problem.column, problem.value) == ("noise", "ihc:CD8_density")
    assert problem.remedy == "Estimate or borrow it on the feature's scale."


def test_points_on_the_identity_scale(tmp_path):
    random = np.random.default_rng(3)
    baseline = random.normal(100, 20, 10)
    found = result(tmp_path, baseline, baseline + 40 + 5 * random.normal(size=10), kind="score")
    rule = preset("gmr_margin").model_copy(update={"points": 10.0})
    points = Noise("f", "identity", 8.0, np.inf, "replicate biopsies")
    row = decide(found, [rule], ["ihc:CD8_density"], noise={"CD8_density": points}, declared=LOCKED).cohort
    assert row["verdict"].tolist() == ["go"]
    assert row["observed"].iloc[0].startswith("+39.2 points")
    assert row["target"].iloc[0] == 20.0
    assert row["p_if_inert"].iloc[0] < 0.01 < row["p_if_target"].iloc[0]


@pytest.mark.parametrize(
    ("features", "rules", "options", "code", "column"),
    [
        (["ihc:CD3"], ["x_of_n"], DecideOptions(), "E-RULE-003", "features"),
        (["ihc:CD8_density"], ["nothing"], DecideOptions(), "E-RULE-002", "rule"),
        (["ihc:CD8_density"], ["x_of_n"], DecideOptions(contrast="late"), "E-RULE-003", "contrast"),
        (["ihc:CD8_density"], ["x_of_n"], DecideOptions(by="dose"), "E-RULE-003", "by"),
    ],
)
def test_what_the_result_does_not_have_is_refused(tmp_path, features, rules, options, code, column):
    found = strong(tmp_path)
    with pytest.raises(InputError) as caught:
        decide(found, rules, features, noise={}, options=options)
    assert [(p.code, p.column) for p in caught.value.problems] == [(code, column)]


def test_decisions_are_written_as_tables(tmp_path):
    found = decide(strong(tmp_path / "study"), ["x_of_n"], ["ihc:CD8_density"], noise={"CD8_density": SIGMA})
    paths = found.write(tmp_path / "out")
    assert [p.name for p in paths] == [
        "decisions_participants.csv",
        "decisions_dose_levels.csv",
        "decisions_cohort.csv",
        "decisions_operating.csv",
    ]
    again = pd.read_csv(paths[2])
    assert again["verdict"].tolist() == found.cohort["verdict"].tolist()
    assert "<table" in found._repr_html_()
    assert read_table is not None


RULES = ("x_of_n", "rcv_fraction", "gmr_margin", "bayes_go")


def test_an_inert_drug_through_the_whole_road_goes_as_often_as_printed(tmp_path):
    """400 trials of 12 participants through pd_change and decide, drawn here; noise (6 df) estimated anew.

    Each trial is a feature of one study. Verdicts of all against the probabilities printed for the first.
    """
    random = np.random.default_rng(20)
    sigma, df, n, trials = 0.7, 6.0, 12, 400
    truth = random.normal(6.0, 1.5, size=(trials, n))
    baseline, on = (truth + sigma * random.standard_normal((trials, n)) for _ in range(2))
    folder = tmp_path / "study"
    study = result(folder, baseline[0], on[0], kind="intensity").study
    names = [f"t{t}" for t in range(trials)]
    values = {f"P{i:02d}s": (2 ** baseline[:, i]).tolist() for i in range(n)}
    values |= {f"P{i:02d}C": (2 ** on[:, i]).tolist() for i in range(n)}
    study = study.with_assay("ihc", assay(values, names, kind="intensity"))
    found = pb.pd_change(study, pb.Plan.read(folder / "plan.yaml"))
    # Two of twelve, so that an inert drug reaches the verdicts at all.
    count = preset("x_of_n").model_copy(update={"go_at_least": 2, "consider_at_least": 1, "of": 12})
    rules = [count, *RULES[1:]]
    truth_known = {"t0": Noise("f", "log2", sigma, df, "replicate biopsies")}
    options = DecideOptions(n_sims=20_000, by=None)
    printed = decide(found, rules, ["ihc:t0"], noise=truth_known, declared=LOCKED, options=options).operating
    estimated = {
        name: Noise("f", "log2", float(sigma * np.sqrt(random.chisquare(df) / df)), df, "replicate biopsies")
        for name in names
    }
    cohort = decide(
        found, rules, [f"ihc:{t}" for t in names], noise=estimated, declared=LOCKED,
        options=DecideOptions(n_sims=0, by=None),
    ).cohort  # fmt: skip
    for rule in RULES:
        expected = printed[(printed["rule"] == rule) & printed["inert"]].iloc[0]
        shares = cohort.loc[cohort["rule"] == rule, "verdict"].value_counts() / trials
        for verdict in ("go", "consider", "stop"):
            p = float(expected[f"p_{verdict}"])
            bound = 3 * np.sqrt(p * (1 - p) / trials) + 0.008
            assert shares.get(verdict, 0.0) == pytest.approx(p, abs=bound), (rule, verdict)
    # The rules do err: go of an inert drug is neither impossible nor more likely than 1 in 10.
    goes = printed[printed["inert"]].set_index("rule")["p_go"]
    assert goes.max() < 0.1
    assert goes["rcv_fraction"] > 0.03


def test_two_pairs_have_probabilities_and_no_dose_has_no_rows(tmp_path):
    """2 of 2 beyond a doubling: the square of one participant's chance, by noise and at the target."""
    rule = preset("x_of_n").model_copy(update={"go_at_least": 2, "of": 2, "consider_at_least": None})
    rule = rule.model_copy(
        update={"min_evaluable": 2, "participant": rule.participant.model_copy(update={"beyond_noise": None})}
    )
    found = decide(
        result(tmp_path, [5.0, 6.0], [7.0, 8.0], kind="intensity"),
        [rule],
        ["ihc:CD8_density"],
        noise={"CD8_density": SIGMA},
        declared=LOCKED,
        options=DecideOptions(by=None, n_sims=20_000),
    )
    row = found.cohort.iloc[0]
    assert (row["verdict"], row["n_evaluable"]) == ("go", 2)
    sd = 0.5 * np.sqrt(2)
    assert row["p_if_inert"] == pytest.approx(stats.norm.sf(1 / sd) ** 2, abs=0.003)
    expected = stats.norm.sf((1 - np.log2(row["target"])) / sd) ** 2
    assert row["p_if_target"] == pytest.approx(expected, abs=0.015)
    assert row["criterion"] == "at least 2 of 2 participants: a 2-fold rise"
    assert list(found.dose_levels.columns) == list(DECISION_COLUMNS)
    assert len(found.dose_levels) == 0
