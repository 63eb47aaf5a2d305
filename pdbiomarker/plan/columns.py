"""The columns that formulas and contrasts of a plan may name, and their levels."""

from __future__ import annotations

from typing import Final, cast

import pandas as pd

from pdbiomarker.formula import Formula, parse
from pdbiomarker.formula.columns import Column, factor_column, read_columns
from pdbiomarker.formula.grammar import quote_name
from pdbiomarker.study import Study

__all__ = ["SIGNATURES", "assay_names", "columns_of", "formula_levels"]

#: Appended to the name of a count assay for the assay of its signature scores.
SIGNATURES: Final = "_signatures"

#: Names of the keys in formulas, and technical columns that readers add to an assay.
_KEYS: Final = ("participant", "biopsy", "visit")
_TECHNICAL: Final = ("batch", "n_libraries", "n_slides", "area_mm2")


def _tables(study: Study) -> list[pd.DataFrame]:
    """Give every table whose columns a formula may name."""
    sheets = [study.participants, study.biopsies, study.libraries, study.slides]
    return [*sheets, *(cast("pd.DataFrame", adata.obs) for adata in study.assays.values())]


def columns_of(study: Study) -> tuple[str, ...]:
    """Every column that a formula may name; the keys first."""
    columns = [str(column) for table in _tables(study) for column in table.columns]
    return tuple(dict.fromkeys([*_KEYS, "participant_id", "biopsy_id", *columns, *_TECHNICAL]))


def formula_levels(formula: Formula, study: Study) -> dict[str, tuple[str, ...] | None]:
    """Give the columns of the fixed part with their levels, None for numbers; without the visit."""
    variables = [variable for term in formula.fixed for variable in term.variables]
    keys: dict[str, pd.Series] = {
        "participant": study.participants.index.to_series(),
        "biopsy": study.biopsies.index.to_series(),
    }
    found: dict[str, tuple[str, ...] | None] = {}
    for name in dict.fromkeys(variable.column for variable in variables if variable.column != "visit"):
        given = [table[name] for table in _tables(study) if name in table]
        given = [keys[name]] if name in keys else given
        as_factor = any(v.scheme is not None for v in variables if v.column == name)
        columns = [_column(name, values) for values in given]
        if as_factor or any(column.kind != "number" for column in columns):
            labels = dict.fromkeys(level for column in columns for level in column.levels(None))
            found[name] = tuple(sorted(labels))
        else:
            found[name] = None
    return found


def _column(name: str, values: pd.Series) -> Column:
    """Read a column as a formula does; one that a formula refuses has no levels."""
    plain = pd.DataFrame({name: values.to_numpy()})
    columns, _ = read_columns(parse(f"~ {quote_name(name)}"), plain, [name])
    return columns[name] if name in columns else factor_column(name, [])


def assay_names(study: Study) -> tuple[str, ...]:
    """Every assay that a study has or declares, those of signatures included."""
    names = list(study.assays)
    for spec in study.spec.assays:
        # A single-cell file is no assay itself: those of its cell types are, and the file alone names them.
        names += [] if spec.h5ad is not None else [spec.name]
        if spec.signatures and spec.h5ad is None:
            names.append(spec.name + SIGNATURES)
    return tuple(dict.fromkeys(names))
