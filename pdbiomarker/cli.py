"""The command line: one subcommand is one public function, files in, files out.

Results go to files; their path is the only thing on standard output. Progress and problems go to standard
error. Nothing heavy is loaded before a command needs it.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import pdbiomarker as pb
from pdbiomarker.errors import (
    InputError,
    ItemError,
    PdBiomarkerError,
    Problem,
    ResourceError,
    VerificationError,
)

__all__ = ["app", "main"]

_EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 a fault of pdbiomarker; 2 wrong command line; 3 input refused, or a file differs "
    "from the manifest; 4 finished, but some items were quarantined (listed); 5 not enough disk, memory or "
    "time; 6 the folder is in use by another run; 130 or 143 interrupted: the same command goes on."
)
_INTERRUPTED: Final = 130
_NARROWEST_TABLE: Final = 140
_HANDLED: Final = {"debug": False}

app = typer.Typer(
    name="pdbiomarker",
    help="Pharmacodynamic change in serial tumour biopsies: from slides and counts to a reviewed decision.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


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


class Format(StrEnum):
    """Formats of the report."""

    html = "html"


StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study folder: it holds study.yaml.")]
OutFolder = Annotated[
    Path,
    typer.Option("-o", "--out", metavar="OUT", help="The results folder: new, empty, or one to go on with."),
]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", metavar="PLAN", help="The analysis plan. Default: plan.yaml of the study."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Slides worked on at a time. Default: the cores. Results do not differ."
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Remove what an earlier run made in OUT and start anew; unchanged measured slides are kept.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")]


def _guarded[**P](command: Callable[P, int]) -> Callable[P, None]:
    """Turn what a command returns or raises into messages on standard error and an exit status."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        raise typer.Exit(_status(lambda: command(*args, **kwargs)))

    guarded.__annotations__ = {**command.__annotations__, "return": None}
    return guarded


def _status(work: Callable[[], int]) -> int:
    try:
        return work()
    except InputError as error:
        _print_problems(error.problems)
        code = error.exit_code
    except ItemError as error:
        _print_problems([error.problem])
        code = error.exit_code
    except PdBiomarkerError as error:
        _say(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        _say("Interrupted: nothing is half-written. The same command goes on from there.")
        code = _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            return _defect(error)
        _say(f"The disk is full: {error}. Remedy: free some space; the same command goes on from there.")
        code = ResourceError.exit_code
    except Exception as error:  # a defect of ours: short for the user, whole with --debug
        code = _defect(error)
    return code


def _defect(error: Exception) -> int:
    if _HANDLED["debug"]:
        traceback.print_exception(error)
    first = str(error).partition("\n")[0]
    _say(f"A fault of pdbiomarker: {type(error).__name__}: {first}. Show where: pdbiomarker --debug ...")
    return 1


def _say(text: str) -> None:
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def _print_problems(problems: Iterable[Problem]) -> None:
    for problem in problems:
        _say(f"{problem.severity}: {problem}")


def _known_forms(text: str) -> str:
    unknown = sorted(set(text.replace(",", " ").split()) - {"geojson", "anndata"})
    if unknown:
        raise typer.BadParameter(f"there is no form {unknown[0]!r}; there are geojson and anndata")
    return text


def _with_sign(texts: list[str] | None) -> list[str] | None:
    wrong = [text for text in texts or [] if not text.rpartition("=")[0].strip()]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} has no '=' between two texts")
    return texts


def _with_share(texts: list[str] | None) -> list[str] | None:
    for text in _with_sign(texts) or []:
        value = text.rpartition("=")[2]
        if not value.strip().replace(".", "", 1).isdigit():
            raise typer.BadParameter(f"{value!r} is no share between 0 and 1")
    return texts


@app.callback()
def _options(
    *, debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a fault.")] = False
) -> None:
    _HANDLED["debug"] = debug


@app.command(epilog=_EXIT_CODES)
@_guarded
def demo(
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where it all goes.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated trial.")] = 1,
    participants: Annotated[int, typer.Option(min=2, help="How many participants to simulate.")] = 12,
    workers: Workers = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> int:
    """Simulate a small serial-biopsy trial and run the whole road on it.

    Writes DIR/study (slides, counts, sheets, plan and the planted truth) and DIR/results (the report
    review.html, tables, assays, per-slide results). Prints the path of the report.
    """
    return _finish(
        pb.run_demo(
            out,
            seed=seed,
            n_participants=participants,
            workers=workers,
            fresh=fresh,
            progress=not quiet,
        ),
        quiet=quiet,
    )


def _finish(outcome: pb.RunOutcome, *, quiet: bool) -> int:
    if quiet:
        _print_problems(p for p in outcome.problems if p.severity == "quarantine")
    for line in outcome.todo or outcome.made:
        typer.echo(str(line))
    return outcome.exit_code


@app.command(epilog=_EXIT_CODES)
@_guarded
def check(
    path: Annotated[
        Path, typer.Argument(metavar="STUDY|FILE", help="A study folder, or one file with --as.")
    ],
    *,
    as_: Annotated[
        Kind | None, typer.Option("--as", metavar="KIND", help=f"What FILE is: {', '.join(Kind)}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list instead of text.")] = False,
) -> int:
    """Check a study folder, or one file, and print every problem with its place and remedy.

    Reads the sheets, study.yaml, the plan with its formula and contrasts, panels, count matrices and the
    headers of slides; computes and writes nothing. The problems go to standard output: file, row (the
    header is line 1), column, value, reason, remedy; as a table in a terminal of 140 columns or more, else
    one problem a line. Exit 3 when something would be refused; warnings and
    items that would be quarantined are listed and do not change the exit status.
    """
    problems = list(pb.check(path, as_=None if as_ is None else as_.value))
    if as_json:
        rows = [dataclasses.asdict(p) for p in problems]
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        _print_check(problems, path)
    return InputError.exit_code if any(p.severity == "error" for p in problems) else 0


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


@app.command(epilog=_EXIT_CODES)
@_guarded
def run(
    study: StudyFolder,
    *,
    out: OutFolder,
    plan: PlanFile = None,
    workers: Workers = None,
    fresh: Fresh = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, say what would be done, stop.")] = False,
    format_: Annotated[Format, typer.Option("--format", help="Format of the report.")] = Format.html,
    quiet: Quiet = False,
) -> int:
    """Take a study folder the whole road: check, slides, counts, paired change, decisions, report.

    Leaves in OUT: review.html, results/pd_change.csv, results/changes.csv, results/accountability.csv,
    results/decisions_cohort.csv, results/responders.csv, results/noise.csv and results/honesty_checks.csv (of
    the plan's primary family), results/quarantine.csv, assays/*.h5ad, slides/*/, manifest.json, run.log.
    Prints the path of the report.
    A second run into the same folder makes only what is missing, damaged or out of date.
    """
    del format_  # one format so far; the option keeps its place
    outcome = pb.run_study(
        study, out, plan=plan, workers=workers, fresh=fresh, dry_run=dry_run, progress=not quiet
    )
    return _finish(outcome, quiet=quiet)


@app.command(epilog=_EXIT_CODES)
@_guarded
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
    return _finish(outcome, quiet=quiet)


@app.command(epilog=_EXIT_CODES)
@_guarded
def decide(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="A results folder.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the tables go.")],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="A preset or a .yaml file; may be repeated. Default: the presets, but dejardin_2024 and "
            "rubinstein_2010_strict.",
        ),
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(metavar="ASSAY:FEATURE", help="May be repeated. Default: the plan's primary family."),
    ] = None,
    locked: Annotated[
        bool | None,
        typer.Option("--locked/--not-locked", help="Declare whether the plan was locked before unblinding."),
    ] = None,
    noise: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Noise to borrow. Default: the package's.")
    ] = None,
    binds: Annotated[
        str | None,
        typer.Option(
            "--drug-binds",
            metavar="ANTIGENS",
            help="What the drug binds, such as PD-L1; 'none' where it binds no stained antigen.",
        ),
    ] = None,
) -> int:
    """Apply decision rules to a results folder: per participant, per dose level, for the cohort.

    Leaves in DIR decisions_cohort.csv, decisions_dose_levels.csv, decisions_participants.csv,
    decisions_operating.csv (how often each rule errs), noise.csv, noise_components.csv, responders.csv,
    responder_rates.csv, dose_trend.csv, honesty_checks.csv and more, and prints the path of the first.
    Without --locked no verdict is above "consider".
    """
    made = pb.decide_results(
        results,
        out,
        rules=rule or (),
        features=feature or (),
        declared=pb.decide.Declared(plan_locked=locked, drug_binds=_antigens(binds)),
        noise=noise,
    )
    typer.echo(str(made[0]))
    return 0


def _antigens(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(name for name in text.replace(",", " ").split() if name.lower() != "none")


@app.command(epilog=_EXIT_CODES)
@_guarded
def quantify(  # noqa: PLR0913 -- one for each option of the command
    slides: Annotated[
        list[Path],
        typer.Argument(metavar="SLIDE...|SLIDES.csv|STUDY", help="Slides, a slide sheet, or a study folder."),
    ],
    *,
    out: OutFolder,
    panel: Annotated[
        str | None, typer.Option(metavar="PANEL", help="A panel by name (cd8, ki67, ...) or a panel file.")
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(metavar="UM", help="Micrometres per pixel of slides that do not state it.")
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|FILE", help="Regions: SLIDE_ID.geojson or SLIDE_ID.mask.png; or one file."
        ),
    ] = None,
    also: Annotated[
        str,
        typer.Option(
            metavar="FORMS",
            help="Also write each slide's cells as geojson (QuPath), anndata.",
            callback=_known_forms,
        ),
    ] = "",
    workers: Workers = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> int:
    """Find and score the cells of every slide.

    SLIDES.csv has the columns slide_id, biopsy_id, path (relative to the sheet) and, where the file lacks
    it, mpp; PANEL is needed with it and with slides. Leaves in OUT: cells.parquet, scores.csv,
    sensitivity.csv, qc.csv and overlay/ of all slides, the same by slide in slides/*/, assays/ihc.h5ad
    (biopsies x features), results/quarantine.csv, manifest.json, run.log. Prints the path of the assay.
    """
    outcome = pb.quantify_slides(
        slides,
        out,
        panel=panel,
        facts={"mpp": mpp, "regions": None if regions is None else str(regions), "also": also},
        workers=workers,
        fresh=fresh,
        progress=not quiet,
    )
    return _finish(outcome, quiet=quiet)


@app.command("import", epilog=_EXIT_CODES)
@_guarded
def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="CSV, TSV, GeoJSON, Parquet, or a folder of them.")
    ],
    *,
    out: OutFolder,
    panel: Annotated[str, typer.Option(metavar="PANEL", help="A panel by name or a panel file.")],
    mpp: Annotated[
        float | None, typer.Option(metavar="UM", help="Micrometres per pixel, where an export is in pixels.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="THEIRS=OURS",
            help="What a column is, such as 'X=x_px'. Repeat for more.",
            callback=_with_sign,
        ),
    ] = None,
    class_: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="TEXT=MEANING",
            help="What a class means: 'Other=negative'.",
            callback=_with_sign,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=TEXT", help="Read only the rows that have this text there.", callback=_with_sign
        ),
    ] = None,
) -> int:
    """Take exports of QuPath, HALO and others straight to the same scores.

    Detection and annotation tables of the same slides belong together: the annotations give the areas. What
    does not fit is refused with its row (exit 3). Leaves in OUT: cells.parquet, scores.csv, sensitivity.csv,
    columns.csv (how every column was read), assays/ihc.h5ad, manifest.json. Prints the paths of the assay and
    of the scores.
    """
    declared = {
        "mpp": mpp,
        "columns": _pairs(column),
        "classes": _pairs(class_),
        "where": _pairs(where),
    }
    outcome = pb.import_exports(files, out, panel=panel, declared=declared)
    _print_problems(outcome.problems)
    return _finish(outcome, quiet=False)


def _pairs(texts: list[str] | None) -> dict[str, str]:
    """Split texts such as ``THEIRS=OURS`` at the last equals sign."""
    parts = (text.rpartition("=") for text in texts or [])
    return {key.strip(): value.strip() for key, _, value in parts}


class CountFormat(StrEnum):
    """Formats of counts."""

    auto = "auto"
    table = "table"
    featurecounts = "featurecounts"
    star = "star"
    htseq = "htseq"
    salmon = "salmon"
    kallisto = "kallisto"
    h5ad = "h5ad"
    nsolver = "nsolver"


class Strand(StrEnum):
    """Strands of a protocol."""

    unstranded = "unstranded"
    forward = "forward"
    reverse = "reverse"


class CountsFrom(StrEnum):
    """Definitions of counts from transcripts."""

    length_scaled = "length_scaled"
    scaled = "scaled"
    estimated = "estimated"


class LaneKind(StrEnum):
    """What nCounter lanes become."""

    intensity = "intensity"
    raw = "count"


class Background(StrEnum):
    """Ways of treating nCounter background."""

    threshold = "threshold"
    subtract = "subtract"
    none = "none"


class Scaling(StrEnum):
    """Rules for library sizes."""

    tmm = "tmm"
    tmmwsp = "tmmwsp"
    rle = "rle"
    uq = "uq"
    deseq = "deseq"
    none = "none"


@app.command(epilog=_EXIT_CODES)
@_guarded
def expression(  # noqa: PLR0913 -- one option each; the function takes them as one object
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="COUNTS|FOLDER...",
            help="A count matrix; files of a counting tool or their folder; a folder of RCC files; "
            "an export.",
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="OUT", help="A new folder, or one made before.")
    ],
    genes: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="Ids and symbols; of an export, probes and classes.")
    ] = None,
    format_: Annotated[CountFormat, typer.Option("--format", help="Default: told by content.")] = (
        CountFormat.auto
    ),
    strand: Annotated[
        Strand | None, typer.Option(help="Which count of STAR. Default: as the reads show.")
    ] = None,
    transcripts: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="Transcript and gene ids, for Salmon and kallisto.")
    ] = None,
    counts_from: Annotated[CountsFrom, typer.Option(help="Counts of genes from transcripts.")] = (
        CountsFrom.length_scaled
    ),
    kind: Annotated[LaneKind, typer.Option(help="Scaled values, or raw counts, of RCC files.")] = (
        LaneKind.intensity
    ),
    background: Annotated[Background, typer.Option(help="nCounter background.")] = Background.threshold,
    housekeeping: Annotated[
        list[str] | None, typer.Option(metavar="GENE", help="A housekeeping gene; may be repeated.")
    ] = None,
    normalization: Annotated[Scaling, typer.Option(help="How library sizes are scaled.")] = Scaling.tmm,
) -> int:
    """Read counts or nCounter lanes without a study: checks, quality, model scale.

    Leaves in OUT: expression.h5ad (libraries x features; raw, log2 and weights), libraries.csv (depth,
    factors, quality), features.csv (symbol, tested or why not), quarantine.csv, problems.csv,
    provenance.json. Prints the path of the assay.
    """
    options = pb.ExpressionOptions(
        format=format_.value,
        strand=None if strand is None else strand.value,
        counts_from=counts_from.value,
        transcripts=transcripts,
        genes=genes,
        kind=kind.value,
        background=background.value,
        housekeeping=tuple(housekeeping or ()),
        normalization=normalization.value,
    )
    outcome = pb.write_expression(inputs, out, options=options)
    _print_problems(outcome.problems)
    typer.echo(str(outcome.made[0]))
    return outcome.exit_code


@app.command(epilog=_EXIT_CODES)
@_guarded
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


@app.command(epilog=_EXIT_CODES)
@_guarded
def report(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="A results folder.")],
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Default: OUT/review.html.")
    ] = None,
) -> int:
    """Write the report of a results folder again.

    Leaves one HTML file that needs no network, and prints its path. Results that were edited since the run
    are refused (exit 3).
    """
    made_again = {"review.html", "run.log"}
    edited = [p for p in pb.verify(results) if p.severity == "error" and p.file not in made_again]
    if edited:
        raise VerificationError(edited)
    result = pb.read_result(results)
    path = results / "review.html" if out is None else out
    typer.echo(str(pb.report(result.study, result, path, review=pb.read_review(results))))
    return 0


@app.command(epilog=_EXIT_CODES)
@_guarded
def verify(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="A results folder.")],
) -> int:
    """Compare every file of a results folder with its manifest; exit 3 when one differs."""
    problems = pb.verify(results)
    _print_problems(problems)
    if any(p.severity == "error" for p in problems):
        return InputError.exit_code
    typer.echo(f"{results}: every file is as the run left it.")
    return 0


@app.command(epilog=_EXIT_CODES)
@_guarded
def version() -> int:
    """Print the version."""
    typer.echo(pb.__version__)
    return 0


@app.command(epilog=_EXIT_CODES)
@_guarded
def power(
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the tables go.")],
    fold: Annotated[float, typer.Option(metavar="RATIO", help="True geometric mean ratio to find.")] = 2.0,
    sigma: Annotated[float, typer.Option(metavar="LOG2", help="Noise of one biopsy (SD, log2).")] = 0.7,
    sd_response: Annotated[
        float, typer.Option(metavar="LOG2", help="SD of true log2 changes between participants.")
    ] = 0.5,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=P",
            callback=_with_share,
            help="A stage to a pair and the share that passes it; may be repeated. Names that start with "
            "'baseline' lose the first biopsy. Default: baseline adequate=.87, second taken=.8, second "
            "adequate=.84.",
        ),
    ] = None,
    features: Annotated[int, typer.Option(min=1, help="Primary features.")] = 1,
    sims: Annotated[int, typer.Option(min=0, help="Simulated trials; 0: none.")] = 200,
) -> int:
    """Say how many pairs a trial needs for 80 % power, and how many to enrol for them.

    Leaves in DIR enrolment.csv (pairs, and participants to enrol so that they are there with 90 % assurance),
    pairs.csv (a table over fold changes and standard deviations) and simulated.csv (trials of that size taken
    through the same pipeline as a real one, with lost biopsies, noise and Holm's method). Prints the first.
    """
    stages = _shares(stage) if stage else pb.PowerRequest().stages
    request = pb.PowerRequest(fold, sigma, sd_response, stages=stages, features=features, n_sims=sims)
    typer.echo(str(pb.plan_power(request, out)[0]))
    return 0


def _shares(texts: list[str]) -> dict[str, float]:
    return {name.strip(): float(value) for name, _, value in (text.rpartition("=") for text in texts)}


def main() -> None:
    """Run the command line."""
    app()
