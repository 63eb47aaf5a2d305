"""One step at a time: the bytes of a run, who may work beside whom, what is refused, what is left out."""

from __future__ import annotations

import dataclasses
import errno
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from small_study import copy, fingerprint, replace
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.errors import FolderInUseError, InputError, ResourceError, VerificationError
from pdbiomarker.provenance import FolderLock, read_record
from pdbiomarker.run import stepwise
from pdbiomarker.run.jobs import Ended, Job, run_jobs
from pdbiomarker.run.progress import pace_of
from pdbiomarker.run.sharing import item_lock, jobs_of, shared_job
from pdbiomarker.run.work import pick_slides

LATER = ("change", "decide", "clinical", "report", "manifest")


@pytest.fixture(scope="module")
def study(sound_study: Path) -> Path:
    return sound_study


@pytest.fixture(scope="module")
def ran(sound_run: pb.RunOutcome) -> Path:
    """What `run` leaves."""
    return sound_run.out


@pytest.fixture(scope="module")
def stepped(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the steps leave, the batches in a strange order."""
    out = tmp_path_factory.mktemp("steps") / "stepped"
    for name, batch in (("check", None), ("slides", "3/3"), ("slides", "1/3"), ("slides", "2/3")):
        step(name, study, out, batch=batch)
    for name in LATER:
        step(name, study, out)
    return out


def step(name: str, study: Path, out: Path, **options: Any) -> pb.RunOutcome:
    return pb.run_step(name, study, out, options=pb.StepOptions(progress=False, workers=2, **options))


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200", "TERM": "dumb"})


# --- the same bytes, and who finishes what ---


def test_the_steps_leave_the_bytes_of_a_run(ran: Path, stepped: Path) -> None:
    assert fingerprint(stepped) == fingerprint(ran)
    assert pb.verify(stepped) == []
    assert not (stepped / ".jobs").exists()
    assert not (stepped / ".lock").exists()
    log = (stepped / "run.log").read_text(encoding="utf-8")
    assert log.count("of batch") == 3  # the logs of the jobs were put together


def test_a_run_after_the_steps_finds_all_complete(
    study: Path, ran: Path, stepped: Path, tmp_path: Path
) -> None:
    out = copy(stepped, tmp_path / "out")
    outcome = pb.run_study(study, out, progress=False)
    assert outcome.steps_made == ()
    assert len(outcome.steps_kept) == 7
    assert fingerprint(out) == fingerprint(ran)


def test_steps_finish_what_a_run_began_and_the_other_way_round(
    study: Path, ran: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    step("check", study, out)
    assert step("slides", study, out, batch="1/2").steps_made == ("slide-P01-S", "slide-P01-T")
    assert pb.change_study(study, out, progress=False).steps_kept == ("slide-P01-S", "slide-P01-T")
    step("check", study, out)
    again = step("slides", study, out)
    assert again.steps_made == ()
    assert len(again.steps_kept) == 4
    made = {name: step(name, study, out).steps_made for name in LATER}
    assert made["change"] == ()
    assert made["decide"] == ("decide",)
    assert fingerprint(out) == fingerprint(ran)


def test_a_damaged_output_is_made_again(study: Path, ran: Path, stepped: Path, tmp_path: Path) -> None:
    out = copy(stepped, tmp_path / "out")
    (out / "slides" / "P01-S" / "scores.csv").write_bytes(b"")
    step("check", study, out)
    with pytest.raises(InputError, match=r"E-RUN-041 slides\.csv.*P01-S") as caught:
        step("change", study, out)
    assert [p.item for p in caught.value.problems] == ["P01-S"]
    assert step("slides", study, out).steps_made == ("slide-P01-S",)
    for name in LATER:
        step(name, study, out)
    assert fingerprint(out) == fingerprint(ran)


# --- what an edit touches ---


def test_another_plan_leaves_the_slides(study: Path, stepped: Path, tmp_path: Path) -> None:
    here, out = copy(study, tmp_path / "study"), copy(stepped, tmp_path / "out")
    replace(here / "plan.yaml", "seed: 1", "seed: 2")
    with pytest.raises(VerificationError, match="E-RUN-001"):
        step("check", here, out)
    assert (out / "review.html").exists()
    step("check", here, out, fresh=True)
    assert not (out / "review.html").exists()
    assert step("slides", here, out).steps_made == ()
    for name in LATER:
        step(name, here, out)
    pb.run_study(here, tmp_path / "ran", progress=False)
    assert fingerprint(out) == fingerprint(tmp_path / "ran")


def test_one_row_of_the_slide_sheet_measures_that_slide(study: Path, stepped: Path, tmp_path: Path) -> None:
    here, out = copy(study, tmp_path / "study"), copy(stepped, tmp_path / "out")
    replace(here / "slides.csv", "P02-S.tif,B2", "P02-S.tif,B7")
    with pytest.raises(InputError, match="E-RUN-040"):
        step("slides", here, out)
    step("check", here, out)
    assert step("slides", here, out).steps_made == ("slide-P02-S",)


# --- side by side ---


def test_steps_share_the_folder_and_a_run_does_not(study: Path, stepped: Path, tmp_path: Path) -> None:
    out = copy(stepped, tmp_path / "out")
    step("check", study, out)
    with shared_job(out, "slides", "1/9") as note:
        assert [job["batch"] for job in jobs_of(out)] == ["1/9"]
        step("slides", study, out)
        with pytest.raises(FolderInUseError, match="steps of a run that share it"):
            pb.run_study(study, out, progress=False)
        with pytest.raises(FolderInUseError):
            step("manifest", study, out)
        note.tell(1, 2)
        assert call("status", out).stdout.splitlines()[0].endswith(": at work")
        assert "slides 1/9, 1 of 2" in call("status", out).stdout
    with FolderLock(out), pytest.raises(FolderInUseError):
        step("slides", study, out)
    assert jobs_of(out) == []


def test_one_step_is_taken_once_at_a_time(study: Path, stepped: Path, tmp_path: Path) -> None:
    out = copy(stepped, tmp_path / "out")
    step("check", study, out)
    with item_lock(out, "decide", wait=0), pytest.raises(FolderInUseError, match="'decide'"):
        step("decide", study, out)


def test_a_step_that_waits_goes_on_when_the_other_has_ended(
    study: Path, stepped: Path, tmp_path: Path
) -> None:
    """As where Snakemake alone was killed: the job that it had started goes on beside the next workflow."""
    out = copy(stepped, tmp_path / "out")
    step("check", study, out)
    for name, held in (("decide", item_lock(out, "decide", wait=0)), ("manifest", FolderLock(out))):
        with ThreadPoolExecutor(1) as other:
            with held:
                job = other.submit(step, name, study, out, wait=100)
                with pytest.raises(TimeoutError):
                    job.result(0.5)
            assert job.result(100).exit_code == 0, name
    assert fingerprint(out) == fingerprint(stepped)


def test_what_a_killed_job_left_half_written_is_gone_when_all_is_complete(
    study: Path, stepped: Path, tmp_path: Path
) -> None:
    """Snakemake takes a killed step again without a check between them."""
    out = copy(stepped, tmp_path / "out")
    step("check", study, out)
    (out / "results" / ".partial-1-0badcafe.csv").write_text("half", encoding="utf-8")
    step("manifest", study, out)
    assert pb.verify(out) == []
    assert fingerprint(out) == fingerprint(stepped)


def test_shared_locks_are_held_side_by_side_and_the_last_removes_the_file(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path, shared=True), FolderLock(tmp_path, shared=True)
    with first:
        with second, pytest.raises(FolderInUseError):
            FolderLock(tmp_path).__enter__()
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("pdbiomarker.provenance.fcntl.flock", no_locks)
    with pytest.raises(ResourceError, match=r"E-RUN-043 .*No locks available"):
        FolderLock(tmp_path, shared=True).__enter__()


# --- refused ---


def test_what_a_step_needs_is_named(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="E-RUN-040"):
        step("slides", study, out)
    assert not out.exists()
    here = copy(study, tmp_path / "study")
    step("check", here, out)
    with pytest.raises(InputError, match="E-RUN-041") as caught:
        step("change", here, out)
    assert len(caught.value.problems) == 4
    for batch in ("5/4", "0/4", "x/4", "nothing", "1/"):
        with pytest.raises(InputError, match="E-RUN-042"):
            step("slides", here, out, batch=batch)
    step("slides", here, out)
    with pytest.raises(InputError, match=r"E-RUN-041.*'change'"):
        step("decide", here, out)
    replace(here / "participants.csv", "P01,10", "P01,11")
    with pytest.raises(InputError, match=r"E-RUN-040 participants\.csv"):
        step("change", here, out)
    with pytest.raises(InputError, match="E-RUN-006"):
        pb.run_step("check", here, out, work=out / "work")
    with pytest.raises(ValueError, match="no step 'all'"):
        step("all", here, out)


def test_the_command_refuses_as_a_run_does(study: Path, tmp_path: Path) -> None:
    here = copy(study, tmp_path / "study")
    (here / "participants.csv").unlink()
    answer = call("step", "check", here, "-o", tmp_path / "out", "--quiet")
    assert answer.exit_code == 3
    assert "error: E-FILE-001 participants.csv" in answer.stderr
    assert not (tmp_path / "out").exists()
    assert call("step", "all", here, "-o", tmp_path / "out").exit_code == 2
    assert call("status", tmp_path).exit_code == 3


# --- left out ---


def test_a_bad_slide_fails_no_step(study: Path, tmp_path: Path) -> None:
    here = copy(study, tmp_path / "study")
    bad = here / "slides" / "P02-T.tif"
    bad.write_bytes(bad.read_bytes()[:3000])
    out = tmp_path / "out"
    for name in ("check", "slides", *LATER):
        assert call("step", name, here, "-o", out, "--quiet").exit_code == 0
    ended = call("status", out)
    assert ended.exit_code == 4
    assert "finished, 1 quarantined items" in ended.stdout
    assert "3 of 4 measured, 1 quarantined, 0 left" in ended.stdout
    summary = (tmp_path / "out.work" / "summary.txt").read_text(encoding="utf-8")
    assert summary.startswith("out: finished with 1 quarantined items (exit status 4)\n")
    assert "P02-T" in summary
    assert pb.run_study(here, tmp_path / "ran", progress=False).exit_code == 4
    assert fingerprint(out) == fingerprint(tmp_path / "ran")


def test_a_killed_slide_is_tried_again_before_it_is_left_out(
    study: Path, stepped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(jobs: Sequence[Job], **options: Any) -> Iterator[Ended]:
        yield from run_jobs([job for job in jobs if job.name != "slide-P01-T"], **options)
        yield from (Ended(job, "killed", "it was ended") for job in jobs if job.name == "slide-P01-T")

    out = copy(stepped, tmp_path / "out")
    (out / ".done" / "slide-P01-T.json").unlink()
    step("check", study, out)
    with monkeypatch.context() as patch:
        patch.setattr(stepwise, "run_jobs", deadly)
        with pytest.raises(ResourceError, match=r"E-RUN-005 1 slides .*P01-T"):
            step("slides", study, out, tries_left=1)
        (lost,) = step("slides", study, out).problems
    assert (lost.code, lost.item, lost.severity) == ("E-RUN-005", "P01-T", "quarantine")
    for name in LATER:
        outcome = step(name, study, out)
    assert outcome.exit_code == 4
    assert [p.item for p in outcome.problems] == ["P01-T"]
    assert "E-RUN-005" in (out / "results" / "quarantine.csv").read_text(encoding="utf-8")


# --- how far ---


def test_status_counts_and_changes_nothing(study: Path, stepped: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    step("check", study, out)
    step("slides", study, out, batch="1/2")
    before = fingerprint(out)
    found = pb.folder_status(out)
    assert (found.slides, found.measured, found.quarantined, found.left) == (4, 2, 0, 2)
    assert (found.finished, found.pace, found.per_minute) == (False, "", None)
    assert found.steps == {"change": False, "decide": False, "report": False}
    with shared_job(out, "slides", "2/2"):
        at_work = pb.folder_status(out)
    assert at_work.per_minute is not None
    assert at_work.per_minute > 0
    assert "left" in at_work.pace
    assert fingerprint(out).keys() - before.keys() <= {n for n in fingerprint(out) if n.startswith(".jobs/")}
    answer = call("status", stepped, "--json")
    assert answer.exit_code == 0
    told = json.loads(answer.stdout)
    assert told["finished"]
    assert told["steps"] == {"change": True, "decide": True, "report": True}
    assert set(told) == {field.name for field in dataclasses.fields(pb.Status)}
    assert "finished" in told["log"][-1]


@pytest.mark.parametrize(
    ("done", "left", "seconds", "said"),
    [
        (0, 5, 10.0, ""),
        (2, 4, 60.0, "2 a minute, about 2 min left"),
        (30, 3, 60.0, "30 a minute, about 6 s left"),
        (1, 50, 600.0, "0.1 a minute, about 8.3 h left"),
        (3, 0, 60.0, "3 a minute"),
    ],
)
def test_the_pace_counts_what_was_done_now(done: int, left: int, seconds: float, said: str) -> None:
    assert pace_of(done, left, seconds) == said


# --- parts ---


def test_every_slide_is_in_one_part() -> None:
    sizes = [5, 0, 900, 3, 3, 3, 80, 1, 200, 41, 7]
    slides = [{"slide_id": str(k), "bytes": size} for k, size in enumerate(sizes)]
    for of in range(1, 15):
        parts = [pick_slides(slides, f"{k}/{of}") for k in range(1, of + 1)]
        assert [slide for part in parts for slide in part] == slides


def test_the_record_of_a_slide_is_that_of_a_run(ran: Path, stepped: Path) -> None:
    assert read_record(stepped, "slide-P01-S") == read_record(ran, "slide-P01-S")
