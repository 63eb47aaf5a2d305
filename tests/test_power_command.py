"""`pdbiomarker power`: the tables of a plan, against the functions that have their own oracles."""

from __future__ import annotations

import pandas as pd
import pytest
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.decide import enrol_for, pairs_for_power
from pdbiomarker.errors import InputError


def test_the_command_plans_a_trial(tmp_path):
    arguments = ["power", "-o", str(tmp_path), "--sigma", "0.7", "--sd-response", "1.13", "--sims", "60"]
    arguments += ["--stage", "baseline adequate=0.8", "--stage", "second=0.75"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.strip() == str(tmp_path / "enrolment.csv")
    row = pd.read_csv(tmp_path / "enrolment.csv").iloc[0]
    sd = (2 * 0.7**2 + 1.13**2) ** 0.5
    assert row["sd_log2_change"] == pytest.approx(sd)
    assert row["pairs"] == pairs_for_power(2.0, sd)
    assert row["n_enrol"] == enrol_for(int(row["pairs"]), 0.6).n_enrol
    table = pd.read_csv(tmp_path / "pairs.csv").set_index(["sd_log2_change", "fold"])["pairs"]
    assert [table[sd, 2.0] for sd in (1.0, 1.5, 2.0)] == [10, 20, 34]  # the published table
    told = pd.read_csv(tmp_path / "simulated.csv").set_index(["truth", "feature"])
    asked = told.loc[("as asked", "feature_1")]
    # So many are enrolled that enough pairs are there in 9 of 10 trials: power is above what was asked for.
    assert asked["power"] > 0.8 - 3 * asked["mc_se"]
    none = told.loc[("no effect", "any feature")]
    assert none["power"] <= 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5


def test_several_features_need_more_pairs(tmp_path):
    one, three = (
        pd.read_csv(pb.plan_power(pb.PowerRequest(features=k, n_sims=0), tmp_path / str(k))[0]).iloc[0]
        for k in (1, 3)
    )
    assert three["pairs"] > one["pairs"]
    assert three["alpha"] == pytest.approx(0.05 / 3)
    assert not (tmp_path / "1" / "simulated.csv").exists()


def test_what_no_trial_can_be_is_refused(tmp_path):
    with pytest.raises(InputError, match="E-RULE-004"):
        pb.plan_power(pb.PowerRequest(sigma=0.0, n_sims=5), tmp_path)
    answer = CliRunner().invoke(app, ["power", "-o", str(tmp_path), "--stage", "taken=often"])
    assert answer.exit_code == 2
