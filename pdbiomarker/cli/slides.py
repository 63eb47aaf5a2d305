"""Slides and what names a person."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import pdbiomarker as pb
from pdbiomarker.cli.shell import print_problems
from pdbiomarker.errors import InputError, ItemError, Problem

if TYPE_CHECKING:
    from pdbiomarker.ihc import Holding

__all__ = ["deidentify"]


def deidentify(
    slides: Annotated[list[Path], typer.Argument(metavar="SLIDE...", help="SVS, OME-TIFF or TIFF files.")],
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="A new or empty folder for the copies.")
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            "--names", metavar="FILE", help="Which copy is which slide. Default: DIR-names.csv, beside DIR."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Copy nothing: list what the slides hold; exit 3 if any names.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --check: JSON instead of text.")] = False,
) -> int:
    """Copy slides without label, macro, thumbnail and everything that is not on a short list of tags.

    Leaves slide-0001.svs, slide-0002.ome.tiff, ... in DIR and prints their paths. Tiles are copied byte for
    byte, so that copies give the same scores. Each copy is read again and proved to hold no other tag, no
    other image and no word of the tags that were left out. The slides themselves are never changed. The table
    of names says which copy is which slide: keep it apart. DICOM, NDPI, MRXS and other vendors' layouts are
    refused (exit 3). Pixels are not looked at: writing on the glass stays.
    """
    if check:
        return _check(slides, as_json=as_json)
    if out is None:
        raise typer.BadParameter("-o DIR is needed, unless --check is given.")
    for path in pb.ihc.deidentify(slides, out, names=names):
        typer.echo(str(path))
    return 0


def _check(slides: list[Path], *, as_json: bool) -> int:
    problems: list[Problem] = []
    rows = []
    for slide in slides:
        try:
            rows += pb.ihc.slide_holdings(slide)
        except ItemError as error:
            problems.append(dataclasses.replace(error.problem, severity="error"))
    held = [row for row in rows if not row.kept]
    problems += [_holds(slide, rows_of) for slide, rows_of in _by_slide(held).items()]
    if as_json:
        found = [dataclasses.asdict(row) for row in rows]
        typer.echo(
            json.dumps({"holdings": found, "problems": [dataclasses.asdict(p) for p in problems]}, indent=1)
        )
    else:
        for row in held:
            typer.echo(f"{row.file}: {row.image or 'file'}: {row.what}, {row.bytes} bytes")
        print_problems(problems)
        typer.echo(f"{len(held)} of {len(rows)} tags and images would be left out of a copy.")
    return InputError.exit_code if problems else 0


def _by_slide(held: list[Holding]) -> dict[str, list[Holding]]:
    found: dict[str, list[Holding]] = {}
    for row in held:
        found.setdefault(row.file, []).append(row)
    return found


def _holds(slide: str, held: list[Holding]) -> Problem:
    """Say that a slide holds what a copy would leave out; what the tags say is never repeated."""
    kinds = list(dict.fromkeys(row.what for row in held))
    return Problem(
        "E-PHI-002",
        f"The slide holds what may name a person: {', '.join(kinds[:3])}"
        f"{f' and {len(kinds) - 3} more' if len(kinds) > 3 else ''}.",
        "Copy it without: pdbiomarker deidentify SLIDE -o DIR.",
        slide,
    )
