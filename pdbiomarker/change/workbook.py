"""A result as one Excel workbook: a sheet for each table, every cell a value and never a formula."""

from __future__ import annotations

import datetime as dt
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from pdbiomarker.change.families import FEATURE_COUNT_OF_A_PANEL
from pdbiomarker.provenance import atomic_path
from pdbiomarker.tables import parse_date

if TYPE_CHECKING:
    from pdbiomarker.change.result import PDResult

__all__ = ["write_workbook"]

_MOST_ROWS: Final = 1_048_576
_LONGEST_TEXT: Final = 32_767
_LONGEST_NAME: Final = 31
_NO_CUTOFF: Final = dt.date(1970, 1, 1)
_OPTIONS: Final = {
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "in_memory": True,
}


class _Exact(float):
    """A number that is written with every bit, where the library would write sixteen digits."""

    def __format__(self, spec: str) -> str:
        return repr(float(self))


def write_workbook(result: PDResult, path: str | Path) -> Path:
    """Write a result as Excel workbook, the same bytes on every run.

    Parameters
    ----------
    result : PDResult
    path : path
        Written whole or not at all.

    Returns
    -------
    Path

    Notes
    -----
    Sheets: ``about``, ``pd_change``, ``changes`` (assays of at most 200 features: the sheet ``about`` names
    the others), ``robustness``, ``accountability``, ``biopsies``, ``pairs``, and one for each quality table.
    Missing values are empty cells; numbers keep every bit; texts that start with ``=`` stay texts. The
    document carries the data cut-off (1970-01-01 without one).
    """
    cutoff = parse_date(result.study.spec.data_cutoff or "") or _NO_CUTOFF
    tables = _tables(result)
    target = Path(path)
    content = io.BytesIO()  # in memory first: the writer hides that a disk is full
    book = xlsxwriter.Workbook(content, _OPTIONS)
    created = dt.datetime(cutoff.year, cutoff.month, cutoff.day)
    book.set_properties({"title": result.study.spec.id, "created": created})
    bold = book.add_format({"bold": True, "bottom": 1})
    taken: list[str] = []
    for name, table in tables.items():
        taken.append(_sheet_name(name, taken))
        _write(book.add_worksheet(taken[-1]), table, bold)
    book.close()
    with atomic_path(target) as temporary:
        temporary.write_bytes(content.getvalue())
    return target


def _tables(result: PDResult) -> dict[str, pd.DataFrame]:
    assays = result.study.assays
    large = sorted(n for n, data in assays.items() if data.n_vars > FEATURE_COUNT_OF_A_PANEL)
    about = [
        ("study", result.study.spec.id),
        ("data cut-off", result.study.spec.data_cutoff or "not given"),
        ("plan", result.plan.hash),
        ("formula", result.plan.formula),
        *((f"contrast {name}", text) for name, text in result.plan.contrasts.items()),
        ("assays", ", ".join(assays)),
        ("changes left out", ", ".join(large) or "none"),
    ]
    changes = result.changes[~result.changes["assay"].isin(large)]
    return {
        "about": pd.DataFrame(about, columns=["what", "value"]),
        "pd_change": result.table,
        "changes": changes,
        "robustness": result.robustness,
        "accountability": result.accountability,
        "biopsies": result.biopsies,
        "pairs": result.pairs,
        **{f"qc_{name}": table for name, table in sorted(result.qc.items())},
    }


def _sheet_name(name: str, taken: Sequence[str]) -> str:
    """Give a name that Excel takes: 31 characters, no brackets, colons or slashes, not there yet."""
    plain = "".join("_" if c in "[]:*?/\\'" else c for c in name)[:_LONGEST_NAME]
    folded = {other.casefold() for other in taken}
    number = 2
    while plain.casefold() in folded:
        plain = f"{plain[: _LONGEST_NAME - 3]}_{number}"
        number += 1
    return plain


def _write(sheet: Worksheet, table: pd.DataFrame, bold: Any) -> None:
    shown = table.reset_index() if table.index.name is not None else table
    for column, name in enumerate(map(str, shown.columns)):
        sheet.write_string(0, column, name, bold)
        values = shown.iloc[:, column].tolist()
        # What lies below the last row of a sheet is named in the last one, not lost in silence.
        for row, value in enumerate(values[: _MOST_ROWS - 2], start=1):
            _cell(sheet, row, column, value)
        if column == 0 and len(values) > _MOST_ROWS - 2:
            sheet.write_string(_MOST_ROWS - 1, 0, f"{len(values) - _MOST_ROWS + 2} more rows")
    sheet.freeze_panes(1, 0)


def _cell(sheet: Worksheet, row: int, column: int, value: object) -> None:
    if value is None or value is pd.NA or value is pd.NaT:
        return
    if isinstance(value, bool | np.bool_):
        sheet.write_boolean(row, column, bool(value))
    elif isinstance(value, int | float | np.number):
        number = float(value)
        if math.isinf(number):
            sheet.write_string(row, column, str(number))
        elif not math.isnan(number):
            sheet.write_number(row, column, _Exact(number))
    else:
        sheet.write_string(row, column, str(value)[:_LONGEST_TEXT])
