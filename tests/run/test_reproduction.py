"""A real results folder: what verify finds in it, and what repeating its run tells."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_study import copy, counts, small_study, write_counts

import pdbiomarker as pb
from pdbiomarker import audit
from pdbiomarker.errors import InputError, VerificationError
from pdbiomarker.provenance import code_commit, read_manifest, sha256_file, write_manifest
from pdbiomarker.run.request import again
from pdbiomarker.verification import verify


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study without slides in study/, its results in results/."""
    root = tmp_path_factory.mktemp("reproduction")
    small_study(root / "study", slides=False)
    pb.run_study(root / "study", root / "results", progress=False)
    return root


@pytest.fixture
def both(folder: Path, tmp_path: Path) -> Path:
    return copy(folder, tmp_path / "both")


def test_the_manifest_says_what_made_the_folder(folder: Path) -> None:
    manifest = read_manifest(folder / "results")
    assert manifest.run["again"] == {
        **{"study": {"path": "../study"}, "plan": None},
        **{"formats": ["html"], "against": None},
    }
    assert manifest.run["commit"] == code_commit()
    assert manifest.run["audit.jsonl"]["line"] == 1
    assert manifest.environment["blas"]
    assert {"numpy", "scipy", "pandas"} <= set(manifest.environment["packages"])
    assert [line.event for line in audit.read(folder / "results")] == ["run started", "run_study"]


def test_one_byte_flipped_in_each_file_of_a_results_folder_is_found(both: Path) -> None:
    out = both / "results"
    files = sorted(p for p in out.rglob("*") if p.is_file())
    assert len(files) > 20
    for path in files:
        whole = path.read_bytes()
        place = len(whole) // 2
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            problems = verify(out)
        except InputError as error:
            problems = error.problems
        name = path.relative_to(out).as_posix()
        assert any(p.file == name and p.severity == "error" for p in problems), name
        path.write_bytes(whole)
    assert verify(out) == []


def test_a_repeated_run_gives_the_same_bytes(both: Path) -> None:
    kept = [p for p in both.rglob("*") if p.is_file() and p.name not in {audit.AUDIT, audit.HEAD}]
    before = {path: path.read_bytes() for path in kept}
    done = subprocess.run(
        [sys.executable, "-m", "pdbiomarker", "reproduce", both / "results", "--json", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    assert (done.returncode, told["same"], told["reasons"]) == (0, True, [])
    outputs = read_manifest(both / "results").outputs
    assert {f["file"] for f in told["files"]} >= set(outputs)
    assert told["counts"]["same"] == len(told["files"])
    assert {p: p.read_bytes() for p in before} == before
    assert audit.read(both / "results")[-1].event == "reproduced"


def test_what_changed_is_named_and_what_was_edited_told_apart(both: Path) -> None:
    out = both / "results"
    rows = counts()
    rows[1][1] = str(int(rows[1][1]) + 400)
    write_counts(both / "study", rows)
    manifest = read_manifest(out)
    environment = {**manifest.environment, "cpu": "another", "blas": "MKL 1"}
    environment["packages"] = {**manifest.environment["packages"], "numpy": "0.1"}
    write_manifest(out, dataclasses.replace(manifest, environment=environment))
    (out / "results" / "pairs.csv").write_text("edited\n", encoding="utf-8")
    found = pb.reproduce(out, progress=False)
    status = {file.file: file.status for file in found.files}
    assert not found.same
    assert status["results/pd_change.csv"] == "different"
    assert status["results/pairs.csv"] == "edited"
    assert status["results/biopsies.csv"] == "same"
    assert {p.column for p in found.reasons} == {"counts.csv.gz", "cpu", "blas", "numpy"}
    numpy = next(p for p in found.reasons if p.column == "numpy")
    assert "was 0.1 and is" in numpy.message
    told = found.problems()
    assert {p.code for p in told} == {"E-RUN-062", "E-RUN-063"}
    assert any("The input counts.csv.gz" in p.message for p in told if p.file == "results/pd_change.csv")


def test_a_study_that_lies_elsewhere_has_to_be_given(both: Path) -> None:
    (both / "study").rename(both / "moved")
    with pytest.raises(InputError, match=r"E-RUN-061 .*--study"):
        pb.reproduce(both / "results", progress=False)


def test_a_folder_that_no_run_made_cannot_be_repeated(both: Path) -> None:
    manifest = read_manifest(both / "results")
    write_manifest(both / "results", dataclasses.replace(manifest, run={"function": "import_exports"}))
    with pytest.raises(InputError, match="made by 'import_exports'"):
        pb.reproduce(both / "results", progress=False)


def test_an_edited_manifest_says_nothing_that_could_be_repeated(both: Path) -> None:
    path = both / "results" / "manifest.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"run_study"', '"change_study"'), encoding="utf-8"
    )
    with pytest.raises(VerificationError, match=r"E-RUN-003 manifest\.json: The manifest was edited"):
        pb.reproduce(both / "results", progress=False)


def test_a_path_is_recorded_only_where_it_is_close(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "c" / "out"
    near, far = tmp_path / "a" / "b" / "study", tmp_path / "home" / "jane" / "x" / "study"
    told = again({"study": str(near), "plan": str(far), "panel": "cd8", "also": ["x"]}, out)
    assert told == {"study": {"path": "../../study"}, "plan": {"path": ""}, "panel": "cd8", "also": ["x"]}


def test_a_report_in_another_format_is_recorded_and_covered(both: Path) -> None:
    out = both / "results"
    (path,) = pb.report_results(out, formats=["xlsx"])
    line = audit.read(out)[-1]
    assert (line.event, line.files) == ("report", {"review.xlsx": sha256_file(path)})
    assert verify(out) == []
    path.write_bytes(path.read_bytes() + b"x")
    assert [(p.code, p.file) for p in verify(out)] == [("E-RUN-003", "review.xlsx")]


def test_a_stopped_run_leaves_its_beginning_in_the_log(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pdbiomarker.run.trip.Trip.analysis", stop)
    with pytest.raises(KeyboardInterrupt):
        pb.run_study(both / "study", both / "results", progress=False)
    events = [line.event for line in audit.read(both / "results")]
    assert events == ["run started", "run_study", "run started", "run stopped"]
