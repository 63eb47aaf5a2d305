"""Lock, intercurrent events and declared facts through the whole road, and from the command line."""

from __future__ import annotations

import shutil

import pytest
from small_study import fingerprint, replace, small_study
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.errors import InputError
from pdbiomarker.plan import declared_of
from pdbiomarker.study import LOCK_FILE
from pdbiomarker.tables import read_table

PEOPLE = (
    "participant_id,dose_mg,first_dose_datetime,steroids_from,consented\n"
    "P01,10,2025-02-01T09:00,2025-02-17,2025-01-03\nP02,20,2025-02-01T09:00,,2025-01-04\n"
    "P03,30,2025-02-01T09:00,,2025-01-05\nP04,40,2025-02-01T09:00,,\n"
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = small_study(tmp_path_factory.mktemp("lock") / "s", slides=False)
    (folder / "participants.csv").write_text(PEOPLE, encoding="utf-8")
    replace(folder / "study.yaml", "adequacy:", "declared: {blinded_reading: yes}\nadequacy:")
    replace(folder / "study.yaml", "file: counts.csv.gz", "file: counts.csv.gz, signatures: [CYT]")
    replace(folder / "plan.yaml", "families: {", "families: {primary: ['rna_signatures:CYT'], ")
    with (folder / "plan.yaml").open("a", encoding="utf-8") as file:
        file.write("intercurrent: {steroids: {column: steroids_from, strategy: hypothetical}}\n")
    return folder


@pytest.fixture(scope="module")
def out(study, tmp_path_factory):
    pb.lock_plan(study, by="A. Stat", date="2025-01-10", unblinded="2025-07-01", rules=["gmr_margin"])
    target = tmp_path_factory.mktemp("out") / "o"
    pb.run_study(study, target, progress=False)
    return target


def test_the_results_hold_events_lock_and_pairs(study, out):
    result = pb.read_result(out)
    assert set(result.listings) == {"estimands", "intercurrent_events", "pair_mix", "plan_deviations"}
    for name, table in result.listings.items():
        assert (out / "results" / f"{name}.csv").is_file()
        assert len(table), name
    (event,) = result.listings["intercurrent_events"].to_dict("records")
    assert (event["biopsy_id"], event["event_day"], bool(event["affected"])) == ("P01-T", 17, True)
    told = result.biopsies.set_index(["assay", "set", "biopsy_id"])
    row = told.loc[("rna_signatures", "strict", "P01-T")]
    assert row["code"] == "E-PLAN-014"
    assert not bool(row["used"])
    assert result.provenance["lock"]["locked_before_unblinding"] is True
    assert "steroids: hypothetical" in result.provenance["estimand"]["intercurrent_events"]
    facts = declared_of(result.study, result.plan)
    assert (facts.plan_locked, facts.blinded_reading) == (True, True)
    assert result.plan.intercurrent == pb.Plan.read(study / "plan.yaml").intercurrent
    page = (out / "review.html").read_text(encoding="utf-8")
    assert 'id="estimand"' in page


def test_trap_33_no_date_of_a_participant_is_left_in_the_results(out):
    """The dates of an event and of a consent, in columns with names that do not say that they are dates."""
    dates = [b"2025-02-17", b"2025-02-01", b"2025-01-03", b"2025-01-05"]
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert not [d for d in dates if d in content], path.name


def test_the_same_lock_gives_the_same_bytes_and_another_lock_new_results(study, out, tmp_path):
    pb.change_study(study, tmp_path / "again", progress=False)
    before, again = fingerprint(out), fingerprint(tmp_path / "again")
    made = [name for name in again if name.startswith(("results/", "assays/"))]
    assert len(made) > 10
    assert {name: again[name] for name in made} == {name: before[name] for name in made}
    content = (study / LOCK_FILE).read_text(encoding="utf-8")
    try:
        (study / LOCK_FILE).unlink()
        outcome = pb.change_study(study, tmp_path / "again", progress=False)
        assert "change" in outcome.steps_made
        result = pb.read_result(tmp_path / "again")
        assert result.listings["plan_deviations"]["told"].tolist() == ["The plan was never locked."]
        (study / LOCK_FILE).write_text(content.replace("A. Stat", "B. Stat"), encoding="utf-8")
        with pytest.raises(pb.errors.InputError, match="E-LOCK-002"):
            pb.run_study(study, tmp_path / "refused", progress=False)
        assert not (tmp_path / "refused").exists()
        assert [p.code for p in pb.check(study).errors] == ["E-LOCK-002"]
    finally:
        (study / LOCK_FILE).write_text(content, encoding="utf-8")


def test_a_rule_and_a_feature_given_twice_are_decided_once(out, tmp_path):
    made = pb.decide_results(out, tmp_path, rules=["gmr_margin"] * 2, features=["rna_signatures:CYT"] * 2)
    problems = pb.errors.Problems()
    cohort = read_table(made[0], problems=problems)
    assert cohort[["rule", "feature"]].to_numpy().tolist() == [["gmr_margin", "CYT"]]


def test_the_commands(study, out, tmp_path):
    runner = CliRunner()
    answer = runner.invoke(app, ["plan", "check", str(study)])
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.startswith("Locked on 2025-01-10 by A. Stat, before unblinding on 2025-07-01;")
    again = runner.invoke(app, ["plan", "lock", str(study), "--date", "2025-01-11"])
    assert again.exit_code == 3
    assert "E-LOCK-004" in again.stderr
    shown = runner.invoke(app, ["plan", "show", str(study)])
    assert "# lock 1: 2025-01-10; look 1 of 1; by A. Stat" in shown.stdout
    other = tmp_path / "other.yaml"
    other.write_text((study / "plan.yaml").read_text(encoding="utf-8") + "ddf: residual\n", encoding="utf-8")
    deviating = runner.invoke(app, ["plan", "check", str(study), "--plan", str(other)])
    assert deviating.exit_code == 3
    assert "E-LOCK-006 plan.lock.yaml [ddf]" in deviating.stderr


def test_a_rule_file_of_the_study_is_found_from_anywhere(study, tmp_path, monkeypatch):
    here = tmp_path / "s"
    shutil.copytree(study, here)
    (here / "plan.lock.yaml").unlink(missing_ok=True)
    (here / "protocol.yaml").write_text(
        "name: ours\ntitle: t\ncriterion: gmr_margin\nsource: s\nmargin: 1.5\nalpha: 0.05\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    path = pb.lock_plan(here, date="2025-01-10", rules=["protocol.yaml"])
    assert "ours:" in path.read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"E-FILE-001 nowhere\.yaml"):
        pb.lock_plan(here, date="2025-01-11", rules=["nowhere.yaml"], reason="r")
