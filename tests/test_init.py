"""A study folder to be filled: written once, read by the checks, with the names of the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.errors import InputError, StudyError

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


def test_a_later_schema_is_refused(tmp_path: Path) -> None:
    pb.init_study(tmp_path / "s")
    file = tmp_path / "s/study.yaml"
    file.write_text(file.read_text().replace("schema: 1 ", "schema: 2 "))
    with pytest.raises(InputError, match=r"study\.yaml of version 1.*knows version 2"):
        pb.read_study(tmp_path / "s")


def test_the_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init", str(tmp_path / "new"), "--id", "X-1"])
    assert result.exit_code == 0
    assert str(tmp_path / "new/study.yaml") in result.stdout.splitlines()
    assert CliRunner().invoke(app, ["init", str(tmp_path / "new")]).exit_code == 3


def test_the_version_is_an_option_too() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == pb.__version__
