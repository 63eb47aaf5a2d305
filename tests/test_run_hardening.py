"""What a study folder holds is data: it runs no code, names no machine, and leads nowhere else."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_study import biopsy, copy, replace, small_study

import pdbiomarker as pb
from pdbiomarker.errors import InputError, Problem, VerificationError
from pdbiomarker.provenance import DONE
from pdbiomarker.run import RunOutcome
from pdbiomarker.run.description import describe
from pdbiomarker.run.named_slides import survey_slides
from pdbiomarker.run.survey import survey
from pdbiomarker.run.trip import Trip

SCRIPT = Path(sys.executable).parent / "pdbiomarker"
COMMANDS = ((sys.executable, "-m", "pdbiomarker"), (str(SCRIPT),))
#: Names of modules of Python and of libraries that a run imports.
SHADOWS = ("html", "colorsys", "numpy", "csv", "yaml", "typer", "secrets", "selectors", "pandas", "cv2")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("hardening") / "plain", slides=False)


@pytest.fixture(scope="module")
def slides(sound_study: Path) -> Path:
    return sound_study


def run(study: Path, out: Path, **options: Any) -> RunOutcome:
    return pb.run_study(study, out, progress=False, **options)


def refused(study: Path, out: Path, **options: Any) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        run(study, out, **options)
    assert caught.value.exit_code == 3
    return [p for p in caught.value.problems if p.severity == "error"]


# --- inputs that change under a run ---


@pytest.mark.parametrize("name", ["biopsies.csv", "counts.csv.gz", "plan.yaml"])
def test_an_input_that_changes_while_the_run_is_at_work_is_named_and_no_manifest_vouches_for_it(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The check hashed the file, the step `change` reads it again: the manifest would name the old one."""
    study, out = copy(plain, tmp_path / "study"), tmp_path / "out"
    path, whole, analysis = study / name, (plain / name).read_bytes(), Trip.analysis

    def edited(trip: Trip, **options: Any) -> None:
        path.write_bytes(whole + (b"\n" if name != "counts.csv.gz" else gzip.compress(b"")))
        analysis(trip, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Trip, "analysis", edited)
        with pytest.raises(VerificationError, match=f"E-RUN-080 {name}"):
            run(study, out)
    assert not (out / "manifest.json").exists()
    path.write_bytes(whole)  # as it was hashed: what was made of the other is not taken for it
    assert "change" in run(study, out).steps_made
    assert pb.verify(out) == []


def test_an_input_that_was_only_touched_is_no_other_one(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, analysis = copy(plain, tmp_path / "study"), Trip.analysis
    monkeypatch.setattr(Trip, "analysis", lambda trip: (os.utime(study / "biopsies.csv"), analysis(trip)))
    assert run(study, tmp_path / "out").exit_code == 0


# --- no code from the working directory or the study folder ---


@pytest.mark.parametrize("command", COMMANDS, ids=["module", "script"])
@pytest.mark.parametrize("arguments", [("run", ".", "-o", "../o"), ("check", ".")], ids=["run", "check"])
def test_no_file_of_the_working_directory_is_run(
    plain: Path, tmp_path: Path, command: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    if not Path(command[0]).exists():
        pytest.skip("the command is not installed as a script")
    study, canary = copy(plain, tmp_path / "study"), tmp_path / "PWNED"
    for name in SHADOWS:
        (study / f"{name}.py").write_text(f"open({str(canary)!r}, 'w').write({name!r})\n", encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONSAFEPATH"}}
    done = subprocess.run(
        [*command, *arguments], cwd=study, env=environment, capture_output=True, text=True, check=False
    )
    assert not canary.exists(), canary.read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr


# --- one content, one slide ---


def items(outcome: RunOutcome, code: str) -> list[str | None]:
    return [p.item for p in outcome.problems if p.code == code]


@pytest.mark.parametrize("how", ["copied", "renamed"])
def test_slides_of_two_biopsies_with_one_content_are_both_left_out(
    slides: Path, tmp_path: Path, how: str
) -> None:
    study = copy(slides, tmp_path / "study")
    if how == "copied":
        shutil.copy(study / "slides/P01-S.tif", study / "slides/P01-T.tif")
    else:
        replace(study / "slides.csv", "slides/P01-T.tif", "./slides/../slides/P01-S.tif")
    outcome = run(study, tmp_path / "out")
    assert outcome.exit_code == 4
    assert items(outcome, "E-SLIDE-011") == [biopsy(0, 0), biopsy(0, 1)]
    assert not (outcome.out / "slides" / biopsy(0, 0)).exists()
    assert (outcome.out / "slides" / biopsy(1, 0)).exists()
    left_out = pd.read_csv(outcome.out / "results/quarantine.csv")
    assert left_out["item"].tolist() == [biopsy(0, 0), biopsy(0, 1)]


def test_of_one_biopsy_the_second_slide_with_the_same_content_is_left_out(
    slides: Path, tmp_path: Path
) -> None:
    study = copy(slides, tmp_path / "study")
    shutil.copy(study / "slides/P01-S.tif", study / "slides/again.tif")
    with (study / "slides.csv").open("a", encoding="utf-8") as sheet:
        sheet.write("Z,P01-S,slides/again.tif,B1\n")
    told = [(p.code, p.item, p.severity) for p in pb.check(study)]
    assert told == [("E-SLIDE-011", "Z", "quarantine")]
    outcome = run(study, tmp_path / "out", dry_run=True)
    assert not any("slide Z" in line for line in outcome.todo)
    assert any("slide P01-S" in line for line in outcome.todo)


# --- no path of this machine ---


def test_no_output_names_a_folder_outside_the_study(slides: Path, tmp_path: Path) -> None:
    study, secret = copy(slides, tmp_path / "study"), tmp_path / "home-of-alice" / "secret"
    secret.mkdir(parents=True)
    sheet = study / "slides.csv"
    for name in ("P01-S", "P01-T"):
        shutil.move(study / f"slides/{name}.tif", secret / f"{name}.tif")
    (secret / "P01-T.tif").write_bytes(b"no slide")
    replace(sheet, "slides/P01-S.tif", str(secret / "P01-S.tif"))  # absolute, can be measured
    replace(sheet, "slides/P01-T.tif", "../home-of-alice/secret/P01-T.tif")  # relative, cannot
    replace(sheet, "slides/P02-S.tif", str(study / "slides/P02-S.tif"))  # absolute, inside
    replace(sheet, "slides/P02-T.tif", str(secret / "P02-T.tif"))  # absolute, not there
    outcome = run(study, tmp_path / "out")
    assert sorted(p.item or "" for p in outcome.problems) == ["P01-T", "P02-T"]
    for path in (p for p in outcome.out.rglob("*") if p.is_file()):
        data = path.read_bytes()
        assert b"home-of-alice" not in data, path.name
        assert str(tmp_path).encode() not in data, path.name
    inputs = json.loads((outcome.out / "manifest.json").read_text(encoding="utf-8"))["inputs"]
    assert {"P01-S: P01-S.tif", "P01-T: P01-T.tif", "slides/P02-S.tif"} <= set(inputs)
    assert pb.read_result(outcome.out).study.slides["path"].tolist()[:2] == ["P01-S.tif", "P01-T.tif"]
    assert "secret" not in "".join(str(p) for p in pb.check(study))


# --- refusals before any work ---


def test_an_assay_may_not_take_the_name_of_the_signatures_of_another(plain: Path, tmp_path: Path) -> None:
    study = copy(plain, tmp_path / "study")
    line = "  rna: {kind: count, file: counts.csv.gz}\n"
    replace(study / "study.yaml", line, line + "  rna_signatures: {kind: count, file: counts.csv.gz}\n")
    (problem,) = refused(study, tmp_path / "out")
    assert (problem.code, problem.column) == ("E-STUDY-001", "assays.rna_signatures")
    assert "'rna'" in problem.message


@pytest.mark.parametrize("linked", ["results", "run.log", DONE])
def test_a_link_in_the_results_folder_is_refused(plain: Path, tmp_path: Path, linked: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    run(plain, out)
    (out / linked).rename(elsewhere)
    (out / linked).symlink_to(elsewhere)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for fresh in (False, True):
        problems = refused(plain, out, fresh=fresh)
        assert [(p.code, p.value) for p in problems] == [("E-RUN-006", linked)]
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_study_without_assays_is_refused_before_any_work(plain: Path, tmp_path: Path) -> None:
    study = copy(plain, tmp_path / "study")
    replace(study / "study.yaml", "assays:\n  rna: {kind: count, file: counts.csv.gz}\n", "")
    (study / "plan.yaml").unlink()
    assert [(p.code, p.column) for p in pb.check(study)] == [("E-STUDY-001", "assays")]
    assert [(p.code, p.column) for p in refused(study, tmp_path / "out")] == [("E-STUDY-001", "assays")]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("panel", ["../outside/p.yaml", "../outside/p", "/outside/P.YAML"])
def test_a_panel_of_a_slide_sheet_lies_in_the_study_folder(slides: Path, tmp_path: Path, panel: str) -> None:
    study = copy(slides, tmp_path / "study")
    _give_panel(study, panel)
    (problem,) = pb.check(study).errors
    assert (problem.code, problem.file, problem.column) == ("E-FILE-006", "slides.csv", "panel")


def test_a_panel_named_by_slides_alone_is_an_input(slides: Path, tmp_path: Path) -> None:
    study = copy(slides, tmp_path / "study")
    _give_panel(study, "panels/own.yaml")
    (study / "panels").mkdir()
    shutil.copy(next(Path(pb.__file__).parents[1].glob("**/panels/cd8.yaml")), study / "panels/own.yaml")
    work = describe(survey(study), lambda *_: None)
    assert "panels/own.yaml" in work["inputs"]
    assert {slide["panel"] for slide in work["slides"]} == {str(study / "panels/own.yaml")}


def test_two_panels_of_one_marker_in_an_assay_are_refused(slides: Path, tmp_path: Path) -> None:
    study = copy(slides, tmp_path / "study")
    _give_panel(study, "own.yaml")
    replace(study / "slides.csv", "own.yaml", "cd8")
    text = next(Path(pb.__file__).parents[1].glob("**/panels/cd8.yaml")).read_text(encoding="utf-8")
    (study / "own.yaml").write_text(text.replace("0.2", "0.3"), encoding="utf-8")
    (problem,) = pb.check(study).errors
    assert (problem.code, problem.column) == ("E-PANEL-001", "panel")


def test_a_panel_file_given_by_hand_starts_from_the_working_directory(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = next(Path(pb.__file__).parents[1].glob("**/panels/cd8.yaml")).read_text(encoding="utf-8")
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for source in (slides, slides / "slides.csv"):
        work = describe(survey_slides(str(source), "own.yaml"), lambda *_: None)
        assert {slide["panel"] for slide in work["slides"]} == {str(tmp_path / "own.yaml")}
        assert "own.yaml" in work["inputs"]
        assert not any(str(tmp_path) in name for name in work["inputs"])


@pytest.mark.parametrize("name", ["", "../x", "=1+1", "a/b", "-x", ".hidden", "a\\nb"])
def test_the_name_of_a_contrast_is_a_plain_one(plain: Path, tmp_path: Path, name: str) -> None:
    study = copy(plain, tmp_path / "study")
    replace(study / "plan.yaml", "{on_treatment:", f'{{"{name}":')
    assert [p.code for p in pb.check(study).errors] == ["E-PLAN-001"]


@pytest.mark.parametrize("name", ["C2D1 v1.0", "on-treatment_2", "Ära"])
def test_usual_names_of_contrasts_are_accepted(plain: Path, tmp_path: Path, name: str) -> None:
    study = copy(plain, tmp_path / "study")
    replace(study / "plan.yaml", "{on_treatment:", f'{{"{name}":')
    assert list(pb.check(study)) == []


def _give_panel(study: Path, panel: str) -> None:
    lines = (study / "slides.csv").read_text(encoding="utf-8").splitlines()
    text = "".join(f"{x},{panel if k == 1 or 'own' in panel else ''}\n" for k, x in enumerate(lines[1:], 1))
    (study / "slides.csv").write_text(f"{lines[0]},panel\n{text}", encoding="utf-8")


# --- a truth that cannot be used ---


@pytest.mark.parametrize(
    "text",
    [
        "assay,feature,contrast,true\nrna,GZMA,on_treatment,much\n",
        "assay,feature,contrast,true\nrna,GZMA,on_treatment,1\nrna,GZMA,on_treatment,2\n",
        "assay,feature\nrna,GZMA\n",
        "",
    ],
    ids=["text", "twice", "columns", "empty"],
)
def test_a_malformed_truth_is_left_out_with_a_warning(plain: Path, tmp_path: Path, text: str) -> None:
    study = copy(plain, tmp_path / "study")
    (study / "truth").mkdir()
    (study / "truth/features.csv").write_text(text, encoding="utf-8")
    told = [(p.file, p.severity) for p in pb.check(study)]
    assert told == [("truth/features.csv", "warning")]
    if "much" in text:
        outcome = run(study, tmp_path / "out")
        assert outcome.exit_code == 0
        assert [p.file for p in outcome.problems] == ["truth/features.csv"]
        assert pb.read_result(outcome.out).truth is None
