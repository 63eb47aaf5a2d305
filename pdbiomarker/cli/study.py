"""A study folder: simulate one, check it, take it the whole road."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import pdbiomarker as pb
from pdbiomarker.cli.options import Against, Formats, Fresh, OutFolder, PlanFile, Quiet, StudyFolder, Workers
from pdbiomarker.cli.shell import finish, print_json
from pdbiomarker.errors import InputError, Problem

__all__ = ["Kind", "change", "check", "demo", "run", "simulate"]

_NARROWEST_TABLE: Final = 140


class Kind(StrEnum):
    """What a file can be checked as."""

    study = "study"
    plan = "plan"
    formula = "formula"
    participants = "participants"
    biopsies = "biopsies"
    libraries = "libraries"
    slides = "slides"
    slide = "slide"
    counts = "counts"
    regions = "regions"
    panel = "panel"
    cells = "cells"
    rcc = "rcc"
    h5ad = "h5ad"
    doses = "doses"
    concentrations = "concentrations"
    lesions = "lesions"
    responses = "responses"
    outcomes = "outcomes"
    ada = "ada"
    adverse_events = "adverse_events"


def demo(
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where it all goes.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated trial.")] = 1,
    participants: Annotated[int, typer.Option(min=2, help="How many participants to simulate.")] = 12,
    formats: Formats = "html",
    workers: Workers = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> int:
    """Simulate a small serial-biopsy trial and run the whole road on it.

    Writes DIR/study (slides, counts, sheets, plan and the planted truth) and DIR/results (the report
    review.html, tables, assays, per-slide results). Prints the path of the report.
    """
    return finish(
        pb.run_demo(
            out,
            seed=seed,
            n_participants=participants,
            formats=formats.split(","),
            workers=workers,
            fresh=fresh,
            progress=not quiet,
        ),
        quiet=quiet,
    )


def check(
    path: Annotated[
        Path, typer.Argument(metavar="STUDY|FILE", help="A study folder, or one file with --as.")
    ],
    *,
    as_: Annotated[
        Kind | None, typer.Option("--as", metavar="KIND", help=f"What FILE is: {', '.join(Kind)}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> int:
    """Check a study folder, or one file, and print every problem with its place and remedy.

    Reads the sheets, study.yaml, the plan with its formula and contrasts, panels, count matrices and the
    headers of slides; computes and writes nothing. The problems go to standard output: file, row (the
    header is line 1), column, value, reason, remedy; as a table in a terminal of 140 columns or more, else
    one problem a line. Exit 3 when something would be refused; warnings and
    items that would be quarantined are listed and do not change the exit status.
    """
    problems = list(pb.check(path, as_=None if as_ is None else as_.value))
    refused = any(p.severity == "error" for p in problems)
    code = InputError.exit_code if refused else 0
    if as_json:
        print_json("check", code, problems, {"path": str(path), "usable": not refused})
    else:
        _print_check(problems, path)
    return code


def _print_check(problems: list[Problem], path: Path) -> None:
    counts = {s: sum(p.severity == s for p in problems) for s in ("error", "quarantine", "warning")}
    console = Console(highlight=False)
    if console.is_terminal and console.width >= _NARROWEST_TABLE:
        _print_table(problems, console)
    else:
        for problem in problems:
            console.print(f"{problem.severity}: {problem}", markup=False, soft_wrap=True)
    verdict = "would be refused" if counts["error"] else "can be used"
    told = f"{_counted(counts['error'], 'error')}, {_counted(counts['quarantine'], 'item')} to be quarantined"
    console.print(
        f"{path} {verdict}: {told}, {_counted(counts['warning'], 'warning')}.", markup=False, soft_wrap=True
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _print_table(problems: list[Problem], console: Console) -> None:
    if problems:
        table = Table(show_lines=True, title_justify="left")
        for column in ("severity", "code", "file", "row", "column", "value", "reason", "remedy"):
            table.add_column(column, overflow="fold", no_wrap=column in {"code", "row"})
        for p in problems:
            row = "" if p.row is None else str(p.row)
            cells = (p.severity, p.code, p.file, row, p.column or "", p.value or "", p.message, p.remedy)
            table.add_row(*(Text(cell) for cell in cells))
        console.print(table)


def run(  # noqa: PLR0913 -- one for each option of the command
    study: StudyFolder,
    *,
    out: OutFolder,
    plan: PlanFile = None,
    formats: Formats = "html",
    against: Against = None,
    workers: Workers = None,
    fresh: Fresh = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, say what would be done, stop.")] = False,
    quiet: Quiet = False,
) -> int:
    """Take a study folder the whole road: check, slides, counts, paired change, decisions, report.

    Leaves in OUT: review.html (or what --format asks for: review.pdf, review.pptx, review.xlsx),
    results/pd_change.csv, results/changes.csv, results/accountability.csv, results/decisions_cohort.csv,
    results/responders.csv, results/noise.csv and results/honesty_checks.csv (of the plan's primary family),
    results/quarantine.csv, assays/*.h5ad, slides/*/, manifest.json, run.log.
    Prints the path of the report.
    A second run into the same folder makes only what is missing, damaged or out of date: a format that is
    asked for later is made alone, and one that is not asked for again is kept while it is true. A PDF needs
    Chromium; without it the run ends with exit 4 and everything else written.
    """
    outcome = pb.run_study(
        study,
        out,
        plan=plan,
        formats=formats.split(","),
        against=against,
        workers=workers,
        fresh=fresh,
        dry_run=dry_run,
        progress=not quiet,
    )
    return finish(outcome, quiet=quiet)


def change(
    study: StudyFolder,
    *,
    out: OutFolder,
    plan: PlanFile = None,
    workers: Workers = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> int:
    """Estimate the paired change of every feature; like run, without the report.

    Leaves in OUT what `run` leaves but decisions and review.html, and prints the path of
    results/pd_change.csv. A later `run` into the same folder adds the rest.
    """
    outcome = pb.change_study(study, out, plan=plan, workers=workers, fresh=fresh, progress=not quiet)
    return finish(outcome, quiet=quiet)


def simulate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The study folder to be: new or empty.")],
    *,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 1,
    participants: Annotated[int, typer.Option(min=2, help="How many participants.")] = 12,
) -> int:
    """Write a study folder of a simulated trial with known truth.

    Leaves study.yaml, plan.yaml, the sheets, slides/, counts.csv.gz and truth/ in DIR and prints its path.
    """
    typer.echo(str(pb.simulate_study(folder, seed=seed, n_participants=participants)))
    return 0
