"""The expression assays of a study folder: which files they are made of, and reading them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from anndata import AnnData

from pdbiomarker.errors import AssayError, Problem
from pdbiomarker.expression.counts import read_counts
from pdbiomarker.expression.formats import CountSource, files_in
from pdbiomarker.expression.ncounter import (
    LaneOptions,
    rcc_files,
    read_ncounter,
    read_nsolver,
)
from pdbiomarker.expression.valued import VALUE_KINDS
from pdbiomarker.expression.values import read_values
from pdbiomarker.study import FORMATS, AssaySpec, Study, check_assay
from pdbiomarker.tables import id_key

__all__ = [
    "assay_files",
    "count_files",
    "has_expression",
    "has_libraries",
    "has_values",
    "in_order",
    "own_libraries",
    "read_assay",
    "read_value_file",
]


def has_expression(spec: AssaySpec) -> bool:
    """Tell whether an assay of study.yaml is one that this room reads."""
    if spec.kind == "count":
        return (spec.file or spec.files or spec.rcc) is not None
    return spec.kind == "intensity" and (spec.rcc is not None or spec.format == "nsolver")


def has_libraries(spec: AssaySpec) -> bool:
    """Tell whether an assay is counts of sequenced libraries: one matrix, or the files of a counting tool."""
    named = spec.file is not None or spec.files is not None
    return spec.kind == "count" and named and spec.format != "nsolver"


def has_values(spec: AssaySpec) -> bool:
    """Tell whether an assay of study.yaml is one file of values: a table, or a format of its own."""
    return spec.kind in VALUE_KINDS and spec.file is not None and not has_expression(spec)


def read_value_file(study: Study, spec: AssaySpec) -> AnnData:
    """Read an assay that is one file of values, by the reader of its format.

    Parameters
    ----------
    study : Study
    spec : AssaySpec
        With `file`; without `format` it is a table of values.

    Returns
    -------
    AnnData, biopsies x features
        Biopsies in the order of the study, features in that of their names.

    Raises
    ------
    AssayError
        With every fault of the file; E-ASSAY-001: the reader gave something that is no assay.
    """
    reader = read_values if spec.format is None else FORMATS[spec.format].function()
    adata: AnnData = reader(study.resolve(str(spec.file)), study=study, spec=spec)
    check_assay(adata, spec.name, biopsies=study.biopsies.index).raise_if_any(AssayError)
    return in_order(adata, study)


def assay_files(spec: AssaySpec, study: Study) -> list[str]:
    """Files that an expression assay is made of, as paths from the study folder, sorted.

    Parameters
    ----------
    spec : AssaySpec
    study : Study
    """
    root = study.path or Path()
    names = [name for name in (spec.file, spec.genes, spec.transcripts) if name is not None]
    if spec.files is not None:
        names += [_from(root, file) for file in _chosen(spec.files, root)]
    if spec.rcc is not None:
        names += [_from(root, file) for file in rcc_files(root / spec.rcc)]
    return sorted(dict.fromkeys(names))


def _from(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()


def _chosen(files: str, root: Path) -> list[Path]:
    """Files of a folder or pattern, sorted by path; links that lead out of the study are not followed."""
    found = root.glob(files) if "*" in files else files_in(root / files)
    inside = root.resolve()
    return sorted(f for f in found if f.is_file() and f.resolve().is_relative_to(inside))


def own_libraries(study: Study, spec: AssaySpec) -> Study:
    """Leave the libraries that the sheet gives to this assay, where it has a column `assay`."""
    if "assay" not in study.libraries:
        return study
    named = study.libraries["assay"]
    return dataclasses.replace(study, libraries=study.libraries[named.isna() | (named == spec.name)])


def read_assay(study: Study, spec: AssaySpec) -> AnnData:
    """Read an expression assay as study.yaml describes it.

    Parameters
    ----------
    study : Study
    spec : AssaySpec
        Of kind ``count`` or ``intensity``.

    Returns
    -------
    AnnData, biopsies x features
        Biopsies in the order of the study, features in that of their names.

    Raises
    ------
    AssayError
        With every fault of its files.
    """
    return in_order(_read(own_libraries(study, spec), spec), study)


def in_order(adata: AnnData, study: Study) -> AnnData:
    """Sort an assay: biopsies as in the study, features by name, whatever the order in its file."""
    place = {str(biopsy): k for k, biopsy in enumerate(study.biopsies.index)}
    biopsies = sorted(map(str, adata.obs_names), key=lambda b: (place.get(b, len(place)), b))
    features = sorted(map(str, adata.var_names), key=id_key)
    if biopsies == list(adata.obs_names) and features == list(adata.var_names):
        return adata
    return adata[biopsies, features].copy()


def _read(study: Study, spec: AssaySpec) -> AnnData:
    options = LaneOptions(background=spec.background or "threshold", housekeeping=spec.housekeeping)
    if spec.rcc is not None:
        return read_ncounter(
            study.resolve(spec.rcc), study=study, kind=spec.kind, name=spec.rcc, options=options
        )
    if spec.format == "nsolver" and spec.file is not None:
        classes = None if spec.genes is None else study.resolve(spec.genes)
        return read_nsolver(
            study.resolve(spec.file), study=study, classes=classes, name=spec.file, options=options
        )
    where, source = count_files(study, spec)
    return read_counts(where, study=study, spec=spec, source=source)


def count_files(study: Study, spec: AssaySpec) -> tuple[Path | list[Path], CountSource]:
    """Give the file or files of an assay of libraries, and how they are read.

    Raises
    ------
    AssayError
        E-FILE-001: no file fits `files`.
    """
    source = CountSource(
        format=spec.format or "auto",
        strand=spec.strand,
        transcripts=None if spec.transcripts is None else study.resolve(spec.transcripts),
        counts_from=spec.counts_from or "length_scaled",
    )
    if spec.files is None:
        return study.resolve(spec.file or ""), source
    files = _chosen(spec.files, study.path or Path())
    if not files:
        raise AssayError(
            [
                Problem(
                    "E-FILE-001",
                    "No file of the study fits `files`.",
                    remedy="Name the folder of the counting tool's files, or a pattern such as 'star/*.tab'.",
                    file="study.yaml",
                    column=f"assays.{spec.name}.files",
                    value=spec.files,
                )
            ]
        )
    return [*files], source
