"""Exports of other programs into a results folder of their own: cells, scores, an assay, a manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from pdbiomarker import ihc
from pdbiomarker.audit import AUDIT, HEAD, SIGNOFFS
from pdbiomarker.errors import InputError, Problem, Problems
from pdbiomarker.provenance import MANIFEST, FolderLock, Manifest, now_utc, sha256_file, write_manifest
from pdbiomarker.run.request import RunOutcome
from pdbiomarker.run.results import write_assay
from pdbiomarker.tables import write_table

__all__ = ["import_exports"]

_MADE: Final = ("cells.parquet", "scores.csv", "sensitivity.csv", "columns.csv", "assays/ihc.h5ad")


def import_exports(
    paths: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    panel: str | Path,
    declared: Mapping[str, Any] | None = None,
) -> RunOutcome:
    """Take exports of QuPath, HALO and others to the same scores as slides.

    Parameters
    ----------
    paths : path, or several
        See :func:`pdbiomarker.ihc.read_cells`.
    out : path
        A folder that is new, empty, or the result of an earlier import. It will hold ``cells.parquet`` (where
        the exports have cells), ``scores.csv``, ``sensitivity.csv``, ``columns.csv`` (how every column was
        read), ``assays/ihc.h5ad`` and ``manifest.json``.
    panel : path or name
    declared : mapping, optional
        What the exports do not say: ``mpp``, ``columns``, ``classes``, ``where``, as for
        :func:`pdbiomarker.ihc.read_cells`; ``biopsies``, as for :func:`pdbiomarker.ihc.import_cells`.

    Returns
    -------
    RunOutcome

    Raises
    ------
    InputError
        With everything that does not fit; nothing is written then. E-RUN-006: `out` holds other things.
    """
    given = dict(declared or {})
    biopsies = given.pop("biopsies", None)
    files = [paths] if isinstance(paths, (str, Path)) else list(paths)
    root = Path(out)
    _check_folder(root)
    found = ihc.read_cells(files, panel=panel, **given)
    assay = ihc.import_cells(found, panel, biopsies=biopsies)
    root.mkdir(parents=True, exist_ok=True)
    with FolderLock(root):
        written = [
            _written(ihc.score_import(found, panel), root / "scores.csv"),
            _written(ihc.sensitivity_of_import(found, panel), root / "sensitivity.csv"),
        ]
        write_table(found.columns, root / "columns.csv")
        written += [root / "columns.csv", write_assay(assay, root / "assays" / "ihc.h5ad")]
        if len(found.cells):
            written.append(ihc.write_cells(found.cells, root / "cells.parquet"))
        inputs = {file.name: sha256_file(file) for file in _every(files)}
        told = tuple(dataclasses.asdict(problem) for problem in found.problems)
        chosen = ihc.read_panel(panel)
        manifest = Manifest(
            inputs=inputs,
            outputs={file.relative_to(root).as_posix(): sha256_file(file) for file in sorted(written)},
            parameters={**given, "panel": chosen.marker, "panel_sha256": chosen.hash},
            warnings=told,
            run={"end": now_utc(), "function": "import_exports"},
        )
        write_manifest(root, manifest)
    made = tuple(sorted(file for file in written if file.name in {"scores.csv", "ihc.h5ad"}))
    return RunOutcome(0, root, made, _warned(found.problems))


def _warned(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    return tuple(problem for problem in problems if problem.severity == "warning")


def _check_folder(out: Path) -> None:
    """Refuse a folder that holds things which no import made."""
    if not out.exists():
        return
    ours = {*_MADE, MANIFEST, AUDIT, HEAD, SIGNOFFS, "assays"}
    inside = sorted(path.name for path in out.iterdir()) if out.is_dir() else [out.name]
    foreign = [name for name in inside if name not in ours and not name.startswith(".")]
    if out.is_dir() and not foreign and not any(path.is_symlink() for path in out.iterdir()):
        return
    problems = Problems()
    problems.add(
        "E-RUN-006",
        f"The output path is no folder of an import: it holds {', '.join(foreign[:3]) or 'links'}.",
        remedy="Give a new or an empty folder to -o; nothing was changed.",
        file=out.name,
    )
    raise InputError(problems)


def _written(tables: Mapping[str, pd.DataFrame], path: Path) -> Path:
    """Write the tables of slides one below the other, the slide before each row."""
    frames = [table.assign(slide=slide) for slide, table in sorted(tables.items())]
    joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"slide": []})
    first = ["slide", *(name for name in joined.columns if name != "slide")]
    write_table(joined[first], path)
    return path


def _every(files: Sequence[str | Path]) -> list[Path]:
    """Every file that was read."""
    found: list[Path] = []
    for file in map(Path, files):
        found += sorted(p for p in file.iterdir() if p.is_file()) if file.is_dir() else [file]
    return found
