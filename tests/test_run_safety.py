"""The commands ada, safety and escalation give the tables of the functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_study import small_study
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.errors import InputError, Problems
from pdbiomarker.tables import order_by_texts, read_table, write_table

PEOPLE = "participant_id,first_dose_datetime,dose_mg,cohort\n" + "".join(
    f"{k:03d},2025-{1 + k // 4:02d}-{10 + k:02d},{3 if k < 4 else 10},escalation\n" for k in range(1, 7)
)
CONTACTS = "participant_id,last_contact_date\n" + "".join(f"{k:03d},2025-12-01\n" for k in range(1, 7))
EVENTS = (
    "participant_id,term,system_organ_class,grade,start,end,serious,related,dose_limiting\n"
    "001,Rash,Skin,1,2025-01-15,,no,yes,no\n"
    "005,Syncope,Nerve,3,2025-02-20,,yes,yes,yes\n"
    "005,Rash,Skin,,2025-02,,no,yes,no\n"
)
ADA = (
    "participant_id,study_day,assay_step,result,titre,titre_scale\n"
    "001,-1,screen,negative,,\n"
    "001,29,screen,positive,,\n"
    "001,29,confirm,positive,,\n"
    "001,29,titre,positive,200,linear\n"
    "002,-1,screen,positive,,\n"
    "002,29,screen,negative,,\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("people", PEOPLE), ("contacts", CONTACTS), ("events", EVENTS), ("ada", ADA)):
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    return tmp_path


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200", "TERM": "dumb"})


def table(path: Path) -> pd.DataFrame:
    found = read_table(path, problems=Problems())
    assert found is not None
    return found


def same(written: Path, wanted: pd.DataFrame, scratch: Path) -> bool:
    """Whether a file holds the bytes that a table of the function gives."""
    write_table(wanted, scratch / "wanted.csv")
    return written.read_bytes() == (scratch / "wanted.csv").read_bytes()


def test_ada_gives_the_tables_of_the_functions(folder: Path) -> None:
    (folder / "biopsies.csv").write_text("biopsy_id,participant_id,study_day\nB1,001,28\nB2,001,30\n")
    out = folder / "out"
    answer = call("ada", folder / "ada.csv", "-o", out, "--participants", folder / "people.csv",
                  "--biopsies", folder / "biopsies.csv")  # fmt: skip
    # One sample is positive at screening and not confirmed: it is left out, and listed.
    assert answer.exit_code == 4, answer.stderr
    assert answer.stdout.strip() == str(out / "ada_incidence.csv")
    assert "E-ADA-001" in answer.stderr
    samples = pb.clinical.ada.read_samples(table(folder / "ada.csv"), table(folder / "people.csv"))
    status = pb.clinical.ada.classify(samples)
    assert same(out / "ada_samples.csv", samples.table, folder)
    assert same(out / "ada_participants.csv", status, folder)
    assert same(out / "ada_incidence.csv", pb.clinical.ada.incidence(status, by_dose=True), folder)
    assert table(out / "ada_biopsies.csv")["ada_any"].tolist() == ["false", "true"]
    assert table(out / "ada_left_out.csv")["code"].tolist() == ["E-ADA-001"]
    assert (out / "ada_titres.png").stat().st_size > 5000


def test_ada_reads_the_drug_tolerance_with_its_unit(folder: Path) -> None:
    answer = call("ada", folder / "ada.csv", "-o", folder / "out", "--drug-tolerance", "50")
    assert answer.exit_code == 3
    assert "has no unit" in answer.stderr
    common = ("ada", folder / "ada.csv", "-o", folder / "out", "--drug-tolerance")
    assert call(*common, "much").exit_code == 2
    assert call(*common, "50", "--drug-unit", "ug/mL").exit_code == 4  # the unconfirmed sample is left out
    assert "drug concentration not measured" in (folder / "out" / "ada_samples.csv").read_text()


def test_safety_gives_the_tables_of_the_functions(folder: Path) -> None:
    out = folder / "out"
    answer = call("safety", folder / "events.csv", "-o", out, "--participants", folder / "people.csv",
                  "--outcomes", folder / "contacts.csv", "--cutoff", "2025-12-31")  # fmt: skip
    assert answer.exit_code == 0, answer.stderr
    s = pb.clinical.safety
    options = s.SafetyOptions(cutoff="2025-12-31")
    events = order_by_texts(table(folder / "events.csv"))  # as the command reads it
    data = s.read_events(events, table(folder / "people.csv"), options=options)
    evaluable = s.dlt_evaluable(data, table(folder / "contacts.csv"))
    for name, wanted in (
        ("ae_events", data.events),
        ("ae_by_kind", s.by_kind(data)),
        ("ae_by_term", s.by_term(data)),
        ("ae_max_grades", s.max_grades(data)),
        ("dlt_participants", evaluable),
        ("dlt_by_dose", s.dlt_table(evaluable)),
        ("escalation_path", s.outcomes_of(evaluable).table),
    ):
        assert same(out / f"{name}.csv", wanted, folder), name
    assert s.outcomes_of(evaluable).outcomes == "1NNN 2NTN"
    for figure in ("ae_grades", "escalation_path"):
        assert (out / f"{figure}.png").stat().st_size > 5000


def test_safety_without_participants_says_what_is_missing(folder: Path) -> None:
    answer = call("safety", folder / "events.csv", "-o", folder / "out")
    assert answer.exit_code == 3
    assert "--participants" in answer.stderr


def test_escalation_prints_the_next_dose_the_mtd_and_the_decision_table(folder: Path) -> None:
    answer = call("escalation", "--design", "boin", "--outcomes", "1NNN 2NTN", "--doses", 5, "--target", 0.3,
                  "-o", folder / "out")  # fmt: skip
    assert answer.exit_code == 0, answer.stderr
    assert "Next dose level: 2." in answer.stdout
    assert "the MTD is dose level 2" in answer.stdout
    # PD of 3 participants: escalate at 0, stay at 1, de-escalate at 2, eliminate at 3.
    lines = [line.split() for line in answer.stdout.splitlines()]
    at = [
        line
        for line in lines
        if line[:1] in (["0"], ["1"], ["2"], ["3"]) and line[-1] in {"E", "S", "D", "DU"}
    ]
    assert [at[0][3], at[1][3], at[2][2], at[3][1]] == ["E", "S", "D", "DU"]
    e = pb.clinical.escalation
    assert same(folder / "out" / "decision_table.csv", e.decision_table("boin", target=0.3), folder)
    assert same(folder / "out" / "mtd.csv", e.select_mtd("boin", "1NNN 2NTN", 5).table, folder)
    assert (folder / "out" / "decision_table.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--outcomes", "1NNX", "--doses", "5"], 3, "position 4"),
        (["--outcomes", "1NNN"], 3, "number of dose levels"),
        (["--doses", "5"], 3, "E-DOSE-005"),
        (["--outcomes", "1N", "--doses", "5", "--design", "crm"], 3, "no design 'crm'"),
        (["--outcomes", "1N", "--doses", "5", "--option", "epsilon1=.05"], 3, "no option 'epsilon1'"),
        (["--outcomes", "1N", "--doses", "5", "--option", "epsilon1"], 2, "="),
    ],
)
def test_what_escalation_refuses(arguments: list[str], code: int, said: str) -> None:
    answer = call("escalation", *arguments)
    assert answer.exit_code == code
    assert said in answer.stderr


def test_options_of_the_design_reach_it() -> None:
    common = ["escalation", "--design", "3+3", "--outcomes", "1NNN 2NTT", "--doses", 5]
    assert "Stop: dose level 1 is recommended." in call(*common).stdout
    assert "Next dose level: 1." in call(*common, "--option", "allow_deescalate=true").stdout


def test_a_study_folder_is_read_with_its_clinical_sheets(tmp_path: Path) -> None:
    study = small_study(tmp_path / "study", slides=False)
    people = pb.read_study(study).participants
    clinical = study / "clinical"
    clinical.mkdir(exist_ok=True)
    ids = list(people.index)
    (clinical / "adverse_events.csv").write_text(
        f"participant_id,term,grade,start,dose_limiting\n{ids[0]},Rash,1,2025-12-01,no\n"
    )
    (clinical / "outcomes.csv").write_text(
        "participant_id,last_contact_date\n" + "".join(f"{i},2027-01-01\n" for i in ids)
    )
    (clinical / "ada.csv").write_text(
        f"participant_id,study_day,result\n{ids[0]},-1,negative\n{ids[0]},29,negative\n"
    )
    outcome = pb.write_safety(study, tmp_path / "safety")
    assert (tmp_path / "safety" / "ae_by_kind.csv") == outcome.made[0]
    assert pb.write_ada(study, tmp_path / "ada").made[0].exists()
    if people["dose_mg"].notna().any():
        found = pb.escalate("boin", study=study, out=tmp_path / "esc")
        assert found.path is not None
        assert found.dose is not None
        assert (tmp_path / "esc" / "escalation_path.csv").exists()


def test_a_study_and_an_outcome_string_are_not_both_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E-DOSE-005"):
        pb.escalate("boin", "1N", 5, study=tmp_path)
