"""What a results folder can be turned into and compared with."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import pdbiomarker as pb
from pdbiomarker.cli.options import Against, Formats

__all__ = ["diff", "export", "report", "version"]


class Export(StrEnum):
    """Shapes of a results folder that others read."""

    adam = "adam"
    excel = "excel"


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


def report(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="A results folder.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="The file, or with several formats the folder."),
    ] = None,
    formats: Formats = "html",
    against: Against = None,
) -> int:
    """Write the report of a results folder again, in any of its formats.

    Leaves review.html (one file that needs no network), review.pdf, review.pptx or review.xlsx in OUT or
    where -o says, and prints their paths. Results that were edited since the run are refused (exit 3).
    """
    for path in pb.report_results(results, out, formats=formats.split(","), against=against):
        typer.echo(str(path))
    return 0


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


def version() -> int:
    """Print the version."""
    typer.echo(pb.__version__)
    return 0
