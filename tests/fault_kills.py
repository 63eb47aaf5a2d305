"""Killing a run at a chosen event or after a chosen time, and going on with it by the same command."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

Who = Literal["lead", "worker", "group", "leader"]
HOOK = Path(__file__).parent / "faults" / "hook"
STAGES = ("check", "slides", "change", "decide", "clinical", "report", "manifest")


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """One change of the results folder, as :mod:`sitecustomize` saw it."""

    who: str
    kind: str
    path: str
    stage: str


@dataclasses.dataclass(frozen=True, slots=True)
class Kill:
    """Where to kill: at the event of a number (from 1), or so many seconds after the start of a stage.

    `below` counts only events on paths that begin so.
    """

    who: Who
    stage: str
    event: int | None = None
    seconds: float | None = None
    below: str = ""


def arguments(study: Path, out: Path, workers: int = 1) -> list[str]:
    """Of the command that is killed and given again."""
    return ["run", str(study), "-o", str(out), "--workers", str(workers)]


def surroundings(**more: str) -> dict[str, str]:
    """Those of the tests, but compiled modules are kept: a run starts in half the time."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, **more}


def hooked(out: Path, events: Path, kill: Kill | None = None) -> dict[str, str]:
    more = {
        "PYTHONPATH": os.pathsep.join([str(HOOK), *filter(None, [os.environ.get("PYTHONPATH", "")])]),
        "FAULT_FOLDER": f"{out}{os.sep}",
        "FAULT_EVENTS": str(events),
    }
    if kill is not None and kill.event is not None:
        more |= {"FAULT_KILL_AT": str(kill.event), "FAULT_KILL_WHO": kill.who, "FAULT_KILL_BELOW": kill.below}
    return more


def events_of(path: Path) -> list[Event]:
    """Read what the hook wrote, and say in which stage of the run each event lay."""
    found: list[Event] = []
    stage = "check"
    for line in path.read_text(encoding="utf-8").splitlines():
        who, kind, name = line.split("\t")
        if who.startswith("pdbiomarker "):
            job = who.removeprefix("pdbiomarker ")
            stage = "slides" if job.startswith("slide-") else job
        elif stage == "report" and name != "run.log":
            stage = "manifest"
        found.append(Event(who, kind, name, stage))
    return found


def draw_events(
    events: Sequence[Event], n: int, *, seed: int, victims: tuple[Who, ...] = ("group", "lead", "worker")
) -> list[Kill]:
    """Draw kills at events: the stages and the victims in turn, the event within a stage at random."""
    draw = random.Random(seed)  # noqa: S311 - reproducible, not secret
    stages = [stage for stage in STAGES if any(e.stage == stage for e in events)]
    kills = []
    for k in range(n):
        stage, victim = stages[k % len(stages)], victims[(k // len(stages) + k) % len(victims)]
        own = [(i, e) for i, e in enumerate(events, start=1) if e.stage == stage]
        of_jobs = [i for i, e in own if e.who.startswith("pdbiomarker ")]
        if victim == "worker" and not of_jobs:  # nothing but the lead writes in this stage
            victim = "lead"
        numbers = of_jobs if victim == "worker" else [i for i, _ in own]
        kills.append(Kill(victim, stage, event=draw.choice(numbers)))
    return kills


class Started:
    """A run that was started."""

    def __init__(self, pid: int, log: Path, ended: Callable[[float], int | None]) -> None:
        self.pid, self.log, self._ended = pid, log, ended

    def runs(self) -> bool:
        """Whether it still runs."""
        return self._ended(0) is None

    def wait(self, seconds: float = 300) -> int:
        """Its exit status; negative: the signal that ended it."""
        status = self._ended(seconds)
        assert status is not None, "the run did not end"
        return status

    def stage(self) -> str:
        """The stage that it is in, by the stages that it has told to have ended."""
        ended = [line.partition(":")[0] for line in self.log.read_text(encoding="utf-8").splitlines()]
        ended = [name for name in ended if name in STAGES]
        return STAGES[STAGES.index(ended[-1]) + 1] if ended else "check"


Runs = Callable[[Sequence[str], Mapping[str, str]], Started]


def cold(folder: Path) -> Runs:
    """Start runs as a user does: ``python -m pdbiomarker``."""

    def start(arguments: Sequence[str], environment: Mapping[str, str]) -> Started:
        log = folder / "stderr.txt"
        with log.open("w", encoding="utf-8") as handle:
            process = subprocess.Popen(
                [sys.executable, "-m", "pdbiomarker", *arguments],
                env=surroundings(**environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=handle,
                start_new_session=True,
            )
        return started(process, log)

    return start


def started(process: subprocess.Popen[bytes], log: Path) -> Started:
    """Give a run that is a child of the tests."""

    def ended(seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode

    return Started(process.pid, log, ended)


@contextlib.contextmanager
def warm(folder: Path) -> Iterator[Runs]:
    """Start runs from a process that has imported everything, see tests/faults/warm.py."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    fixed = {**dict.fromkeys(threads, "1"), "PYTHONHASHSEED": "0", "MPLBACKEND": "Agg"}
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "faults" / "warm.py")],
        env=surroundings(**fixed),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        asked, answers = server.stdin, server.stdout
        assert asked is not None
        assert answers is not None

        def start(arguments: Sequence[str], environment: Mapping[str, str]) -> Started:
            log = folder / "stderr.txt"
            log.write_text("", encoding="utf-8")
            request = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
            asked.write(json.dumps(request).encode() + b"\n")
            asked.flush()
            pid = int(answers.readline())
            status: list[int] = []

            def ended(seconds: float) -> int | None:
                if not status and select.select([answers], [], [], seconds)[0]:
                    status.append(int(answers.readline()))
                return status[0] if status else None

            return Started(pid, log, ended)

        yield start
        asked.close()


def undisturbed(run: Runs, study: Path, out: Path, events: Path) -> tuple[list[Event], dict[str, float]]:
    """Run to the end; give its events and when each stage began, seconds from the start."""
    begun = time.monotonic()
    started = run(arguments(study, out), hooked(out, events))
    times = {"check": 0.0}
    while started.runs():
        times.setdefault(started.stage(), time.monotonic() - begun)
        time.sleep(0.005)
    assert started.wait() == 0
    times["end"] = time.monotonic() - begun
    return events_of(events), times


def kill_at_event(run: Runs, study: Path, out: Path, kill: Kill, events: Path) -> int:
    """Run with a kill at an event; give the exit status (negative: the signal)."""
    events.unlink(missing_ok=True)
    started = run(arguments(study, out), hooked(out, events, kill))
    return started.wait()


def kill_at_time(run: Runs, study: Path, out: Path, kill: Kill) -> tuple[int, str]:
    """Run with a kill some time after a stage began; give the exit status, and the stage that was hit."""
    started = run(arguments(study, out, workers=2), {})
    while started.stage() != kill.stage and started.runs():
        time.sleep(0.002)
    time.sleep(kill.seconds or 0)
    stage = started.stage()
    with contextlib.suppress(ProcessLookupError):
        if kill.who == "group":
            os.killpg(started.pid, signal.SIGKILL)
        elif kill.who == "lead":
            os.kill(started.pid, signal.SIGKILL)
        else:
            for pid in _jobs_of(started.pid)[:1]:
                os.kill(pid, signal.SIGKILL)
    return started.wait(), stage


def strays(out: Path) -> list[str]:
    """Temporary files and locks that no run should leave."""
    return sorted(
        p.relative_to(out).as_posix()
        for p in out.rglob("*")
        if p.name.startswith(".partial") or p.name == ".lock"
    )


def _jobs_of(lead: int) -> list[int]:
    """Processes whose grandparent is the run: the jobs that the server between them started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return sorted(pid for pid, parent in parents.items() if parents.get(parent) == lead)
