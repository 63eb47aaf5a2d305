"""Checking a study folder, or one file, without computing anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import anndata as ad
import h5py

from pdbiomarker import expression, ihc
from pdbiomarker.checks import check_file
from pdbiomarker.errors import InputError, Problem, Problems
from pdbiomarker.expression.hdf5 import check_hdf5
from pdbiomarker.expression.hdf5_probe import structure_problem
from pdbiomarker.run.slide_files import slide_files
from pdbiomarker.run.survey import survey
from pdbiomarker.study import check_assay
from pdbiomarker.study.clinical_sheets import SHEETS as CLINICAL_SHEETS
from pdbiomarker.tables import nearest

__all__ = ["KINDS", "check"]

_PLAIN: Final = (
    "study",
    "plan",
    "participants",
    "biopsies",
    "libraries",
    "slides",
    "formula",
    *CLINICAL_SHEETS,
)


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

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> len(pb.check("trial").errors)
    0
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


# --- h5ad ----------------------------------------------------------------------------------------------


def _check_h5ad(path: Path) -> Problems:
    """Check an assay in an h5ad file: no links to other files, then the contract of an assay."""
    problems = Problems()
    if not path.is_file():
        problems.add("E-FILE-001", "There is no such file.", remedy="Correct the path.", file=path.name)
        return problems
    broken = structure_problem(path, path.name, "E-ASSAY-002")
    if broken is not None:
        problems.extend([broken])
        return problems
    try:
        with h5py.File(path, "r") as file:
            check_hdf5(file, path.name, problems)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        problems.add(
            "E-ASSAY-002",
            f"The file cannot be read as HDF5 ({error}).",
            remedy="Write it again with anndata.",
            file=path.name,
        )
        return problems
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
    "rcc": expression.check_rcc,
    "h5ad": _check_h5ad,
}

#: What a file can be checked as.
KINDS: Final = (*_PLAIN, *_CHECKS)
