"""The road of a run: layout, resuming, refusals, quarantine, interruptions, the same bytes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_study import (
    POSITIVE,
    biopsy,
    copy,
    counts,
    draw_slide,
    fingerprint,
    replace,
    small_study,
    write_counts,
)

import pdbiomarker as pb
from pdbiomarker.decide.review import DECISIONS, TABLES
from pdbiomarker.errors import FolderInUseError, InputError, Problem, ResourceError, VerificationError
from pdbiomarker.provenance import FolderLock, read_manifest
from pdbiomarker.run import RunOutcome, folder, trip
from pdbiomarker.run.jobs import Ended, Job, Tell, run_jobs
from pdbiomarker.verification import verify

#: Honesty checks of a density, as their files are named.
CHECKS = (
    "analysis_sets",
    "leave_one_out",
    "regression_to_the_mean",
    "threshold",
    "offset",
    "unpaired_baselines",
    "missing_second_biopsy",
    "batch_and_visit",
    "dose_and_calendar_time",
)
COMMAND = (sys.executable, "-m", "pdbiomarker")


@pytest.fixture(scope="session")
def study(sound_study: Path) -> Path:
    return sound_study


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study without slides, for what concerns no slide."""
    return small_study(tmp_path_factory.mktemp("run") / "plain", slides=False)


@pytest.fixture(scope="session")
def first(sound_run: RunOutcome) -> RunOutcome:
    """A whole run, two slides at a time; not to be changed."""
    return sound_run


@pytest.fixture
def out(first: RunOutcome, tmp_path: Path) -> Path:
    """A copy of its results folder."""
    return copy(first.out, tmp_path / "out")


def run(study: Path, out: Path, **options: Any) -> RunOutcome:
    return pb.run_study(study, out, progress=False, **options)


def change(study: Path, out: Path, **options: Any) -> RunOutcome:
    """A run as far as the changes, for what concerns no report."""
    return pb.change_study(study, out, progress=False, **options)


def refused(study: Path, out: Path, **options: Any) -> list[Problem]:
    """The errors of a refused run."""
    with pytest.raises(InputError) as caught:
        run(study, out, **options)
    assert caught.value.exit_code == 3
    return [p for p in caught.value.problems if p.severity == "error"]


# --- what a run leaves ---


def test_a_run_leaves_the_layout_of_the_architecture(first: RunOutcome) -> None:
    assert first.exit_code == 0
    assert first.problems == ()
    assert first.made == (first.out / "review.html",)
    files = {p.relative_to(first.out).as_posix() for p in first.out.rglob("*") if p.is_file()}
    visible = {name for name in files if not name.startswith(".")}
    slides = {
        f"slides/{biopsy(p, v)}/{name}"
        for p in range(2)
        for v in range(2)
        for name in (
            "cells.parquet",
            "scores.csv",
            "sensitivity.csv",
            "qc.csv",
            "overlay/overview.png",
            "overlay/field.png",
        )
    }
    tables = [
        "pd_change",
        "changes",
        "robustness",
        "accountability",
        "dispositions",
        "quarantine",
        "biopsies",
        "pairs",
        "qc_slides",
        "qc_libraries",
        "qc_rna",
        "qc_rna_components",
        "qc_likeness",
        "identity",
        *("link_concordance", "link_exposure"),
        *("estimands", "intercurrent_events", "pair_mix", "plan_deviations"),
        *(f"decisions_{name}" for name in DECISIONS),
        *TABLES,
        *(f"honesty_{check}" for check in CHECKS),
    ]
    assert visible == {
        "review.html",
        "audit.head.json",
        "audit.jsonl",
        "manifest.json",
        "run.log",
        *(f"results/{name}.csv" for name in tables),
        "results/study.json",
        "results/review.json",
        *(f"assays/{name}.h5ad" for name in ("rna", "rna_signatures", "ihc")),
        *slides,
    }


def test_every_column_of_the_results_is_explained(first: RunOutcome) -> None:
    """No column but those named after a feature of the study."""
    unknown = {}
    for path in sorted((first.out / "results").glob("*.csv")):
        for column in pd.read_csv(path, nrows=0).columns:
            try:
                pb.explain(column)
            except InputError:
                unknown[column] = path.name
    assert {c: f for c, f in unknown.items() if not c.startswith("change_")} == {}


def test_the_manifest_lists_inputs_and_outputs(first: RunOutcome, study: Path) -> None:
    manifest = read_manifest(first.out)
    inputs = {p.relative_to(study).as_posix() for p in study.rglob("*") if p.is_file()}
    assert set(manifest.inputs) == inputs
    made = {p.relative_to(first.out).as_posix() for p in first.out.rglob("*") if p.is_file()}
    assert set(manifest.outputs) == made - {"audit.head.json", "audit.jsonl", "manifest.json", "run.log"}
    assert manifest.parameters["seed"] == 1
    assert manifest.parameters["plan"]["contrasts"] == {"on_treatment": "C2D1 - screening"}
    assert {"start", "end", "argv", "seconds", "workers", "made"} <= set(manifest.run)
    assert verify(first.out) == []


def test_no_output_names_this_machine(first: RunOutcome) -> None:
    words = [str(first.out.parent), str(Path.home()), os.uname().nodename]
    for path in (p for p in first.out.rglob("*") if p.is_file() and p.name != "run.log"):
        data = path.read_bytes()
        for word in words:
            assert len(word) < 6 or word.encode() not in data, (path.name, word)


def test_the_planted_cells_and_the_planted_change_come_out(first: RunOutcome) -> None:
    result = pb.read_result(first.out)
    log_density = np.empty((2, 2))
    for p, v in np.ndindex(2, 2):
        path = first.out / "slides" / biopsy(p, v) / "scores.csv"
        score = pd.read_csv(path).set_index("feature").loc["CD8_density_tissue"]
        assert score["numerator"] == POSITIVE[p][v]  # every cell that was drawn, and no other
        log_density[p, v] = np.log2((score["numerator"] + 0.5) / score["area_mm2"])
    row = result["ihc"].table.set_index(["feature", "set"]).loc[("CD8_density_tissue", "strict")]
    # Complete pairs: the estimate is the mean difference of log2((n + 1/2) / area), by hand.
    expected = (log_density[:, 1] - log_density[:, 0]).mean()
    assert row["estimate"] == pytest.approx(expected, abs=1e-12)
    assert row["n_pairs"] == 2
    assert set(result.table["assay"]) == {"rna", "rna_signatures", "ihc"}


def test_a_result_read_back_is_the_result(study: Path, first: RunOutcome) -> None:
    back = pb.read_result(first.out)
    fresh = pb.read_study(study)
    for name, adata in back.study.assays.items():
        fresh = fresh.with_assay(name, adata)
    again = pb.pd_change(fresh, pb.Plan.read(study / "plan.yaml", fresh))
    pd.testing.assert_frame_equal(back.table, again.table, check_exact=True)
    pd.testing.assert_frame_equal(back.changes, again.changes, check_exact=True, check_dtype=False)
    pd.testing.assert_frame_equal(back.accountability, again.accountability, check_dtype=False)
    pd.testing.assert_frame_equal(back.robustness, again.robustness, check_exact=True, check_dtype=False)
    assert len(back.robustness) > 0
    assert back.plan.hash == again.plan.hash
    assert back.images["P01-S"]["visit"] == "screening"
    assert Path(back.images["P01-S"]["overview"]).is_file()


def test_a_folder_that_is_no_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a complete results folder"):
        pb.read_result(tmp_path)


def test_the_run_decides_as_pb_decide_does(study: Path, first: RunOutcome) -> None:
    """What stands in results/ is what `review_of` makes of the result that was read back, with its dates."""
    kept = pb.read_review(first.out)
    assert kept is not None
    made = pb.decide.review_of(pb.read_result(first.out))
    assert kept.features == made.features == ("ihc:CD8_density_tissue",)
    told = kept.honesty_checks["check"] != "dose and calendar time"
    assert kept.honesty_checks[told].equals(made.honesty_checks[told].astype(kept.honesty_checks.dtypes))
    assert kept.decisions.cohort["verdict"].tolist() == made.decisions.cohort["verdict"].tolist()
    assert kept.noise["note"].tolist() == made.noise["note"].tolist()
    page = (first.out / "review.html").read_text(encoding="utf-8")
    for title in ("Decisions", "Responders", "Noise", "What could fool us"):
        assert f"{title}</h2>" in page


def test_rules_of_the_plan_are_read_hashed_and_checked_first(plain: Path, tmp_path: Path) -> None:
    other = copy(plain, tmp_path / "study")
    plan = other / "plan.yaml"
    plan.write_text(
        plan.read_text(encoding="utf-8") + "decisions: {rules: mine.yaml, features: rna:GZMA}\n",
        encoding="utf-8",
    )
    (problem,) = refused(other, tmp_path / "out")
    assert problem.code == "E-FILE-001"
    rule = "name: mine\ntitle: t\ncriterion: gmr_margin\nsource: protocol\nmargin: 1.5\nmin_evaluable: 2\n"
    (other / "mine.yaml").write_text(rule, encoding="utf-8")
    assert run(other, tmp_path / "out").steps_made == ("change", "decide", "report")
    first = pb.read_review(tmp_path / "out")
    assert first is not None
    assert [r.name for r in first.decisions.rules] == ["mine"]
    assert first.features == ("rna:GZMA",)
    assert "mine.yaml" in read_manifest(tmp_path / "out").inputs
    (other / "mine.yaml").write_text(rule.replace("1.5", "1.2"), encoding="utf-8")
    again = run(other, tmp_path / "out")
    assert again.steps_made == ("change", "decide", "report")
    second = pb.read_review(tmp_path / "out")
    assert second is not None
    assert second.decisions.cohort["p_if_inert"].iloc[0] > first.decisions.cohort["p_if_inert"].iloc[0]
    plan.write_text(plan.read_text(encoding="utf-8").replace("rna:GZMA", "rna:GZMZ"), encoding="utf-8")
    (problem,) = refused(other, tmp_path / "other")
    assert (problem.code, problem.value) == ("E-PLAN-003", "rna:GZMZ")


# --- going on ---


def test_a_second_run_makes_nothing_again(study: Path, first: RunOutcome, out: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    outcome = run(study, out)
    assert outcome.steps_made == ()
    assert len(outcome.steps_kept) == 7
    assert fingerprint(out) == fingerprint(first.out)
    kept = [p for p, when in before.items() if p.stat().st_mtime_ns == when]
    assert {p.name for p in set(before) - set(kept)} == {
        *("audit.head.json", "audit.jsonl", "manifest.json", "run.log", "basis")
    }


@pytest.mark.parametrize(
    ("name", "damage", "made"),
    [
        ("slides/P02-T/scores.csv", "truncate", ("slide-P02-T",)),
        ("results/pd_change.csv", "edit", ("change",)),
        ("results/decisions_cohort.csv", "edit", ("decide",)),
        ("results/honesty_threshold.csv", "delete", ("decide",)),
        ("review.html", "delete", ("report",)),
        (".done/report.json", "truncate", ("report",)),
    ],
)
def test_fault_44_45_a_damaged_output_is_made_again(
    study: Path, first: RunOutcome, out: Path, name: str, damage: str, made: tuple[str, ...]
) -> None:
    path = out / name
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "truncate" else path.read_bytes().replace(b"1", b"2", 1))
    outcome = run(study, out)
    assert outcome.steps_made == made
    assert fingerprint(out) == fingerprint(first.out)


def test_fault_46_an_input_replaced_by_one_with_an_older_date_is_read_again(
    study: Path, out: Path, tmp_path: Path
) -> None:
    other = copy(study, tmp_path / "study")
    rows = counts()
    rows[1][1] = str(int(rows[1][1]) + 500)
    write_counts(other, rows)
    os.utime(other / "counts.csv.gz", (0, 0))
    before = (out / "results" / "pd_change.csv").read_bytes()
    outcome = change(other, out)
    assert outcome.steps_made == ("change",)
    assert (out / "results" / "pd_change.csv").read_bytes() != before
    assert verify(out) == []


def test_a_slide_that_left_the_study_leaves_the_results(study: Path, out: Path, tmp_path: Path) -> None:
    other = copy(study, tmp_path / "study")
    replace(other / "slides.csv", "P02-T,P02-T,slides/P02-T.tif,B2\n", "")
    change(other, out)
    assert not (out / "slides" / "P02-T").exists()
    assert (out / "slides" / "P02-S").exists()
    assert verify(out) == []


def test_fault_57_58_a_changed_plan_study_or_version_is_refused(plain: Path, tmp_path: Path) -> None:
    study, out = copy(plain, tmp_path / "study"), tmp_path / "out"
    run(study, out)
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    replace(study / "plan.yaml", "seed: 1", "seed: 2")
    replace(study / "study.yaml", "viable_tumor_cells: 100", "viable_tumor_cells: 151")
    basis = json.loads((out / ".done" / "basis").read_text(encoding="utf-8"))
    old = basis["version"]
    basis["version"] = "0.0.9"
    (out / ".done" / "basis").write_text(json.dumps(basis), encoding="utf-8")
    before = fingerprint(out)
    with pytest.raises(VerificationError) as caught:
        run(study, out)
    problems = caught.value.problems
    assert {p.code for p in problems} == {"E-RUN-001"}
    assert [p.column for p in problems] == ["pdbiomarker", "study.yaml: adequacy", "plan.yaml: seed"]
    assert "0.0.9" in problems[0].message
    assert old in problems[0].message
    assert "was 1 when the folder was made and is 2 now" in problems[2].message
    assert fingerprint(out) == before

    outcome = run(study, out, fresh=True)
    assert outcome.steps_made == ("change", "decide", "report")
    assert (out / "mine.txt").read_text(encoding="utf-8") == "mine"
    assert read_manifest(out).parameters["seed"] == 2


def test_fresh_after_another_plan_keeps_the_slides_that_are_whole_and_unchanged(
    study: Path, out: Path, tmp_path: Path
) -> None:
    other = copy(study, tmp_path / "study")
    replace(other / "plan.yaml", "seed: 1", "seed: 2")
    with pytest.raises(VerificationError, match="--fresh to remove the old results") as caught:
        run(other, out)
    assert [p.code for p in caught.value.problems] == ["E-RUN-001"]
    (out / "slides" / "P01-T" / "scores.csv").write_text("edited", encoding="utf-8")
    draw_slide(other / "slides" / "P02-S.tif", seed=99, positive=20)
    outcome = change(other, out, fresh=True)
    assert set(outcome.steps_made) == {"slide-P01-T", "slide-P02-S", "change"}
    assert set(outcome.steps_kept) == {"slide-P01-S", "slide-P02-T"}
    assert verify(out) == []
    anew = change(other, tmp_path / "anew")
    assert fingerprint(outcome.out) == fingerprint(anew.out)


def test_commands_into_one_folder_complete_each_other(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert pb.quantify_slides(plain, out, progress=False).steps_made == ("assays",)
    assert pb.change_study(plain, out, progress=False).steps_made == ("change",)
    assert verify(out) == []
    assert (out / "results" / "quarantine.csv").is_file()
    assert run(plain, out).steps_made == ("decide", "report")
    again = pb.change_study(plain, out, progress=False)
    assert again.steps_made == ()
    assert (out / "review.html").is_file()  # still true, so it stays
    assert verify(out) == []


# --- folders ---


def test_a_folder_with_other_things_is_never_touched(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work", encoding="utf-8")
    for fresh in (False, True):
        (problem,) = refused(plain, out, fresh=fresh)
        assert problem.code == "E-RUN-006"
        assert "thesis.txt" in problem.message
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]
    (problem,) = refused(plain, out / "thesis.txt")
    assert problem.code == "E-RUN-006"


def test_the_study_folder_is_no_results_folder_and_is_not_written_to(plain: Path) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in plain.iterdir()}
    assert [p.code for p in refused(plain, plain)] == ["E-RUN-006"]
    assert {p.name: p.stat().st_mtime_ns for p in plain.iterdir()} == before


def test_fault_48_two_runs_in_one_folder(study: Path, out: Path) -> None:
    with FolderLock(out), pytest.raises(FolderInUseError, match="E-RUN-002") as caught:
        run(study, out)
    assert caught.value.exit_code == 6


def test_fault_42_a_disk_without_room_is_refused_before_anything_is_written(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(ResourceError, match="E-RUN-004") as caught:
        run(plain, tmp_path / "out")
    assert caught.value.exit_code == 5
    assert not (tmp_path / "out").exists()


def test_a_dry_run_writes_nothing_and_says_what_would_be_done(study: Path, tmp_path: Path) -> None:
    outcome = run(study, tmp_path / "out", dry_run=True)
    assert not (tmp_path / "out").exists()
    assert outcome.todo[0].startswith("measure slide P01-S (0.")
    assert outcome.todo[-1].startswith("4 slides to measure")


def test_a_slide_id_is_never_a_path(study: Path, tmp_path: Path) -> None:
    other = copy(study, tmp_path / "study")
    sheet = other / "slides.csv"
    replace(sheet, "P01-S,P01-S,", "../../escape,P01-S,")
    replace(sheet, "P01-T,P01-T,", "CON,P01-T,")
    outcome = change(other, tmp_path / "out")
    assert outcome.exit_code == 0
    names = sorted(p.name for p in (tmp_path / "out" / "slides").iterdir())
    assert names[0].startswith("P02") or len(names) == 4
    assert any(name.startswith("escape-") for name in names)
    assert any(name.startswith("xCON-") for name in names)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "study"]


# --- refused before any work ---


BAD_COUNTS: list[tuple[str, str]] = [("many", "E-COUNT-001"), ("-3", "E-COUNT-002"), ("10.5", "E-COUNT-003")]


@pytest.mark.parametrize(("value", "code"), BAD_COUNTS)
def test_a_count_that_is_no_count_is_refused_with_its_place(
    plain: Path, tmp_path: Path, value: str, code: str
) -> None:
    study = copy(plain, tmp_path / "study")
    rows = counts()
    rows[4][3] = value
    write_counts(study, rows)
    (problem,) = refused(study, tmp_path / "out")
    assert (problem.code, problem.file, problem.row) == (code, "counts.csv.gz", 5)
    assert rows[0][3] in str(problem)
    assert problem.value == value
    assert not (tmp_path / "out").exists()


BAD_STUDIES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing counts": (lambda s: (s / "counts.csv.gz").unlink(), "E-FILE-001", "study.yaml"),
    "missing sheet": (lambda s: (s / "participants.csv").unlink(), "E-FILE-001", "participants.csv"),
    "missing column": (
        lambda s: replace(s / "biopsies.csv", "participant_id", "patient"),
        "E-SHEET-001",
        "biopsies.csv",
    ),
    "duplicate biopsy": (
        lambda s: replace(s / "biopsies.csv", "P01,P01-T,", "P01,P01-S,"),
        "E-SHEET-005",
        "biopsies.csv:3 [biopsy_id]",
    ),
    "formula": (
        lambda s: replace(s / "plan.yaml", "~ visit", "~ dose_gm + visit"),
        "E-FORMULA-003",
        "plan.yaml:1",
    ),
    "code in a formula": (
        lambda s: replace(s / "plan.yaml", "~ visit", "~ I(x) + visit"),
        "E-FORMULA-002",
        "plan.yaml:1",
    ),
    "contrast": (lambda s: replace(s / "plan.yaml", "C2D1 -", "C3D1 -"), "E-PLAN-002", "plan.yaml:2"),
    "contrast of a column that does not exist": (
        lambda s: replace(s / "plan.yaml", "- screening}", "- screening at dose = 10}"),
        "E-PLAN-002",
        "plan.yaml:2 [contrasts.on_treatment]",
    ),
    "contrast of no visits": (
        lambda s: replace(s / "plan.yaml", "C2D1 - screening}", "'dose_mg: 20 - 10'}"),
        "E-PLAN-002",
        "plan.yaml:2 [contrasts.on_treatment]",
    ),
    "family": (
        lambda s: replace(s / "plan.yaml", "genes: rna", "genes: rna:NOSUCH"),
        "E-PLAN-003",
        "plan.yaml",
    ),
    "a random term that no biopsies tell": (
        lambda s: replace(s / "plan.yaml", "(1|participant)", "(1|participant) + (1|biopsy)"),
        "E-FORMULA",
        "plan.yaml",
    ),
}


@pytest.mark.parametrize("name", BAD_STUDIES)
def test_a_contradictory_study_is_refused_before_any_work(plain: Path, tmp_path: Path, name: str) -> None:
    spoil, code, place = BAD_STUDIES[name]
    study = copy(plain, tmp_path / "study")
    spoil(study)
    problems = refused(study, tmp_path / "out")
    assert any(p.code.startswith(code) and p.place.startswith(place) for p in problems), problems
    assert all(p.remedy for p in problems)
    assert not (tmp_path / "out").exists()


def test_every_fault_is_told_at_once(plain: Path, tmp_path: Path) -> None:
    study = copy(plain, tmp_path / "study")
    rows = counts()
    rows[4][3], rows[6][2] = "many", "-1"
    write_counts(study, rows)
    replace(study / "plan.yaml", "C2D1 -", "C3D1 -")
    codes = {p.code for p in refused(study, tmp_path / "out")}
    assert {"E-COUNT-001", "E-COUNT-002", "E-PLAN-002"} <= codes


def test_a_panel_or_an_ihc_feature_that_does_not_exist_is_refused_before_slides_are_read(
    study: Path, tmp_path: Path
) -> None:
    other = copy(study, tmp_path / "study")
    replace(other / "plan.yaml", "ihc:CD8_density", "ihc:CD9_density")
    assert [p.code for p in refused(other, tmp_path / "out")] == ["E-PLAN-003"]
    replace(other / "study.yaml", "panel: cd8", "panel: cd88")
    assert "E-PANEL-002" in {p.code for p in refused(other, tmp_path / "out")}


REGION = (
    '{"type": "Feature", "properties": {"classification": {"name": "Stroma"}}, '
    '"geometry": {"type": "Polygon", "coordinates": [[[60, 60], [90, 60], [90, 90], [60, 90], [60, 60]]]}}'
)


def test_a_feature_of_a_compartment_without_regions_is_refused_before_slides_are_read(
    study: Path, tmp_path: Path
) -> None:
    other = copy(study, tmp_path / "study")
    replace(other / "plan.yaml", "ihc:CD8_density]", "ihc:CD8_density_stroma]")
    (problem,) = refused(other, tmp_path / "out")
    assert (problem.code, problem.value) == ("E-PLAN-003", "ihc:CD8_density_stroma")
    assert "study.yaml names none for 'ihc'" in problem.message
    assert "ihc:CD8_density_tissue" in problem.remedy
    replace(other / "study.yaml", "panel: cd8", "panel: cd8, regions: regions/")
    (other / "regions").mkdir()
    (other / "regions" / "P02-T.geojson").write_text(REGION.replace("Stroma", "Tumor"), encoding="utf-8")
    (problem,) = refused(other, tmp_path / "out")
    assert "regions/SLIDE_ID.geojson with a region of the class stroma" in problem.message
    (other / "regions" / "P01-S.geojson").write_text(REGION, encoding="utf-8")
    (other / "slides" / "P01-S.tif").write_bytes(b"cut short")  # the only slide with stroma: no refusal later
    outcome = change(other, tmp_path / "out")
    assert outcome.exit_code == 4
    table = pb.read_result(tmp_path / "out")["ihc"].table
    rows = table[table["feature"] == "CD8_density_stroma"]
    assert set(rows["family"]) == {"primary"}
    assert len(rows) == 3  # a row in every set, without a p-value, with the reason
    assert rows["p"].isna().all()
    assert (rows["note"] != "").all()
    table = pb.read_result(tmp_path / "out").table
    strict = table[table["set"] == "strict"]  # one contrast: a row for each feature; a test has a p-value
    tests, features = strict["p"].notna().sum(), len(strict)
    assert 0 < tests < features
    log = (tmp_path / "out" / "run.log").read_text(encoding="utf-8")
    assert f"{tests:,} tests of {features:,} features" in log


# --- quarantined, the rest goes on ---


@pytest.fixture(scope="session")
def faulty(
    study: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The study with four items that cannot be used, run from the command line in odd surroundings."""
    root = tmp_path_factory.mktemp("faulty")
    other = copy(study, root / "study")
    slides = other / "slides"
    data = (slides / "P01-S.tif").read_bytes()
    (slides / "P01-S.tif").write_bytes(data[: len(data) * 6 // 10])
    draw_slide(slides / "P01-T.tif", seed=1, positive=36, mpp=None)
    rows = counts()
    for row in rows:
        row.append("X99" if row[0] == "gene" else str(7 + len(row[0])))
    write_counts(other, rows)
    replace(other / "biopsies.csv", "P04-T,C2D1,32", "P04-T,C2D1,-3")
    surroundings = {
        "PYTHONHASHSEED": "77",
        "TZ": "Asia/Tokyo",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "2",
        "PYTHONUTF8": "0",
    }
    done = subprocess.run(
        [*COMMAND, "run", str(other), "-o", str(root / "out"), "--workers", "1"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, **surroundings},
    )
    return done, root / "out"


def test_fault_47_faulty_items_are_quarantined_and_listed(
    faulty: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, out = faulty
    assert done.returncode == 4, done.stderr
    assert done.stdout == f"{out / 'review.html'}\n"
    table = pd.read_csv(out / "results" / "quarantine.csv", dtype=str)
    assert list(table.columns) == [
        "item",
        "kind",
        "code",
        "file",
        "row",
        "column",
        "value",
        "reason",
        "remedy",
    ]
    found = {(row["item"], row["kind"], row["code"]) for _, row in table.iterrows()}
    assert ("P01-T", "slide", "E-SLIDE-003") in found
    assert ("X99", "library", "E-COUNT-007") in found
    assert ("P04-T", "biopsy", "E-PAIR-001") in found
    assert any(i == "P01-S" and k == "slide" and c.startswith("E-SLIDE") for i, k, c in found)
    assert len(table) == 4
    assert table["remedy"].notna().all()
    html = (out / "review.html").read_text(encoding="utf-8")
    for item, code in zip(table["item"], table["code"], strict=True):
        assert item in html
        assert code in html
        assert code in done.stderr
    assert len(read_manifest(out).quarantine) == 4
    assert verify(out) == []


def test_fault_47_the_other_slides_have_the_same_bytes_as_without_the_faults(
    faulty: tuple[subprocess.CompletedProcess[str], Path], first: RunOutcome
) -> None:
    _, out = faulty
    ours, theirs = fingerprint(out), fingerprint(first.out)
    same = [name for name in theirs if name.startswith(("slides/P02", ".done/slide-P02"))]
    assert len(same) == 14
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert not any(name.startswith("slides/P01") for name in ours)


def test_a_quarantined_slide_is_not_tried_again_until_it_is_mended(
    faulty: tuple[subprocess.CompletedProcess[str], Path], study: Path, tmp_path: Path
) -> None:
    _, done = faulty
    out, other = copy(done, tmp_path / "out"), copy(done.parent / "study", tmp_path / "study")
    again = run(other, out)
    assert again.exit_code == 4
    assert again.steps_made == ()
    for name in ("P01-S", "P01-T"):
        shutil.copy(study / "slides" / f"{name}.tif", other / "slides" / f"{name}.tif")
    mended = change(other, out)
    assert set(mended.steps_made) == {"slide-P01-S", "slide-P01-T", "change"}
    assert {p.item for p in mended.problems} == {"X99", "P04-T"}


def test_a_study_whose_slides_are_all_bad_still_gets_its_report(study: Path, tmp_path: Path) -> None:
    other = copy(study, tmp_path / "study")
    for path in (other / "slides").iterdir():
        path.write_bytes(path.read_bytes()[:500])
    outcome = change(other, tmp_path / "out")
    assert outcome.exit_code == 4
    table = pb.read_result(tmp_path / "out").table
    own = table[table["assay"] == "ihc"]
    assert len(own) > 0
    assert set(own["status"]) <= {"too_few", "not_estimable", "excluded"}


# --- killed, interrupted ---


def _die_over(item: str, jobs: Sequence[Job], **options: Any) -> Iterator[Ended]:
    changed = [dataclasses.replace(j, function="killers:die") if j.name == item else j for j in jobs]
    return run_jobs(changed, **options)


@pytest.fixture
def killers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of jobs that go wrong, for processes started by this one."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "killers.py").write_text(
        "import os, signal, time\n"
        "def die(*, tell, **rest): os.kill(os.getpid(), signal.SIGKILL)\n"
        "def crash(*, tell, **rest): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "def fail(*, tell): raise ZeroDivisionError('a defect')\n"
        "def swell(*, tell): return len(bytearray(1 << 45))\n"
        "def sleep(*, tell, seconds): time.sleep(seconds)\n"
        "def add(*, tell, a, b):\n"
        "    tell('adding', 1, 1)\n"
        "    print('noise')\n"
        "    return a + b\n"
        "def surroundings(*, tell):\n"
        "    names = ('OMP_NUM_THREADS', 'PYTHONHASHSEED', 'TZ')\n"
        "    return [os.environ[name] for name in names]\n"
        "def full(*, tell): raise OSError(28, 'No space left on device')\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path / "modules")


def test_fault_54_a_killed_worker_quarantines_its_slide_and_the_next_run_tries_it_again(
    study: Path, first: RunOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killers: None
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(trip, "run_jobs", lambda jobs, **options: _die_over("slide-P01-T", jobs, **options))
    outcome = change(study, out)
    assert outcome.exit_code == 4
    (problem,) = outcome.problems
    assert (problem.code, problem.item, problem.file) == ("E-RUN-005", "P01-T", "slides.csv")
    assert "SIGKILL" in problem.message
    assert sorted(p.name for p in (out / "slides").iterdir()) == ["P01-S", "P02-S", "P02-T"]
    monkeypatch.undo()
    assert run(study, out).exit_code == 0
    assert fingerprint(out) == fingerprint(first.out)


def test_fault_54_jobs_end_each_in_their_own_way(killers: None, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[str, int, int]] = []

    def tell(step: str, done: int, of: int) -> None:
        told.append((step, done, of))

    listen: Tell = tell
    jobs = [
        Job("add", "killers:add", {"a": 1, "b": 2}),
        Job("die", "killers:die", {}),
        Job("crash", "killers:crash", {}),
        Job("fail", "killers:fail", {}),
        Job("swell", "killers:swell", {}),
        Job("sleep", "killers:sleep", {"seconds": 60}, seconds=0.5),
        Job("full", "killers:full", {}),
        Job("surroundings", "killers:surroundings", {}),
    ]
    started = time.monotonic()
    ended = {e.job.name: e for e in run_jobs(jobs, workers=3, tell=listen)}
    assert time.monotonic() - started < 30
    assert {name: e.how for name, e in ended.items()} == {
        "add": "value",
        "die": "killed",
        "crash": "killed",
        "fail": "defect",
        "swell": "memory",
        "sleep": "timeout",
        "full": "disk",
        "surroundings": "value",
    }
    assert ended["add"].value == 3
    assert told == [("adding", 1, 1)]
    assert "SIGSEGV" in ended["crash"].value
    assert "ZeroDivisionError" in ended["fail"].value
    assert ended["surroundings"].value == ["1", "0", "UTC"]
    assert capfd.readouterr().out == ""  # what jobs print never reaches standard output


def test_fault_43_killed_outright_and_gone_on_with_gives_the_same_bytes(
    study: Path, first: RunOutcome, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*COMMAND, "run", str(study), "-o", str(out), "--workers", "1", "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for((out / ".done" / "slide-P01-T.json").exists, process)
    process.kill()
    process.wait()
    time.sleep(0.5)  # the kernel ends the workers of a process that was killed
    assert not (out / "manifest.json").exists()
    outcome = run(study, out)
    assert outcome.exit_code == 0
    assert "slide-P01-S" in outcome.steps_kept
    assert fingerprint(out) == fingerprint(first.out)
    assert not list(out.rglob(".partial-*"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_fault_55_interrupted_it_ends_within_seconds_and_says_that_it_can_go_on(
    study: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*COMMAND, "run", str(study), "-o", str(out), "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if number is signal.SIGTERM:
        _wait_for((out / ".lock").exists, process)
    else:
        time.sleep(2)
    process.send_signal(number)
    asked = time.monotonic()
    process.wait(timeout=20)
    assert time.monotonic() - asked < 10
    printed, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert printed == ""
    assert "goes on from there" in told
    assert "Traceback" not in told
    assert not (out / ".lock").exists()


def _wait_for(ready: Callable[[], bool], process: subprocess.Popen[Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, "the run ended early"
        assert time.monotonic() < end, "the run did not get there"
        time.sleep(0.02)


# --- slides alone ---


def test_slides_alone(study: Path, first: RunOutcome, tmp_path: Path) -> None:
    outcome = pb.quantify_slides(study / "slides.csv", tmp_path / "out", panel="cd8", progress=False)
    assert outcome.exit_code == 0
    assert outcome.made == (tmp_path / "out" / "assays" / "ihc.h5ad",)
    ours, theirs = fingerprint(tmp_path / "out"), fingerprint(first.out)
    assert all(ours[n] == theirs[n] for n in theirs if n.startswith("slides/"))
    with pytest.raises(InputError, match="E-PANEL-002"):
        pb.quantify_slides(study / "slides.csv", tmp_path / "other", progress=False)
