"""Formats of the report in a run: each is made, hashed and kept alone; what cannot be written is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_study import copy, counts, fingerprint, small_study, write_counts

import pdbiomarker as pb
from pdbiomarker.errors import InputError, VerificationError
from pdbiomarker.provenance import read_manifest, read_record
from pdbiomarker.report.pdf import browser
from pdbiomarker.run import RunOutcome
from pdbiomarker.run.documents import STEPS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("documents") / "study", slides=False)


@pytest.fixture(scope="module")
def first(study: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    """A run that was asked for a page and a workbook; not to be changed."""
    return run(study, tmp_path_factory.mktemp("documents") / "out", formats=("xlsx", "html"))


@pytest.fixture
def out(first: RunOutcome, tmp_path: Path) -> Path:
    return copy(first.out, tmp_path / "out")


def run(study: Path, out: Path, **options: Any) -> RunOutcome:
    return pb.run_study(study, out, progress=False, **options)


def documents(out: Path) -> set[str]:
    return {path.name for path in out.glob("review.*")}


def test_a_run_writes_hashes_and_records_the_formats_asked_for(first: RunOutcome) -> None:
    assert first.exit_code == 0
    assert first.made == (first.out / "review.html", first.out / "review.xlsx")
    assert documents(first.out) == {"review.html", "review.xlsx"}
    manifest = read_manifest(first.out)
    assert {"review.html", "review.xlsx"} <= set(manifest.outputs)
    assert manifest.parameters["report"] == {"formats": ["html", "xlsx"]}
    assert pb.verify(first.out) == []


def test_a_run_and_the_command_report_give_the_same_bytes(first: RunOutcome, tmp_path: Path) -> None:
    for path in pb.report_results(first.out, tmp_path, formats=("html", "xlsx")):
        assert path.read_bytes() == (first.out / path.name).read_bytes(), path.name


def test_a_format_asked_for_later_is_made_alone_and_the_others_are_kept(study: Path, out: Path) -> None:
    before = {name: (out / name).stat().st_mtime_ns for name in documents(out)}
    second = run(study, out, formats=("pptx",))
    assert second.steps_made == (STEPS["pptx"],)
    assert second.made == (out / "review.pptx",)
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert read_manifest(out).parameters["report"] == {"formats": ["html", "pptx", "xlsx"]}
    assert pb.verify(out) == []


def test_a_damaged_document_is_found_and_made_again_alone(study: Path, first: RunOutcome, out: Path) -> None:
    with (out / "review.xlsx").open("ab") as file:
        file.write(b"x")
    (found,) = pb.verify(out)
    assert (found.code, found.file) == ("E-RUN-003", "review.xlsx")
    assert run(study, out, formats=("html", "xlsx")).steps_made == (STEPS["xlsx"],)
    assert fingerprint(out) == fingerprint(first.out)


def test_a_document_that_is_no_longer_true_does_not_stay(study: Path, out: Path, tmp_path: Path) -> None:
    changed = copy(study, tmp_path / "study")
    sheet = changed / "biopsies.csv"
    sheet.write_text(sheet.read_text().replace(",151,", ",99,"))  # one biopsy is not adequate any more
    run(changed, out)
    assert documents(out) == {"review.html"}
    assert read_record(out, STEPS["xlsx"]) is None
    assert pb.verify(out) == []


def test_an_earlier_cut_is_compared_with_and_is_part_of_the_key(
    study: Path, first: RunOutcome, out: Path, tmp_path: Path
) -> None:
    earlier = copy(first.out, tmp_path / "earlier")
    second = run(study, out, against=earlier)
    assert second.steps_made == (STEPS["html"],)
    page = (out / "review.html").read_text(encoding="utf-8")
    assert 'id="cuts"' in page
    assert str(earlier) not in page
    assert documents(out) == {"review.html"}  # the workbook says nothing of the earlier cut
    report = read_manifest(out).parameters["report"]
    assert report["formats"] == ["html"]
    assert len(report["against"]) == 64
    assert run(study, out, against=earlier).steps_made == ()
    assert run(study, out, formats=("html", "xlsx")).steps_made == (STEPS["html"], STEPS["xlsx"])
    assert fingerprint(out) == fingerprint(first.out)


def test_what_cannot_be_written_or_compared_is_refused_before_any_work(
    study: Path, first: RunOutcome, out: Path, tmp_path: Path
) -> None:
    for options, code in (
        ({"formats": ("html", "docx")}, "E-RUN-008"),
        ({"against": tmp_path / "new"}, "E-RUN-036"),
        ({"against": study}, "E-FILE-001"),
    ):
        with pytest.raises(InputError) as caught:
            run(study, tmp_path / "new", **options)
        assert [p.code for p in caught.value.problems] == [code]
    (out / "results" / "pairs.csv").write_text("edited\n")
    with pytest.raises(VerificationError) as edited:
        run(study, tmp_path / "new", against=out)
    assert [p.code for p in edited.value.problems] == ["E-RUN-003"]
    assert not (tmp_path / "new").exists()
    other = copy(study, tmp_path / "other")
    text = (other / "study.yaml").read_text()
    (other / "study.yaml").write_text(text.replace("SMALL-1", "SMALL-2"))
    with pytest.raises(InputError) as foreign:
        run(other, tmp_path / "new", against=first.out)
    assert [p.code for p in foreign.value.problems] == ["E-RUN-009"]


def test_without_a_browser_all_but_the_pdf_is_written_and_a_later_run_adds_it(
    study: Path, first: RunOutcome, out: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pdbiomarker", "run", str(study), "-o", str(out)]
    bare = {**os.environ, "PATH": str(tmp_path)}
    asked = [*command, "--format", "pdf,pptx"]
    done = subprocess.run(asked, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "E-RUN-035" in done.stderr
    assert "Install Chromium" in done.stderr
    assert documents(out) == {"review.html", "review.xlsx", "review.pptx"}
    (lost,) = read_manifest(out).quarantine
    assert (lost["code"], lost["item"]) == ("E-RUN-035", "review.pdf")
    assert pb.verify(out) == []
    for name in ("review.html", "results/quarantine.csv"):  # what is read of the study is not touched by it
        assert (out / name).read_bytes() == (first.out / name).read_bytes()
    if browser() is None:
        pytest.skip("no Chromium here to add the PDF with")
    added = run(study, out, formats=("pdf", "pptx"))
    assert (added.exit_code, added.steps_made) == (0, (STEPS["pdf"],))
    assert (out / "review.pdf").read_bytes().startswith(b"%PDF")
    assert pb.verify(out) == []


def test_change_keeps_the_report_that_a_run_left(study: Path, out: Path) -> None:
    kept = shutil.copy2(out / "review.html", out.parent / "kept.html")
    done = pb.change_study(study, out, progress=False)
    assert done.steps_made == ()
    assert documents(out) == {"review.html", "review.xlsx"}
    assert (out / "review.html").read_bytes() == Path(kept).read_bytes()


def test_a_report_that_was_written_beside_is_kept_while_it_is_true_and_removed_when_it_is_not(
    study: Path, tmp_path: Path
) -> None:
    """`change` makes no report: one that `report` put there has no step that would make it again."""
    own = copy(study, tmp_path / "study")
    out = pb.change_study(own, tmp_path / "out", progress=False).out
    pb.report_results(out, formats=("xlsx",))
    pb.change_study(own, out, progress=False)
    assert documents(out) == {"review.xlsx"}
    assert pb.verify(out) == [], "what was true stays, and the log says so of the new manifest"
    (out / "review.xlsx").write_bytes(b"edited")
    pb.change_study(own, out, progress=False)
    assert [(p.code, p.file) for p in pb.verify(out)] == [("E-RUN-060", "review.xlsx")]
    rows = counts()
    rows[1][1] = str(int(rows[1][1]) + 40)
    write_counts(own, rows)
    pb.change_study(own, out, progress=False)
    assert documents(out) == set()
    assert pb.verify(out) == []
