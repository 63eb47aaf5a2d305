"""One step of a run at a time, so that many machines can share the work of one results folder.

The steps are those of :mod:`pdbiomarker.run.road`, with the same records beside the same outputs: what a run
began a workflow can finish, and the other way round. *check* and *manifest* hold the folder alone; the others
work side by side. What passes between them beside results lies in the work folder
(:class:`pdbiomarker.run.work.WorkFolder`).
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pdbiomarker.errors import InputError, Problem, Problems, ResourceError
from pdbiomarker.provenance import FolderLock, now_utc, read_record, slug
from pdbiomarker.run.folder import (
    LOG,
    Basis,
    check_folder,
    check_space,
    prepare_folder,
    renew_folder,
)
from pdbiomarker.run.jobs import Ended, Job, run_jobs
from pdbiomarker.run.progress import Display
from pdbiomarker.run.request import Request, RunOutcome
from pdbiomarker.run.road import make_folder, terminable
from pdbiomarker.run.sharing import JobNote, item_lock, shared_job, sweep_jobs
from pdbiomarker.run.trip import Trip, forget_other_slides, lost_slide, slide_seconds, value_of
from pdbiomarker.run.work import CHECK, SLIDES, WATCHED, Work, WorkFolder, look, look_of, slide_key

__all__ = ["STEPS", "SUMMARY", "StepOptions", "run_step", "work_folder_of"]

STEPS: Final = ("check", "slides", "change", "decide", "clinical", "report", "manifest")
SUMMARY: Final = "summary.txt"
_NO_MEMORY: Final = frozenset({"killed", "memory", "timeout"})


@dataclasses.dataclass(frozen=True, slots=True)
class StepOptions:
    """What is chosen for one step.

    Attributes
    ----------
    batch : str, optional
        Of the step ``slides``: a part such as ``"3/40"``, or a batch of the workflow; default: all.
    workers : int, optional
        Slides at a time; default: the number of cores.
    tries_left : int
        How often the step ``slides`` will be tried again with more memory or time. While it is not 0, a
        slide for which one of them ran out fails the step; at 0 it is quarantined.
    formats : tuple of str
        Of the steps ``check`` and ``report``: as for :func:`pdbiomarker.run_study`.
    against : str, optional
        Of the steps ``check`` and ``report``: the results folder of an earlier data cut.
    wait : float
        Seconds to wait where another job takes the same step, or another run holds the folder; then it is
        told.
    fresh : bool
        Of the step ``check``: in a folder that was made on another plan, description of the study or version,
        remove what was made from them, but for slides; without it such a folder is refused.
    progress : bool
        Show progress on standard error.
    """

    batch: str | None = None
    workers: int | None = None
    tries_left: int = 0
    formats: tuple[str, ...] = ("html",)
    against: str | None = None
    wait: float = 0.0
    fresh: bool = False
    progress: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class _Task:
    """One step that is asked for."""

    step: str
    arguments: Mapping[str, Any]
    out: Path
    folder: WorkFolder
    options: StepOptions
    workers: int

    def request(self) -> Request:
        return Request("run_step", "", self.arguments, self.out, workers=self.workers)


def run_step(
    step: str,
    path: str | Path,
    out: str | Path,
    *,
    plan: str | Path | None = None,
    work: str | Path | None = None,
    options: StepOptions | None = None,
) -> RunOutcome:
    """Carry out one step of :func:`pdbiomarker.run_study`, beside others in the same results folder.

    Any number of processes on any number of machines may take steps at a time. The results folder gets the
    same bytes as from :func:`pdbiomarker.run_study`, and either goes on from where the other stopped.

    Parameters
    ----------
    step : str
        ``check``, ``slides``, ``change``, ``decide``, ``clinical``, ``report`` or ``manifest``: in this
        order, ``slides`` any number of times.
    path, out : str or Path
        The study folder and the results folder.
    plan : str or Path, optional
        As for :func:`pdbiomarker.run_study`.
    work : str or Path, optional
        The folder by which the steps know of each other; default: `out` with ``.work`` behind its name.
    options : StepOptions, optional

    Returns
    -------
    RunOutcome
        Its `exit_code` is 0 also where items were quarantined, but for ``manifest``, which tells how the
        whole ended: 4 when an item was quarantined.

    Raises
    ------
    InputError
        The input is refused; E-RUN-040: the check is missing or out of date; E-RUN-041: a step before this
        one is not complete; E-RUN-042: there is no such batch.
    VerificationError
        E-RUN-001: as for :func:`pdbiomarker.run_study`.
    ResourceError
        Disk, memory or time ran out.
    FolderInUseError
        A run holds `out` alone, or another job takes the same step; ``check`` and ``manifest``: any job
        works in it.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> for step in ("check", "slides", "change"):  # doctest: +SKIP
    ...     pb.run_step(step, "expansion/", "expansion-results/")
    """
    chosen = options or StepOptions()
    target = Path(out)
    task = _Task(
        step,
        {
            "study": str(Path(path).absolute()),
            "plan": None if plan is None else str(Path(plan).absolute()),
            "formats": list(chosen.formats),
            "against": None if chosen.against is None else str(Path(chosen.against).absolute()),
        },
        target,
        WorkFolder(work_folder_of(target, work)),
        chosen,
        max(1, chosen.workers or len(os.sched_getaffinity(0))),
    )
    _check_task(task)
    with Display(shown=chosen.progress) as display, terminable(display):
        if step == "check":
            return _check(task, display)
        work_found = task.folder.read_check()
        check_folder(target, Basis(work_found.study, work_found.plan), fresh=False)
        if not target.is_dir():
            raise _no_folder(target)
        if step == "slides":
            return _slides(task, work_found, display)
        if step == "manifest":
            return _manifest(task, work_found, display)
        return _analysis(task, work_found, display)


def work_folder_of(out: Path, work: str | Path | None) -> Path:
    """Give the work folder: the one named, or the one beside the results folder."""
    return out.absolute().with_name(f"{out.absolute().name}.work") if work is None else Path(work)


def _check_task(task: _Task) -> None:
    if task.step not in STEPS:
        raise ValueError(f"there is no step {task.step!r}; the steps are {', '.join(STEPS)}")
    inner, outer = task.folder.path.resolve(), task.out.resolve()
    if inner == outer or inner.is_relative_to(outer):
        problems = Problems()
        problems.add(
            "E-RUN-006",
            "The work folder lies in the results folder, which holds results alone.",
            remedy="Give a folder beside it to --work.",
            file=str(task.folder.path),
        )
        raise InputError(problems)


def _no_folder(out: Path) -> InputError:
    problems = Problems()
    remedy = "Take the step 'check' again."
    problems.add("E-RUN-040", "The results folder is not there any more.", remedy=remedy, file=str(out))
    return InputError(problems)


def _check(task: _Task, display: Display) -> RunOutcome:
    """Refuse the study, or keep a description of the work and make the results folder ready for it."""
    display.begin("check")
    survey = "pdbiomarker.run.steps:describe_study"
    (ended,) = run_jobs([Job("check", survey, {**task.arguments, "hash_slides": False})], tell=display.at)
    described = value_of(ended)
    work = Work.of(described)
    basis = Basis(work.study, work.plan)
    check_folder(task.out, basis, fresh=task.options.fresh)
    check_space(task.out, work.bytes_needed)
    make_folder(task.out)
    steps = {slide["step"]: "" for slide in work.slides}
    with FolderLock(task.out, wait=task.options.wait):
        if not task.options.fresh:
            prepare_folder(task.out, basis, fresh=False, slides=steps)
        elif renew_folder(task.out, basis, slides=steps):
            display.say("made on another basis before: what was made from it is removed, but for slides")
        sweep_jobs(task.out, task.out / LOG)
        display.log_to(task.out / LOG)
        forget_other_slides(task.out, work)
        task.folder.write_check(described)
        display.end("check", f"{len(work.files)} files, {len(work.slides)} slides")
    for problem in work.problems:
        display.say(f"{problem.severity}: {problem}")
    return RunOutcome(0, task.out, (task.folder.path / CHECK,), tuple(work.problems), ("check",))


def _slides(task: _Task, work: Work, display: Display) -> RunOutcome:
    """Measure a batch of slides, but for those that are complete."""
    batch = task.options.batch or "1/1"
    slides = task.folder.batch(batch, work)
    found: dict[str, Any] = {}
    lost: list[Ended] = []
    problems: list[Problem] = []
    with shared_job(task.out, "slides", batch, wait=task.options.wait) as note:
        display.log_to(note.log)
        display.begin("slides", len(slides))
        note.tell(0, len(slides))
        for ended in run_jobs(_slide_jobs(task, slides, note), workers=task.workers):
            slide = ended.job.arguments["slide"]
            if ended.how == "value":
                found[slide["slide_id"]] = ended.value
                record = read_record(task.out, slide["step"])
                told = [] if record is None else record.facts.get("problems", ())
                new = [Problem(**row) for row in told]
            else:
                if ended.how in {"disk", "refused"}:
                    value_of(ended)
                lost.append(ended)
                new = [lost_slide(ended)]
            for problem in new:
                display.say(f"{problem.severity}: {problem}")
            problems += new
            note.tell(len(found) + len(lost), len(slides))
            display.at("slides", len(found) + len(lost), len(slides))
        _try_again(lost, task.options.tries_left)
        made = [s["step"] for s in slides if found.get(s["slide_id"], {}).pop("made", False)]
        name = slug(batch.replace("/", "of"))
        done = [s["step"] for s in slides if s["slide_id"] in found]
        looks = look_of(task.out, done)
        task.folder.write_slides(name, found, map(lost_slide, lost), outputs=looks)
        out_of = sum(p.severity == "quarantine" for p in problems)
        kept = len(found) - len(made)
        said = [f"{len(slides)} of batch {batch}", *([f"{kept} complete before"] * (kept > 0))]
        display.end("slides", ", ".join([*said, *([f"{out_of} quarantined"] * (out_of > 0))]))
    file = task.folder.path / SLIDES / f"{name}.json"
    kept_steps = tuple(s["step"] for s in slides if s["step"] not in made and s["slide_id"] in found)
    return RunOutcome(0, task.out, (file,), tuple(problems), tuple(made), kept_steps)


def _slide_jobs(task: _Task, slides: list[Mapping[str, Any]], note: JobNote) -> list[Job]:
    function = "pdbiomarker.run.steps:measure_slide_shared"
    out = str(task.out.absolute())
    return [
        # Twice the time of a slide, as another job may be at it.
        Job(
            s["step"],
            function,
            {"slide": dict(s), "out": out},
            2 * slide_seconds(s),
            str(note.log.absolute()),
        )
        for s in slides
    ]


def _try_again(lost: list[Ended], tries_left: int) -> None:
    short = [ended for ended in lost if ended.how in _NO_MEMORY]
    if short and tries_left > 0:
        names = ", ".join(ended.job.arguments["slide"]["slide_id"] for ended in short[:3])
        raise ResourceError(
            f"E-RUN-005 {len(short)} slides were not measured ({names}): {short[0].value}. Remedy: give the "
            "step more memory or time; slides that are complete are not measured again."
        )


def _settled(task: _Task, work: Work, display: Display) -> tuple[Work, list[Problem]]:
    """Add the hashes of the slides to the work; hash those of which no batch tells, or whose file changed."""
    found, lost = task.folder.read_slides()
    known: dict[str, Mapping[str, str]] = {}
    unknown: list[Job] = []
    for slide in work.slides:
        entry = found.get(slide["slide_id"])
        names = [slide["name"], *([slide["regions_name"]] * (slide["regions_name"] is not None))]
        files = [slide["file"], *([slide["regions"]] * (slide["regions"] is not None))]
        if entry is not None and all(
            name in entry["inputs"] and look(file) == entry["looks"].get(file) is not None
            for name, file in zip(names, files, strict=True)
        ):
            known[slide["slide_id"]] = entry["inputs"]
        else:
            unknown.append(Job(slide["step"], "pdbiomarker.run.steps:hash_slide", {"slide": dict(slide)}))
    if unknown:
        display.note(f"{len(unknown)} slides are hashed: no batch tells of them as they are now")
    for ended in run_jobs(unknown, workers=task.workers):
        known[ended.job.arguments["slide"]["slide_id"]] = value_of(ended)["inputs"]
    inputs = dict(work.inputs)
    for hashes in known.values():
        inputs |= hashes
    slides = [{**slide, "key": slide_key(slide, inputs)} for slide in work.slides]
    return dataclasses.replace(work, inputs=dict(sorted(inputs.items())), slides=slides), lost


def _analysis(task: _Task, work: Work, display: Display) -> RunOutcome:
    """Take one of the steps after the slides."""
    step, out = task.step, task.out
    made: list[Path] = []
    wait = task.options.wait
    with shared_job(out, step, None, wait=wait) as note, item_lock(out, step, wait=wait):
        display.log_to(note.log)
        if step == "clinical" and not any(name.startswith("clinical/") for name in work.inputs):
            display.end(step, "the study has no clinical sheets")
            return RunOutcome(0, out, (task.folder.write_step(step, {}),), ())
        whole, lost = _settled(task, work, display)
        trip = Trip(task.request(), whole, display, log=note.log, aloud=step == "change")
        trip.gather(lost, whole=step == "change")
        trip.analysis(only=step)
        if step in WATCHED:
            made.append(out / WATCHED[step])
            os.utime(made[0])
        made.append(task.folder.write_step(step, look_of(out, [step])))
    return RunOutcome(0, out, tuple(made), (), trip.made)


def _manifest(task: _Task, work: Work, display: Display) -> RunOutcome:
    """Check that all is complete, and write the manifest; hold the folder alone."""
    started, clock = now_utc(), time.monotonic()
    with FolderLock(task.out, wait=task.options.wait):
        sweep_jobs(task.out, task.out / LOG)
        display.log_to(task.out / LOG)
        whole, lost = _settled(task, work, display)
        trip = Trip(task.request(), whole, display, aloud=False)
        trip.gather(lost, whole=True)
        trip.analysis(only=task.step)
        outcome = trip.finish({"start": started, "seconds": round(time.monotonic() - clock, 3)})
        _summarise(task, outcome)
    return outcome


def _summarise(task: _Task, outcome: RunOutcome) -> None:
    """Leave a few lines on how it ended, for those who do not read the log."""
    lost = [p for p in outcome.problems if p.severity == "quarantine"]
    said = f"with {len(lost)} quarantined items (exit status 4)" if lost else "(exit status 0)"
    first = f"{task.out.name}: finished {said}"
    lines = [first, *(f"  {problem}" for problem in lost)]
    task.folder.path.mkdir(parents=True, exist_ok=True)
    (task.folder.path / SUMMARY).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
