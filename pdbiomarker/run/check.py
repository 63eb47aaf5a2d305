"""Checking a study folder, or one file, without computing anything."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import anndata as ad
import h5py

from pdbiomarker import expression, ihc
from pdbiomarker.checks import check_file
from pdbiomarker.errors import InputError, Problem, Problems
from pdbiomarker.expression.cellfile import outside_links
from pdbiomarker.run.survey import slide_files, survey
from pdbiomarker.study import check_assay
from pdbiomarker.tables import is_number, nearest

__all__ = ["KINDS", "check"]

_PLAIN: Final = ("study", "plan", "participants", "biopsies", "libraries", "slides", "formula")
_RCC_LIMIT: Final = 16 << 20
_RCC_SECTIONS: Final = ("Header", "Sample_Attributes", "Lane_Attributes", "Code_Summary")
_RCC_COLUMNS: Final = ("CodeClass", "Name", "Accession", "Count")


def check(path: str | Path, *, as_: str | None = None) -> Problems:
    """Check a study folder, or one file by itself, and return every problem.

    Parameters
    ----------
    path : str or Path
        A study folder; or, with `as_`, one file (for ``formula``, also the formula itself).
    as_ : str, optional
        What the file is, one of :data:`KINDS`.

    Returns
    -------
    Problems
        Errors, items that would be quarantined, and warnings; empty when all is well. For a study: sheets,
        study.yaml, plan with formula and contrasts, panels, count matrices, and whether each slide can be
        opened and shows tissue.

    Raises
    ------
    ValueError
        When there is no such kind.
    """
    source = Path(path)
    if as_ is None:
        if source.is_dir() or not source.exists():
            return _check_study(source)
        problems = Problems()
        problems.add(
            "E-FILE-002",
            "The path is a file, not a study folder.",
            remedy=f"Say what it is with --as: {', '.join(KINDS)}.",
            file=source.name,
        )
        return problems
    if as_ == "study" and source.is_dir():
        return _check_study(source)
    if as_ in _PLAIN:
        return check_file(path, as_)
    if as_ not in _CHECKS:
        raise ValueError(f"as_ must be one of {', '.join(KINDS)}; got {as_!r}. {nearest(as_, KINDS)}")
    try:
        return _CHECKS[as_](source)
    except InputError as error:
        return Problems(error.problems)


def _check_study(folder: Path) -> Problems:
    found = survey(folder)
    problems = Problems(found.problems)
    if found.study is not None:
        for slide in slide_files(found.study):
            told = ihc.check_slide(slide.file, slide.mpp)
            problems.extend(_of_slide(told, slide.sheet, slide.line, slide.slide_id))
    return problems


def _of_slide(told: Problems, sheet: str, line: int | None, slide_id: str) -> Iterator[Problem]:
    for problem in told:
        severity = "quarantine" if problem.severity == "error" else problem.severity
        value = problem.value if problem.value is not None else problem.file
        yield dataclasses.replace(
            problem, file=sheet, row=line, value=value, severity=severity, item=slide_id
        )


# --- nCounter files ------------------------------------------------------------------------------------


def _check_rcc(path: Path) -> Problems:
    """Check the form of an RCC file: its sections, and whole counts of codes that occur once."""
    problems = Problems()
    text = _text(path, problems)
    if text is None:
        return problems
    lines = text.splitlines()
    sections: dict[str, tuple[int, int]] = {}
    opened: tuple[str, int] | None = None
    for number, line in enumerate(lines, start=1):
        mark = re.fullmatch(r"<(/?)(\w+)>", line.strip())
        if mark and not mark[1]:
            opened = (mark[2], number)
        elif mark and opened is not None and mark[2] == opened[0]:
            sections[mark[2]] = (opened[1], number)
            opened = None
    for name in _RCC_SECTIONS:
        if name not in sections:
            problems.add(
                "E-FILE-005",
                f"The section <{name}> is missing or not closed: the file is no RCC file, or cut short.",
                remedy="Export the lane again from the instrument.",
                file=path.name,
                column=name,
            )
    if "Code_Summary" in sections:
        first, last = sections["Code_Summary"]
        _check_codes(lines[first : last - 1], first + 1, path.name, problems)
    return problems


def _check_codes(lines: list[str], first: int, file: str, problems: Problems) -> None:
    rows = list(csv.reader(io.StringIO("\n".join(lines))))
    if not rows or tuple(rows[0]) != _RCC_COLUMNS:
        problems.add(
            "E-SHEET-001",
            f"The columns of <Code_Summary> are not {', '.join(_RCC_COLUMNS)}.",
            remedy="Export the lane again from the instrument.",
            file=file,
            row=first,
        )
        return
    seen: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows[1:], start=first + 1):
        if len(row) != len(_RCC_COLUMNS):
            problems.add("E-SHEET-003", "The row does not have four fields.", file=file, row=number)
            continue
        code, count = (row[0], row[1]), row[3].strip()
        other = seen.setdefault(code, number)
        if other != number:
            problems.add(
                "E-COUNT-005",
                f"The code {row[1]!r} stands in lines {other} and {number}.",
                remedy="Keep one of them.",
                file=file,
                row=number,
                column="Name",
                value=row[1],
            )
        fault = _count_fault(count)
        if fault:
            problems.add(
                fault,
                f"The count of {row[1]!r} is not a whole number of 0 or more.",
                remedy="Give raw counts.",
                file=file,
                row=number,
                column="Count",
                value=count,
            )


def _count_fault(text: str) -> str:
    if not is_number(text):
        return "E-COUNT-001"
    if float(text) < 0:
        return "E-COUNT-002"
    return "" if float(text).is_integer() else "E-COUNT-003"


def _text(path: Path, problems: Problems) -> str | None:
    if not path.is_file():
        problems.add("E-FILE-001", "There is no such file.", remedy="Correct the path.", file=path.name)
        return None
    if path.stat().st_size > _RCC_LIMIT:
        problems.add("E-FILE-005", "The file is larger than 16 MB: it is no RCC file.", file=path.name)
        return None
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.add(
            "E-FILE-003",
            f"The file is not UTF-8: byte {error.start} cannot be read.",
            remedy="Export the lane again from the instrument.",
            file=path.name,
        )
        return None


# --- h5ad ----------------------------------------------------------------------------------------------


def _check_h5ad(path: Path) -> Problems:
    """Check an assay in an h5ad file: no links to other files, then the contract of an assay."""
    problems = Problems()
    if not path.is_file():
        problems.add("E-FILE-001", "There is no such file.", remedy="Correct the path.", file=path.name)
        return problems
    try:
        with h5py.File(path, "r") as file:
            outside = list(outside_links(file))
    except (OSError, RuntimeError) as error:
        problems.add(
            "E-ASSAY-002",
            f"The file cannot be read as HDF5 ({error}).",
            remedy="Write it again with anndata.",
            file=path.name,
        )
        return problems
    for name in outside:
        problems.add(
            "E-ASSAY-002",
            "The file takes data from another file; that is not followed.",
            remedy="Write a file that holds all of its data.",
            file=path.name,
            column=name,
        )
    if problems.errors:
        return problems
    try:
        adata = ad.read_h5ad(path)
    except Exception as error:  # whatever a foreign file makes its reader raise
        problems.add(
            "E-ASSAY-002",
            f"The file is no AnnData that can be read ({type(error).__name__}).",
            remedy="Write it again with anndata 0.13 or older.",
            file=path.name,
        )
        return problems
    return check_assay(adata, path.name)


_CHECKS: Final[Mapping[str, Callable[[Path], Problems]]] = {
    "slide": ihc.check_slide,
    "counts": expression.check_counts,
    "regions": ihc.check_regions,
    "panel": ihc.check_panel,
    "cells": ihc.check_cells,
    "rcc": _check_rcc,
    "h5ad": _check_h5ad,
}

#: What a file can be checked as.
KINDS: Final = (*_PLAIN, *_CHECKS)
