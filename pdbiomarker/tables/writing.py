"""Writing a table so that it reads back the same, and so that a spreadsheet runs nothing in it."""

from __future__ import annotations

import datetime as dt
import gzip
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd

from pdbiomarker.provenance import atomic_path
from pdbiomarker.tables.columns import is_number

_RUNS_IN_A_SPREADSHEET = re.compile(r"'*[=+\-@\t\r]")
_NEEDS_QUOTES = re.compile(r'[",;\t\r\n]|^[#\s\ufeff]|\s$')


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    r"""Write a table as CSV: UTF-8, lines ending in ``\n``, the same bytes on every run.

    Parameters
    ----------
    frame : DataFrame
        The index is written as the first column if it has a name, else left out. Floats are written as
        the shortest text that reads back the same; NaN, NA and None are empty cells; booleans are ``true``
        and ``false``. A text that starts with ``= + - @`` tab or carriage return and is not a number gets
        a leading apostrophe, which :func:`read_table` takes off again.
    path : path
        Written whole or not at all; a name ending in ``.gz`` is compressed.
    """
    table = frame.reset_index() if frame.index.name is not None else frame
    columns = [[_quoted(cell) for cell in _texts(table.iloc[:, i])] for i in range(table.shape[1])]
    header = ",".join(_quoted(_safe(str(name))) for name in table.columns)
    lines = [header, *map(",".join, zip(*columns, strict=True))] if columns else [header]
    if len(columns) == 1:  # an empty line would be no record
        lines = [line or '""' for line in lines]
    data = ("\n".join(lines) + "\n").encode("utf-8")
    target = Path(path)
    if target.name.endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def _texts(column: pd.Series) -> list[str]:
    return [_text(value) for value in column.tolist()]


def _text(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, str):
        return _safe(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else repr(float(value))
    if isinstance(value, dt.date):
        return value.isoformat()
    return _safe(str(value)) if not isinstance(value, int | np.integer) else str(int(value))


def _safe(text: str) -> str:
    if _RUNS_IN_A_SPREADSHEET.match(text) and not is_number(text):
        return "'" + text
    return text


def _quoted(text: str) -> str:
    if _NEEDS_QUOTES.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text
