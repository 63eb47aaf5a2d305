"""All checks of a result, and the tables of a results folder."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from builders import assay
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.decide import checks_table, honesty_checks
from pdbiomarker.decide.checks import _regression
from pdbiomarker.decide.honesty import regression_to_the_mean, reliability_of
from pdbiomarker.decide.inputs import staining_runs
from pdbiomarker.errors import InputError
from pdbiomarker.noise import Noise, choose_noise, counting_of, noise_table
from pdbiomarker.run import decisions as room

NAMES = [
    "analysis sets",
    "leave one out",
    "regression to the mean",
    "threshold",
    "offset",
    "unpaired baselines",
    "missing second biopsy",
    "batch and visit",
    "dose and calendar time",
]


def test_every_check_gives_a_row_and_finds_what_is_planted(result):
    noise, reasons = choose_noise(result.study, ["ihc:CD8_density"])
    assert reasons == {}
    own = noise["ihc:CD8_density"]
    assert (own.df, own.basis, own.borrowed) == (4.0, "replicate biopsies", False)
    checks = honesty_checks(result, "ihc:CD8_density", noise=own)
    table = checks_table(checks, "ihc:CD8_density").set_index("check")
    assert table.index.tolist() == NAMES
    assert table.loc["batch and visit", "finding"] == "caution"
    assert table.loc["batch and visit", "verdict"].startswith("Not separable")
    assert table.loc["dose and calendar time", "finding"] == "caution"
    assert table.loc["leave one out", "finding"] == "clear"
    assert table.loc["offset", "finding"] == "clear"
    assert "3 without a second biopsy" in table.loc["unpaired baselines", "verdict"]
    assert "3 missing" in table.loc["missing second biopsy", "verdict"]
    ages = next(c for c in checks if c.name == "unpaired baselines").table.set_index("characteristic")
    assert ages.loc["age", "paired"] == pytest.approx(np.mean(50 + np.arange(9)))
    y = pd.Series(np.asarray(result.study.assays["ihc"].layers["y"])[:, 0], result.study.biopsies.index)
    first = y.groupby([name[:4] for name in y.index]).mean()
    paired = [first[f"B{i:02d}s"] for i in range(9)]
    assert ages.loc["baseline", "paired"] == pytest.approx(np.mean(paired))
    assert set(checks_table(checks, "ihc:CD8_density")["feature"]) == {"ihc:CD8_density"}


def test_a_table_of_values_has_the_staining_runs_of_the_biopsies(result):
    data = result.study.assays["ihc"].copy()
    runs = data.obs["batch"].copy()
    del data.obs["batch"]
    ask = "ihc:CD8_density"
    without = dataclasses.replace(result, study=result.study.with_assay("ihc", data))
    silent = checks_table(honesty_checks(without, ask), ask).set_index("check")
    assert silent.loc["batch and visit", "finding"] == "not told"
    sheet = dataclasses.replace(without.study, biopsies=without.study.biopsies.assign(batch=runs))
    told = checks_table(honesty_checks(dataclasses.replace(result, study=sheet), ask), ask)
    expected = checks_table(honesty_checks(result, ask), ask)
    pd.testing.assert_frame_equal(told, expected)
    assert staining_runs(sheet, "ihc").tolist() == runs.tolist()


def test_without_noise_the_checks_that_need_it_are_not_told(result):
    table = checks_table(honesty_checks(result, "ihc:CD8_density"), "f").set_index("check")
    assert table.loc[["regression to the mean", "threshold"], "finding"].tolist() == ["not told", "not told"]
    with pytest.raises(InputError) as caught:
        honesty_checks(result, "ihc:CD3_density")
    (problem,) = caught.value.problems
    assert (problem.code, problem.column, problem.value) == ("E-RULE-003", "feature", "ihc:CD3_density")
    assert "ihc:CD8_density" in problem.remedy


def test_own_replicates_come_before_borrowed_noise_and_reasons_are_kept(result):
    table = noise_table(*choose_noise(result.study, ["ihc:CD8_density"]))
    assert table["source"].tolist() == ["this study"]
    assert table["rcv_fold"].iloc[0] == pytest.approx(2 ** table["rcv"].iloc[0])
    assert 0 < table["icc"].iloc[0] <= 1
    single = result.study.assays["ihc"][[b for b in result.study.biopsies.index if b.endswith("0")]].copy()
    without = result.study.with_assay("ihc", single)
    noise, reasons = choose_noise(without, ["ihc:CD8_density"])
    assert noise == {}
    assert "Every visit has one measurement" in reasons["ihc:CD8_density"]
    assert "can be borrowed" in reasons["ihc:CD8_density"]
    assert noise_table(noise, reasons)["note"].tolist() == [reasons["ihc:CD8_density"]]


def test_counting_error_of_an_assay(result):
    counted = counting_of(result.study.assays["ihc"], "CD8_density")
    n = np.asarray(result.study.assays["ihc"].layers["numerator"])[:, 0]
    np.testing.assert_allclose(counted, 1 / ((n + 0.5) * np.log(2) ** 2))
    assert counting_of(assay({"B": [1.0]}, ["s"]), "s") is None


@pytest.mark.parametrize(("flag", "said"), [([], "not declared"), (["--locked"], "never share")])
def test_the_command_writes_every_table(result, tmp_path, monkeypatch, flag, said):
    """The folder is read by what `run` tests; here the result is given."""
    monkeypatch.setattr(room, "read_result", lambda path: result)
    out = tmp_path / "decisions"
    arguments = ["decide", "OUT", "-o", str(out), "--rule", "gmr_margin", "--rule", "x_of_n", *flag]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.strip() == str(out / "decisions_cohort.csv")
    assert sorted(p.name for p in out.iterdir()) == [
        *(
            f"decisions_{name}.csv"
            for name in ("cohort", "curves", "dose_levels", "operating", "participants")
        ),
        *("dose_response.csv", "dose_trend.csv"),
        *sorted(f"honesty_{name.replace(' ', '_')}.csv" for name in [*NAMES, "checks"]),
        *("noise.csv", "noise_components.csv", "responder_rates.csv", "responders.csv", "review.json"),
    ]
    cohort = pd.read_csv(out / "decisions_cohort.csv").set_index("rule")
    assert cohort.loc["gmr_margin", "verdict"] == "consider"
    assert cohort.loc["gmr_margin", "rule_verdict"] == "go"
    assert said in cohort.loc["gmr_margin", "capped_by"]
    called = pd.read_csv(out / "responders.csv").set_index("participant_id")
    assert len(called) == 12
    assert called["call"].eq("not evaluable").sum() == 3
    assert called.loc["P00", "counting_se"] > 0
    first = {p.name: p.read_bytes() for p in out.iterdir()}
    CliRunner().invoke(app, arguments)
    assert first == {p.name: p.read_bytes() for p in out.iterdir()}


def test_the_command_refuses_what_it_does_not_know(result, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "read_result", lambda path: result)
    answer = CliRunner().invoke(app, ["decide", "OUT", "-o", str(tmp_path / "d"), "--rule", "nothing"])
    assert answer.exit_code == 3
    assert "E-RULE-002" in answer.stderr


def test_regression_to_the_mean_is_judged_at_both_limits_of_the_noise(result):
    """Where change rises with baseline, the null that lies nearest is that of the highest reliability."""
    own = Noise("CD8_density", "log2", 0.4, 4.0, "replicate biopsies", low=0.25, high=0.7)
    first = np.array([5.1, 6.2, 7.0, 4.4, 6.6, 5.8])
    change = np.array([0.4, 0.9, 1.2, 0.3, 0.6, 0.8])
    found = _regression(first, change, own)
    value, low, high = reliability_of(own, first)
    assert 0 < low < value < high < 1
    whole = regression_to_the_mean(first, change, reliability=value, low=low, high=high)
    half = regression_to_the_mean(first, change, reliability=value, low=low)
    pd.testing.assert_frame_equal(found.table, whole.table)
    assert not found.table.equals(half.table)


def test_probabilities_at_the_upper_limit_of_sigma_stand_beside(result):
    own = Noise("CD8_density", "log2", 0.4, 4.0, "replicate biopsies", low=0.25, high=1.2)
    rule = pb.decide.preset("x_of_n")
    rule = rule.model_copy(update={"participant": rule.participant.model_copy(update={"beyond_noise": None})})
    found = pb.decide.decide(result, [rule], ["ihc:CD8_density"], noise={"CD8_density": own})
    rows = found.operating[(found.operating["level"] == "cohort") & found.operating["inert"]]
    assert rows["at"].tolist() == ["sigma", "upper limit of sigma"]
    assert rows["sigma"].tolist() == [0.4, 1.2]
    assert "at the upper limit of sigma" in found.cohort["note"].iloc[0]
