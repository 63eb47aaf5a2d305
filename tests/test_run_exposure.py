"""`pdbiomarker exposure`: the tables of the API, from a study folder and from plain CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.clinical import pk

T = [0, 1, 4, 24, 72, 168, 336]
C = ["BLQ", 50, 38, 20, 8, 1.6, "<0.05"]
PEOPLE = {"007": 100.0, "P2": 100.0, "P3": 300.0, "P4": 300.0}


def samples() -> pd.DataFrame:
    rows = [
        (p, t, c if isinstance(c, str) else c * dose / 100 * scale)
        for (p, dose), scale in zip(PEOPLE.items(), (1.0, 1.2, 0.9, 1.1), strict=True)
        for t, c in zip(T, C, strict=True)
    ]
    return pd.DataFrame(rows, columns=["participant_id", "time_h", "concentration"]).assign(
        unit="ug/mL", lloq=0.05
    )


def doses() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "participant_id": list(PEOPLE),
            "time_h": 0.0,
            "amount": list(PEOPLE.values()),
            "duration_h": 1.0,
            "unit": "mg",
        }
    )


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    samples().to_csv(tmp_path / "concentrations.csv", index=False)
    doses().to_csv(tmp_path / "doses.csv", index=False)
    return tmp_path


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"participant_id": str}, keep_default_na=False, na_values=[""])


def test_plain_csv_gives_the_tables_of_the_api(plain: Path) -> None:
    arguments = [
        "exposure",
        str(plain / "concentrations.csv"),
        str(plain / "doses.csv"),
        "-o",
        str(plain / "o"),
    ]
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.strip() == str(plain / "o" / "pk_parameters.csv")
    ours = read(plain / "o" / "pk_parameters.csv")
    api = pk.nca(samples(), doses())
    pd.testing.assert_frame_equal(
        ours.drop(columns="dose").assign(flags=ours["flags"].astype(object).fillna("")),
        api,
        check_dtype=False,
    )
    assert ours["dose"].tolist() == list(PEOPLE.values())
    found = {path.name for path in (plain / "o").iterdir()}
    assert {
        "pk_summary.csv",
        "pk_parameter_summary.csv",
        "dose_proportionality.csv",
        "pk_units.csv",
        "notes.csv",
        "concentration_time.png",
        "dose_proportionality.png",
    } <= found
    again = plain / "again"
    pb.write_exposure(plain / "concentrations.csv", again, doses=plain / "doses.csv")
    for path in sorted((plain / "o").iterdir()):
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_a_study_gives_exposure_at_its_biopsies(tmp_path: Path) -> None:
    study = tmp_path / "study"
    (study / "clinical").mkdir(parents=True)
    (study / "study.yaml").write_text(
        "id: T\nvisits:\n  screening: [-28, -1]\n  C1D8: {day: 8, window: 3}\n", encoding="utf-8"
    )
    (study / "participants.csv").write_text(
        "participant_id,dose_mg,first_dose_datetime\n007,100,2025-01-10T09:00\nP2,100,2025-02-01T09:00\n",
        encoding="utf-8",
    )
    (study / "biopsies.csv").write_text(
        "participant_id,biopsy_id,visit,collection_date\n007,B1,screening,2025-01-02\n"
        "007,B2,C1D8,2025-01-13T09:00\nP2,B3,C1D8,2025-02-08\n",
        encoding="utf-8",
    )
    (study / "clinical" / "doses.csv").write_text(
        "participant_id,start,end,amount,unit\n007,2025-01-10T09:00,2025-01-10T10:00,100,mg\n"
        "P2,2025-02-01T09:00,2025-02-01T10:00,0.1,g\nP2,2025-03,,100,mg\n",
        encoding="utf-8",
    )
    start = {"007": "2025-01-10T09:00", "P2": "2025-02-01T09:00"}
    rows = samples()[lambda f: f["participant_id"].isin(start)]
    moments = [
        (pd.Timestamp(start[p]) + pd.Timedelta(hours=t)).isoformat()
        for p, t in zip(rows["participant_id"], rows["time_h"], strict=True)
    ]
    sheet = rows.drop(columns="time_h").assign(datetime=moments, analyte="drug")
    undated = sheet.iloc[[3]].assign(datetime="2025-01-20")  # a day without a time of day
    pd.concat([sheet, undated]).to_csv(study / "clinical" / "concentrations.csv", index=False)
    outcome = pb.write_exposure(study, tmp_path / "out")
    assert outcome.exit_code == 4  # a sample and a dose are left out
    assert outcome.made[0].name == "pk_parameters.csv"
    parameters = read(tmp_path / "out" / "pk_parameters.csv").set_index("participant_id")
    expected = pk.nca(samples(), doses()).set_index("participant_id")
    assert parameters.loc["007", "cl"] == pytest.approx(expected.loc["007", "cl"], rel=1e-12)
    assert parameters.loc["P2", "vss"] == pytest.approx(expected.loc["P2", "vss"], rel=1e-12)
    assert parameters["analyte"].tolist() == ["drug", "drug"]
    exposure = read(tmp_path / "out" / "exposure_at_biopsy.csv").set_index("biopsy_id")
    assert exposure["n_doses"].tolist() == [0, 1, 1]
    area = pk.auc_between(samples(), doses(), start_h=0, end_h=72)
    assert exposure.loc["B2", "auc_to_biopsy"] == pytest.approx(area["auc"][0], rel=1e-12)
    assert exposure.loc["B2", "concentration"] == 8
    assert exposure.loc["B3", "time_h"] == 168  # by its day
    notes = " ".join(read(tmp_path / "out" / "notes.csv")["note"])
    assert "2 biopsies have no time of day: placed by their day" in notes
    left = read(tmp_path / "out" / "exposure_left_out.csv").set_index("file")
    left = left[left["what"] == "left out"]
    assert left.loc["concentrations.csv", ["participant_id", "row", "value"]].tolist() == [
        "007",
        16,
        "2025-01-20",
    ]
    assert left.loc["doses.csv", ["participant_id", "value"]].tolist() == ["P2", "2025-03"]
    at_biopsy = read(tmp_path / "out" / "schedule_at_biopsy.csv").set_index("biopsy_id")
    assert at_biopsy.loc["B2", "hours_since_last_dose"] == 72
    assert at_biopsy.loc["B3", "cumulative_mg"] == 100


@pytest.mark.parametrize("by_hours", [True, False])
def test_placebo_and_doses_without_a_time_of_day(tmp_path: Path, by_hours: bool) -> None:
    study = tmp_path / "study"
    (study / "clinical").mkdir(parents=True)
    (study / "study.yaml").write_text("id: T\nvisits:\n  screening: [-28, -1]\n", encoding="utf-8")
    (study / "participants.csv").write_text(
        "participant_id,dose_mg,first_dose_datetime\n007,100,2025-01-10\nPLA,0,2025-01-10\n", encoding="utf-8"
    )
    (study / "biopsies.csv").write_text(
        "participant_id,biopsy_id,visit,collection_date\nPLA,B1,screening,2025-01-02\n", encoding="utf-8"
    )
    (study / "clinical" / "doses.csv").write_text(
        "participant_id,start,amount,unit\n007,2025-01-10,100,mg\nPLA,2025-01-10,0,mg\n", encoding="utf-8"
    )
    rows = samples()[lambda f: f["participant_id"] == "007"]
    moments = [(pd.Timestamp("2025-01-10T09:00") + pd.Timedelta(hours=t)).isoformat() for t in rows["time_h"]]
    moments[-1] = "2025-03-01T09:00"  # a nominal 336 h that the dates do not allow
    rows = rows.assign(datetime=moments, nominal_time_h=rows["time_h"])
    rows = pd.concat([rows, rows.assign(participant_id="PLA", concentration="BLQ")])
    rows.drop(columns="datetime" if by_hours else "time_h").to_csv(
        study / "clinical" / "concentrations.csv", index=False
    )
    pb.write_exposure(study, tmp_path / "out")
    parameters = read(tmp_path / "out" / "pk_parameters.csv").set_index("participant_id")
    expected = pk.nca(samples(), doses().assign(duration_h=0.0)).set_index("participant_id")
    assert parameters.loc["007", "cl"] == pytest.approx(expected.loc["007", "cl"], rel=1e-12)
    assert parameters.loc["PLA", "flags"] == "no dose"
    notes = " ".join(read(tmp_path / "out" / "notes.csv")["note"])
    assert "no dose received, samples not analysed: PLA" in notes
    assert ("6 samples have no time of day, or their dose has none" in notes) != by_hours
    assert ("8 samples have no time from the first dose" in notes) != by_hours


def test_faults_of_plain_tables_have_their_line(plain: Path) -> None:
    text = (plain / "concentrations.csv").read_text(encoding="utf-8")
    (plain / "concentrations.csv").write_text(text.replace("P2,1,60.0", "P2,1,-60.0"), encoding="utf-8")
    (plain / "doses.csv").write_text(
        (plain / "doses.csv").read_text(encoding="utf-8").replace("P3,0.0,300.0", "P3,0.0,x"),
        encoding="utf-8",
    )
    arguments = [
        "exposure",
        str(plain / "concentrations.csv"),
        str(plain / "doses.csv"),
        "-o",
        str(plain / "o"),
    ]
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 3
    assert "concentrations.csv:10 [concentration]" in outcome.stderr
    assert "doses.csv:4 [amount]" in outcome.stderr
    assert not (plain / "o").exists()
    alone = CliRunner().invoke(app, ["exposure", str(plain / "concentrations.csv"), "-o", str(plain / "o")])
    assert alone.exit_code == 3
    assert "without doses" in alone.stderr
