"""The commands of the clinic: a study folder and plain sheets give the same; what is left out is listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_study import small_study

import pdbiomarker as pb
from pdbiomarker.clinical.ada import AdaOptions
from pdbiomarker.clinical.safety import SafetyOptions
from pdbiomarker.errors import Problems
from pdbiomarker.simulate.clinical import draw_clinical
from pdbiomarker.simulate.design import TrialDesign
from pdbiomarker.simulate.trial import draw_trial
from pdbiomarker.tables import read_table, write_table

#: Before the end of the simulated trial: part of every sheet lies after it.
CUTOFF = "2025-01-31"
#: Only a study has biopsies with a schedule, and says which of them are adequate.
OF_A_STUDY = {"schedule_at_biopsy", "exposure_at_biopsy", "ada_biopsies"}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clinic") / "study"
    (folder / "clinical").mkdir(parents=True)
    for_trial, for_clinic = np.random.SeedSequence(3).spawn(2)
    drawn = draw_trial(TrialDesign(), 12, for_trial)
    people = drawn.participants[["participant_id", "cohort", "dose_mg", "first_dose_datetime"]]
    write_table(people, folder / "participants.csv")
    write_table(drawn.biopsies[["biopsy_id", "participant_id", "study_day"]], folder / "biopsies.csv")
    for name, sheet in draw_clinical(drawn.participants, for_clinic).sheets.items():
        write_table(sheet, folder / "clinical" / f"{name}.csv")
    (folder / "study.yaml").write_text(
        f"id: T\ndata_cutoff: {CUTOFF}\nvisits: {{screening: [-28, -1], C2D1: {{day: 29, window: 7}}}}\n"
    )
    return folder


def _exposure(trial: Path, out: Path, plain: bool) -> None:
    sheets = trial / "clinical"
    if plain:
        # Nothing is cut there: the sheets are cut to what a study would use.
        cut = out.parent / "cut"
        cut.mkdir()
        for name, column in (("concentrations", "datetime"), ("doses", "start")):
            sheet = read_table(sheets / f"{name}.csv", problems=Problems())
            assert sheet is not None
            write_table(sheet[sheet[column].str[:10] <= CUTOFF], cut / f"{name}.csv")
        pb.write_exposure(cut / "concentrations.csv", out, doses=cut / "doses.csv")
    else:
        pb.write_exposure(trial, out)


def _response(trial: Path, out: Path, plain: bool) -> None:
    sheets = trial / "clinical"
    if plain:
        people, ends = trial / "participants.csv", sheets / "outcomes.csv"
        pb.write_response(sheets / "lesions.csv", out, participants=people, outcomes=ends, cutoff=CUTOFF)
    else:
        pb.write_response(trial, out)


def _ada(trial: Path, out: Path, plain: bool) -> None:
    if plain:
        people = trial / "participants.csv"
        options = AdaOptions(cutoff=CUTOFF)
        pb.write_ada(trial / "clinical" / "ada.csv", out, participants=people, options=options)
    else:
        pb.write_ada(trial, out)


def _safety(trial: Path, out: Path, plain: bool) -> None:
    sheets = trial / "clinical"
    if plain:
        tables = {"participants": trial / "participants.csv"}
        tables |= {name: sheets / f"{name}.csv" for name in ("doses", "outcomes")}
        options = SafetyOptions(cutoff=CUTOFF)
        pb.write_safety(sheets / "adverse_events.csv", out, tables=tables, options=options)
    else:
        pb.write_safety(trial, out)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (_exposure, "exposure_left_out"),
        (_response, "problems"),
        (_ada, "ada_left_out"),
        (_safety, "safety_left_out"),
    ],
)
def test_a_study_and_plain_sheets_give_the_same_tables(
    command: Callable[[Path, Path, bool], None], told: str, trial: Path, tmp_path: Path
) -> None:
    command(trial, tmp_path / "study", False)
    command(trial, tmp_path / "plain", True)
    tables = {path.stem for path in (tmp_path / "study").glob("*.csv")} - OF_A_STUDY
    if command is _exposure:
        tables -= {told, "notes"}  # by a note each: biopsies are placed, and nothing is cut
    assert len(tables) >= 5
    for name in sorted(tables):
        ours, theirs = (
            (tmp_path / mode / f"{name}.csv").read_text().splitlines() for mode in ("study", "plain")
        )
        # Doses are not given to `response` as a sheet: they are drawn only.
        cut = [
            line for line in ours if command is not _response or not line.startswith("set aside,doses.csv")
        ]
        assert cut == theirs, name


@pytest.mark.parametrize(
    ("command", "told", "column"),
    [
        (_exposure, "exposure_left_out", "start"),
        (_response, "problems", "date"),
        (_ada, "ada_left_out", "date"),
        (_safety, "safety_left_out", "start"),
    ],
)
def test_trap_35_each_command_lists_the_rows_that_the_cut_off_sets_aside(
    command: Callable[[Path, Path, bool], None], told: str, column: str, trial: Path, tmp_path: Path
) -> None:
    command(trial, tmp_path / "out", False)
    listed = read_table(tmp_path / "out" / f"{told}.csv", problems=Problems())
    assert listed is not None
    aside = listed[listed["what"] == "set aside"]
    for name, rows in aside[aside["column"] == column].groupby("file"):
        sheet = read_table(trial / "clinical" / str(name), problems=Problems())
        assert sheet is not None
        late = sheet[sheet[column].fillna("").str[:10] > CUTOFF]
        assert rows["row"].tolist() == [str(line) for line in late.index]
        assert rows["participant_id"].tolist() == late["participant_id"].tolist()
        assert (rows["reason"] == f"after the data cut-off, {CUTOFF}").all()
        assert all(
            f"{column}={value}" in row for value, row in zip(late[column], rows["content"], strict=True)
        )
    assert len(aside)


def test_trap_35_who_was_seen_after_the_cut_off_was_there_on_it(trial: Path, tmp_path: Path) -> None:
    """A last contact after the cut-off says that the participant was alive on it: survival ends there."""
    pb.write_response(trial, tmp_path)
    alive = read_table(tmp_path / "os.csv", problems=Problems())
    ends = read_table(trial / "clinical" / "outcomes.csv", problems=Problems())
    assert alive is not None
    assert ends is not None
    later = set(ends.loc[ends["last_contact_date"] > CUTOFF, "participant_id"])
    rows = alive[alive["participant_id"].isin(later) & (alive["start_date"] <= CUTOFF)]
    assert len(rows) > 2
    assert set(rows["end_date"]) == {CUTOFF}
    assert set(rows["event"]) == {"false"}


def test_a_result_gives_its_clinical_tables_back_without_dates(trial: Path, tmp_path: Path) -> None:
    study = small_study(tmp_path / "study", slides=False)
    people = list(pb.read_study(study).participants.index)
    sheets = study / "clinical"
    sheets.mkdir()
    (sheets / "doses.csv").write_text(
        "participant_id,start,end,amount,unit,cycle\n"
        f"{people[0]},2025-02-01T09:00,2025-02-01T10:00,10,mg,1\n"
        f"{people[0]},2025-02,,10,mg,\n{people[1]},2025-08-01,,10,mg,7\n"
    )
    (sheets / "adverse_events.csv").write_text(
        f"participant_id,term,grade,start,serious\n{people[0]},Rash,2,2025-02-09,no\n"
    )
    (sheets / "outcomes.csv").write_text(f"participant_id,death_date\n{people[0]},2025-03-04\n")
    outcome = pb.run_study(study, tmp_path / "out", progress=False)
    ran, back = pb.read_study(study), pb.read_result(outcome.out).study
    assert set(back.clinical) == {"doses", "adverse_events", "outcomes", "set_aside"}
    dropped = {
        "doses": {"start", "start_typed", "end", "end_typed"},
        "adverse_events": {"start", "start_typed"},
        "outcomes": {"death_date", "death_date_typed"},
        "set_aside": {"value", "row"},
    }
    for name, frame in ran.clinical.items():
        kept = frame[[column for column in frame.columns if column not in dropped[name]]]
        pd.testing.assert_frame_equal(
            back.clinical[name].reset_index(drop=True), kept, check_index_type=False, check_column_type=False
        )
    assert back.clinical["doses"]["study_day"].dropna().tolist() == [1]
    assert back.clinical["doses"]["start_imputed"].tolist() == ["day", None]
    text = (outcome.out / "results" / "study.json").read_text(encoding="utf-8")
    assert not [date for date in ("2025-02-01", "2025-02-09", "2025-03-04") if date in text]
    assert pb.read_result(outcome.out).study.clinical["doses"]["cycle"].dtype == "Int64"


def test_every_column_of_the_clinic_is_explained(trial: Path) -> None:
    tables = pb.clinical_tables(pb.read_study(trial)).tables
    assert len(tables) > 20
    columns = {column: name for name, table in tables.items() for column in table.columns}
    assert all(pb.explain(column) for column in columns)
