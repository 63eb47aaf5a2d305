"""Whole files, safe names, locks, completeness records and the manifest."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pdbiomarker import provenance
from pdbiomarker.errors import FolderInUseError, StudyError
from pdbiomarker.provenance import (
    FolderLock,
    Manifest,
    atomic_path,
    completed,
    environment,
    forget,
    is_complete,
    mark_done,
    read_manifest,
    remove_output,
    remove_partial_files,
    sha256_file,
    sha256_json,
    sha256_text,
    slug,
    write_manifest,
    write_text,
)
from pdbiomarker.verification import verify

# --- hashes ---


def test_sha256_matches_the_standard_vectors(tmp_path: Path) -> None:
    # FIPS 180-2, appendix B: "abc"
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_text("abc") == expected
    assert sha256_file(tmp_path / "abc") == expected


def test_sha256_json_does_not_depend_on_order() -> None:
    assert sha256_json({"a": 1, "b": [1, 2]}) == sha256_json({"b": [1, 2], "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        sha256_json(float("nan"))


# --- whole files ---


def test_atomic_path_writes_whole_and_makes_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "table.csv"
    with atomic_path(target) as partial:
        assert partial.suffix == ".csv"
        assert partial.parent == target.parent
        partial.write_text("x", encoding="utf-8")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "x"
    assert [p.name for p in target.parent.iterdir()] == ["table.csv"]


def test_atomic_path_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old", encoding="utf-8")

    def fail() -> None:
        with atomic_path(target) as partial:
            partial.write_text("half", encoding="utf-8")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert target.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_fault_41_a_file_killed_while_written_leaves_the_old_one_and_a_partial_one(
    tmp_path: Path,
) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old", encoding="utf-8")
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pdbiomarker.provenance import atomic_path
        with atomic_path(sys.argv[1]) as partial:
            partial.write_text("half", encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    ended = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert target.read_text(encoding="utf-8") == "old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_partial_files(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_fault_50_a_file_made_under_umask_077_is_readable_by_its_owner(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_text(tmp_path / "x", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


# --- names ---

HOSTILE = [
    *("../../x", "/abs", "a/b", "a\\b", "CON", "con.txt", "nul", "COM1", "a" * 300, "-rf", ".hidden", ".."),
    *(".", "", " ", "a b", "a.", "é", "日本", "p\u200b1", "$(touch x)", "`x`", "a;b", "a\nb", "a\x00b"),
    *("~", "*", "%2e%2e"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_slug_is_a_safe_name_for_any_id(name: str, tmp_path: Path) -> None:
    safe = slug(name)
    assert safe != name
    assert 0 < len(safe) <= 60
    assert set(safe) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert safe[0].isalnum()
    assert (tmp_path / safe).resolve().parent == tmp_path.resolve()
    assert safe == slug(name)


@pytest.mark.parametrize("name", ["P01", "P01-C2D1", "007", "1E5", "NA", "TRUE", "slide_1.v2", "x" * 60])
def test_a_safe_id_stays_as_it_is(name: str) -> None:
    assert slug(name) == name


def test_fault_59_slugs_are_unique_also_where_case_does_not_count() -> None:
    taken: list[str] = []
    for name in ["P1", "p1", "P1 ", "p1\t", "é1", "e1", *HOSTILE]:
        taken.append(slug(name, taken))
    assert len({name.casefold() for name in taken}) == len(taken)


def test_two_long_ids_that_differ_at_the_end_differ() -> None:
    assert slug("a" * 300 + "1") != slug("a" * 300 + "2")


# --- versions ---


def test_environment_names_versions_and_no_person() -> None:
    found = environment()
    assert found["python"] == sys.version.split()[0]
    assert {"numpy", "pandas", "pdbiomarker"} <= set(found["packages"])
    text = json.dumps(found)
    assert str(Path.home()) not in text
    assert os.uname().nodename not in text or len(os.uname().nodename) < 4


# --- locks ---


def test_fault_48_a_second_holder_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        with pytest.raises(FolderInUseError, match=rf"process {os.getpid()} on ") as caught:
            FolderLock(tmp_path).__enter__()
        assert caught.value.exit_code == 6
    with FolderLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_fault_48_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pdbiomarker.provenance import FolderLock
        with FolderLock(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert (tmp_path / ".lock").exists()
    with FolderLock(tmp_path):
        holder = json.loads((tmp_path / ".lock").read_text(encoding="utf-8"))
    assert holder["pid"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["fcntl.flock", "socket.gethostname"])
def test_a_signal_while_the_lock_is_taken_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, where: str
) -> None:
    def stopped(*_: object) -> None:
        raise InterruptedError

    module, name = where.split(".")
    target = getattr(provenance, module)
    real = getattr(target, name)

    def interrupted(*args: Any) -> Any:
        signal.raise_signal(number)
        return real(*args)

    monkeypatch.setattr(target, name, interrupted)
    before = signal.signal(number, stopped)
    try:
        with pytest.raises(InterruptedError), FolderLock(tmp_path):
            pytest.fail("the block ran in spite of the signal")
        assert signal.getsignal(number) is stopped
    finally:
        signal.signal(number, before)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("keep", encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        FolderLock(tmp_path / "out").__enter__()
    assert (tmp_path / "elsewhere").read_text(encoding="utf-8") == "keep"


# --- completeness ---


@pytest.fixture
def done(tmp_path: Path) -> Path:
    write_text(tmp_path / "slides" / "s1" / "cells.csv", "a,b\n1,2\n")
    write_text(tmp_path / "slides" / "s1" / "qc.csv", "c\n3\n")
    mark_done(
        tmp_path, "slide-s1", "key1", outputs=["slides/s1/cells.csv", "slides/s1/qc.csv"], facts={"n": 2}
    )
    return tmp_path


def test_a_step_is_complete_for_its_key_only(done: Path) -> None:
    record = completed(done, "slide-s1", "key1")
    assert record is not None
    assert record.facts == {"n": 2}
    assert list(record.outputs) == ["slides/s1/cells.csv", "slides/s1/qc.csv"]
    assert not is_complete(done, "slide-s1", "key2")
    assert not is_complete(done, "slide-s2", "key1")


@pytest.mark.parametrize("damage", ["delete", "truncate", "edit", "directory"])
def test_a_damaged_output_makes_the_step_incomplete(done: Path, damage: str) -> None:
    path = done / "slides" / "s1" / "cells.csv"
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(b"")
    elif damage == "edit":
        path.write_text("a,b\n1,3\n", encoding="utf-8")
    else:
        path.unlink()
        path.mkdir()
    assert not is_complete(done, "slide-s1", "key1")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"step": 1}', '{"outputs": {"../x": "0"}, "key": "key1"}']
)
def test_fault_44_a_record_that_cannot_be_read_makes_the_step_incomplete(done: Path, content: str) -> None:
    (done / ".done" / "slide-s1.json").write_text(content, encoding="utf-8")
    assert not is_complete(done, "slide-s1", "key1")


def test_forgetting_a_step_removes_its_outputs_and_nothing_else(done: Path) -> None:
    (done / "slides" / "mine.txt").write_text("mine", encoding="utf-8")
    forget(done, "slide-s1")
    left = sorted(p.relative_to(done).as_posix() for p in done.rglob("*") if p.is_file())
    assert left == ["slides/mine.txt"]


def test_nothing_outside_the_folder_is_ever_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious").write_text("keep", encoding="utf-8")
    (out / "link").symlink_to(tmp_path, target_is_directory=True)
    for name in ("../precious", "link/precious", str(tmp_path / "precious")):
        with pytest.raises(ValueError, match="subpath"):
            remove_output(out, name)
    (out / ".done").mkdir()
    record = {"step": "s", "key": "k", "outputs": {"../precious": "0", "link/precious": "0"}, "facts": {}}
    record["sha256"] = sha256_text(json.dumps(record, sort_keys=True))  # sealed by one who means it
    assert len(record["outputs"]) == 2
    (out / ".done" / "s.json").write_text(json.dumps(record), encoding="utf-8")
    forget(out, "s")
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "keep"


def test_a_step_name_that_is_no_file_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="safe name"):
        mark_done(tmp_path, "../x", "k", outputs=[])


# --- the manifest ---


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("results/pd_change.csv", "results/changes.csv", "review.html", "run.log"):
        write_text(tmp_path / name, f"content of {name}\n" * 3)
    names = ["results/pd_change.csv", "results/changes.csv", "review.html"]
    write_manifest(
        tmp_path,
        Manifest(
            inputs={"biopsies.csv": "0" * 64},
            outputs={name: sha256_file(tmp_path / name) for name in names},
            parameters={"seed": 1},
            run={"start": "2025-01-01T00:00:00Z", "files": {"run.log": sha256_file(tmp_path / "run.log")}},
        ),
    )
    return tmp_path


def test_an_untouched_folder_verifies(results: Path) -> None:
    assert verify(results) == []


def test_the_manifest_differs_between_runs_in_its_run_part_only(results: Path) -> None:
    first = json.loads((results / "manifest.json").read_text(encoding="utf-8"))
    manifest = read_manifest(results)
    write_manifest(
        results,
        Manifest(**{f: getattr(manifest, f) for f in ("inputs", "outputs", "parameters")}, run={"x": 1}),
    )
    second = json.loads((results / "manifest.json").read_text(encoding="utf-8"))
    assert first.pop("run") != second.pop("run")
    assert first == second


def test_verify_finds_every_single_byte_edit(results: Path) -> None:
    draw = random.Random(7)  # noqa: S311 - reproducible places, no secret
    files = sorted(p for p in results.rglob("*") if p.is_file())
    for _ in range(100):
        path = draw.choice(files)
        whole = path.read_bytes()
        place = draw.randrange(len(whole))
        changed = bytes([whole[place] ^ (1 << draw.randrange(8))])
        path.write_bytes(whole[:place] + changed + whole[place + 1 :])
        try:
            problems = verify(results)
        except StudyError as error:
            problems = error.problems
        name = path.relative_to(results).as_posix()
        found = [(p.code, p.file) for p in problems if p.severity == "error"]
        if name == "manifest.json":  # a file whose name or hash was hit, and the log, are told as well
            assert found[0] == ("E-RUN-003", name)
            assert len(found) <= 4
        elif name == "audit.jsonl":
            assert {code for code, _ in found} <= {"E-AUDIT-001", "E-AUDIT-002"}
            assert found
        elif name == "audit.head.json":
            assert {code for code, _ in found} == {"E-AUDIT-002"}
        else:
            assert found == [("E-RUN-003", name)]
        path.write_bytes(whole)
    assert verify(results) == []


def test_verify_names_missing_and_added_files(results: Path) -> None:
    (results / "review.html").unlink()
    (results / "results" / "extra.csv").write_text("x", encoding="utf-8")
    assert [(p.severity, p.file) for p in verify(results)] == [
        ("error", "review.html"),
        ("error", "results/extra.csv"),
    ]


def test_a_folder_without_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no manifest"):
        verify(tmp_path)
