"""An export as text: its header, its columns, and the line of every row. Nothing is inferred."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pv

from pdbiomarker.errors import Problems
from pdbiomarker.tables import add_rows

__all__ = ["RawTable", "read_header", "read_raw", "to_floats"]

_MAX_BYTES: Final = 4 * 2**30
_PEEK: Final = 1 << 20
_DELIMITERS: Final = ("\t", ";", ",")
_MISSING: Final = frozenset({"", "NaN", "nan", "NA", "N/A", "null"})
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclasses.dataclass(frozen=True, slots=True)
class RawTable:
    """Columns of an export as texts.

    Attributes
    ----------
    file : str
        Its name, for messages.
    columns : mapping of str to array of object
        Header as typed -> texts.
    lines : array of int64
        The line of each row; the header is line 1. Of GeoJSON, the number of the feature.
    """

    file: str
    columns: Mapping[str, npt.NDArray[np.object_]]
    lines: npt.NDArray[np.int64]

    def take(self, keep: npt.NDArray[np.bool_]) -> RawTable:
        """Give some of the rows."""
        return RawTable(self.file, {k: v[keep] for k, v in self.columns.items()}, self.lines[keep])


@dataclasses.dataclass(frozen=True, slots=True)
class _Form:
    """How a file is written."""

    header: tuple[str, ...]
    delimiter: str
    encoding: str


def read_header(path: Path, problems: Problems) -> _Form | None:
    """Give header, delimiter and encoding of a delimited file; None (told) where there is none."""

    def refuse(code: str, message: str, remedy: str) -> None:
        problems.add(code, message, remedy=remedy, file=path.name)

    try:
        with path.open("rb") as stream:
            head = stream.read(_PEEK)
        size = path.stat().st_size
    except OSError as error:
        refuse("E-FILE-001", f"The file cannot be read ({error.strerror}).", "Correct the path.")
        return None
    if size > _MAX_BYTES:
        refuse("E-FILE-005", "The file is larger than 4 GB.", "Export each slide into a file of its own.")
        return None
    if not head.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n"):
        refuse("E-FILE-004", "The file is empty.", "Export the measurements again.")
        return None
    if b"\x00" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        refuse("E-FILE-003", "The file is not text.", "Give the export as CSV or TSV.")
        return None
    encoding = _encoding(head)
    text = head.decode(encoding, errors="replace").lstrip("\ufeff")
    first = text.splitlines()[0]
    if not first.strip():
        refuse("E-SHEET-018", "The first line is empty; it must be the header.", "Remove the empty line.")
        return None
    delimiter = next((d for d in _DELIMITERS if d in first), ",")
    header = tuple(name.strip() for name in next(csv.reader(io.StringIO(first), delimiter=delimiter)))
    return _Form(header, delimiter, encoding)


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return "utf-8" if error.start > len(head) - 4 and len(head) == _PEEK else "cp1252"
    return "utf-8"


def read_raw(path: Path, form: _Form, wanted: Sequence[str], problems: Problems) -> RawTable | None:
    """Read some columns of a delimited file as texts.

    Rows that do not have the header's number of fields are refused with their line; a header that is
    repeated further down (of files put together) is skipped and told.
    """
    wrong: list[tuple[int, str | None, str]] = []

    def refuse_row(row: Any) -> str:
        fields = f"{row.actual_columns} fields, the header {row.expected_columns}"
        wrong.append((int(row.number or 0), str(row.text)[:80], f"The row has {fields}."))
        return "skip"

    names = [name if name else f"\x00{place}" for place, name in enumerate(form.header)]
    twice = {name for name in names if names.count(name) > 1}
    for name in [name for name in wanted if name in twice]:
        problems.add(
            "E-SHEET-002",
            "Two columns have this name.",
            remedy="Export the table with each column once.",
            file=path.name,
            column=name,
        )
    if twice & set(wanted):
        return None
    unique = [f"\x00{place}" if name in twice else name for place, name in enumerate(names)]
    try:
        table = pv.read_csv(
            path,
            read_options=pv.ReadOptions(
                use_threads=False, column_names=unique, skip_rows=1, encoding=form.encoding
            ),
            parse_options=pv.ParseOptions(
                delimiter=form.delimiter, invalid_row_handler=refuse_row, ignore_empty_lines=False
            ),
            convert_options=pv.ConvertOptions(
                include_columns=list(wanted),
                column_types=dict.fromkeys(wanted, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, OSError, UnicodeError) as error:
        first = str(error).partition("\n")[0]
        problems.add(
            "E-FILE-005", f"The table cannot be read: {first}.", remedy="Export it again.", file=path.name
        )
        return None
    add_rows(problems, "E-SHEET-003", wrong, remedy="Export the table again, whole.", file=path.name)
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in wanted}
    skipped = np.array([line for line, _, _ in wrong], dtype=np.int64)
    lines = np.setdiff1d(np.arange(2, table.num_rows + len(skipped) + 2, dtype=np.int64), skipped)
    raw = RawTable(path.name, {k: _stripped(v) for k, v in columns.items()}, lines)
    return _without_headers(raw, problems)


def _stripped(texts: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    return np.array([text.strip() for text in texts], dtype=object)


def _without_headers(raw: RawTable, problems: Problems) -> RawTable:
    """Leave out empty lines, and tell and leave out repeated headers."""
    n = len(raw.lines)
    header, empty = np.ones(n, dtype=np.bool_), np.ones(n, dtype=np.bool_)
    for name, texts in raw.columns.items():
        header &= texts == name
        empty &= texts == ""
    again = [
        (int(line), None, "The header stands here again; the line is skipped.") for line in raw.lines[header]
    ]
    remedy = "Nothing, if exports were put together."
    add_rows(problems, "E-SHEET-019", again, remedy=remedy, file=raw.file, severity="warning")
    return raw.take(~(header | empty))


def to_floats(
    raw: RawTable, column: str, problems: Problems, *, low: float = -np.inf, high: float = np.inf
) -> npt.NDArray[np.float64]:
    """Turn a column into numbers; NaN where it is empty, NaN or NA; other texts are refused with the row."""
    texts = raw.columns[column]
    series = pd.Series(texts, dtype=object)
    known = ~series.isin(_MISSING)
    values = pd.to_numeric(series.where(known), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    able = known.to_numpy() & np.isfinite(values)
    wrong = np.flatnonzero(known.to_numpy() & ~np.isfinite(values))
    told = [(int(raw.lines[i]), str(texts[i]), _why(str(texts[i]))) for i in wrong]
    remedy = "Export with a decimal point and without units in the cells."
    add_rows(problems, "E-SHEET-007", told, remedy=remedy, file=raw.file, column=column)
    beyond = np.flatnonzero(able & ((values < low) | (values > high)))
    limits = f"outside {low:g} to {high:g}"
    far = [(int(raw.lines[i]), str(texts[i]), f"The value is {limits}.") for i in beyond]
    add_rows(
        problems, "E-SHEET-008", far, remedy="Check the unit of the column.", file=raw.file, column=column
    )
    return values


def _why(text: str) -> str:
    if re.fullmatch(r"[+-]?\d*,\d+", text):
        return "The value has a decimal comma."
    if text.endswith("%"):
        return "The value has a percent sign."
    if _NUMBER.fullmatch(text):
        return "The value is too large for a number."
    return "The value is not a number."
