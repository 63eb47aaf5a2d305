"""What declared facts, and the lock of a plan, do to a verdict."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from builders import assay, study_folder

from pdbiomarker.change import pd_change
from pdbiomarker.decide import DecideOptions, Declared, decide, preset, rule_sha256
from pdbiomarker.noise import Noise
from pdbiomarker.plan import Plan, locked_content
from pdbiomarker.study import LockEntry, PlanLock, read_study

SIGMA = Noise("CD8", "log2", 0.2, np.inf, "replicate biopsies")
STUDY = """
id: T
visits: {screening: [-28, -1], C2D1: {day: 29, window: 7}}
assays: {ihc: {kind: intensity, file: ihc.csv}}
DECLARED
"""


@pytest.fixture
def make(tmp_path):
    """A study of twelve participants whose intensity rises fourfold, with facts in study.yaml."""

    def make(declared="", batches=None):
        rng = np.random.default_rng(1)
        rows, values, runs = ["participant_id,biopsy_id,visit,study_day"], {}, []
        for i in range(12):
            start = rng.normal(6, 1)
            for visit, day, up in (("screening", -7, 0.0), ("C2D1", 29, 2.0)):
                name = f"P{i:02d}{visit[0]}"
                rows.append(f"P{i:02d},{name},{visit},{day}")
                values[name] = [2.0 ** (start + up + 0.2 * rng.normal())]
                runs.append("" if batches is None else batches(i, visit))
        folder = study_folder(
            tmp_path,
            biopsies="\n".join(rows) + "\n",
            study=STUDY.replace("DECLARED", declared and f"declared: {declared}"),
            files={"ihc.csv": "feature,P00s\nCD8,1\n"},
        )
        data = assay(values, ["CD8"], kind="intensity")
        if batches is not None:
            data.obs["batch"] = runs
        study = read_study(folder).with_assay("ihc", data)
        return pd_change(study, Plan.read(folder / "plan.yaml", study))

    return make


def verdict(result, *, declared=None, rule="gmr_margin", sigma=SIGMA):
    options = DecideOptions(n_sims=0, by=None)
    found = decide(result, [rule], ["ihc:CD8"], noise={"CD8": sigma}, declared=declared, options=options)
    return found.cohort.iloc[0]


@pytest.mark.parametrize(
    ("facts", "expected", "said"),
    [
        ("{plan_locked: yes}", "go", ""),
        ("", "consider", "not declared that the plan was locked"),
        ("{plan_locked: no}", "consider", "the plan was not locked"),
        ("{plan_locked: yes, pairs_share_run: no}", "consider", "never share a staining run"),
        ("{plan_locked: yes, blinded_reading: no}", "consider", "the biopsies were not read blinded"),
        ("{plan_locked: yes, lots_bridged: no}", "consider", "lots were changed and not bridged"),
        ("{plan_locked: yes, lots_bridged: no, pairs_share_run: yes}", "go", ""),
        ("{plan_locked: yes, visit_randomised: no}", "go", ""),
    ],
)
def test_facts_of_study_yaml_cap_verdicts(make, facts, expected, said):
    row = verdict(make(facts))
    assert (row["verdict"], row["rule_verdict"]) == (expected, "go")
    assert said in row["capped_by"]


def test_facts_that_do_not_cap_are_told(make):
    row = verdict(make("{plan_locked: yes, visit_randomised: no, assay_cv_pct: {ihc: 30}}"))
    assert "visits were not read in random order" in row["note"]
    assert "below the declared assay precision (0.42, CV 30 %)" in row["note"]
    assert (
        "precision" not in verdict(make("{plan_locked: yes, assay_cv_pct: {ihc: 10}}"))["note"]
    )  # .14 on log2, less than the .2 used


def test_pairs_of_one_batch_each_need_no_bridge(make):
    result = make("{plan_locked: yes, lots_bridged: no}", batches=lambda i, visit: f"run {i // 4}")
    assert verdict(result)["verdict"] == "go"


def locked(result, *, rules, unblinded="2025-03-01", **plan):
    """The result with a lock of its plan, changed by `plan`, from before unblinding."""
    content = dataclasses.replace(result.plan, **plan).content
    entry = LockEntry(
        "T", "2025-01-10", "A", unblinded, None, 1, 1, "0", content, locked_content(result.study.spec),
        {name: rule_sha256(preset(name)) for name in rules},
    )  # fmt: skip
    return dataclasses.replace(result, study=dataclasses.replace(result.study, lock=PlanLock((entry,))))


def test_a_plan_and_a_rule_that_were_locked_need_no_declaration(make):
    result = locked(make(), rules=["gmr_margin"])
    assert verdict(result)["verdict"] == "go"
    other = verdict(result, rule="bayes_go")
    assert (other["verdict"], other["rule_verdict"]) == ("consider", "go")
    assert "the rule bayes_go is not in the lock" in other["capped_by"]


def test_nobody_can_declare_away_what_the_lock_says(make):
    result = locked(make("{plan_locked: yes}"), rules=["gmr_margin"], ddf="residual")
    row = verdict(result, declared=Declared(plan_locked=True))
    assert row["verdict"] == "consider"
    assert "since then changed: ddf" in row["capped_by"]
    unknown = locked(make(), rules=["gmr_margin"], unblinded=None)
    assert "the day of unblinding is not recorded" in verdict(unknown)["capped_by"]
    assert verdict(unknown, declared=Declared(plan_locked=True))["verdict"] == "go"
