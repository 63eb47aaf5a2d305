"""Reading a genes x libraries table: exact text of every id, exact place of every fault.

The table is parsed once into Arrow columns of text. A column in which every cell is a run of digits, as in
any real count matrix, is converted as a whole; only the cells of other columns are looked at one kind of
fault at a time. Faults are kept as a small matrix of codes, so that all of them are found in one pass and
the first of each kind are reported with gene, line, library and value.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from pdbiomarker.errors import Problems
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.tables import decode_text, read_at_most, read_table

__all__ = [
    "FRACTION",
    "MISSING",
    "NEGATIVE",
    "TEXT",
    "IntArray",
    "RawMatrix",
    "column_numbers",
    "matrix_of",
    "read_bytes",
    "read_matrix",
]

IntArray = npt.NDArray[np.int64]

#: Faults of a cell, in the order in which they are reported.
TEXT, NEGATIVE, FRACTION, MISSING = 1, 2, 3, 4

#: An unpacked table larger than this is refused: 60,000 genes x 5,000 libraries are about 1.5 GB.
MAX_BYTES: Final = 4 * 2**30
#: A packed file of more than `_SMALL` bytes that holds this many times its size is refused: counts pack to a
#: tenth, a mostly empty matrix to a hundredth.
MAX_RATIO: Final = 400
_SMALL: Final = 2**26
#: Ragged lines that are reported one by one.
_MAX_LINES: Final = 20
#: Doubles hold every integer below this exactly; 2^53 + 1 is read as 2^53.
_MAX_EXACT: Final = 2.0**53

_NUMBER: Final = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_MISSING_TEXTS: Final = ("", "na", "nan", "null", "none", "n/a", "#n/a", "<na>", "inf", "infinity")
#: A cell that a spreadsheet-safe writer protected by an apostrophe.
_PROTECTED: Final = re.compile(r"'+[=+\-@\t\r]")

_MAGIC: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"\xd0\xcf\x11\xe0", "an old Excel file (XLS)", "Save the sheet as CSV in UTF-8."),
    (b"BZh", "a bzip2 file", "Pack it with gzip, or leave it unpacked."),
    (b"\xfd7zXZ", "an xz file", "Pack it with gzip, or leave it unpacked."),
    (b"\x28\xb5\x2f\xfd", "a zstandard file", "Pack it with gzip, or leave it unpacked."),
    (b"%PDF", "a PDF", "Export the counts as CSV."),
)


@dataclass(frozen=True)
class RawMatrix:
    """A table as it stands in the file.

    Attributes
    ----------
    values : array, genes x libraries
        Numbers; NaN where `faults` is not 0 for text and missing cells.
    faults : array of int8, genes x libraries
        0 or one of ``TEXT, NEGATIVE, FRACTION, MISSING``.
    genes, libraries : list of str
        Ids as typed.
    lines : array of int
        Line of each gene in the file (the header is line 1); for Parquet the row counted from 1.
    columns : list of pyarrow.ChunkedArray
        The cells as read, for quoting a value.
    corner : str
        What stands over the gene ids.
    """

    values: FloatArray
    faults: npt.NDArray[np.int8]
    genes: list[str]
    libraries: list[str]
    lines: IntArray
    columns: Sequence[pa.ChunkedArray]
    corner: str = ""

    def text(self, gene: int, library: int) -> str:
        """Return the cell as it was typed."""
        value = self.columns[library][gene].as_py()
        return "" if value is None else str(value)


def read_matrix(path: Path, name: str, problems: Problems, *, data: bytes | None = None) -> RawMatrix | None:
    """Read a count table; None where it is not a table, which `problems` then says.

    Parameters
    ----------
    path : Path
        CSV, TSV (either may be gzip-packed), Parquet or XLSX (its first sheet), told apart by content.
    name : str
        What problems call the file.
    problems : Problems
        Faults of the file, its lines and its header are added; faults of cells are in the result.
    data : bytes, optional
        The unpacked content, where it has been read before.
    """
    data = read_bytes(path, name, problems) if data is None else data
    if data is None:
        return None
    if data.startswith(b"PK\x03\x04"):
        return _read_spreadsheet(path, name, problems)
    if data.startswith(b"PAR1"):
        return _read_parquet(data, name, problems)
    if not _is_text(data, name, problems):
        return None
    return _read_text(data.removeprefix(b"\xef\xbb\xbf"), name, problems)


def read_bytes(path: Path, name: str, problems: Problems) -> bytes | None:
    """The unpacked content of a regular file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            problems.add(
                "E-FILE-002",
                "The count matrix is not a regular file.",
                remedy="Name a CSV, TSV or Parquet file, not a folder, device or pipe.",
                file=name,
            )
            return None
        with path.open("rb") as stream:
            data = read_at_most(stream, MAX_BYTES + 1)
        if data.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                most = max(MAX_RATIO * len(data), _SMALL)
                data = read_at_most(packed, min(most, MAX_BYTES) + 1)
            if len(data) > most:
                problems.add(
                    "E-FILE-005",
                    f"The count matrix unpacks to more than {MAX_RATIO} times its size: no counts are that "
                    "repetitive.",
                    remedy="Check that this is a genes x libraries table; pack it again from its source.",
                    file=name,
                )
                return None
    except FileNotFoundError:
        problems.add(
            "E-FILE-001",
            "The count matrix does not exist.",
            remedy="Correct the path (in a study: `file` of the assay in study.yaml), or put the file there.",
            file=name,
        )
        return None
    except (OSError, EOFError, zlib.error) as error:
        problems.add(
            "E-FILE-005",
            f"The count matrix cannot be read: {type(error).__name__}; it is damaged, cut short or locked.",
            remedy="Copy the file again from its source.",
            file=name,
        )
        return None
    if len(data) > MAX_BYTES:
        problems.add(
            "E-FILE-005",
            f"The count matrix unpacks to more than {MAX_BYTES // 2**30} GB.",
            remedy="Check that this is a genes x libraries table; store a large one as Parquet.",
            file=name,
        )
        return None
    if not data.removeprefix(b"\xef\xbb\xbf").strip():
        problems.add(
            "E-FILE-004",
            "The count matrix is empty.",
            remedy="Give a header of library ids and one row for each gene.",
            file=name,
        )
        return None
    return data


def _is_text(data: bytes, name: str, problems: Problems) -> bool:
    """Whether the bytes are a UTF-8 text table."""
    for magic, what, remedy in _MAGIC:
        if data.startswith(magic):
            problems.add("E-FILE-005", f"The file is {what}, not a text table.", remedy=remedy, file=name)
            return False
    zero = data.find(b"\x00")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or zero >= 0:
        what = "is in UTF-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "holds a NUL byte"
        problems.add(
            "E-FILE-003",
            f"The file {what} (byte {max(zero, 0)}), not text in UTF-8.",
            remedy="Export the table again as 'CSV UTF-8'.",
            file=name,
            row=data[: max(zero, 0)].count(b"\n") + 1,
        )
        return False
    if decode_text(data, problems, file=name, remedy="Save it as 'CSV UTF-8'.") is None:
        return False
    if re.match(rb"\s*<", data[:200].removeprefix(b"\xef\xbb\xbf")):
        problems.add(
            "E-FILE-005",
            "The file is HTML or XML, not a text table.",
            remedy="Download the table itself; a log-in page is sometimes saved under its name.",
            file=name,
            row=1,
        )
        return False
    return True


def _read_text(data: bytes, name: str, problems: Problems) -> RawMatrix | None:
    head = _head(data)
    delimiter = max("\t,;", key=lambda d: len(_fields(head[0], d)))
    header = _fields(head[0], delimiter)
    if not _is_table(data, header, name, problems):
        return None
    header, width = _aligned(header, head, delimiter, name, problems)
    if width == 0:
        return None
    table, lines = _parse(data, width, delimiter, name, problems)
    if table.num_rows == 0:
        problems.add(
            "E-SHEET-011",
            "The count matrix has a header and no gene.",
            remedy="Give one row for each gene.",
            file=name,
            row=1,
        )
        return None
    genes = [_unprotected(g) for g in table.column(0).to_pylist()]
    libraries = [_unprotected(h) for h in header[1:]]
    columns = _without_empty_column(table.columns[1:], libraries, name, problems)
    return _matrix(columns, genes, libraries[: len(columns)], lines, corner=header[0].strip())


def _without_empty_column(
    columns: list[pa.ChunkedArray], libraries: Sequence[str], name: str, problems: Problems
) -> list[pa.ChunkedArray]:
    """Leave out a last column without a name and without a value: lines that end in a delimiter."""
    if len(columns) < 2 or libraries[-1].strip():
        return columns
    if pc.any(pc.not_equal(pc.utf8_trim_whitespace(columns[-1]), "")).as_py():
        return columns
    problems.add(
        "E-SHEET-019",
        "All lines end in a delimiter: the last column has neither a name nor a value and is left out.",
        remedy="Export the table without it.",
        file=name,
        row=1,
        severity="warning",
    )
    return columns[:-1]


def _read_spreadsheet(path: Path, name: str, problems: Problems) -> RawMatrix | None:
    """Read the first sheet of a workbook, its cells as texts; a date is written as YYYY-MM-DD."""
    if not path.name.casefold().endswith((".xlsx", ".xlsm")):
        problems.add(
            "E-FILE-005",
            "The file is a spreadsheet (XLSX) or another ZIP archive, not a text table.",
            remedy="Name it .xlsx, or save the sheet as CSV in UTF-8.",
            file=name,
        )
        return None
    before = len(problems.errors)
    frame = read_table(path, name=name, problems=problems)
    if frame is None or len(problems.errors) > before:
        return None
    if frame.shape[1] < 2 or len(frame) == 0:
        problems.add(
            "E-SHEET-011",
            f"The sheet has {frame.shape[1]} columns and {len(frame)} rows.",
            remedy="Give the gene id first, then one column for each library.",
            file=name,
        )
        return None
    texts = [pa.chunked_array([pa.array([v or "" for v in frame[c]], pa.string())]) for c in frame.columns]
    genes = texts[0].to_pylist()
    libraries = [str(c) for c in frame.columns[1:]]
    lines = np.asarray(frame.index, dtype=np.int64)
    return _matrix(texts[1:], genes, libraries, lines, corner=str(frame.columns[0]))


def matrix_of(values: FloatArray, genes: list[str], libraries: list[str]) -> RawMatrix:
    """Give numbers that were computed or stored as such the form of a table that was read.

    Parameters
    ----------
    values : array, genes x libraries
    genes, libraries : list of str
    """
    columns = [pa.chunked_array([pa.array(np.ascontiguousarray(column))]) for column in values.T]
    return _matrix(columns, genes, libraries, np.arange(1, len(genes) + 1, dtype=np.int64))


def _head(data: bytes) -> list[str]:
    """The first two lines of the table."""
    end = 0
    for _ in range(2):
        match = re.compile(rb"\r\n|\n|\r").search(data, end)
        if match is None:
            end = len(data)
            break
        end = match.end()
    return data[:end].decode("utf-8").splitlines() or [""]


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a field beyond the reader's limit: what it is, the checks of the rows say
        return line.split(delimiter)


def _unprotected(text: str) -> str:
    return text[1:] if _PROTECTED.match(text) else text


def _is_table(data: bytes, header: Sequence[str], name: str, problems: Problems) -> bool:
    if data.startswith(b"#"):
        problems.add(
            "E-FILE-005",
            "The first line is a comment, not a header of library ids.",
            remedy="Remove the comment lines; of a featureCounts table keep Geneid and the count columns.",
            file=name,
            row=1,
            value=_head(data)[0][:80],
        )
        return False
    if len(header) < 2:
        problems.add(
            "E-FILE-005",
            "The first line has one field: no comma, tab or semicolon separates gene and libraries.",
            remedy="Save the table as CSV or TSV: gene id first, then one column for each library.",
            file=name,
            row=1,
            value=header[0][:80] if header else "",
        )
        return False
    return True


def _aligned(
    header: list[str], head: Sequence[str], delimiter: str, name: str, problems: Problems
) -> tuple[list[str], int]:
    """Header with its first name, and the fields of a row; 0 where they do not belong together.

    R writes row names without a name for their column: the header is then one field short.
    """
    first = _fields(head[1], delimiter) if len(head) > 1 else header
    if len(first) != len(header) + 1:
        return header, len(header)
    if first[-1].strip() == "":
        problems.add(
            "E-SHEET-003",
            f"The rows end in a delimiter: they have {len(first)} fields, the header {len(header)}.",
            remedy=f"Remove the last {delimiter!r} of each row.",
            file=name,
            row=2,
        )
        return header, 0
    problems.add(
        "E-SHEET-003",
        "The header has one field less than the rows (as R's write.table leaves it): "
        "it is read as library ids without a name for the gene column.",
        remedy="Name the gene column.",
        file=name,
        row=1,
        severity="warning",
    )
    return ["", *header], len(first)


def _parse(
    data: bytes, width: int, delimiter: str, name: str, problems: Problems
) -> tuple[pa.Table, IntArray]:
    """All rows as text, and the line of each; rows of another width are reported and left out."""
    names = [str(k) for k in range(width)]
    ragged: list[tuple[int, int]] = []
    blank: list[int] = []

    def other_width(row: pyarrow.csv.InvalidRow) -> str:
        if row.text.strip():
            ragged.append((row.number, row.actual_columns))
        else:
            blank.append(row.number)
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(
                column_names=names, skip_rows=1, use_threads=False, block_size=64 * 2**20
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, ignore_empty_lines=False, invalid_row_handler=other_width
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, null_values=[]
            ),
        )
    except pa.ArrowInvalid as error:
        problems.add(
            "E-FILE-005",
            f"The table cannot be read: {str(error).splitlines()[0]}",
            remedy="Look for an unclosed quote; export the table again.",
            file=name,
        )
        return pa.table({k: pa.array([], pa.string()) for k in names}), np.zeros(0, dtype=np.int64)
    for line, found in ragged[:_MAX_LINES]:
        problems.add(
            "E-SHEET-003",
            f"The row has {found} field{'' if found == 1 else 's'}, the header {width}.",
            remedy="Complete the row, or quote a cell that holds the delimiter.",
            file=name,
            row=line,
        )
    if len(ragged) > _MAX_LINES:
        problems.add(
            "E-SHEET-003",
            f"{len(ragged) - _MAX_LINES} more rows have another number of fields than the header.",
            remedy="Complete the rows.",
            file=name,
        )
    left_out = np.asarray([line for line, _ in ragged] + blank, dtype=np.int64)
    lines = np.arange(2, 2 + table.num_rows + left_out.size, dtype=np.int64)
    return _without_empty_rows(table, lines[~np.isin(lines, left_out)])


def _without_empty_rows(table: pa.Table, lines: IntArray) -> tuple[pa.Table, IntArray]:
    """Leave out lines on which nothing stands."""
    empty = pc.equal(table.column(0), "").to_numpy()
    for k in np.flatnonzero(empty).tolist():
        empty[k] = all(not column[k].as_py().strip() for column in table.columns)
    if not empty.any():
        return table, lines
    return table.filter(pa.array(~empty)), lines[~empty]


def _read_parquet(data: bytes, name: str, problems: Problems) -> RawMatrix | None:
    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(data))
        return _of_parquet(table, name, problems)
    except (pa.ArrowException, OSError, ValueError) as error:  # names, texts and metadata are read lazily
        problems.add(
            "E-FILE-005",
            f"The Parquet file cannot be read: {type(error).__name__}; it is damaged or cut short.",
            remedy="Write it again.",
            file=name,
        )
        return None


def _of_parquet(table: pa.Table, name: str, problems: Problems) -> RawMatrix | None:
    index = [c for c in _pandas_index(table) if c in table.column_names]
    first = index[0] if index else (table.column_names[0] if table.num_columns else "")
    if table.num_columns < 2 or table.num_rows == 0:
        problems.add(
            "E-SHEET-011",
            f"The Parquet table has {table.num_columns} columns and {table.num_rows} rows.",
            remedy="Give the gene id first, then one column for each library.",
            file=name,
        )
        return None
    ids = table.column(table.column_names.index(first))
    if pa.types.is_dictionary(ids.type):
        ids = ids.combine_chunks().dictionary_decode()
    if not (_is_text_type(ids.type) or pa.types.is_integer(ids.type)):
        problems.add(
            "E-SHEET-007",
            f"The gene ids are stored as {ids.type}, not as text: ids such as 007 or 1E5 are already lost.",
            remedy="Write the id column as text.",
            file=name,
            column=first,
        )
        return None
    genes = ["" if g is None else str(g) for g in ids.to_pylist()]
    kept = [k for k, c in enumerate(table.column_names) if c != first]
    libraries = [table.column_names[k] for k in kept]
    lines = np.arange(1, table.num_rows + 1, dtype=np.int64)
    return _matrix([table.column(k) for k in kept], genes, libraries, lines)


def _pandas_index(table: pa.Table) -> list[str]:
    """Columns that pandas stored as the index."""
    metadata = table.schema.pandas_metadata or {}
    return [c for c in metadata.get("index_columns", []) if isinstance(c, str)]


def _is_text_type(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _matrix(
    columns: Sequence[pa.ChunkedArray],
    genes: list[str],
    libraries: list[str],
    lines: IntArray,
    *,
    corner: str = "",
) -> RawMatrix:
    values = np.empty((len(genes), len(columns)), order="F")
    faults = np.zeros(values.shape, dtype=np.int8, order="F")
    for k, column in enumerate(columns):
        values[:, k], faults[:, k] = column_numbers(column)
    return RawMatrix(values, faults, genes, libraries, lines, columns, corner)


def column_numbers(column: pa.ChunkedArray) -> tuple[FloatArray, npt.NDArray[np.int8]]:
    """Numbers of a column (NaN for none) and the fault of each cell."""
    if pa.types.is_dictionary(column.type):
        column = pa.chunked_array([column.combine_chunks().dictionary_decode()])
    if _is_text_type(column.type):
        if column.null_count == 0 and pc.all(pc.ascii_is_decimal(column)).as_py():
            return _from_digits(column)
        numbers, text = _from_text(column)
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
        text = np.zeros(numbers.size, dtype=bool)
    else:
        numbers = np.full(len(column), np.nan)
        text = np.asarray(column.is_valid())
    return numbers, _faults(numbers, text)


def _from_digits(column: pa.ChunkedArray) -> tuple[FloatArray, npt.NDArray[np.int8]]:
    try:
        numbers = column.cast(pa.int64()).to_numpy().astype(np.float64)
    except pa.ArrowInvalid:  # more digits than an integer holds
        numbers = column.cast(pa.float64()).to_numpy()
    return numbers, _faults(numbers, np.zeros(numbers.size, dtype=bool))


def _from_text(column: pa.ChunkedArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Numbers (NaN for none) and which cells are text that is neither a number nor a mark of missing."""
    filled = pc.fill_null(column.cast(pa.string()), "")
    numeric = pc.match_substring_regex(filled, _NUMBER)
    plain = pc.replace_substring_regex(pc.utf8_trim_whitespace(filled), r"^\+", "")
    numbers = pc.cast(pc.if_else(numeric, plain, "nan"), pa.float64()).to_numpy()
    unsigned = pc.replace_substring_regex(pc.utf8_trim_whitespace(filled), r"^[+-]([A-Za-z])", r"\1")
    bare = pc.utf8_lower(unsigned)
    missing = pc.is_in(bare, value_set=pa.array(_MISSING_TEXTS))
    text = ~(np.asarray(numeric.to_numpy(zero_copy_only=False)) | missing.to_numpy(zero_copy_only=False))
    return np.array(numbers, dtype=np.float64), cast("npt.NDArray[np.bool_]", text)


def _faults(numbers: FloatArray, text: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    faults = np.zeros(numbers.size, dtype=np.int8)
    finite = np.isfinite(numbers) & (np.abs(numbers) < _MAX_EXACT)
    faults[~finite] = MISSING
    faults[finite & (numbers != np.floor(numbers))] = FRACTION
    faults[finite & (numbers < 0)] = NEGATIVE
    faults[text] = TEXT
    return faults
