"""The audit log, the sign-offs, and what `verify` finds of each."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pdbiomarker as pb
from pdbiomarker import audit, provenance
from pdbiomarker.cli import app
from pdbiomarker.errors import InputError, VerificationError
from pdbiomarker.provenance import (
    DONE,
    Manifest,
    mark_done,
    read_manifest,
    sha256_file,
    write_manifest,
    write_text,
)
from pdbiomarker.verification import verify


@pytest.fixture
def results(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    for name in ("results/pd_change.csv", "review.html", "run.log"):
        write_text(out / name, f"content of {name}\n")
    audit.append(out, "run started")
    mark_done(out, "report", "0" * 64, outputs=["review.html", "results/pd_change.csv"])
    names = ["results/pd_change.csv", "review.html", f"{DONE}/report.json"]
    write_manifest(
        out,
        Manifest(
            inputs={"biopsies.csv": "0" * 64},
            outputs={name: sha256_file(out / name) for name in names},
            parameters={"plan_sha256": "1" * 64},
            run={"function": "run_study", "files": {"run.log": sha256_file(out / "run.log")}},
        ),
    )
    audit.append(out, "verified", user="A. Author")
    return out


def codes(out: Path) -> set[str]:
    return {p.code for p in verify(out) if p.severity == "error"}


def lines_of(out: Path) -> list[bytes]:
    return (out / audit.AUDIT).read_bytes().splitlines(keepends=True)


# --- the log ---


def test_a_line_says_what_happened_and_who_only_where_that_is_said(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDBIOMARKER_USER", "B. Author")
    audit.append(results, "report", files={"x": "0" * 64})
    lines = audit.read(results)
    assert [line.n for line in lines] == [1, 2, 3, 4]
    assert [line.event for line in lines] == ["run started", "run_study", "verified", "report"]
    assert [line.user for line in lines] == ["", "", "A. Author", "B. Author"]
    assert lines[1].manifest == sha256_file(results / "manifest.json")
    assert lines[1].detail["plan_sha256"] == "1" * 64
    text = (results / audit.AUDIT).read_text(encoding="utf-8")
    assert os.uname().nodename not in text
    assert str(results) not in text


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "n" * 201, "\u202egpj"])
def test_a_name_that_cannot_be_recorded_is_refused(results: Path, name: str) -> None:
    with pytest.raises(InputError, match="E-AUDIT-004"):
        audit.append(results, "verified", user=name)
    assert len(audit.read(results)) == 3


def test_every_byte_of_the_log_is_covered(results: Path) -> None:
    path = results / audit.AUDIT
    whole = path.read_bytes()
    assert verify(results) == []
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert codes(results) & {"E-AUDIT-001", "E-AUDIT-002"}, place
    path.write_bytes(whole)
    assert verify(results) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [lines[0], lines[0], *lines[1:]],
        lambda lines: lines[:1],
        lambda _: [],
        lambda lines: [*lines[:-1], lines[-1].rstrip(b"\n")],
    ],
    ids=["first", "middle", "moved", "twice", "cut before the manifest", "emptied", "no end"],
)
def test_removed_moved_and_repeated_lines_are_found(
    results: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    (results / audit.AUDIT).write_bytes(b"".join(change(lines_of(results))))
    assert codes(results) & {"E-AUDIT-001", "E-AUDIT-002"}


def test_a_log_that_was_removed_or_made_anew_is_found(results: Path, tmp_path: Path) -> None:
    (results / audit.AUDIT).unlink()
    assert codes(results) == {"E-AUDIT-002"}
    for event in ("run started", "run_study", "verified"):
        audit.append(results, event)
    assert codes(results) == {"E-AUDIT-002"}
    (results / audit.AUDIT).rename(tmp_path / "log")
    (results / audit.AUDIT).symlink_to(tmp_path / "log")
    assert "E-AUDIT-001" in codes(results)


def test_lines_cut_off_after_the_manifest_are_counted(results: Path) -> None:
    (results / audit.AUDIT).write_bytes(b"".join(lines_of(results)[:2]))
    (told,) = verify(results)
    assert (told.code, told.file) == ("E-AUDIT-002", audit.AUDIT)
    assert "has 2 lines and had 3" in told.message
    assert CliRunner().invoke(app, ["audit", str(results)]).exit_code == 3
    assert CliRunner().invoke(app, ["verify", str(results)]).exit_code == 3
    assert len(audit.read(results)) == 2, "a check that fails adds no line, which would cover the cut"
    line = audit.append(results, "run started")
    assert line.detail["lines_before"]["line"] == 3


def test_the_log_grew_and_its_head_was_not_written_yet(results: Path) -> None:
    """Killed between the two: the head is of a line before, which still is the one that was written."""
    head = (results / audit.HEAD).read_bytes()
    audit.append(results, "verified")
    (results / audit.HEAD).write_bytes(head)
    assert verify(results) == []


def test_what_the_log_cannot_show_is_what_its_page_says(results: Path) -> None:
    # docs/provenance.md: log and head written anew, with hashes that fit.
    (results / audit.AUDIT).write_bytes(b"".join(lines_of(results)[:2]))
    line = audit.read(results)[-1]
    (results / audit.HEAD).write_text(f'{{"line":2,"sha256":"{line.sha256}"}}\n', encoding="utf-8")
    assert verify(results) == []


def test_a_folder_of_a_version_that_kept_no_head_is_sound(results: Path) -> None:
    (results / audit.HEAD).unlink()
    path = results / "manifest.json"
    manifest = read_manifest(results)
    old = {**manifest.run, audit.AUDIT: {k: manifest.run[audit.AUDIT][k] for k in ("line", "sha256")}}
    write_text(path, dataclasses.replace(manifest, run=old).to_json())
    audit.append(results, "run_study", manifest=sha256_file(path))
    (results / audit.HEAD).unlink()
    assert codes(results) == set()


def test_processes_that_write_at_once_make_one_chain(tmp_path: Path) -> None:
    code = (
        "import sys; from pdbiomarker import audit\n"
        "for k in range(20): audit.append(sys.argv[1], 'event', detail={'who': sys.argv[2], 'k': k})"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(k)]) for k in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    lines = audit.read(tmp_path)
    assert {(line.detail["who"], line.detail["k"]) for line in lines} == {
        (str(who), k) for who in range(4) for k in range(20)
    }
    assert audit.check(tmp_path, head=None, manifest="") == []


def test_a_line_torn_by_a_power_failure_goes_and_its_hash_stays(results: Path) -> None:
    with (results / audit.AUDIT).open("ab") as stream:
        stream.write(b'{"n":4,"ti')
    assert codes(results) == {"E-AUDIT-001"}
    line = audit.append(results, "run started")
    assert line.n == 4
    assert len(line.detail["torn_line_sha256"]) == 64
    assert verify(results) == []


def test_a_log_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"mine\n")
    (tmp_path / "out" / audit.AUDIT).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        audit.append(tmp_path / "out", "event")
    assert (tmp_path / "elsewhere").read_bytes() == b"mine\n"


# --- verify ---


def test_every_file_flipped_lost_or_made_a_link_is_named(results: Path, tmp_path: Path) -> None:
    for path in sorted(p for p in results.rglob("*") if p.is_file()):
        name, whole = path.relative_to(results).as_posix(), path.read_bytes()
        for damaged in (whole[:-2] + b"~" + whole[-1:], whole + b"\n", whole[: len(whole) // 2]):
            path.write_bytes(damaged)
            try:
                problems = verify(results)
            except InputError as error:
                problems = error.problems
            assert any(p.file == name and p.severity == "error" for p in problems), name
        if name != "manifest.json":
            path.unlink()
            assert any(p.file == name for p in verify(results))
            same = tmp_path / "same"
            same.write_bytes(whole)
            path.symlink_to(same)
            assert any(p.file == name and p.severity == "error" for p in verify(results)), name
            path.unlink()
        path.write_bytes(whole)
    assert verify(results) == []


def test_files_folders_links_and_pipes_that_were_added_are_named(results: Path, tmp_path: Path) -> None:
    write_text(results / "results" / "more.csv", "x\n")
    write_text(results / ".hidden", "x\n")
    os.mkfifo(results / "pipe")
    (results / "elsewhere").symlink_to(tmp_path)
    write_text(results / "results" / ".DS_Store", "x")
    found = {(p.code, p.file, p.severity) for p in verify(results)}
    assert found == {
        *(("E-RUN-060", name, "error") for name in ("results/more.csv", ".hidden", "pipe", "elsewhere")),
        ("E-RUN-060", "results/.DS_Store", "warning"),
    }


def test_a_result_edited_together_with_its_record_and_the_manifest_is_found(results: Path) -> None:
    write_text(results / "results/pd_change.csv", "forged\n")
    mark_done(results, "report", "0" * 64, outputs=["review.html", "results/pd_change.csv"])
    assert codes(results) == {"E-RUN-003"}
    manifest = read_manifest(results)
    forged = {name: sha256_file(results / name) for name in manifest.outputs}
    text = Manifest(**{**_fields(manifest), "outputs": forged}).to_json()  # its seals fit again
    write_text(results / "manifest.json", text)
    assert codes(results) == {"E-AUDIT-002"}  # but no line of the log names it


def _fields(manifest: Manifest) -> dict[str, object]:
    return {name: getattr(manifest, name) for name in Manifest.__slots__}


@pytest.mark.parametrize("sealed", [False, True])
def test_a_record_that_tells_of_other_outputs_is_found(results: Path, *, sealed: bool) -> None:
    manifest = read_manifest(results)
    record = results / DONE / "report.json"
    content = json.loads(record.read_text(encoding="utf-8"))
    content["outputs"]["review.html"] = "f" * 64
    if sealed:  # by somebody who knows how
        content["sha256"] = provenance._seal({k: v for k, v in content.items() if k != "sha256"})
    write_text(record, json.dumps(content))
    outputs = {**manifest.outputs, f"{DONE}/report.json": sha256_file(record)}
    write_manifest(results, Manifest(**{**_fields(manifest), "outputs": outputs}))
    (problem,) = verify(results)
    assert (problem.code, problem.file) == ("E-RUN-003", f"{DONE}/report.json")
    assert problem.value == ("review.html" if sealed else None)


def test_a_report_written_later_is_covered_until_the_folder_is_made_again(results: Path) -> None:
    write_text(results / "review.pdf", "%PDF\n")
    assert codes(results) == {"E-RUN-060"}
    files = {"review.pdf": sha256_file(results / "review.pdf")}
    audit.append(results, "report", files=files, manifest=sha256_file(results / "manifest.json"))
    assert verify(results) == []
    write_text(results / "review.pdf", "%PDF edited\n")
    assert codes(results) == {"E-RUN-003"}
    write_text(results / "review.pdf", "%PDF\n")
    write_manifest(results, read_manifest(results))  # a later run: the report is of the one before
    assert codes(results) == {"E-RUN-060"}


# --- sign-offs ---


def test_a_sign_off_names_who_and_what_and_is_covered(results: Path) -> None:
    path = pb.sign_results(results, name="A. Author", role="statistician", meaning="reviewed")
    pb.sign_results(results, name="B. Author", role="physician", meaning="approved")
    first, second = json.loads(path.read_text(encoding="utf-8"))
    assert (first["name"], first["role"], first["meaning"]) == ("A. Author", "statistician", "reviewed")
    assert second["manifest"] == sha256_file(results / "manifest.json")
    assert "not an electronic signature" in second["note"]
    assert [line.user for line in audit.read(results)][-2:] == ["A. Author", "B. Author"]
    assert verify(results) == []
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"B. Author", b"C. Author"))
    assert codes(results) == {"E-AUDIT-003"}
    path.unlink()
    assert codes(results) == {"E-AUDIT-003"}
    path.write_bytes(whole)
    write_manifest(results, read_manifest(results))
    (problem,) = verify(results)
    assert (problem.code, problem.severity) == ("E-AUDIT-003", "warning")


def test_a_folder_that_was_changed_is_not_signed(results: Path) -> None:
    write_text(results / "review.html", "edited\n")
    with pytest.raises(VerificationError, match=r"E-RUN-003 review.html"):
        pb.sign_results(results, name="A", role="b", meaning="c")
    assert not (results / audit.SIGNOFFS).exists()


# --- the command line ---


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "pdbiomarker", *map(str, arguments)]
    return subprocess.run(whole, capture_output=True, text=True, check=False)


def test_the_commands_tell_and_record(results: Path) -> None:
    done = command("--user", "A. Author", "verify", results)
    assert (done.returncode, audit.read(results)[-1].event) == (0, "verified")
    assert audit.read(results)[-1].user == "A. Author"
    done = command("sign", results, "--name", "N", "--role", "R", "--meaning", "M")
    assert (done.returncode, done.stdout.strip()) == (0, str(results / audit.SIGNOFFS))
    done = command("audit", results)
    assert done.returncode == 0
    assert audit.read(results)[-1].sha256 in done.stdout
    write_text(results / "review.html", "edited\n")
    done = command("verify", results, "--json")
    assert done.returncode == 3
    told = json.loads(done.stdout)
    assert not told["same"]
    assert [p["file"] for p in told["problems"]] == ["review.html"]


def test_a_folder_that_cannot_be_written_to_is_verified(results: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(results, tmp_path / "copy"))
    (copy / audit.AUDIT).chmod(0o444)
    copy.chmod(0o555)
    try:
        assert command("verify", copy).returncode == 0
    finally:
        copy.chmod(0o755)
