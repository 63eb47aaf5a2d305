"""A study folder to be filled: written once, read by the checks, with the names of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.errors import InputError, Problems, StudyError
from pdbiomarker.study.migration import MIGRATIONS, SCHEMA, migrated
from pdbiomarker.tables import YamlDocument, load_yaml

PARTICIPANTS = "participant_id,cohort,dose_mg,sex,age,tumor_type,first_dose_datetime"
BIOPSIES = "participant_id,biopsy_id,visit,collection_date,study_day,lesion_id,site,viable_tumor_cells,batch"


def test_it_only_wants_its_rows(tmp_path: Path) -> None:
    """Nothing is wrong with a new folder but that its sheets are empty."""
    pb.init_study(tmp_path / "new")
    with pytest.raises(InputError) as caught:
        pb.read_study(tmp_path / "new")
    assert {(p.code, p.file) for p in caught.value.problems if p.severity == "error"} == {
        ("E-SHEET-011", name) for name in ("participants.csv", "biopsies.csv", "slides.csv")
    }


def test_filled_in_it_is_a_study(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    pb.init_study(folder, id="007")
    (folder / "participants.csv").write_text(f"{PARTICIPANTS}\nP1,A,10,F,61,melanoma,2025-01-10\n")
    (folder / "biopsies.csv").write_text(
        f"{BIOPSIES}\nP1,B1,screening,2025-01-05,,L1,liver,400,R1\nP1,B2,C2D1,2025-02-07,,L1,liver,300,R1\n"
    )
    (folder / "slides.csv").write_text("slide_id,biopsy_id,path,mpp,batch,scanner\nS1,B1,S1.tif,0.5,R1,A\n")
    (folder / "S1.tif").write_bytes(b"")
    study = pb.read_study(folder)
    assert (study.spec.id, study.spec.visit_names) == ("007", ("screening", "C2D1"))
    plan = pb.Plan.read(folder / "plan.yaml", study)
    assert plan.families["primary"] == ("ihc:CD8_density",)


@pytest.mark.parametrize("name", ["IGM: 7354", "it's", "no", "012", "{x}", "#1"])
def test_any_name_stays_as_typed(tmp_path: Path, name: str) -> None:
    pb.init_study(tmp_path / "s", id=name)
    (tmp_path / "s/participants.csv").write_text(f"{PARTICIPANTS}\nP1,A,10,F,61,melanoma,2025-01-10\n")
    (tmp_path / "s/biopsies.csv").write_text(f"{BIOPSIES}\nP1,B1,screening,2025-01-05,,L1,liver,400,R1\n")
    (tmp_path / "s/slides.csv").write_text("slide_id,biopsy_id,path,mpp,batch,scanner\nS1,B1,S1.tif,,,\n")
    (tmp_path / "s/S1.tif").write_bytes(b"")
    assert pb.read_study(tmp_path / "s").spec.id == name


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("mine")
    with pytest.raises(StudyError, match="E-STUDY-015") as caught:
        pb.init_study(tmp_path)
    assert [p.file for p in caught.value.problems] == ["plan.yaml"]
    assert [p.name for p in tmp_path.iterdir()] == ["plan.yaml"]


@pytest.mark.parametrize("name", ["", " x", "a\nb", "a\x00b"])
def test_a_name_that_cannot_be_typed_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match="E-STUDY-001"):
        pb.init_study(tmp_path / "s", id=name)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("2", "Use a pdbiomarker that knows version 2"),
        ("0", "Write 'schema: 1', or leave the key out"),
        ("-1", "Write 'schema: 1'"),
        ("1.5", "Write 'schema: 1'"),
        ("one", "Write 'schema: 1'"),
        ("true", "Write 'schema: 1'"),
    ],
)
def test_a_version_that_cannot_be_read_is_refused(tmp_path: Path, written: str, remedy: str) -> None:
    pb.init_study(tmp_path / "s")
    file = tmp_path / "s/study.yaml"
    file.write_text(file.read_text().replace("schema: 1 ", f"schema: {written} "))
    with pytest.raises(InputError, match=r"E-STUDY-080.*study\.yaml of version 1") as caught:
        pb.read_study(tmp_path / "s")
    (told,) = [p for p in caught.value.problems if p.code == "E-STUDY-080"]
    assert (told.row, told.column, told.value) == (3, "schema", written)
    assert remedy in told.remedy


def _document(tmp_path: Path, text: str) -> YamlDocument:
    (tmp_path / "study.yaml").write_text(text)
    problems = Problems()
    document = load_yaml(tmp_path / "study.yaml", problems)
    assert document is not None
    assert not list(problems)
    return document


def test_a_file_without_a_version_is_read_as_it_stands(tmp_path: Path) -> None:
    problems = Problems()
    read = migrated(_document(tmp_path, "id: A\nvisits: {Pre: {}}\n"), problems)
    assert read is not None
    assert read.data == {"id": "A", "visits": {"Pre": {}}, "schema": 1}
    assert not list(problems)


def test_a_file_of_an_earlier_version_goes_through_every_step_and_is_told(tmp_path: Path) -> None:
    """With a version 3 that does not exist: `visits` was `timepoints` in 1, and ids were lower case in 2."""
    steps = {
        0: lambda content: content,
        1: lambda content: {"visits" if k == "timepoints" else k: v for k, v in content.items()},
        2: lambda content: {**content, "id": content["id"].upper()},
    }
    for written, told in (("", 0), ("schema: 1\n", 1), ("schema: 2\n", 1), ("schema: 3\n", 0)):
        key = "timepoints" if written in {"", "schema: 1\n"} else "visits"
        name = "A" if written == "schema: 3\n" else "a"
        problems = Problems()
        document = _document(tmp_path, f"{written}id: {name}\n{key}: {{Pre: {{}}}}\n")
        read = migrated(document, problems, schema=3, migrations=steps)
        assert read is not None
        assert read.data == {"id": "A", "visits": {"Pre": {}}, "schema": 3}, written
        assert [(p.code, p.severity, p.row) for p in problems] == [("E-STUDY-081", "warning", 1)] * told


def test_every_earlier_version_has_its_step() -> None:
    assert sorted(MIGRATIONS) == list(range(SCHEMA))


def test_the_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init", str(tmp_path / "new"), "--id", "X-1"])
    assert result.exit_code == 0
    assert str(tmp_path / "new/study.yaml") in result.stdout.splitlines()
    assert CliRunner().invoke(app, ["init", str(tmp_path / "new")]).exit_code == 3


def test_the_version_is_an_option_too() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == pb.__version__
