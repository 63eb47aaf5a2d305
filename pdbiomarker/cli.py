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
    doses = "doses"
    concentrations = "concentrations"
    lesions = "lesions"
    responses = "responses"
    outcomes = "outcomes"
    ada = "ada"
    adverse_events = "adverse_events"


class Titres(StrEnum):
    """Scales of antibody titres."""

    linear = "linear"
    log10 = "log10"


class Export(StrEnum):
    """Shapes of a results folder that others read."""

    adam = "adam"
    excel = "excel"


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
Formats = Annotated[
    str, typer.Option("--format", metavar="LIST", help="Of html, pdf, pptx, xlsx, with commas between.")
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
    except typer.BadParameter:  # a wrong command line, told as such
        raise
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


def _value(text: str) -> bool | float | str:
    if text in {"true", "false"}:
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


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
    quiet: Quiet = False,
) -> int:
    """Take a study folder the whole road: check, slides, counts, paired change, report.

    Leaves in OUT: review.html, results/pd_change.csv, results/changes.csv, results/accountability.csv,
    results/quarantine.csv, assays/*.h5ad, slides/*/, manifest.json, run.log. Prints the path of the report.
    A second run into the same folder makes only what is missing, damaged or out of date.
    """
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

    Leaves in OUT what `run` leaves but review.html, and prints the path of results/pd_change.csv. A later
    `run` into the same folder adds the report.
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
            metavar="RULE", help="A preset or a .yaml file; may be repeated. Default: every preset."
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
) -> int:
    """Apply decision rules to a results folder: per participant, per dose level, for the cohort.

    Leaves in DIR decisions_cohort.csv, decisions_dose_levels.csv, decisions_participants.csv,
    decisions_operating.csv (how often each rule errs), noise.csv, noise_components.csv, responders.csv and
    honesty_checks.csv, and prints the path of the first. Without --locked no verdict is above "consider".
    """
    made = pb.decide_results(
        results,
        out,
        rules=rule or (),
        features=feature or (),
        declared=pb.decide.Declared(plan_locked=locked),
        noise=noise,
    )
    typer.echo(str(made[0]))
    return 0


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
def import_(  # noqa: PLR0913 -- one for each option of the command
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...|cdisc FOLDER",
            help="CSV, TSV, GeoJSON, Parquet, or their folder; or: cdisc and a folder of datasets.",
        ),
    ],
    *,
    out: OutFolder,
    panel: Annotated[
        str | None, typer.Option(metavar="PANEL", help="A panel by name or a panel file: for exports.")
    ] = None,
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
    reader: Annotated[
        str | None, typer.Option(metavar="NAME", help="cdisc: whose assessments of the tumour count.")
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATASET=FILE",
            help="cdisc: which file is a dataset. Repeat for more.",
            callback=_with_sign,
        ),
    ] = None,
    titres: Annotated[Titres | None, typer.Option(help="cdisc: the scale of antibody titres.")] = None,
    severity_as_grade: Annotated[
        bool, typer.Option("--severity-as-grade", help="cdisc: mild, moderate, severe are grades 1, 2, 3.")
    ] = False,
) -> int:
    """Take exports of QuPath, HALO and others to scores, or CDISC datasets to plain clinical tables.

    Detection and annotation tables of the same slides belong together: the annotations give the areas. What
    does not fit is refused with its row (exit 3). Leaves in OUT: cells.parquet, scores.csv, sensitivity.csv,
    columns.csv (how every column was read), assays/ihc.h5ad, manifest.json. Prints the paths of the assay and
    of the scores.

    `import cdisc FOLDER -o STUDY/clinical` reads SDTM and ADaM (XPT, sas7bdat, Dataset-JSON, Parquet, CSV)
    and leaves the clinical sheets in OUT; proposals for participants.csv and biopsies.csv, imported
    parameters, sources.csv and not_taken.csv (what was left out, and why) in STUDY/cdisc. Prints every path.
    """
    if len(files) == len(("cdisc", "FOLDER")) and str(files[0]) == "cdisc":
        return _import_cdisc(
            files[1],
            out,
            pb.clinical.cdisc.ImportOptions(
                reader=reader,
                use=_pairs(use),
                titre_scale=None if titres is None else titres.value,
                severity_as_grade=severity_as_grade,
            ),
        )
    if panel is None:
        raise typer.BadParameter("exports need a panel: add --panel", param_hint="--panel")
    declared = {
        "mpp": mpp,
        "columns": _pairs(column),
        "classes": _pairs(class_),
        "where": _pairs(where),
    }
    outcome = pb.import_exports(files, out, panel=panel, declared=declared)
    _print_problems(outcome.problems)
    return _finish(outcome, quiet=False)


def _import_cdisc(folder: Path, out: Path, options: pb.clinical.cdisc.ImportOptions) -> int:
    found = pb.clinical.cdisc.import_cdisc(folder, options=options)
    _print_problems(found.problems)
    for path in found.write(out):
        typer.echo(str(path))
    return 0


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
def reconcile(
    ours: Annotated[
        list[Path], typer.Argument(metavar="OURS...", help="Folders that exposure, response or ada left.")
    ],
    *,
    theirs: Annotated[
        Path, typer.Option(metavar="STUDY|FILE", help="Where import cdisc left parameters.csv.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the tables go.")],
    tolerance: Annotated[
        float, typer.Option(min=0, help="Numbers agree within this fraction of theirs.")
    ] = 1e-6,
) -> int:
    """Hold what was computed against the ADaM parameters of a sponsor, value by value.

    Leaves in DIR reconciliation_summary.csv (how many agree) and reconciliation.csv (every value with its
    verdict and reason), and prints their paths.
    """
    for path in pb.reconcile_tables(ours, theirs, out, tolerance=tolerance):
        typer.echo(str(path))
    return 0


@app.command(epilog=_EXIT_CODES)
@_guarded
def export(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="A results folder.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the files go.")],
    to: Annotated[
        Export, typer.Option(help="adam: XPT and Dataset-JSON; excel: one workbook.")
    ] = Export.adam,
    feature: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ASSAY:FEATURE", help="adam: may be repeated; ASSAY for all of one. Default: every panel."
        ),
    ] = None,
    noise: Annotated[
        Path | None, typer.Option(metavar="FILE", help="adam: noise to borrow. Default: the package's.")
    ] = None,
) -> int:
    """Export a results folder to the shapes that others read.

    adam leaves in DIR adpd.xpt (SAS transport, version 5), adpd.json (Dataset-JSON 1.1) and
    adpd_parameters.csv (which PARAMCD is which feature); excel leaves results.xlsx, a sheet for each table.
    Prints their paths.
    """
    for path in pb.export_result(results, out, to=to.value, features=feature or (), noise=noise):
        typer.echo(str(path))
    return 0


@app.command(epilog=_EXIT_CODES)
@_guarded
def report(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="A results folder.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="The file, or with several formats the folder."),
    ] = None,
    formats: Formats = "html",
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="OLD", help="Results of an earlier cut: adds what changed since."),
    ] = None,
) -> int:
    """Write the report of a results folder again, in any of its formats.

    Leaves review.html (one file that needs no network), review.pdf, review.pptx or review.xlsx in OUT or
    where -o says, and prints their paths. Results that were edited since the run are refused (exit 3).
    """
    for path in pb.report_results(results, out, formats=formats.split(","), against=against):
        typer.echo(str(path))
    return 0


@app.command(epilog=_EXIT_CODES)
@_guarded
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Results of the earlier data cut.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Results of the later data cut.")],
    *,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Where tables go.")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Moves below so many standard errors are not listed.")
    ] = 0.25,
) -> int:
    """Say what changed between two data cuts of a study: input, pairs, results, and why.

    Prints a summary; with -o leaves facts.csv, items.csv, pairs.csv and results.csv in DIR.
    """
    cuts = pb.diff_results(old, new, out, tolerance=tolerance)
    for sentence in cuts.sentences():
        typer.echo(sentence)
    return 0


@app.command(epilog=_EXIT_CODES)
@_guarded
def response(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="STUDY|SHEET...", help="A study folder, or lesions.csv, responses.csv."),
    ],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where tables and figures go.")],
    participants: Annotated[
        Path | None, typer.Option(metavar="SHEET", help="participants.csv, with sheets as inputs.")
    ] = None,
    outcomes: Annotated[
        Path | None, typer.Option(metavar="SHEET", help="outcomes.csv: deaths, new therapies, contacts.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(metavar="YAML", help="Rules for response, events and censoring.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose assessments count, where there are several.")
    ] = None,
    cutoff: Annotated[str | None, typer.Option(metavar="DATE", help="The data cut-off, YYYY-MM-DD.")] = None,
) -> int:
    """Derive RECIST response, ORR, duration of response and survival.

    Leaves in DIR best_response.csv, timepoint_response.csv, assessments.csv, populations.csv, orr.csv,
    pfs.csv (primary and sensitivity side by side), dor.csv, os.csv, km_*.csv, response_by_participant.csv,
    rules.csv, problems.csv, and the figures waterfall, spider, swimmer and km_* as PNG. Prints the path of
    the first.
    """
    outcome = pb.write_response(
        inputs,
        out,
        participants=participants,
        outcomes=outcomes,
        rules=rules,
        reader=reader,
        cutoff=cutoff,
    )
    _print_problems(outcome.problems)
    typer.echo(str(outcome.made[0]))
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


ClinicalOut = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the tables go.")]
ParticipantsFile = Annotated[
    Path | None,
    typer.Option(metavar="TABLE", help="participant_id, first_dose_datetime, dose_mg, cohort."),
]


@app.command(epilog=_EXIT_CODES)
@_guarded
def ada(
    source: Annotated[
        Path, typer.Argument(metavar="STUDY|ADA.csv", help="A study folder, or a table of antibody samples.")
    ],
    *,
    out: ClinicalOut,
    participants: ParticipantsFile = None,
    biopsies: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="biopsy_id, participant_id, study_day or collection_date."),
    ] = None,
    drug_tolerance: Annotated[
        float | None, typer.Option(metavar="CONC", help="Negative with more drug than this is inconclusive.")
    ] = None,
    drug_unit: Annotated[str, typer.Option(metavar="UNIT", help="Of the drug tolerance: ug/mL.")] = "",
    minimum_titre: Annotated[
        float | None, typer.Option(metavar="TITRE", help="Linear titre of positives that have none.")
    ] = None,
) -> int:
    """Judge anti-drug antibodies: samples, participants, incidence, status at each biopsy.

    Leaves in DIR ada_incidence.csv (with denominators), ada_participants.csv, ada_samples.csv, ada_flow.csv,
    ada_biopsies.csv, ada_left_out.csv and ada_titres.png, and prints the path of the first.
    """
    options = pb.clinical.ada.AdaOptions(
        drug_tolerance=drug_tolerance,
        drug_tolerance_unit=drug_unit,
        minimum_titre=minimum_titre,
    )
    outcome = pb.write_ada(source, out, participants=participants, biopsies=biopsies, options=options)
    _print_problems(outcome.problems)
    typer.echo(str(outcome.made[0]))
    return outcome.exit_code


@app.command(epilog=_EXIT_CODES)
@_guarded
def safety(  # noqa: PLR0913 -- one for each option of the command
    source: Annotated[
        Path, typer.Argument(metavar="STUDY|EVENTS.csv", help="A study folder, or a table of adverse events.")
    ],
    *,
    out: ClinicalOut,
    participants: ParticipantsFile = None,
    doses: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="participant_id, start, amount, planned_amount.")
    ] = None,
    outcomes: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="participant_id, last_contact_date, death_date.")
    ] = None,
    cutoff: Annotated[str | None, typer.Option(metavar="DATE", help="Data cut-off, YYYY-MM-DD.")] = None,
    window: Annotated[int, typer.Option(metavar="DAYS", help="Window for dose-limiting toxicities.")] = 28,
    least_dose: Annotated[
        float, typer.Option(metavar="PCT", help="Least share of the planned dose to be evaluable.")
    ] = 75.0,
    planned_doses: Annotated[
        int | None, typer.Option(metavar="N", help="Doses that the protocol plans within the window.")
    ] = None,
) -> int:
    """Count adverse events by kind, term and maximum grade, and dose-limiting toxicities, by dose level.

    Leaves in DIR ae_by_kind.csv, ae_by_term.csv, ae_max_grades.csv, ae_events.csv, dlt_by_dose.csv,
    dlt_participants.csv, escalation_path.csv, safety_left_out.csv, ae_grades.png and escalation_path.png, and
    prints the path of the first.
    """
    outcome = pb.write_safety(
        source,
        out,
        tables={"participants": participants, "doses": doses, "outcomes": outcomes},
        options=pb.clinical.safety.SafetyOptions(
            dlt_window_days=window, least_dose_pct=least_dose, planned_doses=planned_doses, cutoff=cutoff
        ),
    )
    _print_problems(outcome.problems)
    typer.echo(str(outcome.made[0]))
    return outcome.exit_code


@app.command(epilog=_EXIT_CODES)
@_guarded
def escalation(
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY]", help="A study folder; else give --outcomes.")
    ] = None,
    *,
    design: Annotated[str, typer.Option(metavar="NAME", help="3+3, boin, mtpi or mtpi2.")] = "boin",
    outcomes: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Such as '1NNN 2NTN': T toxicity, N none.")
    ] = None,
    doses: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Dose levels of the protocol.")
    ] = None,
    target: Annotated[float, typer.Option(metavar="P", help="Toxicity aimed at.")] = 0.30,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Of the design: strict_mode=false. Repeat.", callback=_with_sign
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Also write tables and figures.")
    ] = None,
) -> int:
    """Say where a dose escalation stands: next dose, maximum tolerated dose so far, decision table.

    Prints them. With -o, leaves in DIR mtd.csv, decision_table.csv, escalation_path.csv (of a study),
    escalation_path.png and decision_table.png.
    """
    options = {name: _value(text) for name, text in _pairs(option).items()}
    found = pb.escalate(design, outcomes, doses, study=study, target=target, options=options, out=out)
    typer.echo(found.summary())
    return 0


@app.command(epilog=_EXIT_CODES)
@_guarded
def version() -> int:
    """Print the version."""
    typer.echo(pb.__version__)
    return 0


class Route(StrEnum):
    """Routes of a dose."""

    infusion = "infusion"
    bolus = "bolus"
    oral = "oral"


class AreaMethod(StrEnum):
    """Rules for areas under the curve."""

    linear_up_log_down = "linear_up_log_down"
    linear = "linear"


@app.command(epilog=_EXIT_CODES)
@_guarded
def exposure(
    source: Annotated[
        Path, typer.Argument(metavar="STUDY|CONCENTRATIONS", help="A study folder, or a table of samples.")
    ],
    doses: Annotated[
        Path | None, typer.Argument(metavar="[DOSES]", help="With a table of samples: that of the doses.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where tables and figures go.")],
    biopsies: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="biopsy_id, participant_id, time_h; a study has its own."),
    ] = None,
    route: Annotated[Route, typer.Option(help="How the dose was given.")] = Route.infusion,
    method: Annotated[AreaMethod, typer.Option(help="How areas are summed.")] = AreaMethod.linear_up_log_down,
) -> int:
    """Analyse concentrations without compartments: parameters, summaries, exposure at each biopsy.

    CONCENTRATIONS has participant_id, time_h (or datetime), concentration (number, '<0.5' or 'BLQ'), unit;
    DOSES participant_id, time_h and duration_h (or start and end), amount, unit. Leaves in DIR
    pk_parameters.csv, pk_summary.csv, pk_parameter_summary.csv, dose_proportionality.csv, pk_units.csv,
    pk_intervals.csv (several doses), exposure_at_biopsy.csv, schedule*.csv (dated doses), notes.csv and
    figures; prints the path of the first.
    """
    made = pb.write_exposure(
        source, out, doses=doses, biopsies=biopsies, route=route.value, method=method.value
    )
    typer.echo(str(made[0]))
    return 0


plan_app = typer.Typer(
    help="Lock the plan of a study, hold it against its lock, or show it in full.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(plan_app, name="plan")


@plan_app.command("lock", epilog=_EXIT_CODES)
@_guarded
def plan_lock(
    study: StudyFolder,
    *,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who locks it.")] = "",
    date: Annotated[
        str | None, typer.Option(metavar="DATE", help="Day of the lock, YYYY-MM-DD. Default: today (UTC).")
    ] = None,
    unblinded: Annotated[
        str | None, typer.Option(metavar="DATE", help="Day of unblinding, where it is known already.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE", help="A decision rule to lock: a preset or .yaml file; may be repeated."
        ),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why a locked plan is locked again.")] = "",
    plan: PlanFile = None,
) -> int:
    """Write STUDY/plan.lock.yaml: the plan, visits and adequacy, rules, date, data cut-off, sealed by a hash.

    Each lock adds an entry: lock before the first look, and once more for each further look that the plan
    declares. A change of the plan after that needs --reason. Prints the path of the lock.
    """
    made = pb.lock_plan(
        study, by=by, date=date, unblinded=unblinded, rules=rule or (), reason=reason, plan=plan
    )
    typer.echo(str(made))
    return 0


@plan_app.command("check", epilog=_EXIT_CODES)
@_guarded
def plan_check(study: StudyFolder, *, plan: PlanFile = None) -> int:
    """Hold the plan against its lock, key by key; exit 3 when it deviates or was never locked.

    The sentence on standard output says whether it was locked before unblinding; deviations and undeclared
    looks go to standard error.
    """
    status = pb.check_plan(study, plan=plan)
    problems = status.problems()
    _print_problems(problems)
    typer.echo(status.said)
    return InputError.exit_code if problems else 0


@plan_app.command("show", epilog=_EXIT_CODES)
@_guarded
def plan_show(study: StudyFolder, *, plan: PlanFile = None) -> int:
    """Print the plan in full, defaults included, with its hash and the history of its locks."""
    typer.echo(pb.show_plan(study, plan=plan), nl=False)
    return 0


def main() -> None:
    """Run the command line."""
    app()
