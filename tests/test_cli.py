"""The command line: help, exit codes, what goes to which stream."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_study import copy, counts, replace, small_study, write_counts
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker.cli import app
from pdbiomarker.provenance import FolderLock
from pdbiomarker.run import RunOutcome, demo

COMMANDS = (
    "init",
    "explain",
    "reference",
    "demo",
    "check",
    "run",
    "change",
    "simulate",
    "step",
    "status",
    "quantify",
    "import",
    "expression",
    "exposure",
    "response",
    "ada",
    "safety",
    "escalation",
    "reconcile",
    "decide",
    "power",
    "plan",
    "report",
    "export",
    "diff",
    "version",
    "verify",
    "reproduce",
    "audit",
    "sign",
    "deidentify",
)
PANELS = ("To begin", "The whole road", "Many machines", "Assays", "The trial", "Decisions", "Results")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("cli") / "study", slides=False)


@pytest.fixture(scope="module")
def slide_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("cli") / "study")


@pytest.fixture(scope="module")
def results(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "out"
    pb.run_study(study, out, progress=False)
    return out


def call(*arguments: object) -> Any:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200", "TERM": "dumb"})


def shell(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would."""
    command = [sys.executable, "-m", "pdbiomarker", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


# --- help and syntax ---


def test_help_lists_the_commands_and_the_exit_codes() -> None:
    answer = call("--help")
    assert answer.exit_code == 0
    listed = [line.split()[1] for line in answer.stdout.splitlines() if re.match(r"│ \w", line)]
    assert listed == list(COMMANDS)
    assert re.findall("|".join(PANELS), answer.stdout) == list(PANELS)
    assert "Exit codes" in answer.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_documents_its_outputs_and_exit_codes(command: str) -> None:
    answer = call(command, "--help")
    assert answer.exit_code == 0
    assert "Exit codes: 0 done" in " ".join(answer.stdout.replace("│", " ").split())
    assert len(answer.stdout) > 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["runn"],
        ["run"],
        ["run", "x"],
        ["run", "x", "-o", "y", "--workers", "0"],
        ["check", "x", "--as", "sheet"],
    ],
)
def test_wrong_syntax_exits_2(arguments: list[str]) -> None:
    assert call(*arguments).exit_code == 2


def test_version_and_module_entry() -> None:
    done = shell("version")
    assert (done.returncode, done.stdout.strip()) == (0, pb.__version__)


# --- check ---


def test_check_passes_a_sound_study(slide_study: Path) -> None:
    answer = call("check", slide_study)
    assert answer.exit_code == 0, answer.output
    assert "can be used: 0 errors, 0 items to be quarantined, 0 warnings" in answer.stdout


def test_check_lists_every_problem_with_its_place_as_table_and_json(study: Path, tmp_path: Path) -> None:
    bad = copy(study, tmp_path / "bad")
    replace(bad / "biopsies.csv", "P01,P01-T,", "P01,P01-S,")
    replace(bad / "biopsies.csv", "P02-T,C2D1,30", "P02-T,C2D1,0")
    replace(bad / "plan.yaml", "seed: 1", "sead: 1")
    answer = call("check", bad, "--json")
    assert answer.exit_code == 3
    told = json.loads(answer.stdout)
    assert (told["schema"], told["command"], told["exit_code"], told["usable"]) == (1, "check", 3, False)
    rows = told["problems"]
    assert set(rows[0]) == {"code", "message", "remedy", "file", "row", "column", "value", "severity", "item"}
    found = {(r["code"], r["file"], r["row"], r["column"]) for r in rows}
    assert ("E-SHEET-005", "biopsies.csv", 3, "biopsy_id") in found
    assert any(code == "E-PLAN-001" and file == "plan.yaml" and row == 4 for code, file, row, _ in found)
    assert any(file == "biopsies.csv" and row == 5 for _, file, row, _ in found)
    table = call("check", bad)
    assert table.exit_code == 3
    for word in ("E-SHEET-005", "E-PLAN-001", "biopsies.csv", "would be refused"):
        assert word in table.stdout


def test_check_prints_one_problem_a_line_where_a_table_has_no_room(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = copy(study, tmp_path / "bad")
    replace(bad / "plan.yaml", "seed: 1", "sead: 1")
    replace(bad / "biopsies.csv", "P01,P01-T,", "P01,P01-S,")
    piped = call("check", bad)
    assert piped.exit_code == 3
    lines = piped.stdout.splitlines()
    assert len(lines) == 3
    assert any(line.startswith("error: E-PLAN-001 plan.yaml:4 [sead]: ") for line in lines)
    assert any(line.startswith("error: E-SHEET-005 biopsies.csv:3 [biopsy_id]: ") for line in lines)
    assert lines[-1].endswith(" would be refused: 2 errors, 0 items to be quarantined, 0 warnings.")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    for width, table in (("80", False), ("139", False), ("140", True)):
        answer = CliRunner().invoke(app, ["check", str(bad)], env={"COLUMNS": width, "TERM": "xterm"})
        assert ("│" in answer.stdout) is table, width
    replace(bad / "plan.yaml", "sead: 1", "seed: 1")
    assert "1 error, 0 items" in call("check", bad).stdout


def test_check_tells_slides_that_would_be_quarantined(slide_study: Path, tmp_path: Path) -> None:
    bad = copy(slide_study, tmp_path / "bad")
    path = bad / "slides" / "P01-S.tif"
    path.write_bytes(path.read_bytes()[:1000])
    answer = call("check", bad, "--json")
    assert answer.exit_code == 0
    (row,) = json.loads(answer.stdout)["problems"]
    assert (row["severity"], row["item"], row["file"], row["row"]) == ("quarantine", "P01-S", "slides.csv", 2)


def test_check_one_file_at_a_time(slide_study: Path, results: Path, tmp_path: Path) -> None:
    kinds = {
        "study": slide_study / "study.yaml",
        "plan": slide_study / "plan.yaml",
        "participants": slide_study / "participants.csv",
        "biopsies": slide_study / "biopsies.csv",
        "slides": slide_study / "slides.csv",
        "slide": slide_study / "slides" / "P01-S.tif",
        "counts": slide_study / "counts.csv.gz",
        "h5ad": results / "assays" / "rna.h5ad",
        "formula": "~ visit + (1|participant)",
    }
    for kind, path in kinds.items():
        answer = call("check", path, "--as", kind)
        assert answer.exit_code == 0, (kind, answer.output)
    rows = counts()
    rows[2][2] = "1.5"
    write_counts(tmp_path, rows)
    answer = call("check", tmp_path / "counts.csv.gz", "--as", "counts", "--json")
    assert answer.exit_code == 3
    assert json.loads(answer.stdout)["problems"][0]["code"] == "E-COUNT-003"


#: What a program may rely on: docs/json.md.
ENVELOPE = ["schema", "command", "exit_code"]


@pytest.mark.parametrize(
    ("arguments", "code", "file"),
    [
        (["check", "nowhere"], 3, "nowhere"),
        (["check", "nowhere.csv", "--as", "counts"], 3, "nowhere.csv"),
        (["verify", "nowhere"], 3, "manifest.json"),
        (["reproduce", "nowhere"], 3, "manifest.json"),
    ],
)
def test_what_is_refused_is_one_json_object_on_standard_output_and_nothing_else(
    arguments: list[str], code: int, file: str, tmp_path: Path
) -> None:
    command, name, *rest = arguments
    answer = call(command, tmp_path / name, *rest, "--json")
    assert (answer.exit_code, answer.stderr) == (code, "")
    told = json.loads(answer.stdout)
    assert list(told)[:3] == ENVELOPE
    assert (told["schema"], told["command"], told["exit_code"]) == (1, command, code)
    assert [p["severity"] for p in told["problems"]] == ["error"]
    assert told["problems"][0]["file"] == file
    # The same words as without --json, and the same exit status.
    plain = call(command, tmp_path / name, *rest)
    assert plain.exit_code == code
    assert told["problems"][0]["code"] in plain.output


def test_a_fault_of_ours_is_a_json_object_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(pb, "check", fails)
    answer = call("check", tmp_path, "--json")
    assert (answer.exit_code, answer.stderr) == (1, "")
    told = json.loads(answer.stdout)
    assert (told["exit_code"], told["problems"]) == (1, [])
    assert "ZeroDivisionError: of ours" in told["message"]


RCC = """<Header>
FileVersion,1.7
</Header>
<Sample_Attributes>
ID,1
</Sample_Attributes>
<Lane_Attributes>
ID,1
FovCount,280
FovCounted,270
BindingDensity,0.8
</Lane_Attributes>
<Code_Summary>
CodeClass,Name,Accession,Count
Endogenous,CD8A,NM_1,120
Endogenous,GZMA,NM_2,80
Positive,POS_A(128),ERCC_1,25600
Positive,POS_B(32),ERCC_2,6400
Positive,POS_C(8),ERCC_3,1600
Positive,POS_D(2),ERCC_4,400
Positive,POS_E(0.5),ERCC_5,100
Negative,NEG_A(0),ERCC_6,5
Negative,NEG_B(0),ERCC_7,7
</Code_Summary>
"""


@pytest.mark.parametrize(
    ("old", "new", "code", "row"),
    [
        ("", "", None, None),
        (",120", ",many", "E-COUNT-001", 15),
        (",120", ",-1", "E-COUNT-002", 15),
        (",120", ",1.5", "E-COUNT-003", 15),
        ("GZMA", "CD8A", "E-COUNT-005", 16),
        ("</Code_Summary>\n", "", "E-FILE-005", None),
        ("Accession,Count", "Accession", "E-SHEET-001", 14),
        ("FovCounted,270", "FovCounted,100", "E-LANE-003", None),
    ],
)
def test_check_an_rcc_file(tmp_path: Path, old: str, new: str, code: str | None, row: int | None) -> None:
    path = tmp_path / "lane.RCC"
    path.write_text(RCC.replace(old, new) if old else RCC, encoding="utf-8")
    found = [(p.code, p.row) for p in pb.check(path, as_="rcc")]
    assert found == ([] if code is None else [(code, row)])


def test_check_never_follows_links_out_of_an_h5ad(results: Path, tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "linked.h5ad"
    path.write_bytes((results / "assays" / "rna.h5ad").read_bytes())
    with h5py.File(path, "r+") as file:
        file["secret"] = h5py.ExternalLink("/etc/hostname", "/")
    (problem,) = pb.check(path, as_="h5ad")
    assert problem.code == "E-ASSAY-002"
    (tmp_path / "text.h5ad").write_text("not HDF5", encoding="utf-8")
    (problem,) = pb.check(tmp_path / "text.h5ad", as_="h5ad")
    assert problem.code == "E-ASSAY-002"


def test_check_a_file_without_saying_what_it_is(study: Path) -> None:
    answer = call("check", study / "plan.yaml")
    assert answer.exit_code == 3
    assert "--as" in answer.stdout


# --- run ---


def test_run_prints_the_report_only_and_its_steps_on_standard_error(study: Path, tmp_path: Path) -> None:
    """As a process of its own: test_run.py."""
    done = call("run", study, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out' / 'review.html'}\n"
    steps = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert steps[:4] == ["check", "change", "decide", "report"]
    log = (tmp_path / "out" / "run.log").read_text(encoding="utf-8")
    assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ change: ", log, re.MULTILINE)


def test_a_refused_study_exits_3_with_the_place_on_standard_error(study: Path, tmp_path: Path) -> None:
    bad = copy(study, tmp_path / "bad")
    (bad / "participants.csv").unlink()
    done = call("run", bad, "-o", tmp_path / "out")
    assert done.exit_code == 3
    assert done.stdout == ""
    assert "error: E-FILE-001 participants.csv" in done.stderr
    assert "Remedy:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_exits_6(study: Path, results: Path) -> None:
    with FolderLock(results):
        answer = call("run", study, "-o", results, "--quiet")
    assert answer.exit_code == 6
    assert f"process {os.getpid()} on" in answer.stderr


def test_dry_run_lists_what_would_be_done(slide_study: Path, tmp_path: Path) -> None:
    answer = call("run", slide_study, "-o", tmp_path / "out", "--dry-run", "--quiet")
    assert answer.exit_code == 0
    assert answer.stdout.count("measure slide") == 4
    assert not (tmp_path / "out").exists()


def test_another_plan_is_used_when_given(study: Path, tmp_path: Path) -> None:
    plan = tmp_path / "other.yaml"
    plan.write_text("contrasts: {later: C2D1 - screening}\nddf: satterthwaite\n", encoding="utf-8")
    answer = call("change", study, "-o", tmp_path / "out", "--plan", plan, "--quiet")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == f"{tmp_path / 'out' / 'results' / 'pd_change.csv'}\n"
    result = pb.read_result(tmp_path / "out")
    assert set(result.table["contrast"]) == {"later"}
    assert set(result.table["df_method"]) == {"satterthwaite"}
    assert not (tmp_path / "out" / "review.html").exists()


def test_a_defect_of_ours_exits_1_with_a_short_message(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> RunOutcome:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(pb, "run_study", broken)
    answer = call("run", study, "-o", "nowhere")
    assert answer.exit_code == 1
    assert "ZeroDivisionError: nobody thought of this" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "Traceback" in call("--debug", "run", study, "-o", "nowhere").stderr


# --- the other commands ---


def test_verify_finds_an_edit(results: Path, tmp_path: Path) -> None:
    out = copy(results, tmp_path / "out")
    assert call("verify", out).exit_code == 0
    table = out / "results" / "pd_change.csv"
    table.write_bytes(table.read_bytes().replace(b"5", b"6", 1))
    done = shell("verify", out)
    assert done.returncode == 3
    assert "E-RUN-003 results/pd_change.csv" in done.stderr
    assert call("verify", tmp_path).exit_code == 3


def test_report_writes_the_same_report_again(results: Path, tmp_path: Path) -> None:
    answer = call("report", results, "-o", tmp_path / "again.html")
    assert answer.exit_code == 0, answer.output
    assert (tmp_path / "again.html").read_bytes() == (results / "review.html").read_bytes()


@pytest.mark.parametrize("file", ["results/pd_change.csv", "assays/rna.h5ad"])
def test_report_refuses_results_that_were_edited(results: Path, tmp_path: Path, file: str) -> None:
    out = copy(results, tmp_path / "out")
    (out / "review.html").unlink()  # what is written again may be gone
    assert call("report", out).exit_code == 0
    (out / file).write_bytes((out / file).read_bytes() + b"\n")
    (out / "review.html").unlink()
    answer = call("report", out)
    assert answer.exit_code == 3
    assert f"E-RUN-003 {file}" in answer.stderr
    assert not (out / "review.html").exists()


def test_quantify_a_slide_sheet(slide_study: Path, tmp_path: Path) -> None:
    sheet = slide_study / "slides.csv"
    answer = call("quantify", sheet, "-o", tmp_path / "out", "--quiet")
    assert answer.exit_code == 3
    assert "--panel" in answer.stderr
    answer = call("quantify", sheet, "--panel", "cd8", "-o", tmp_path / "out", "--quiet")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == f"{tmp_path / 'out' / 'assays' / 'ihc.h5ad'}\n"
    assert (tmp_path / "out" / "slides" / "P01-S" / "cells.parquet").is_file()


def test_simulate_refuses_a_folder_with_other_things(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x", encoding="utf-8")
    assert call("simulate", tmp_path, "--participants", 2).exit_code == 3


def test_demo_simulates_once_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[Path, Path, bool]] = []

    def run(study: Path, out: Path, *, fresh: bool, **_: object) -> RunOutcome:
        runs.append((study, out, fresh))
        return RunOutcome(0, out, (out / "review.html",), ())

    monkeypatch.setattr(demo, "run_study", run)
    target = tmp_path / "demo"
    answer = call("demo", "-o", target, "--participants", 2)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == f"{target / 'results' / 'review.html'}\n"
    written = {p: p.stat().st_mtime_ns for p in (target / "study").rglob("*")}
    assert (target / "study" / "truth" / "features.csv").is_file()
    assert call("demo", "-o", target, "--participants", 2, "--quiet").exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in (target / "study").rglob("*")} == written
    assert runs == [(target / "study", target / "results", False)] * 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x", encoding="utf-8")
    assert call("demo", "-o", tmp_path / "other").exit_code == 3
