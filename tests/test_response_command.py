"""`pdbiomarker response`: the same tables as the functions, from sheets and from a study folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from clinical_trial import trial
from typer.testing import CliRunner

from pdbiomarker.cli import app
from pdbiomarker.clinical.efficacy import efficacy
from pdbiomarker.clinical.efficacy_rules import EfficacyRules
from pdbiomarker.clinical.survival import AssessmentSchedule
from pdbiomarker.errors import Problems
from pdbiomarker.run.response import efficacy_tables
from pdbiomarker.tables import read_table, write_table

TRIAL = trial(9)


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trial")
    (folder / "clinical").mkdir()
    write_table(TRIAL["participants"], folder / "participants.csv")
    for name in ("lesions", "outcomes"):
        write_table(TRIAL[name], folder / "clinical" / f"{name}.csv")
    starts = pd.to_datetime(TRIAL["participants"].set_index("participant_id")["first_dose_datetime"])
    doses = TRIAL["doses"]
    days = [starts[p] + pd.Timedelta(days=d - 1) for p, d in doses.to_numpy()]
    dates = [day.date().isoformat() for day in days]
    given = doses[["participant_id"]].assign(start=dates, amount=10, unit="mg")
    write_table(given, folder / "clinical" / "doses.csv")
    biopsies = TRIAL["biopsies"]
    rows = biopsies[["participant_id", "study_day"]].assign(
        biopsy_id=[f"B{i}" for i in range(len(biopsies))],
        viable=biopsies["adequate"].map({True: 200, False: 9}),
    )
    write_table(rows, folder / "biopsies.csv")
    (folder / "study.yaml").write_text(
        "id: T\nvisits: {screening: [-28, -1], C2D1: {day: 29, window: 7}}\n"
        "adequacy: {viable: 100}\nassays: {}\n"
    )
    (folder / "rules.yaml").write_text("schedule: {every_days: 56, window_days: 7}\n")
    return folder


def _text(path: Path) -> list[list[str | None]]:
    table = read_table(path, problems=Problems())
    assert table is not None
    return table.to_numpy().tolist()


def test_sheets_and_study_give_the_tables_of_the_functions(sheets: Path, tmp_path: Path) -> None:
    clinical = sheets / "clinical"
    options = ["--outcomes", clinical / "outcomes.csv", "--participants", sheets / "participants.csv"]
    calls = {
        "sheets": [clinical / "lesions.csv", *options],
        "study": [sheets],
    }
    for name, call in calls.items():
        rules = ["--rules", sheets / "rules.yaml", "-o", tmp_path / name]
        done = CliRunner().invoke(app, ["response", *map(str, [*call, *rules])])
        assert done.exit_code == 0, done.output
        assert done.stdout.strip() == str(tmp_path / name / "best_response.csv")
    rules = EfficacyRules(schedule=AssessmentSchedule(56, 7))
    made = efficacy(TRIAL["participants"], {k: TRIAL[k] for k in ("lesions", "outcomes")}, rules=rules)
    for name, table in efficacy_tables(made).items():
        write_table(table, tmp_path / "want.csv")
        want = _text(tmp_path / "want.csv") if len(table) else []
        for folder in calls:
            path = tmp_path / folder / f"{name}.csv"
            assert (_text(path) if len(table) else []) == want, (folder, name)
    figures = sorted(p.stem for p in (tmp_path / "study").glob("*.png"))
    curves = ["km_dor", "km_os", "km_pfs", "km_pfs_by_dose_mg"]
    assert figures == [*curves, "spider", "swimmer", "waterfall"]


def test_what_is_missing_is_told_and_nothing_written(sheets: Path, tmp_path: Path) -> None:
    lesions = str(sheets / "clinical" / "lesions.csv")
    out = ["-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["response", lesions, *out])
    assert done.exit_code == 3
    assert "E-SURV-010" in done.stderr
    people = ["--participants", str(sheets / "participants.csv")]
    done = CliRunner().invoke(app, ["response", lesions, *people, "--cutoff", "June", *out])
    assert done.exit_code == 3
    assert "not a complete ISO date" in done.stderr
    done = CliRunner().invoke(app, ["response", str(sheets / "participants.csv"), *people, *out])
    assert done.exit_code == 3
    assert "neither lesions (lesion_id) nor responses" in done.stderr
    assert not (tmp_path / "out").exists()
