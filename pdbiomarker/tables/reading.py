"""Reading a sheet as text, with the line of every fault.

Nothing is inferred: a cell is the text that was typed, or None when it is empty.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import re
import stat
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

import openpyxl
import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.tables.columns import add_rows
from pdbiomarker.tables.decoding import decode_text, line_of

MAX_BYTES: Final = 256 * 2**20  # a sheet, unpacked; a count matrix has its own reader
# A spreadsheet may unpack to so much, and beyond that to so many times its bytes: cells repeat, but not so.
_FREE_BYTES: Final = 16 * 2**20
_MAX_RATIO: Final = 100
_DELIMITERS: Final = (",", ";", "\t")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")
_SPREADSHEET_SUFFIXES: Final = (".xlsx", ".xlsm")

_CHUNK: Final = 2**20

#: First bytes of things that are often saved under a table's name.
_MAGIC: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"PK\x03\x04", "a spreadsheet (XLSX) or another ZIP archive", "Save it as CSV, or name it .xlsx."),
    (b"\xd0\xcf\x11\xe0", "an old Excel file (XLS)", "Save it as CSV in UTF-8."),
    (b"PAR1", "a Parquet file", "Name it .parquet where Parquet is allowed, or save it as CSV."),
    (b"\x89HDF", "an HDF5 file", "Save the table as CSV."),
    (b"\x1f\x8b", "a gzip file", "Name it .csv.gz."),
    (b"%PDF", "a PDF", "Save the table as CSV."),
    (b"{\\rtf", "a rich-text document", "Save the table as CSV."),
)


def read_table(path: str | Path, *, name: str | None = None, problems: Problems) -> pd.DataFrame | None:
    """Read a CSV, TSV (also .gz) or the first sheet of an .xlsx as text.

    Parameters
    ----------
    path : path
        The file. Comma, semicolon and tab are told apart by the header.
    name : str, optional
        What problems call the file; default, its name.
    problems : Problems
        Every fault is added, with its line as a text editor counts it (the header is line 1).

    Returns
    -------
    DataFrame or None
        One row for each record, index = line number (int), every column of dtype object holding str, or
        None for an empty cell; the texts ``NA``, ``None`` and ``007`` stay. A cell that a spreadsheet-safe
        writer protected by an apostrophe (``'=1+1``) is given without it. None when the file cannot be
        read at all.
    """
    file = Path(path)
    label = file.name if name is None else name
    data = _read_bytes(file, label, problems)
    if data is None:
        return None
    if file.name.casefold().endswith(_SPREADSHEET_SUFFIXES):
        records = _spreadsheet_records(data, label, problems)
    else:
        text = _decode(data, label, problems)
        records = None if text is None else _text_records(text, file.name, label, problems)
    return None if records is None else _frame(records, label, problems)


def _read_bytes(file: Path, label: str, problems: Problems) -> bytes | None:
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        problems.add(
            "E-FILE-001",
            "The file does not exist or cannot be reached" + _reason(error),
            remedy="Put the file there, or correct its name.",
            file=label,
        )
        return None
    if not stat.S_ISREG(mode):
        problems.add(
            "E-FILE-002",
            "The path is not a regular file.",
            remedy="Name a file, not a folder, device or pipe.",
            file=label,
        )
        return None
    try:
        with file.open("rb") as stream:
            data = read_at_most(stream, MAX_BYTES + 1)
        if file.name.casefold().endswith(".gz"):
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = read_at_most(packed, MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        problems.add(
            "E-FILE-005",
            "The file cannot be read" + _reason(error),
            remedy="Check that the file is complete, that it is what its name says and that you may read it.",
            file=label,
        )
        return None
    if len(data) > MAX_BYTES:
        problems.add(
            "E-FILE-005",
            f"The file holds more than {MAX_BYTES // 2**20} MB; a sheet has one row for each thing studied.",
            remedy="Check that this is the sheet and not a measurement.",
            file=label,
        )
        return None
    if not data.strip(b"\xef\xbb\xbf \t\r\n"):
        problems.add(
            "E-FILE-004",
            "The file is empty.",
            remedy="Give a header and one row for each record.",
            file=label,
        )
        return None
    return data


def read_at_most(stream: BinaryIO | gzip.GzipFile, most: int) -> bytes:
    """Read to the end, or `most` bytes; ``stream.read(most)`` would take that much memory at once."""
    parts: list[bytes] = []
    left = most
    while left > 0 and (part := stream.read(min(_CHUNK, left))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or type(error).__name__
    return f" ({text})."


def _decode(data: bytes, label: str, problems: Problems) -> str | None:
    for magic, what, remedy in _MAGIC:
        if data.startswith(magic):
            problems.add("E-FILE-005", f"The file is {what}, not a text table.", remedy=remedy, file=label)
            return None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data[:64:2].count(0) > 8 or data[1:64:2].count(0) > 8:
        problems.add(
            "E-FILE-003",
            "The file is in UTF-16, not UTF-8 (from byte 0).",
            remedy="Save it as 'CSV UTF-8'.",
            file=label,
            row=1,
        )
        return None
    zero = data.find(b"\x00")
    if zero >= 0:
        problems.add(
            "E-FILE-003",
            f"The file holds a NUL byte at byte {zero}: it is damaged or not a text.",
            remedy="Export the table again as UTF-8 text.",
            file=label,
            row=line_of(data, zero),
            value="\\x00",
        )
        return None
    text = decode_text(data, problems, file=label, remedy="Save it as 'CSV UTF-8'.")
    if text is None:
        return None
    head = text.lstrip()[:200].casefold()
    if re.match(r"<(!doctype|html|table|\?xml|head|body|meta|div|!--)", head):
        problems.add(
            "E-FILE-005",
            "The file is HTML or XML, not a text table.",
            remedy="Export the table as CSV; some systems save a web page under the name .csv or .xls.",
            file=label,
            row=1,
        )
        return None
    return text


Records = list[tuple[int, list[str]]]


def _text_records(text: str, file_name: str, label: str, problems: Problems) -> Records | None:
    lines = list(io.StringIO(text, newline=""))
    delimiter = _delimiter(lines, file_name)
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    records: Records = []
    comments: list[tuple[int, str | None, str]] = []
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            problems.add(
                "E-SHEET-019",
                f"The record that starts here cannot be read: {error}.",
                remedy='A quote inside a quoted cell is written twice ("").',
                file=label,
                row=start,
                value=lines[start - 1].rstrip("\r\n")[:80],
            )
            break
        if lines[start - 1].startswith("#"):
            value = lines[start - 1].rstrip("\r\n")[:80]
            comments.append((start, value, "The line starts with '#': a comment is not part of a table."))
        elif fields:
            records.append((start, fields))
    add_rows(
        problems,
        "E-SHEET-019",
        comments,
        remedy="Remove the line; if it is data, put its first cell in double quotes.",
        file=label,
    )
    return records


def _delimiter(lines: Sequence[str], file_name: str) -> str:
    """Take the delimiter that gives the header the most fields."""
    header = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    counts: dict[str, int] = {}
    for delimiter in _DELIMITERS:
        try:
            counts[delimiter] = len(next(csv.reader(iter(lines[header:]), delimiter=delimiter, strict=True)))
        except (csv.Error, StopIteration):
            counts[delimiter] = 0
    best = max(counts.values())
    stem = file_name.casefold().removesuffix(".gz")
    preferred = ("\t", ",", ";") if stem.endswith((".tsv", ".tab", ".txt")) else _DELIMITERS
    return next(delimiter for delimiter in preferred if counts[delimiter] == best)


def _spreadsheet_records(data: bytes, label: str, problems: Problems) -> Records | None:
    records: Records = []
    formulas: list[tuple[int, str | None, str]] = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > min(MAX_BYTES, max(_FREE_BYTES, _MAX_RATIO * len(data))):
            problems.add(
                "E-FILE-005",
                f"The spreadsheet unpacks from {len(data) / 2**20:.1f} to {size // 2**20} MB; no table does.",
                remedy="Save the sheet as CSV.",
                file=label,
            )
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and validations that openpyxl leaves out
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, keep_links=False)
            sheet = book.worksheets[0]
            for line, row in enumerate(sheet.iter_rows(), start=1):
                fields = []
                for cell in row:
                    if cell.data_type == "f":
                        formulas.append((line, str(cell.value), "The cell holds a formula, not a value."))
                    fields.append(_cell_text(cell.value))
                while fields and not fields[-1]:
                    fields.pop()
                if fields:
                    records.append((line, fields))
            others = [other.title for other in book.worksheets[1:]]
            book.close()
    except Exception as error:  # whatever a foreign or damaged workbook makes its readers raise
        problems.add(
            "E-FILE-005",
            "The file is not a readable XLSX spreadsheet" + _reason(error),
            remedy="Save the sheet as CSV in UTF-8.",
            file=label,
        )
        return None
    add_rows(
        problems,
        "E-SHEET-007",
        formulas,
        remedy="Replace formulas by their values (paste as values).",
        file=label,
    )
    if others:
        problems.add(
            "E-SHEET-019",
            f"Only the first sheet is read; {len(others)} more exist.",
            remedy="Give each table its own file.",
            file=label,
            value=", ".join(others),
            severity="warning",
        )
    width = len(records[0][1]) if records else 0
    return [(line, fields + [""] * (width - len(fields))) for line, fields in records]


def _cell_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(value)


def _frame(records: Records, label: str, problems: Problems) -> pd.DataFrame | None:
    if not records:
        problems.add(
            "E-FILE-004",
            "The file holds no table.",
            remedy="Give a header and one row for each record.",
            file=label,
        )
        return None
    header_line, header = records[0]
    columns = [unicodedata.normalize("NFKC", _unescape(field) or "").strip() for field in header]
    rows = _same_width(records[1:], len(columns), label, problems)
    kept = _named_columns(columns, header_line, rows, label, problems)
    cells = {columns[position]: [_unescape(fields[position]) for _, fields in rows] for position in kept}
    index = pd.Index([line for line, _ in rows], dtype="int64")
    return pd.DataFrame(cells, index=index, columns=[columns[i] for i in kept], dtype=object)


def _unescape(field: str) -> str | None:
    if not field:
        return None
    return field[1:] if _ESCAPED.match(field) else field


def _same_width(records: Records, width: int, label: str, problems: Problems) -> Records:
    """Give every record the header's width; what does not fit is reported and never shifts a column."""
    rows: Records = []
    ragged: list[tuple[int, str | None, str]] = []
    trailing: list[int] = []
    blank: list[int] = []
    for line, fields in records:
        if not any(field.strip() for field in fields):
            blank.append(line)
            continue
        extra = fields[width:]
        if len(fields) < width or any(extra):
            value = " | ".join(fields)[:80]
            ragged.append((line, value, f"The row has {len(fields)} fields, the header has {width}."))
        elif extra:
            trailing.append(line)
        rows.append((line, fields[:width] + [""] * (width - len(fields))))
    add_rows(
        problems,
        "E-SHEET-003",
        ragged,
        remedy="Put cells that hold the delimiter in double quotes, and give every column a cell.",
        file=label,
    )
    for lines, what in ((trailing, "end in an empty extra field, which is left out"), (blank, "are empty")):
        if lines:
            problems.add(
                "E-SHEET-019",
                f"{len(lines)} row{'s' if len(lines) > 1 else ''} {what} (first: line {lines[0]}).",
                remedy="Nothing is shifted; export without trailing delimiters or empty rows.",
                file=label,
                row=lines[0],
                severity="warning",
            )
    return rows


def _named_columns(
    columns: Sequence[str], line: int, rows: Records, label: str, problems: Problems
) -> list[int]:
    """Positions of the columns kept: those with a name, each name once."""
    first: dict[str, int] = {}
    for position, column in enumerate(columns):
        if not column:
            filled = next((row for row, fields in rows if fields[position].strip()), None)
            problems.add(
                "E-SHEET-018",
                f"Column {position + 1} has no name"
                + (
                    " and no values; it is left out." if filled is None else f" but a value in line {filled}."
                ),
                remedy="Name the column or remove it.",
                file=label,
                row=line,
                column=str(position + 1),
                severity="warning" if filled is None else "error",
            )
        elif column in first:
            problems.add(
                "E-SHEET-002",
                f"Columns {first[column] + 1} and {position + 1} have the same name.",
                remedy="Rename or remove one of them.",
                file=label,
                row=line,
                column=column,
                value=column,
            )
        elif any(unicodedata.category(character) in {"Cc", "Cf"} for character in column):
            problems.add(
                "E-SHEET-010",
                f"The name of column {position + 1} holds a control character.",
                remedy="Type the name again.",
                file=label,
                row=line,
                column=str(position + 1),
                value=ascii(column),
            )
        else:
            first[column] = position
    return sorted(first.values())
