"""The road for one study folder: check, slides, paired change, report, manifest.

This process only leads: it starts jobs (:mod:`pdbiomarker.run.jobs`), keeps the results folder in order and
tells what happens. What is complete and unchanged is kept; everything else is made, in this order:

1. *check*: study, sheets, plan, formula, panels, counts. Any error ends the run before anything is written.
2. *slides*: one job each, ``--workers`` at a time. A slide whose job fails is quarantined; the rest goes on.
3. *change*: assays, normalisation, mixed models: ``assays/``, ``results/``.
4. *decide*: noise, responders, decision rules, honesty checks of the primary features: ``results/``.
5. *clinical*: where the study has clinical sheets, the trial around the biopsies: ``results/clinical_*.csv``.
6. *report*: ``review.html``, or the formats asked for, each with a record of its own.
7. *manifest*: what was read and made.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pdbiomarker import audit
from pdbiomarker.errors import (
    InputError,
    Problems,
)
from pdbiomarker.provenance import (
    FolderLock,
    code_version,
    is_complete,
    now_utc,
    recorded_steps,
)
from pdbiomarker.run.folder import LOG, Basis, check_folder, check_space, prepare_folder
from pdbiomarker.run.jobs import Job, run_jobs
from pdbiomarker.run.progress import Display
from pdbiomarker.run.request import Request, RunOutcome
from pdbiomarker.run.sharing import sweep_jobs
from pdbiomarker.run.trip import Trip, value_of
from pdbiomarker.run.work import Work

__all__ = [
    "make_folder",
    "terminable",
    "travel",
]

_TERMINATED: Final = 143


def travel(request: Request) -> RunOutcome:
    """Carry out a request from its first step to its last.

    Raises
    ------
    InputError
        The input is refused, or the folder is not ours or was made on another basis (exit 3).
    ResourceError
        Disk or memory ran out (exit 5).
    FolderInUseError
        Another run holds the folder (exit 6).
    KeyboardInterrupt, SystemExit
        Interrupted, or terminated (143): the same request goes on from there.
    """
    started, clock = now_utc(), time.monotonic()
    with Display(shown=request.progress) as display, terminable(display):
        work = _survey(request, display)
        basis = Basis(work.study, work.plan)
        check_folder(request.out, basis, fresh=request.fresh)
        check_space(request.out, work.bytes_needed)
        if request.dry_run:
            return _dry(request, work)
        make_folder(request.out)
        with FolderLock(request.out):
            slides = {slide["step"]: slide["key"] for slide in work.slides}
            prepare_folder(request.out, basis, fresh=request.fresh, slides=slides)
            sweep_jobs(request.out, request.out / LOG)
            display.log_to(request.out / LOG)
            trip = Trip(request, work, display)
            with _audited(request, work):
                trip.slides()
                trip.analysis()
            return trip.finish({"start": started, "seconds": round(time.monotonic() - clock, 3)})


def make_folder(out: Path) -> None:
    """Make the results folder; refuse one that cannot be written to (E-RUN-006)."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        writable = os.access(out, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        problems = Problems()
        problems.add(
            "E-RUN-006",
            "The results folder cannot be written to.",
            remedy="Give a folder that you may write to to -o; the study folder itself is never written to.",
            file=str(out),
        )
        raise InputError(problems)


@contextlib.contextmanager
def _audited(request: Request, work: Work) -> Iterator[None]:
    """Tell the audit log that the work begins and, where it does not come to its end, that it stopped.

    That it came to its end is told when the manifest is written. A run that is killed outright leaves a
    beginning without an end.
    """
    told = {
        "function": request.command,
        "version": code_version(),
        "plan_sha256": work.parameters.get("plan_sha256"),
        "fresh": request.fresh,
        "steps_before": len(recorded_steps(request.out)),
    }
    audit.append(request.out, "run started", detail=told)
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):  # a full disk is told by the error itself
            audit.append(request.out, "run stopped", detail={"why": type(error).__name__})
        raise


def _survey(request: Request, display: Display) -> Work:
    display.begin("check")
    job = Job("check", request.survey, request.arguments)
    (ended,) = run_jobs([job], tell=display.at)
    work = Work.of(value_of(ended))
    display.end("check", f"{len(work.inputs)} files, {len(work.slides)} slides")
    return work


@contextlib.contextmanager
def terminable(display: Display) -> Iterator[None]:
    """Turn SIGTERM into an orderly end, as Ctrl-C is one; say that the run can go on."""

    def terminate(number: int, frame: object) -> None:
        del number, frame
        sys.exit(_TERMINATED)

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, terminate) if in_main else None
    try:
        yield
    except SystemExit:
        display.say("Terminated: nothing is half-written. The same command goes on from there.")
        raise
    except KeyboardInterrupt:
        display.note("Interrupted: nothing is half-written. The same command goes on from there.")
        raise
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)


def _dry(request: Request, work: Work) -> RunOutcome:
    lines, todo = [], 0
    for slide in work.slides:
        if is_complete(request.out, slide["step"], slide["key"]):
            continue
        todo += slide["bytes"]
        lines.append(f"measure slide {slide['slide_id']} ({slide['bytes'] / 1e6:.1f} MB)")
    kept = len(work.slides) - len(lines)
    formats = f" ({', '.join(work.report['formats'])})" if request.until == "report" else ""
    lines += [f"leave out {row['item']}: {row['message']}" for row in work.report.get("lacking", ())]
    lines.append(
        f"{len(lines)} slides to measure ({todo / 1e6:.1f} MB), {kept} complete; "
        f"then up to the step {request.until!r}{formats}; "
        f"about {work.bytes_needed / 1e6:.0f} MB of disk at most"
    )
    return RunOutcome(0, request.out, (), tuple(work.problems), todo=tuple(lines))
