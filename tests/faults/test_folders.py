"""The results folder: locks, lost records, copies, what may not be written, odd clocks."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import logging
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from fault_kills import Event, Runs, arguments, strays, surroundings
from small_study import copy, fingerprint, replace

import pdbiomarker as pb
from pdbiomarker import provenance
from pdbiomarker.errors import FolderInUseError, InputError
from pdbiomarker.provenance import FolderLock, slug
from pdbiomarker.run.folder import Basis, check_folder

Whole = tuple[Path, list[Event]]


@pytest.fixture
def out(whole: Whole, tmp_path: Path) -> Path:
    """A copy of the results of the undisturbed run."""
    return copy(whole[0], tmp_path / "out")


# --- records ---


def test_fault_44_a_results_folder_copied_elsewhere_is_gone_on_with(
    study: Path, whole: Whole, tmp_path: Path
) -> None:
    other = copy(whole[0], tmp_path / "other disk" / "Ergebnisse ä")
    (other / "results" / "pd_change.csv").write_bytes(b"half a line")
    outcome = pb.run_study(study, other, progress=False)
    assert outcome.steps_made == ("change",)
    assert fingerprint(other) == fingerprint(whole[0])


def test_fault_44_records_that_are_lost_or_edited_make_their_step_again(
    study: Path, whole: Whole, out: Path
) -> None:
    (out / ".done" / "slide-P01-T.json").unlink()
    record = out / ".done" / "decide.json"
    content = json.loads(record.read_text(encoding="utf-8"))
    content["outputs"] = dict(list(content["outputs"].items())[:-1])  # one output less than were made
    record.write_text(json.dumps(content), encoding="utf-8")
    (out / ".done" / "report.json").write_text('{"step": "report", "key"', encoding="utf-8")
    assert pb.run_study(study, out, progress=False).exit_code == 0
    assert fingerprint(out) == fingerprint(whole[0])


def test_fault_44_a_folder_without_its_records_is_not_taken_for_whole(
    study: Path, whole: Whole, out: Path
) -> None:
    """Copied without hidden files: the manifest says that it is ours, nothing says what is whole."""
    shutil.rmtree(out / ".done")
    (out / "results" / "changes.csv").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        pb.run_study(study, out, progress=False)
    assert [p.code for p in caught.value.problems] == ["E-RUN-051"]
    assert "--fresh" in str(caught.value)
    assert pb.run_study(study, out, fresh=True, progress=False).exit_code == 0
    assert fingerprint(out) == fingerprint(whole[0])


# --- locks ---


def test_fault_48_the_holder_is_told_by_host_process_and_age(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        path = tmp_path / ".lock"
        owner = json.loads(path.read_text(encoding="utf-8"))
        owner["since"] = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=3)).isoformat(timespec="seconds")
        path.write_text(json.dumps(owner), encoding="utf-8")
        said = rf"process {os.getpid()} on {socket.gethostname()}, since .*, 3\.0 hours ago"
        with pytest.raises(FolderInUseError, match=said) as caught:
            FolderLock(tmp_path).__enter__()
    assert caught.value.exit_code == 6


def test_fault_48_the_lock_of_a_run_killed_on_this_host_is_taken_over(
    run: Runs, study: Path, whole: Whole, out: Path
) -> None:
    owner = {"host": socket.gethostname(), "pid": 2**22 + 1, "start": "1", "since": "2025-01-01T00:00:00Z"}
    (out / ".lock").write_text(json.dumps(owner), encoding="utf-8")
    assert run(arguments(study, out), {}).wait() == 0
    assert fingerprint(out) == fingerprint(whole[0])
    assert strays(out) == []


def test_fault_48_the_lock_of_another_host_stands_until_it_is_removed(
    study: Path, whole: Whole, out: Path
) -> None:
    owner = {"host": "node-17", "pid": 4711, "start": "1", "since": "2025-01-01T00:00:00Z"}
    (out / ".lock").write_text(json.dumps(owner), encoding="utf-8")
    before = fingerprint(out)
    for fresh in (False, True):
        with pytest.raises(
            FolderInUseError, match=r"E-RUN-050 .*process 4711 on node-17, since 2025"
        ) as caught:
            pb.run_study(study, out, fresh=fresh, progress=False)
        assert f"remove the file {out / '.lock'}" in str(caught.value)
        assert fingerprint(out) == before
    (out / ".lock").unlink()
    assert pb.run_study(study, out, progress=False).steps_made == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_fault_50_the_lock_of_another_user_is_named() -> None:
    """A shared folder; the other's umask is 077."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / ".lock").touch(0o600)
        told, tells = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                FolderLock(folder).__enter__()
            except BaseException as error:
                os.write(tells, f"{type(error).__name__}: {error}".encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        os.close(tells)
        text = os.read(told, 4096).decode()
        os.close(told)
    assert text.startswith("FolderInUseError: E-RUN-002")
    assert "belongs to user 0" in text


# --- what may not be written ---


def test_fault_50_read_only_input_no_home_no_temporary_folder_and_umask_077(
    study: Path, whole: Whole, tmp_path: Path
) -> None:
    """As root the study is a read-only mount, which binds root as well; else its folders have no w."""
    source = copy(study, tmp_path / "study")
    command = [sys.executable, "-m", "pdbiomarker", *arguments(source, tmp_path / "out")]
    if os.geteuid() == 0:
        script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && umask 077 && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", script, str(source), *command]
    else:
        command = ["sh", "-c", 'umask 077 && exec "$@"', "sh", *command]
        for folder in [source, *(p for p in source.rglob("*") if p.is_dir())]:
            folder.chmod(0o555)
    around = {k: v for k, v in surroundings().items() if k not in {"HOME", "USER", "LOGNAME"}}
    around |= {"TMPDIR": str(tmp_path / "nowhere"), "XDG_CACHE_HOME": "/proc/nowhere"}
    done = subprocess.run(command, env=around, capture_output=True, text=True, check=False)
    if os.geteuid() == 0 and "unshare" in done.stderr + done.stdout:
        pytest.skip("no mounts of its own here")
    assert done.returncode == 0, done.stderr
    assert fingerprint(tmp_path / "out") == fingerprint(whole[0])
    assert fingerprint(source) == fingerprint(study)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "study"]
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert modes == {0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a read-only mount")
def test_fault_50_an_output_folder_that_cannot_be_written_is_named(study: Path, tmp_path: Path) -> None:
    place = tmp_path / "ro"
    place.mkdir()
    script = 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"'
    command = [sys.executable, "-m", "pdbiomarker", *arguments(study, place / "out")]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, str(place), *command],
        env=surroundings(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {3, 5}, done.stderr
    assert "E-RUN-006" in done.stderr or "E-RUN-004" in done.stderr
    assert "Traceback" not in done.stderr


# --- kept machine code ---

_KERNEL = """
import numpy as np
from pdbiomarker.ihc.compiled import kernel

@kernel
def total(values):
    out = 0.0
    for value in values:
        out += value
    return out
"""


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("kept_kernel", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("damage", ["flip the code", "flip the index", "cut the code", "empty the index"])
def test_fault_49_kept_machine_code_that_is_damaged_is_made_again_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = tmp_path / "kept_kernel.py"
    path.write_text(_KERNEL, encoding="utf-8")
    values = np.array([1.0, 2.5])
    assert _module(path).total(values) == 3.5
    (file,) = (tmp_path / "__pycache__").glob("*.nbi" if "index" in damage else "*.nbc")
    data = bytearray(file.read_bytes())
    if damage.startswith("flip"):
        data[len(data) // 2] ^= 0xFF
    file.write_bytes(
        bytes(data) if damage.startswith("flip") else bytes(data[: len(data) // 2 * ("cut" in damage)])
    )
    with caplog.at_level(logging.WARNING):
        assert _module(path).total(values) == 3.5
    assert [record.getMessage().split()[0] for record in caplog.records] == ["E-RUN-052"]
    caplog.clear()
    again = _module(path)
    assert again.total(values) == 3.5
    assert caplog.records == []
    assert sum(again.total.stats.cache_hits.values()) == 1  # it was kept anew


# --- signals and clocks ---


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_fault_55_interrupted_while_slides_are_measured_it_ends_within_seconds_and_goes_on(
    run: Runs, study: Path, whole: Whole, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """The signal goes to the whole group, as from a terminal or from SLURM."""
    out = tmp_path / "out"
    started = run(arguments(study, out), {})
    while not (out / ".done" / "slide-P01-S.json").exists():
        assert started.runs()
        time.sleep(0.01)
    os.killpg(started.pid, number)
    asked = time.monotonic()
    assert started.wait() == code
    assert time.monotonic() - asked < 10
    told = started.log.read_text(encoding="utf-8")
    assert "goes on from there" in told
    assert "Traceback" not in told
    assert strays(out) == [] or all(".partial" in name for name in strays(out))
    assert run(arguments(study, out), {}).wait() == 0
    assert fingerprint(out) == fingerprint(whole[0])
    assert strays(out) == []


@pytest.mark.parametrize("now", ["1970-01-01T00:00:00Z", "2038-01-19T03:14:08Z"])
def test_fault_56_a_clock_that_jumps_and_files_of_the_future_change_nothing(
    study: Path, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: str
) -> None:
    """The slides are kept, the rest is made; seconds are those of a clock that only runs on."""
    other, out = copy(study, tmp_path / "study"), copy(whole[0], tmp_path / "out")
    for path in other.rglob("*"):
        os.utime(path, (2**33, 2**33))  # the year 2242
    for path in (out / "results").iterdir():
        path.unlink()
    times = iter([now, "2031-01-01T00:00:00Z"])
    for module in ("run.road", "run.trip", "run.progress", "provenance"):
        monkeypatch.setattr(f"pdbiomarker.{module}.now_utc", lambda: next(times, "1999-01-01T00:00:00Z"))
    outcome = pb.run_study(other, out, progress=False)
    assert outcome.steps_made == ("change", "decide", "clinical")
    assert fingerprint(out) == fingerprint(whole[0])
    assert provenance.read_manifest(out).run["seconds"] >= 0


def test_fault_59_ids_that_differ_in_case_only_are_refused_and_no_folder_differs_by_it(
    study: Path, tmp_path: Path
) -> None:
    """On a disk that ignores case one would write over the other; other characters may look alike there."""
    taken: list[str] = []
    for name in ("p1", "P1", "P1 ", "p١"):
        taken.append(slug(name, taken))
    assert len({name.casefold() for name in taken}) == 4
    other = copy(study, tmp_path / "study")
    replace(other / "slides.csv", "P01-S,P01-S", "p02-t,P01-S")
    with pytest.raises(InputError) as caught:
        pb.run_study(other, tmp_path / "out", progress=False)
    assert [(p.code, p.value) for p in caught.value.problems] == [("E-SHEET-009", "P02-T")]


@pytest.mark.parametrize("name", [".done/basis", ".done/change.json", "audit.jsonl", "results/pd_change.csv"])
def test_fault_39_a_pipe_in_a_results_folder_is_named_and_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    os.mkfifo(tmp_path / "out" / name)
    with pytest.raises(InputError, match=f"E-RUN-006 .*{name}' in the results folder is a link or a pipe"):
        check_folder(tmp_path / "out", Basis({}, {}), fresh=False)
    with pytest.raises(InputError, match="E-RUN-006"):
        pb.folder_status(tmp_path / "out")
