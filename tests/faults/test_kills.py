"""Killed outright at any point, a run goes on by the same command and leaves the bytes of one that was not.

A kill in every stage here; ``python tests/faults/campaign.py`` does hundreds, and ``--slow`` does forty.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_kills import (
    STAGES,
    Event,
    Kill,
    Runs,
    arguments,
    draw_events,
    kill_at_event,
    kill_at_time,
    strays,
    surroundings,
)
from small_study import fingerprint


def test_fault_41_59_every_file_is_written_beside_its_place_and_renamed(
    whole: tuple[Path, list[Event]],
) -> None:
    """What a kill can cut short is a temporary file; a rename is within a folder, never across disks."""
    out, events = whole
    appended = {"run.log", "audit.jsonl"}  # line by line; a torn last line is told
    opened = {e.path for e in events if e.kind == "open"}
    assert all(Path(name).name.startswith(".partial-") for name in opened - {".lock", *appended})
    renamed = {e.path for e in events if e.kind == "os.rename"}
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert files - renamed == appended
    temporary = {Path(e.path).parent for e in events if ".partial-" in e.path}
    assert {Path(name).parent for name in renamed} == temporary
    assert {e.stage for e in events} == set(STAGES)


def test_fault_43_killed_at_an_event_and_gone_on_with(
    run: Runs,
    study: Path,
    whole: tuple[Path, list[Event]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    kept, events = whole
    n = 40 if request.config.getoption("--slow") else len(STAGES)  # the stages in turn
    for number, kill in enumerate(draw_events(events, n, seed=20)):
        out = tmp_path / f"out{number}"
        ended = kill_at_event(run, study, out, kill, tmp_path / "events.txt")
        assert ended in {"group": (-9,), "lead": (-9,), "worker": (4, 5)}[kill.who], kill
        assert run(arguments(study, out), {}).wait() == 0, kill  # at once, without a flag
        assert fingerprint(out) == fingerprint(kept), kill
        assert strays(out) == [], kill


@pytest.mark.parametrize("who", ["lead", "worker"])
def test_fault_43_killed_at_a_time_while_two_slides_are_measured(
    run: Runs, study: Path, whole: tuple[Path, list[Event]], tmp_path: Path, who: str
) -> None:
    kill = Kill("lead" if who == "lead" else "worker", "slides", seconds=0.2)
    kill_at_time(run, study, tmp_path / "out", kill)
    assert run(arguments(study, tmp_path / "out", workers=2), {}).wait() == 0
    assert fingerprint(tmp_path / "out") == fingerprint(whole[0])
    assert strays(tmp_path / "out") == []


def test_fault_43_a_folder_whose_run_was_killed_before_it_wrote_a_word_is_gone_on_with(
    run: Runs, study: Path, whole: tuple[Path, list[Event]], tmp_path: Path
) -> None:
    """Killed between making .done/ and its first file: the folder is ours, though nothing in it says so."""
    out = tmp_path / "out"
    (out / ".done").mkdir(parents=True)
    (out / ".done" / ".partial-1-0badcafe").write_text("{", encoding="utf-8")
    assert run(arguments(study, out), {}).wait() == 0
    assert fingerprint(out) == fingerprint(whole[0])


def test_fault_43_a_job_ends_with_the_run_that_was_killed(tmp_path: Path) -> None:
    """Or it would go on writing beside the run that goes on."""
    (tmp_path / "sleeper.py").write_text(
        "import os, pathlib, time\n"
        "def sleep(*, tell, told):\n"
        "    pathlib.Path(told).write_text(str(os.getpid()), encoding='utf-8')\n"
        "    time.sleep(120)\n",
        encoding="utf-8",
    )
    told = tmp_path / "pid"
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from pdbiomarker.run.jobs import Job, run_jobs\n"
        f"list(run_jobs([Job('sleep', 'sleeper:sleep', {{'told': {str(told)!r}}})]))\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], env=surroundings())
    _until(lambda: told.exists() and told.read_text(encoding="utf-8") != "", 120)
    job = int(told.read_text(encoding="utf-8"))
    run.kill()
    run.wait()
    _until(lambda: not _lives(job), 20)


def _lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # a zombie is dead, only not yet buried


def _until(ready: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come to it"
        time.sleep(0.05)
