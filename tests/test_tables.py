"""Tables and YAML as text: what is accepted, what is refused and where, and the round trip."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import tempfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from pdbiomarker.errors import Problems
from pdbiomarker.tables import (
    PartialDate,
    is_number,
    load_yaml,
    nearest,
    parse_date,
    parse_partial_date,
    read_at_most,
    read_table,
    read_yaml,
    to_date,
    to_number,
    to_typed,
    to_yaml,
    validate_yaml,
    write_table,
)

HOSTILE = [
    "0",
    "00",
    "007",
    "1E5",
    "NA",
    "None",
    "null",
    "TRUE",
    "nan",
    "=1+1",
    "+1-2",
    "-x",
    "@a",
    "'=1",
    "''",
]
HOSTILE += [
    "#1",
    'a"b',
    "a,b",
    "a;b",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "a\rb",
    " a",
    "a ",
    "\ufeffa",
    "\tx",
    "-5",
    "-",
    "ü",
]
HOSTILE += ["9007199254740993", "1-Mar", "2025-06-30", "</script>", "$x$", "日本", "a'b", "\u200b"]


def read(path: Path, data: bytes | str, name: str = "t.csv"):
    file = path / name
    file.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
    problems = Problems()
    return read_table(file, problems=problems), list(problems)


# --- reading -------------------------------------------------------------------------------------------


def test_everything_is_text_and_only_empty_cells_are_missing(tmp_path):
    frame, problems = read(tmp_path, "id,a,b\n007,NA,\n1E5,None,null\nTRUE,9007199254740993,1.50\n")
    assert not problems
    assert frame.index.tolist() == [2, 3, 4]
    assert frame.to_dict("list") == {
        "id": ["007", "1E5", "TRUE"],
        "a": ["NA", "None", "9007199254740993"],
        "b": [None, "null", "1.50"],
    }
    assert all(dtype.kind == "O" for dtype in frame.dtypes)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", b"a,b\n1,2\n"),
        ("t.csv", b"\xef\xbb\xbfa,b\r\n1,2\r\n"),  # BOM, Windows line ends
        ("t.csv", b"a,b\r1,2"),  # old Mac line ends, none at the end
        ("t.csv", b"a;b\n1;2\n"),
        ("t.tsv", b"a\tb\n1\t2\n"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)),
        ("t.csv", b'"a","b"\n"1","2"\n'),
        ("t.csv", b" a ,b\n1,2\n"),
    ],
)
def test_forms_of_a_table_that_are_read_alike(tmp_path, name, data):
    frame, problems = read(tmp_path, data, name)
    assert not problems
    assert frame.to_dict("list") == {"a": ["1"], "b": ["2"]}
    assert frame.index.tolist() == [2]


@pytest.mark.parametrize("name", ["t.tsv", "t.tab", "t.txt", "t.tsv.gz"])
def test_a_name_of_tabs_decides_where_tab_and_comma_split_alike(tmp_path, name):
    data = b"a,b\tc\n1,2\t3\n"
    frame, problems = read(tmp_path, gzip.compress(data, mtime=0) if name.endswith("gz") else data, name)
    assert not problems
    assert frame.to_dict("list") == {"a,b": ["1,2"], "c": ["3"]}


def test_no_more_is_read_than_asked_for():
    data = bytes(range(7))
    for most in range(9):
        assert read_at_most(io.BytesIO(data), most) == data[:most]


def test_lines_are_those_of_a_text_editor(tmp_path):
    frame, _ = read(tmp_path, 'id,note\nA,"two\nlines"\n\nB,x\nC,y\n')
    assert frame.index.tolist() == [2, 5, 6]


def test_spreadsheet(tmp_path):
    book = openpyxl.Workbook()
    for row in (
        ["id", "n", "when", "flag"],
        ["007", 5, dt.datetime(2025, 3, 4), True],
        ["x", 1.5, None, None],
    ):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    problems = Problems()
    frame = read_table(tmp_path / "t.xlsx", problems=problems)
    assert not list(problems)
    assert frame.to_dict("list") == {
        "id": ["007", "x"],
        "n": ["5", "1.5"],
        "when": ["2025-03-04", None],
        "flag": ["TRUE", None],
    }


def test_formulas_in_a_spreadsheet_are_refused(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["id", "n"])
    book.active.append(["a", "=1+1"])
    book.create_sheet("more")
    book.save(tmp_path / "t.xlsx")
    problems = Problems()
    read_table(tmp_path / "t.xlsx", problems=problems)
    assert [(p.code, p.row, p.value) for p in problems.errors] == [("E-SHEET-007", 2, "=1+1")]
    assert [p.value for p in problems.warnings] == ["more"]


def test_a_trailing_comma_on_each_row_never_shifts(tmp_path):
    frame, problems = read(tmp_path, "id,a\nP1,x,\nP2,y,\n")
    assert frame.to_dict("list") == {"id": ["P1", "P2"], "a": ["x", "y"]}
    assert [(p.code, p.severity, p.row) for p in problems] == [("E-SHEET-019", "warning", 2)]
    frame, problems = read(tmp_path, "id,a,\nP1,x,\nP2,y,\n")
    assert frame.columns.tolist() == ["id", "a"]
    assert [(p.code, p.severity, p.column) for p in problems] == [("E-SHEET-018", "warning", "3")]


def test_empty_rows_are_told_and_left_out(tmp_path):
    frame, problems = read(tmp_path, "id,a\nP1,x\n,\nP2,y\n,\n")
    assert frame["id"].tolist() == ["P1", "P2"]
    assert [(p.code, p.severity, p.row) for p in problems] == [("E-SHEET-019", "warning", 3)]


UTF16 = "id,a\nP1,x\n".encode("utf-16")
REFUSED_TABLES = [
    (b"", "E-FILE-004", None, "empty", "header"),
    (b"\xef\xbb\xbf\r\n", "E-FILE-004", None, "empty", "header"),
    (b"#only a comment\n", "E-FILE-004", None, "no table", "header"),
    (UTF16, "E-FILE-003", 1, "UTF-16", "CSV UTF-8"),
    ("id,a\nP1,x\n".encode("utf-16-le"), "E-FILE-003", 1, "UTF-16", "CSV UTF-8"),
    ("id,site\nP1,Köln\n".encode("latin-1"), "E-FILE-003", 2, "byte 12 is 0xF6 ('ö'", "CSV UTF-8"),
    (b"id,a\nP1,x\x00\n", "E-FILE-003", 2, "NUL byte at byte 9", "UTF-8 text"),
    (b"PK\x03\x04rest", "E-FILE-005", None, "XLSX", "Save it as CSV"),
    (b"\xd0\xcf\x11\xe0rest", "E-FILE-005", None, "XLS", "Save it as CSV"),
    (b"PAR1rest", "E-FILE-005", None, "Parquet", ".parquet"),
    (gzip.compress(b"a,b\n", mtime=0), "E-FILE-005", None, "gzip", ".csv.gz"),
    (b"<!DOCTYPE html><html><table>", "E-FILE-005", 1, "HTML", "as CSV"),
    (b"\n  <table><tr>", "E-FILE-005", 1, "HTML", "as CSV"),
    (b"<?xml version='1.0'?>", "E-FILE-005", 1, "XML", "as CSV"),
    (b"id,a\n#P1,x\nP2,y\n", "E-SHEET-019", 2, "starts with '#'", "double quotes"),
    (b"id,a\nP1,x,y\nP2,y\n", "E-SHEET-003", 2, "3 fields, the header has 2", "double quotes"),
    (b"id,a,b\nP1,x,y\nP2,y\n", "E-SHEET-003", 3, "2 fields, the header has 3", "double quotes"),
    (b"id,a,id\nP1,x,y\n", "E-SHEET-002", 1, "Columns 1 and 3", "Rename"),
    (b"id,,b\nP1,x,y\n", "E-SHEET-018", 1, "no name but a value in line 2", "Name the column"),
    (b'id,a\nP1,"open\nP2,x\n', "E-SHEET-019", 2, "cannot be read", "twice"),
    (b'id,a\nP1,"x"y\n', "E-SHEET-019", 2, "cannot be read", "twice"),
    ("id,a\u202eb\nP1,x\n".encode(), "E-SHEET-010", 1, "control character", "Type the name"),
]


@pytest.mark.parametrize(("data", "code", "row", "said", "remedy"), REFUSED_TABLES)
def test_refused_tables(tmp_path, data, code, row, said, remedy):
    _, problems = read(tmp_path, data)
    found = [p for p in problems if p.code == code and p.severity == "error"]
    assert found, problems
    assert (found[0].row, found[0].file) == (row, "t.csv")
    assert said in found[0].message
    assert remedy in found[0].remedy


def test_files_that_are_no_files(tmp_path):
    problems = Problems()
    assert read_table(tmp_path / "none.csv", problems=problems) is None
    assert read_table(tmp_path, name="folder", problems=problems) is None
    assert read_table("/dev/null", problems=problems) is None
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" * 1000, mtime=0)[:-20])
    assert read_table(tmp_path / "t.csv.gz", problems=problems) is None
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04 no archive")
    assert read_table(tmp_path / "t.xlsx", problems=problems) is None
    assert [p.code for p in problems] == [
        "E-FILE-001",
        "E-FILE-002",
        "E-FILE-002",
        "E-FILE-005",
        "E-FILE-005",
    ]
    assert all(p.remedy and p.file for p in problems)


def test_lists_of_problems_are_bounded(tmp_path):
    _, problems = read(tmp_path, "id,a\n" + "x,y,z\n" * 5_000)
    assert len(problems) == 21
    assert "4980 more lines" in problems[-1].message


# --- columns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,5", "decimal comma"),
        ("1,500", "thousands separator or a decimal comma"),
        ("1.234,5", "thousands separator"),
        ("1,234.5", "thousands separator"),
        ("1 234", "thousands separator"),
        ("1'234", "thousands separator"),
        ("12%", "percent"),
        ("<5", "limit"),
        ("inf", "empty cell"),
        ("-Inf", "empty cell"),
        ("NaN", "empty cell"),
        ("NA", "empty cell"),
        ("1e400", "too large"),
        ("0x10", "not a number"),
        ("1_000", "thousands separator"),
        ("１２", "other than 0-9"),
        ("twelve", "not a number"),
        ("1 2", "not a number"),
    ],
)
def test_what_is_not_a_number(text, said):
    problems = Problems()
    column = pd.Series([text, "1"], index=[2, 3], name="n", dtype=object)
    numbers = to_number(column, file="t.csv", problems=problems)
    assert [(p.code, p.file, p.row, p.column, p.value) for p in problems] == [
        ("E-SHEET-007", "t.csv", 2, "n", text)
    ]
    assert said in next(iter(problems)).message
    assert np.isnan(numbers.iloc[0])
    assert numbers.iloc[1] == 1.0
    assert not is_number(text)


def test_ranges_and_whole_numbers():
    problems = Problems()
    column = pd.Series(["-1", "101", "50.5", " 7 ", None, "1e2"], index=range(2, 8), name="n", dtype=object)
    numbers = to_number(column, file="t.csv", problems=problems, low=0, high=100, integer=True)
    assert [(p.code, p.row) for p in problems] == [("E-SHEET-007", 4), ("E-SHEET-008", 2), ("E-SHEET-008", 3)]
    assert numbers.tolist()[3:] == pytest.approx([7.0, np.nan, 100.0], nan_ok=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("03/04/2025", "ambiguous"),
        ("3.4.25", "ambiguous"),
        ("31/12/2025", "not an ISO 8601"),
        ("2025/12/31", "not an ISO 8601"),
        ("2014-02", "partial"),
        ("2014", "partial"),
        ("45720", "serial number (it would be 2025-03-04)"),
        ("45720.5", "serial number"),
        ("2025-02-30", "calendar"),
        ("2025-01-01T25:00", "calendar"),
        ("4-Mar-2025", "not an ISO 8601"),
        ("20250304", "not an ISO 8601"),
        ("yesterday", "not an ISO 8601"),
    ],
)
def test_what_is_not_a_date(text, said):
    problems = Problems()
    dates = to_date(pd.Series([text], index=[7], name="d", dtype=object), file="t.csv", problems=problems)
    assert [(p.code, p.row, p.column, p.value) for p in problems] == [("E-SHEET-012", 7, "d", text)]
    assert said in next(iter(problems)).message
    assert "YYYY-MM-DD" in next(iter(problems)).remedy
    assert dates.tolist() == [None]


def test_dates():
    assert parse_date("2025-03-04") == dt.date(2025, 3, 4)
    assert parse_date("2025-03-04T08:30") == dt.datetime(2025, 3, 4, 8, 30)
    assert parse_date("2025-03-04 08:30:15Z") == dt.datetime(2025, 3, 4, 8, 30, 15, tzinfo=dt.UTC)
    problems = Problems()
    to_date(pd.Series(["0025-03-04"], index=[2], name="d", dtype=object), file="t", problems=problems)
    assert [(p.code, p.row, p.column) for p in problems] == [("E-SHEET-008", 2, "d")]


def test_partial_dates_span_what_they_can_mean():
    found = parse_partial_date("2024-02")
    assert (found.earliest, found.latest, found.missing) == (dt.date(2024, 2, 1), dt.date(2024, 2, 29), "day")
    for year, known in ((1899, False), (1900, True), (2100, True), (2101, False)):
        assert (parse_partial_date(str(year)) is not None) is known
    day = PartialDate.of(dt.date(2024, 2, 3))
    assert (day.text, day.whole, day.iso) == ("2024-02-03", dt.date(2024, 2, 3), "2024-02-03")


@pytest.mark.parametrize(
    ("name", "cells", "numeric"),
    [
        ("a", ["1", None, "2.5"], True),
        ("a", ["007", "8"], False),
        ("a", ["0", "0.5"], True),
        ("a", ["1", "NA"], False),
        ("a", [None, None], False),
        ("site_id", ["1", "2"], False),
        ("a", ["1,5"], False),
    ],
)
def test_columns_are_numeric_if_every_value_is_a_number(name, cells, numeric):
    column = to_typed(pd.Series(cells, name=name, dtype=object))
    assert (column.dtype == np.float64) == numeric
    if not numeric:
        assert column.tolist() == cells


def test_nearest():
    assert nearest("c2d1", ["screening", "C2D1"]) == "Nearest: 'C2D1'."
    assert nearest("zzz", ["a", "b"]) == "There are: 'a', 'b'."
    assert nearest("x", []) == "None exist."


# --- writing -------------------------------------------------------------------------------------------


def round_trip(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    write_table(frame, path)
    problems = Problems()
    back = read_table(path, problems=problems)
    assert not list(problems)
    return back


def test_hostile_ids_come_back_as_they_were(tmp_path):
    frame = pd.DataFrame({"id": HOSTILE, "other": HOSTILE[::-1]}, dtype=object)
    back = round_trip(frame, tmp_path / "t.csv")
    assert back.to_dict("list") == frame.to_dict("list")


CELLS = st.one_of(
    st.none(),
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6), st.sampled_from([".csv", ".csv.gz"]))
@example([("0", "00")], ".csv")
def test_every_table_of_text_comes_back_the_same(rows, suffix):
    rows = [row for row in rows if any((cell or "").strip() for cell in row)]  # an empty row is no record
    if not rows:
        return
    frame = pd.DataFrame(rows, columns=["id", "b"], dtype=object)
    with tempfile.TemporaryDirectory() as folder:
        back = round_trip(frame, Path(folder) / f"t{suffix}")
    assert back.to_numpy().tolist() == frame.to_numpy().tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=1, max_size=5))
def test_floats_come_back_bit_for_bit(values):
    with tempfile.TemporaryDirectory() as folder:
        write_table(pd.DataFrame({"i": "r", "x": values}), Path(folder) / "t.csv")
        back = read_table(Path(folder) / "t.csv", problems=Problems())
    numbers = to_number(back["x"], file="t", problems=Problems())
    assert np.array_equal(numbers.to_numpy(), np.array(values), equal_nan=True)


def test_bytes_of_a_written_table(tmp_path):
    frame = pd.DataFrame(
        {
            "n": [1, 2],
            "x": [0.1, np.nan],
            "ok": [True, False],
            "day": pd.array([1, None], dtype="Int64"),
            "t": ["=cmd()", None],
            "when": [dt.date(2025, 1, 2), None],
            "neg": ["-5", "-inf"],
        }
    )
    write_table(frame, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == (
        b"n,x,ok,day,t,when,neg\n1,0.1,true,1,'=cmd(),2025-01-02,-5\n2,,false,,,,'-inf\n"
    )
    write_table(frame[["n"]].rename_axis("id"), tmp_path / "i.csv")
    assert (tmp_path / "i.csv").read_bytes() == b"id,n\n0,1\n1,2\n"
    write_table(pd.DataFrame({"a": [None, "x"]}, dtype=object), tmp_path / "one.csv")
    assert (tmp_path / "one.csv").read_bytes() == b'a\n""\nx\n'
    write_table(frame.iloc[:0][["n", "x"]], tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_bytes() == b"n,x\n"


# --- YAML ----------------------------------------------------------------------------------------------


def yaml_of(path: Path, text: str | bytes):
    (path / "s.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    problems = Problems()
    return read_yaml(path / "s.yaml", problems), list(problems)


def test_yaml_scalars(tmp_path):
    data, problems = yaml_of(
        tmp_path,
        "a: 012\nb: no\nc: 12:30\nd: 1e5\ne: 2025-06-30\nf: true\ng: -28\nh: 1.50\ni: ~\nj: '7'\n"
        "k: [ihc:CD8_density]\nl: {}\nOn: yes\n7: x\nm: 0o7\nn: .inf\no: 1_000\np: 1e999\nq: True\n",
    )
    assert not problems
    assert data == {
        "a": "012", "b": "no", "c": "12:30", "d": 100000.0, "e": "2025-06-30", "f": True, "g": -28, "h": 1.5,
        "i": None, "j": "7", "k": ["ihc:CD8_density"], "l": {}, "On": "yes", "7": "x", "m": "0o7",
        "n": ".inf", "o": "1_000", "p": "1e999", "q": "True",
    }  # fmt: skip
    assert isinstance(data["g"], int)


REFUSED_YAML = [
    ("a: 1\nb: 2\na: 3\n", 3, "1", "lines 1 and 3"),
    ("a: !!python/object/apply:os.system [id]\n", 1, "4", "tag"),
    ("a: !x 1\n", 1, "4", "tag"),
    ("a: &x [1]\nb: *x\n", 1, "4", "anchor"),
    ("a: 1\nb: *x\n", 2, "4", "alias"),
    ("- 1\n- 2\n", 1, "1", "mapping"),
    ("just text\n", 1, "1", "mapping"),
    ("a: 1\n---\nb: 2\n", 2, "1", "second document"),
    ("a: [1, 2\nb: 3\n", 2, None, "cannot be read"),
    ("a:\n  - 1\n b: 2\n", 3, None, "cannot be read"),
    ("a: '\n", None, None, "cannot be read"),
    ("a: " + "[" * 30 + "]" * 30 + "\n", 1, None, "deeper than 20"),
    ("? [a, b]\n: 1\n", 1, "3", "key is a list"),
    ("a: \x07\n", 1, None, "does not allow"),
    ("a: 1\n\t- x\n", 2, None, "cannot be read"),
    ("# " + "x" * 2**20 + "\na: 1\n", None, None, "larger than 1 MB"),
]


@pytest.mark.parametrize(("text", "row", "column", "said"), REFUSED_YAML)
def test_refused_yaml(tmp_path, text, row, column, said):
    data, problems = yaml_of(tmp_path, text)
    assert data is None
    found = [p for p in problems if said in p.message]
    assert found, problems
    assert found[0].code == "E-STUDY-002"
    assert found[0].remedy
    assert {p.file for p in problems} == {"s.yaml"}
    if row is not None:
        assert found[0].row == row
    if column is not None:
        assert found[0].column == column


def test_yaml_files_that_are_no_texts(tmp_path):
    problems = Problems()
    assert read_yaml(tmp_path / "none.yaml", problems) is None
    assert read_yaml(tmp_path, problems) is None
    assert [p.code for p in problems] == ["E-FILE-001", "E-FILE-002"]
    assert [p.code for p in yaml_of(tmp_path, b"a: \xff\n")[1]] == ["E-FILE-003"]
    assert [p.code for p in yaml_of(tmp_path, b" \n")[1]] == ["E-FILE-004"]


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**17), 10**17),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff")
    ),
)
KEYS = st.text(st.characters(categories=["L", "N"], exclude_characters="\x7f"), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        KEYS, st.one_of(PLAIN, st.lists(PLAIN, max_size=3), st.dictionaries(KEYS, PLAIN)), min_size=1
    )
)
def test_yaml_written_reads_back_the_same(data):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "s.yaml"
        file.write_text(to_yaml(data), encoding="utf-8", newline="\n")
        problems = Problems()
        assert read_yaml(file, problems) == data, list(problems)


class _Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    day: int


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    visits: dict[str, _Inner] = {}


def test_texts_stay_as_typed_and_unknown_keys_name_the_nearest(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("name: 1e5\nvisits:\n  a: {day: 1}\n  b: {dai: 2}\n", encoding="utf-8")
    problems = Problems()
    document = load_yaml(file, problems)
    assert validate_yaml(_Model, document, code="E-STUDY-001", problems=problems) is None
    told = {(p.row, p.column): p for p in problems}
    assert set(told) == {(4, "visits.b.dai"), (4, "visits.b.day")}
    assert "'day'" in told[4, "visits.b.dai"].remedy
    file.write_text("name: 1e5\n", encoding="utf-8")
    document = load_yaml(file, problems)
    assert validate_yaml(_Model, document, code="E-STUDY-001", problems=problems).name == "1e5"
