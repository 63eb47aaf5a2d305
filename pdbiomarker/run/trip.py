"""One run into one folder: the steps in their order, what is kept and what is made, the manifest."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pdbiomarker import audit
from pdbiomarker.errors import (
    InputError,
    ItemError,
    Problem,
    Problems,
    ResourceError,
    VerificationError,
)
from pdbiomarker.provenance import (
    DONE,
    MANIFEST,
    Manifest,
    StepRecord,
    code_commit,
    code_version,
    completed,
    environment,
    forget,
    now_utc,
    read_manifest,
    read_record,
    recorded_steps,
    remove_partial_files,
    sha256_file,
    sha256_json,
    write_manifest,
)
from pdbiomarker.run.documents import STEPS, document_of, report_facts, report_key, results_in
from pdbiomarker.run.folder import BASIS, LOG
from pdbiomarker.run.jobs import Ended, Job, run_jobs
from pdbiomarker.run.progress import Display
from pdbiomarker.run.request import Request, RunOutcome, again
from pdbiomarker.run.work import Work, look
from pdbiomarker.verification import later_files

__all__ = [
    "Trip",
    "forget_other_slides",
    "lost_slide",
    "slide_seconds",
    "value_of",
]

_QUARANTINED: Final = 4
_SLIDE_SECONDS: Final = 3600.0
_SLIDE_SECONDS_PER_BYTE: Final = 3600.0 / (1 << 30)


class Trip:
    """One run into one folder, while the lock is held.

    Parameters
    ----------
    request : Request
    work : Work
    display : Display
    log : Path, optional
        What the jobs print; default: ``run.log``.
    aloud : bool
        Say what is known of the study and its slides.
    """

    def __init__(
        self,
        request: Request,
        work: Work,
        display: Display,
        *,
        log: Path | None = None,
        aloud: bool = True,
    ) -> None:
        self._aloud = aloud
        self._request, self._work, self._display = request, work, display
        self._out = request.out
        self._log = (request.out / LOG if log is None else log).absolute()
        self._problems: list[Problem] = list(work.problems)
        self._records: dict[str, StepRecord] = {}
        self._made: list[str] = []
        self._kept: list[str] = []
        self._files: list[str] = []
        for problem in work.problems if aloud else ():
            display.say(f"{problem.severity}: {problem}")
        for row in work.report.get("lacking", ()):
            if not (self._out / row["item"]).exists():
                display.say(f"{row['item']} will be left out: {row['message']}")

    def slides(self) -> None:
        """Measure every slide that is not complete; quarantine those that cannot be measured."""
        work, display = self._work, self._display
        forget_other_slides(self._out, work)
        jobs: dict[str, Job] = {}
        for slide in work.slides:
            record = completed(self._out, slide["step"], slide["key"])
            if record is None:
                forget(self._out, slide["step"])
                jobs[slide["step"]] = self._slide_job(slide)
            else:
                self._keep(record)
        if not work.slides:
            return
        display.begin("slides", len(work.slides))
        done = len(work.slides) - len(jobs)
        display.at("slides", done, len(work.slides))
        for ended in run_jobs(list(jobs.values()), workers=self._request.workers):
            done += 1
            self._slide_ended(ended)
            display.at("slides", done, len(work.slides))
        self._order()
        failed = len(work.slides) - sum(1 for s in work.slides if self._is_good(s["step"]))
        note = f"{len(work.slides) - failed} measured" + (f", {failed} quarantined" if failed else "")
        display.end("slides", note + (f", {len(self._kept)} complete before" if self._kept else ""))

    @property
    def made(self) -> tuple[str, ...]:
        """The steps that were carried out."""
        return tuple(self._made)

    def gather(self, lost: Sequence[Problem], *, whole: bool) -> None:
        """Take the slides as steps of their own left them.

        Parameters
        ----------
        lost : sequence of Problem
            Why slides without a record were not measured.
        whole : bool
            Hash every output of the slides again.

        Raises
        ------
        InputError
            E-RUN-041: slides that were neither measured nor lost.
        """
        reasons = {problem.item: problem for problem in lost}
        problems = Problems()
        for slide in self._work.slides:
            step, key = slide["step"], slide["key"]
            record = completed(self._out, step, key) if whole else read_record(self._out, step)
            if record is not None and record.key == key:
                self._keep(record)
            elif slide["slide_id"] in reasons:
                self._tell(reasons[slide["slide_id"]])
            else:
                problems.add(
                    "E-RUN-041",
                    "The slide is not measured, or what was left of it was changed since.",
                    remedy="Take the step 'slides' again: what is complete is not measured again.",
                    file=slide["sheet"],
                    row=slide["line"],
                    value=slide["name"],
                    item=slide["slide_id"],
                )
        problems.raise_if_any()
        self._order()

    def _order(self) -> None:
        """Put what is told of slides in their order, not in that in which they ended."""
        order = {slide["slide_id"]: place for place, slide in enumerate(self._work.slides)}
        self._problems.sort(key=lambda p: order.get(p.item or "", -1))

    def _slide_job(self, slide: Mapping[str, Any]) -> Job:
        arguments = {"slide": dict(slide), "out": str(self._out.absolute())}
        function = "pdbiomarker.run.steps:measure_slide"
        return Job(slide["step"], function, arguments, slide_seconds(slide), str(self._log))

    def _slide_ended(self, ended: Ended) -> None:
        step = ended.job.name
        if ended.how in {"disk", "refused"}:
            value_of(ended)
        record = read_record(self._out, step) if ended.how == "value" else None
        if record is not None:
            self._made.append(step)
            self._keep(record, new=True)
            return
        if ended.how == "defect":
            self._display.say(str(ended.value).strip())
        self._tell(lost_slide(ended))

    def _keep(self, record: StepRecord, *, new: bool = False) -> None:
        self._records[record.step] = record
        if not new:
            self._kept.append(record.step)
        self._files.extend(record.outputs)
        for row in record.facts.get("problems", ()):
            self._tell(Problem(**row))

    def _tell(self, problem: Problem) -> None:
        if problem not in self._problems:
            self._problems.append(problem)
            if self._aloud:
                self._display.say(f"{problem.severity}: {problem}")

    def _is_good(self, step: str) -> bool:
        return step in self._records and bool(self._records[step].outputs)

    def analysis(self, *, only: str | None = None) -> None:
        """Make the assays, the paired change, the decisions and the report where they are not complete.

        Parameters
        ----------
        only : str, optional
            Make this step alone; those before it must be complete, those after it are left as they are. Where
            it is none of them, all must be complete.

        Raises
        ------
        InputError
            E-RUN-041: with `only`, a step before it is not complete.
        """
        request, work = self._request, self._work
        told = [dataclasses.asdict(p) for p in self._problems]
        measured = [slide for slide in work.slides if self._is_good(slide["step"])]
        hashes = {s["step"]: self._records[s["step"]].outputs for s in measured}
        steps = {"change": request.until in {"change", "report"}}
        steps["decide"] = request.until == "report"
        if any(name.startswith("clinical/") for name in work.inputs):
            steps["clinical"] = request.until == "report"
        if request.until == "assays":
            steps = {"assays": True}
        key = sha256_json([work.key, hashes, told])
        task = {
            **request.arguments,
            "out": str(self._out.absolute()),
            "slides": [dict(slide) for slide in measured],
            "problems": told,
            "facts": {
                "inputs": dict(work.inputs),
                "parameters": dict(work.parameters),
                "version": code_version(),
                "environment": environment(),
            },
        }
        before: StepRecord | None = None
        for step, wanted in steps.items():
            made_from = key if before is None else sha256_json([key, before.outputs])
            record = completed(self._out, step, made_from)
            if record is not None:
                self._keep(record)
                if only in (None, step):
                    self._display.end(step, "complete before")
            elif wanted and only in (None, step):
                record = self._make(step, {**task, "key": made_from})
            elif wanted:
                raise _not_complete(step)
            before = record
            if step == only:
                return
        if request.until != "assays":
            made_from = key if before is None else sha256_json([key, before.outputs])
            self._report(task, made_from, make=only in (None, "report"))
        if only == "report":
            return
        for step in recorded_steps(self._out):
            if not step.startswith("slide-") and step not in self._records:
                forget(self._out, step, keep=self._files)

    def _make(self, step: str, task: Mapping[str, Any]) -> StepRecord:
        """Carry out one step after the slides."""
        forget(self._out, step, keep=self._files)
        self._display.begin(step)
        job = Job(step, f"pdbiomarker.run.steps:make_{step}", {"task": dict(task)}, log=str(self._log))
        (ended,) = run_jobs([job], tell=self._display.at)
        note = str(value_of(ended))
        record = read_record(self._out, step)
        if record is None:
            raise RuntimeError(f"the step {step!r} left no record")
        self._made.append(step)
        self._keep(record, new=True)
        self._display.end(step, note)
        return record

    def _report(self, task: Mapping[str, Any], made_from: str, *, make: bool = True) -> None:
        """Write the report in the formats that are asked for and not there; keep others that are true.

        Without `make` they have to be there, but for those that this machine could not write.
        """
        out, asked = self._out, self._work.report
        key = report_key(made_from, asked.get("against"))
        lacking = []
        for name, step in STEPS.items():
            record = completed(out, step, key)
            if record is not None:
                self._keep(record)
                self._display.end(step, "complete before")
            elif self._request.until == "report" and name in asked["formats"]:
                lacking.append(name)
            elif read_record(out, step) is not None:
                self._display.say(
                    f"{document_of(name)} is out of date and is removed: --format makes it again"
                )
        if not make:
            self._excuse(lacking)
            return
        if not lacking:
            return
        for name in lacking:
            forget(out, STEPS[name], keep=self._files)
        self._display.begin("report", len(lacking))
        arguments = {"task": {**task, "key": key, "formats": lacking}}
        job = Job("report", "pdbiomarker.run.steps:make_report", arguments, log=str(self._log))
        (ended,) = run_jobs([job], tell=self._display.at)
        told = value_of(ended)
        for name in lacking:
            record = read_record(out, STEPS[name])
            if record is not None:
                self._made.append(record.step)
                self._keep(record, new=True)
        self._display.end("report", told["note"])
        for row in told["problems"]:
            self._tell(Problem(**row))

    def _excuse(self, lacking: Sequence[str]) -> None:
        """Tell of formats that this machine cannot write; refuse to go on without others."""
        known = {str(row["item"]): row for row in self._work.report.get("lacking", ())}
        for name in lacking:
            row = known.get(document_of(name))
            if row is None:
                raise _not_complete("report")
            self._tell(Problem(**row))

    def _check_inputs(self) -> None:
        """Refuse inputs that were changed after they were hashed; forget what was made of them."""
        work, problems, changed = self._work, Problems(), set[str]()
        for name, seen in work.looks.items():
            path = Path(work.files[name])
            if name in work.inputs and look(path) != seen and _hash_now(path) != work.inputs[name]:
                changed |= {name, work.files[name]}
                problems.add(
                    "E-RUN-080",
                    "The file was changed while the run was at work: results may rest on either state.",
                    remedy="Give the same command again, and leave the study alone until it has ended.",
                    file=name,
                )
        touched = {s["step"] for s in work.slides if changed & {s["name"], s["regions_name"], s["panel"]}}
        for step in recorded_steps(self._out) if changed else ():
            if step in touched or not step.startswith("slide-"):
                forget(self._out, step)
        problems.raise_if_any(VerificationError)

    def _further_documents(self, outputs: Mapping[str, str]) -> dict[str, str]:
        """Give the hashes of what `pdbiomarker report` wrote and is still true; remove it where it is not."""
        out = self._out
        beside = [name for name in map(document_of, STEPS) if name not in outputs and (out / name).is_file()]
        before: Mapping[str, str] = {}
        with contextlib.suppress(InputError, OSError):
            before = read_manifest(out).outputs if beside else {}
        if results_in(before) == results_in(outputs):
            written = later_files(out, sha256_file(out / MANIFEST)) if beside else {}
            return {n: written[n] for n in beside if written.get(n) == sha256_file(out / n)}
        for name in beside:
            self._display.say(f"{name} was written of earlier results and is removed: give `report` again")
            (out / name).unlink()
        return {}

    def finish(self, run: Mapping[str, Any]) -> RunOutcome:
        """Write the manifest, and say how it ended."""
        request, work, out = self._request, self._work, self._out
        self._check_inputs()
        remove_partial_files(out)  # of jobs that were killed while this run, or its workflow, went on
        quarantined = [p for p in self._problems if p.severity == "quarantine"]
        warned = [p for p in self._problems if p.severity == "warning"]
        code = _QUARANTINED if quarantined else 0
        ending = f"finished with {len(quarantined)} quarantined items" if quarantined else "finished"
        self._display.say(f"{ending}; {len(self._made)} steps made, {len(self._kept)} complete before")
        markers = [f"{DONE}/{step}.json" for step in self._records]
        names = sorted({*self._files, *markers, BASIS})
        report = report_facts(self._records, work.report.get("against"))
        command = [Path(part).name if os.sep in part else part for part in sys.argv]
        outputs = {name: sha256_file(out / name) for name in names}
        kept = self._further_documents(outputs)
        manifest = Manifest(
            inputs=work.inputs,
            outputs=outputs,
            parameters={**work.parameters, "report": report} if work.report else work.parameters,
            quarantine=tuple(dataclasses.asdict(p) for p in quarantined),
            warnings=tuple(dataclasses.asdict(p) for p in warned),
            run={
                **run,
                "end": now_utc(),
                "function": request.command,
                "argv": command,
                "again": again(request.arguments, out),
                "commit": code_commit(),
                "workers": request.workers,
                "made": self._made,
                "kept": len(self._kept),
                "files": {LOG: sha256_file(out / LOG)},
            },
        )
        write_manifest(out, manifest)
        if kept:
            audit.append(out, "report kept", files=kept, manifest=sha256_file(out / MANIFEST))
        documents = tuple(map(document_of, work.report.get("formats", ())))
        first: dict[str, str | tuple[str, ...]] = {"assays": "assays", "change": "results/pd_change.csv"}
        first["report"] = documents
        made = [out / name for name in self._files if name.startswith(first[request.until])]
        return RunOutcome(
            code,
            out,
            tuple(sorted(made)),
            tuple(self._problems),
            steps_made=tuple(self._made),
            steps_kept=tuple(self._kept),
        )


def value_of(ended: Ended) -> Any:
    """Return what a job returned; raise what it raised."""
    if ended.how == "value":
        return ended.value
    if ended.how == "refused":
        raise ended.value
    if ended.how == "defect":
        last = str(ended.value).strip().rpartition("\n")[2]
        error = RuntimeError(f"the step {ended.job.name!r} failed: {last}")
        error.add_note(str(ended.value))
        raise error
    raise ResourceError(
        f"E-RUN-005 the step {ended.job.name!r} ended early: {ended.value}. "
        "Remedy: free memory or disk, then give the same command again: it goes on from there."
    )


def _hash_now(path: Path) -> str:
    """Hash an input again; empty where it is gone."""
    try:
        if path.is_dir():  # a DICOM slide
            from pdbiomarker import ihc

            return ihc.slide_hash(path)
        return sha256_file(path)
    except (OSError, ItemError):
        return ""


def _not_complete(step: str) -> InputError:
    problems = Problems()
    problems.add(
        "E-RUN-041",
        f"The step {step!r} is not complete, or what it was made from was changed since.",
        remedy=f"Take the step {step!r} first.",
        value=step,
    )
    return InputError(problems)


def slide_seconds(slide: Mapping[str, Any]) -> float:
    """Give the time after which the measuring of a slide is given up."""
    return _SLIDE_SECONDS + float(slide["bytes"]) * _SLIDE_SECONDS_PER_BYTE


def forget_other_slides(out: Path, work: Work) -> None:
    """Remove what was measured of slides that are not in the study any more."""
    wanted = {slide["step"] for slide in work.slides}
    for step in recorded_steps(out):
        if step.startswith("slide-") and step not in wanted:
            forget(out, step)


def lost_slide(ended: Ended) -> Problem:
    """Say why the job of a slide left no record."""
    slide = ended.job.arguments["slide"]
    if ended.how == "defect":
        last = str(ended.value).strip().rpartition("\n")[2]
        code, why = "E-SLIDE-001", f"The slide could not be measured: {last}"
        remedy = "Look at run.log; open the slide in a viewer; report the fault with the log."
    else:
        code, why = "E-RUN-005", f"The slide was not measured: {ended.value}."
        remedy = "Free memory or use fewer --workers; the same command tries the slide again."
    place = (slide["sheet"], slide["line"], "path", slide["name"])
    return Problem(code, why, remedy, *place, severity="quarantine", item=slide["slide_id"])
