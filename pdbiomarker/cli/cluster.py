"""One run on many machines: its steps, and how far it is."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import pdbiomarker as pb
from pdbiomarker.cli.options import Against, Formats, OutFolder, PlanFile, Quiet, StudyFolder, Workers
from pdbiomarker.cli.shell import finish

__all__ = ["Step", "status", "step"]


class Step(StrEnum):
    """The steps of a run."""

    check = "check"
    slides = "slides"
    change = "change"
    decide = "decide"
    clinical = "clinical"
    report = "report"
    manifest = "manifest"


def step(  # noqa: PLR0913 - one for each option of the command
    name: Annotated[
        Step, typer.Argument(metavar="STEP", help=f"In this order: {', '.join(Step)}.", show_default=False)
    ],
    study: StudyFolder,
    *,
    out: OutFolder,
    plan: PlanFile = None,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="By which the steps know of each other. Default: OUT.work."),
    ] = None,
    batch: Annotated[
        str | None, typer.Option(metavar="K/N", help="slides: this part of them. Default: all.")
    ] = None,
    workers: Workers = None,
    tries_left: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="slides: fail where memory or time ran out, as N more tries with more of it follow; at 0, "
            "quarantine the slide.",
        ),
    ] = 0,
    wait: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Where another job takes this step, or a run holds OUT: wait so long.",
        ),
    ] = 0.0,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="check: on another plan, remove what was made on the old one, but for slides."
        ),
    ] = False,
    formats: Formats = "html",
    against: Against = None,
    quiet: Quiet = False,
) -> int:
    """Take one step of `run`, beside others in the same results folder, on this machine or another.

    Any number of `step ... slides` may work at a time, each on a part of the slides. OUT gets the same bytes
    as from `run`, and either goes on where the other stopped. Prints what the step left. Quarantined items
    are listed and leave the exit status 0; after the step manifest, `pdbiomarker status OUT` exits 4.
    """
    options = pb.StepOptions(
        batch=batch,
        workers=workers,
        tries_left=tries_left,
        formats=tuple(formats.split(",")),
        against=None if against is None else str(against),
        wait=wait,
        fresh=fresh,
        progress=not quiet,
    )
    outcome = pb.run_step(name.value, study, out, plan=plan, work=work, options=options)
    finish(outcome, quiet=quiet)
    return 0


def status(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="A results folder, at work or not.")],
    *,
    lines: Annotated[int, typer.Option(min=0, metavar="N", help="Lines of the log to show.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> int:
    """Tell how far a run or a workflow is: slides done, failed and left, rate, time left, who works, the log.

    Reads OUT and changes nothing in it. Exit 4 when it is finished and items were quarantined.
    """
    found = pb.folder_status(results, lines=lines)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False))
    else:
        for line in _said(results, found):
            typer.echo(line)
    return 4 if found.finished and found.items else 0


def _said(out: Path, found: pb.Status) -> list[str]:
    ended = f"finished, {found.items} quarantined items" if found.items else "finished"
    state = ended if found.finished else "at work" if found.jobs else "stopped before its end"
    bad = f", {found.quarantined} quarantined" if found.quarantined else ""
    texts = [f"{out}: {state}"]
    texts.append(f"slides   {found.measured} of {found.slides} measured{bad}, {found.left} left")
    if found.pace:
        texts.append(f"rate     {found.pace}")
    steps = ", ".join(f"{name} {'done' if done else 'to do'}" for name, done in found.steps.items())
    texts.append(f"steps    {steps}")
    for job in found.jobs:
        what = " ".join(str(job[key]) for key in ("step", "batch") if job.get(key)) or "run"
        far = f", {job['done']} of {job['of']}" if job.get("of") else ""
        since = f", since {job['since']}" if job.get("since") else ""
        texts.append(f"job      {what}{far}: process {job['pid']} on {job['host']}{since}")
    return texts + [f"log      {line}" for line in found.log]
