"""Bad and odd sheets: participants, biopsies, libraries, slides, overrides; and any sheet as a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
from bad_inputs.case import At, Case, Expect, handled, left_out, refused, told
from bad_inputs.seeds import STUDY, cell, edited, one, packed, study_with, with_cell, without_column, write

PEOPLE, BIOPSIES, LIBRARIES, SLIDES = "participants.csv", "biopsies.csv", "libraries.csv", "slides.csv"


def _case(name: str, trust: str, how: str, make: Any, expect: Expect) -> Case:
    return Case(name, "study folder", how, make, expect, trust)


def _renamed_participant(new: str) -> Any:
    """P1 has another id in every sheet."""
    swapped = {
        PEOPLE: STUDY[PEOPLE].replace("\nP1,", f"\n{new},"),
        BIOPSIES: STUDY[BIOPSIES].replace("\nP1,", f"\n{new},"),
    }
    return study_with(swapped)


def _first(study: Any) -> str:
    """The participant whose name was changed: rows are in an order of their own, not in that of the sheet."""
    (other,) = [str(i) for i in study.participants.index if i not in {"P2", "P3", "P4"}]
    return other


def _owner(study: Any) -> str:
    return str(study.biopsies.at["P1-S", "participant_id"])


# --- ids ---------------------------------------------------------------------------------------------------

KEPT_IDS = {
    "NA": "15", "None": "15", "null": "15", "nan": "15", "007": "15", "1E5": "15", "TRUE": "15",
    "9007199254740993": "15", "0": "15", "00": "15", "-1": "7", "../../x": "7", "/abs": "7", "a/b": "7",
    "CON": "7", "x" * 300: "7", "1.0": "15", "1-Mar": "15", "43891": "15", "$a$ \\frac{": "11",
    "<script>alert(1)</script>": "10", "@SUM(A1)": "8", "+1": "8", ";touch x": "6", "`id`": "6", "$(id)": "6",
    "Ünïcode": "16", "名前": "16",
}  # fmt: skip


def _ids() -> list[Case]:
    cases = [
        _case(
            f"participants/id {text[:24]}",
            trust,
            f"participant P1 is called {text[:24]!r} in every sheet",
            _renamed_participant(text),
            handled(lambda s: (_first(s), _owner(s)), (text, text), "the id as typed"),
        )
        for text, trust in KEPT_IDS.items()
    ]
    cases.append(
        _case(
            "participants/id =1+1",
            "8",
            "participant P1 is called '=1+1 (as a safe writer protects it)",
            _renamed_participant("'=1+1"),
            handled(lambda s: (_first(s), _owner(s)), ("=1+1", "=1+1"), "without the apostrophe"),
        )
    )
    twins = {
        "case": "p1", "Cyrillic": "Р1", "full width": "Ｐ1", "blank inside": "P 1", "small L for 1": "Pl",
        "capital I for 1": "PI", "Greek": "Ρ1",
    }  # fmt: skip
    for what, text in twins.items():
        read = "P1" if what == "full width" else text
        make = study_with({PEOPLE: STUDY[PEOPLE].replace("\nP2,", f"\n{text},"), BIOPSIES: STUDY[BIOPSIES].replace("\nP2,", f"\n{read},")})  # fmt: skip
        ats = (At("E-SHEET-005", "participants.csv:3 [participant_id]", "P1"),)
        if read != "P1":
            ats = (At("E-SHEET-009", "participants.csv:3 [participant_id]", "P1"),)
        beside = ("E-SHEET-009",) if read == "P1" else ()
        cases.append(
            _case(f"participants/twin by {what}", "16", f"participant P2 is called {text!r} beside P1", make,
                  refused(*ats, beside=(*beside, "E-SHEET-013", "E-SHEET-015")))
        )  # fmt: skip
    unseen = {
        "blank before": " P1", "blank behind": "P1 ", "no-break space": "P1\u00a0", "zero width": "P\u200b1",
        "soft hyphen": "P\u00ad1", "BOM": "\ufeffP1", "decomposed": "Pé".replace("é", "e\u0301"),
    }  # fmt: skip
    for what, text in unseen.items():
        want = "Pé" if what == "decomposed" else "P1"
        make = study_with({PEOPLE: STUDY[PEOPLE].replace("\nP1,", f"\n{text},"), BIOPSIES: STUDY[BIOPSIES].replace("\nP1,", f"\n{want},")})  # fmt: skip
        cases.append(
            _case(f"participants/id with {what}", "16", f"the id is typed {text!a}", make,
                  told(At("E-SHEET-009", "participants.csv:2 [participant_id]", "P"),
                       get=lambda s: (_first(s), _owner(s)), want=(want, want),
                       oracle="Unicode's compatibility form, without what cannot be seen"))
        )  # fmt: skip
    for what, text in {"BEL": "P\x07", "ESC": "P\x1b[2J", "right-to-left": "P\u202e1"}.items():
        cases.append(
            _case(f"participants/control character {what}", "9", f"an id holds {text!a}",
                  study_with({PEOPLE: STUDY[PEOPLE].replace("\nP1,", f"\n{text},")}),
                  refused(At("E-SHEET-010", "participants.csv:2 [participant_id]"), beside=("E-SHEET-006",)))
        )  # fmt: skip
    return cases


# --- keys: missing, twice, unknown -------------------------------------------------------------------------


def _keys() -> list[Case]:
    keys = {
        PEOPLE: ("participant_id",),
        BIOPSIES: ("participant_id", "biopsy_id"),
        LIBRARIES: ("library_id", "biopsy_id"),
        SLIDES: ("slide_id", "biopsy_id", "path"),
    }
    cases = []
    for file, columns in keys.items():
        for column in columns:
            stem = file.removesuffix(".csv")
            cases.append(
                _case(f"{stem}/no column {column}", "17", f"{file} has no column {column}",
                      study_with({file: without_column(STUDY[file], column)}),
                      refused(At("E-SHEET-001", f"{file}:1 [{column}]")))
            )  # fmt: skip
            code = "E-SHEET-017" if column == "path" else "E-SHEET-004"
            cases.append(
                _case(f"{stem}/empty {column}", "19", f"the {column} of line 2 is empty",
                      cell(file, 2, column, ""),
                      refused(At(code, f"{file}:2 [{column}]"), beside=("E-SHEET-006",)))
            )  # fmt: skip
    for file, key in ((PEOPLE, "participant_id"), (BIOPSIES, "biopsy_id"), (LIBRARIES, "library_id"), (SLIDES, "slide_id")):  # fmt: skip
        stem = file.removesuffix(".csv")
        rows = STUDY[file].splitlines()
        last = len(rows) + 1
        same = rows[1].split(",")[rows[0].split(",").index(key)]
        again = STUDY[file] + rows[1] + "\n"
        beside = ("E-SHEET-005",) if file == SLIDES else ()
        cases.append(
            _case(f"{stem}/row twice", "18", "the first row stands again at the end",
                  study_with({file: again}),
                  refused(At("E-SHEET-016", f"{file}:{last} [{key}]", same), beside=beside))
        )  # fmt: skip
        cases.append(
            _case(f"{stem}/id twice", "18", f"line 3 has the {key} of line 2", cell(file, 3, key, same),
                  refused(At("E-SHEET-005", f"{file}:3 [{key}]", same), beside=("E-SHEET-006",)))
        )  # fmt: skip
    refs = (
        (BIOPSIES, "participant_id", "P11"),
        (LIBRARIES, "biopsy_id", "P1-X"),
        (SLIDES, "biopsy_id", "P1-X"),
    )
    for file, column, text in refs:
        cases.append(
            _case(f"{file.removesuffix('.csv')}/unknown {column}", "19", f"line 2 names {text}",
                  cell(file, 2, column, text), refused(At("E-SHEET-006", f"{file}:2 [{column}]", text)))
        )  # fmt: skip
    for file in (PEOPLE, BIOPSIES, LIBRARIES, SLIDES):
        header = STUDY[file].splitlines()[0] + "\n"
        stem = file.removesuffix(".csv")
        cases.append(
            _case(f"{stem}/no rows", "23", "a header and no row", study_with({file: header}),
                  refused(At("E-SHEET-011", f"{file}:1"), beside=("E-SHEET-006", "E-STUDY-001")))
        )  # fmt: skip
        cases.append(
            _case(f"{stem}/empty file", "23", "a file without a byte", study_with({file: ""}),
                  refused(At("E-FILE-004", file), beside=("E-STUDY-001",)))
        )  # fmt: skip
    for file in (PEOPLE, BIOPSIES):
        cases.append(
            _case(f"{file.removesuffix('.csv')}/missing", "", f"there is no {file}", study_with({file: None}),
                  refused(At("E-FILE-001", file), beside=("E-STUDY-001",)))
        )  # fmt: skip
    return cases


# --- the type of every column ------------------------------------------------------------------------------

BAD_NUMBERS = {
    "1,5": "21", "1.234,5": "21", "12%": "21", "<5": "21", "inf": "21", "1e400": "21", "NA": "15",
    "twelve": "", "１２": "16", "0x10": "", "1_000": "21",
}  # fmt: skip


def _types() -> list[Case]:
    cases = []
    numeric = {PEOPLE: ("dose_mg", "age", "weight_kg"), BIOPSIES: ("viable_tumor_cells", "tumor_content_pct"), SLIDES: ("mpp",)}  # fmt: skip
    for file, columns in numeric.items():
        for column in columns:
            cases.append(
                _case(f"{file.removesuffix('.csv')}/{column} is text", "", "line 2 has 'high'",
                      cell(file, 2, column, "high"),
                      refused(At("E-SHEET-007", f"{file}:2 [{column}]", "high")))
            )  # fmt: skip
            cases.append(
                _case(f"{file.removesuffix('.csv')}/{column} negative", "", "line 2 has -3",
                      cell(file, 2, column, "-3"),
                      refused(At("E-SHEET-008", f"{file}:2 [{column}]", "-3")))
            )  # fmt: skip
    for text, trust in BAD_NUMBERS.items():
        shown = f'"{text}"' if "," in text else text
        base = STUDY[PEOPLE].replace("P1,A,10,", f"P1,A,{shown},")
        cases.append(
            _case(f"participants/dose_mg {text}", trust, f"the dose is typed {text!r}",
                  study_with({PEOPLE: base}),
                  refused(At("E-SHEET-007", "participants.csv:2 [dose_mg]", text)))
        )  # fmt: skip
    for text, value in (("1e1", 10.0), ("10.0", 10.0), (" 10 ", 10.0), ("+10", 10.0)):
        cases.append(
            _case(f"participants/dose_mg {text.strip()} as 10", "4", f"the dose is typed {text!r}",
                  cell(PEOPLE, 2, "dose_mg", text),
                  handled(lambda s: float(s.participants.at["P1", "dose_mg"]), value, "the number as typed"))
        )  # fmt: skip
    out = {"age": "131", "tumor_content_pct": "101"}
    cases.append(_case("participants/age 131", "", "beyond its range", cell(PEOPLE, 2, "age", out["age"]),
                       refused(At("E-SHEET-008", "participants.csv:2 [age]", "131"))))  # fmt: skip
    cases.append(_case("biopsies/tumor content 101 %", "", "a share beyond 100",
                       cell(BIOPSIES, 2, "tumor_content_pct", "101"),
                       refused(At("E-SHEET-008", "biopsies.csv:2 [tumor_content_pct]", "101"))))  # fmt: skip
    days = {"0": ("E-SHEET-008", "there is no day 0"), "1.5": ("E-SHEET-007", "half a day"),
            "C2D1": ("E-SHEET-007", "a visit in place of a day"), "45000": ("E-SHEET-008", "a spreadsheet's date")}  # fmt: skip
    for text, (code, how) in days.items():
        cases.append(
            _case(f"biopsies/study_day {text}", "20", how, cell(BIOPSIES, 2, "study_day", text),
                  refused(At(code, "biopsies.csv:2 [study_day]", text), beside=("E-SHEET-013",)))
        )  # fmt: skip
    for file, column in ((PEOPLE, "biopsy_consent"), (BIOPSIES, "archival")):
        cases.append(
            _case(f"{file.removesuffix('.csv')}/{column} maybe", "", "neither yes nor no",
                  cell(file, 2, column, "maybe"), refused(At("E-SHEET-007", f"{file}:2 [{column}]", "maybe")))
        )  # fmt: skip
    dates = {
        "03/04/2025": ("E-SHEET-012", "day and month cannot be told apart"),
        "25/01/2025": ("E-SHEET-012", "not ISO"),
        "45682": ("E-SHEET-012", "a spreadsheet's serial number"),
        "2025-02-30": ("E-SHEET-012", "no day of the calendar"),
        "25-Jan-25": ("E-SHEET-012", "a spreadsheet's date"),
        "1025-01-25": ("E-SHEET-008", "a slip in the year"),
        "20250125": ("E-SHEET-012", "without hyphens"),
        "2025-1-25": ("E-SHEET-012", "a month of one digit"),
    }
    for text, (code, how) in dates.items():
        cases.append(
            _case(f"biopsies/collection_date {text.replace('/', '.')}", "20", how,
                  cell(BIOPSIES, 2, "collection_date", text),
                  refused(At(code, "biopsies.csv:2 [collection_date]", text)))
        )  # fmt: skip
    for text in ("01/02/2025", "45689", "2025-02", "2025-02-01 at 9"):
        cases.append(
            _case(f"participants/first_dose_datetime {text.replace('/', '.')}", "20", "no ISO date",
                  cell(PEOPLE, 2, "first_dose_datetime", text),
                  refused(At("E-SHEET-012", "participants.csv:2 [first_dose_datetime]", text)))
        )  # fmt: skip
    return cases


# --- what rows say together --------------------------------------------------------------------------------


def _together() -> list[Case]:
    more = {**STUDY, BIOPSIES: STUDY[BIOPSIES].replace(",site,", ",dose_mg,").replace(",liver,", ",10,").replace(",lung,", ",10,").replace(",skin,", ",30,")}  # fmt: skip
    return [
        _case("biopsies/date and study day", "20", "the study day is one off its date",
              cell(BIOPSIES, 3, "study_day", "30"),
              refused(At("E-SHEET-013", "biopsies.csv:3 [study_day]", "30"))),
        _case("biopsies/day 0 arithmetic", "20", "a date of the day before the first dose, called day 0",
              edited(BIOPSIES, ("P1-S,screening,-7,2025-01-25", "P1-S,screening,0,2025-01-31")),
              refused(At("E-SHEET-008", "biopsies.csv:2 [study_day]", "0"))),
        _case("biopsies/day before the first dose", "20", "the day before the first dose is day -1",
              edited(BIOPSIES, ("P1-S,screening,-7,2025-01-25", "P1-S,screening,,2025-01-31")),
              handled(lambda s: int(s.biopsies.at["P1-S", "study_day"]), -1, "CDISC: there is no day 0")),
        _case("biopsies/post before pre", "20", "the dates of screening and C2D1 are exchanged",
              edited(BIOPSIES, ("P1-S,screening,-7,2025-01-25", "P1-S,screening,29,2025-03-01"),
                     ("P1-T,C2D1,29,2025-03-01", "P1-T,C2D1,-7,2025-01-25")),
              handled(lambda s: _visit_reasons(s), ["E-PAIR-001", "E-PAIR-004"],
                      "neither biopsy is used, each with its reason")),
        _case("biopsies/unknown visit", "24", "a visit that study.yaml does not have",
              cell(BIOPSIES, 2, "visit", "screning"),
              refused(At("E-STUDY-004", "biopsies.csv:2 [visit]", "screning"))),
        _case("biopsies/visit by case", "16", "'Screening' for 'screening'",
              cell(BIOPSIES, 2, "visit", "Screening"),
              refused(At("E-STUDY-004", "biopsies.csv:2 [visit]", "Screening"))),
        _case("biopsies/dose changes within", "24", "two doses of one participant",
              study_with(dict(more, **{BIOPSIES: with_cell(more[BIOPSIES], 3, "dose_mg", "30")})),
              refused(At("E-SHEET-015", "biopsies.csv:3 [dose_mg]", "30"))),
        _case("biopsies/no place in time", "20", "no visit, no day and no date column",
              study_with({BIOPSIES: without_column(without_column(without_column(STUDY[BIOPSIES], "visit"), "study_day"), "collection_date")}),  # fmt: skip
              refused(At("E-SHEET-001", "biopsies.csv:1 [visit]"))),
        _case("biopsies/after the cut-off", "20", "a biopsy of 2026 in a cut of 2025",
              edited(BIOPSIES, ("P1-T,C2D1,29,2025-03-01", "P1-T,C2D1,,2026-03-01")),
              told(At("E-SHEET-014", "biopsies.csv:3 [collection_date]", "2026-03-01"))),
        _case("biopsies/partial date", "20", "a month without its day",
              edited(BIOPSIES, ("P1-T,C2D1,29,2025-03-01", "P1-T,C2D1,,2025-03")),
              told(At("E-STUDY-011", "biopsies.csv:3 [collection_date]", "2025-03"))),
        _case("biopsies/one specimen twice", "18", "all but the id is the same",
              study_with({BIOPSIES: STUDY[BIOPSIES] + "P3,P3-U,C2D1,29,2025-03-05,skin,1,650,75,no\n"}),
              told(At("E-STUDY-012", "biopsies.csv:8 [biopsy_id]", "P3-U"))),
        _case("biopsies/two of a visit", "18", "another core of one visit is allowed",
              study_with({BIOPSIES: STUDY[BIOPSIES] + "P3,P3-U,C2D1,29,2025-03-05,skin,2,640,74,no\n"}),
              handled(lambda s: len(s.biopsies), 7, "rows of the sheet")),
        _case("libraries/batch is visit", "24", "one batch for each visit",
              study_with({LIBRARIES: "library_id,biopsy_id,batch\nL1,P1-S,R1\nL2,P1-T,R2\nL3,P2-S,R1\nL4,P2-T,R2\nL5,P3-S,R1\nL6,P3-T,R2\n"}),  # fmt: skip
              told(At("E-STUDY-005"))),
        _case("libraries/claims clash", "19", "biopsies.csv names another library",
              study_with({BIOPSIES: STUDY[BIOPSIES].replace("archival\n", "library\n").replace(",no\n", ",\n").replace("60,\n", "60,L9\n")}),  # fmt: skip
              refused(At("E-SHEET-006", "biopsies.csv:2 [library]", "L9"))),
        _case("slides/missing file", "33", "the file of slide S1 is not there",
              study_with({"slides/S1.tif": None}),
              left_out(At("E-FILE-001", "slides.csv:2 [path]", "slides/S1.tif", "S1"),
                       get=lambda s: list(s.slides.index), want=["S2"])),
        _case("slides/a folder as slide", "39", "the path is a folder",
              cell(SLIDES, 2, "path", "slides"),
              left_out(At("E-FILE-002", "slides.csv:2 [path]", "slides", "S1"))),
        _case("slides/a device as slide", "39", "the path is /dev/zero",
              cell(SLIDES, 2, "path", "/dev/zero"),
              left_out(At("E-FILE-002", "slides.csv:2 [path]", "zero", "S1"))),
        _case("slides/an address as slide", "39", "the path is a URL",
              cell(SLIDES, 2, "path", "https://example.org/S1.tif"),
              left_out(At("E-FILE-001", "slides.csv:2 [path]", "S1.tif", "S1"))),
        _case("slides/one file twice", "38", "two slides of one file", cell(SLIDES, 3, "path", "slides/S1.tif"),
              refused(At("E-SHEET-005", "slides.csv:3 [path]", "slides/S1.tif"))),
        _case("slides/panel outside", "7", "a panel file above the study folder",
              study_with({SLIDES: STUDY[SLIDES].replace("scanner", "panel").replace(",A\n", ",../p.yaml\n")}),
              refused(At("E-FILE-006", "slides.csv:2 [panel]"))),
        _case("biopsies/same stem", "", "the column 'slide' names a.svs and a.tif: one id for two slides",
              study_with({SLIDES: None, "slides/a.svs": "x", "slides/a.tif": "y",
                          "study.yaml": STUDY["study.yaml"].replace("slides: slides.csv, ", ""),
                          BIOPSIES: STUDY[BIOPSIES].replace("archival\n", "slide\n").replace(",no\n", ",\n")
                          .replace("60,\n", "60,slides/a.svs\n").replace("55,\n", "55,slides/a.tif\n")}),
              refused(At("E-SHEET-005", "biopsies.csv:3 [slide]", "slides/a.tif"))),
    ]  # fmt: skip


def _visit_reasons(study: Any) -> list[str]:
    from pdbiomarker.pairing import assign_visits

    table = assign_visits(study)
    own = table[table["participant_id"] == "P1"]
    text = " ".join(str(v) for v in own.to_numpy().ravel())
    return [code for code in ("E-PAIR-001", "E-PAIR-004") if code in text]


# --- a sheet as a file -------------------------------------------------------------------------------------


def _xlsx(change: Callable[[Any, Any], None] | None = None) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in STUDY[PEOPLE].splitlines():
        sheet.append(row.split(","))
    if change is not None:
        change(book, sheet)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _formula_cell(_book: Any, sheet: Any) -> None:
    sheet["C2"] = "=1+1"


def _second_sheet(book: Any, _sheet: Any) -> None:
    book.create_sheet("old").append(["x"])


def _as_file() -> list[Case]:
    text = STUDY[PEOPLE]

    def whole(value: Any) -> list[str]:
        return [str(v) for v in value["participant_id"]] + [str(v) for v in value["dose_mg"]]

    want = ["P1", "P2", "P3", "10", "10", "30"]
    oracle = "the cells of the same table in plain UTF-8"

    def table(name: str, trust: str, how: str, make: Any, expect: Expect) -> Case:
        return Case(f"table/{name}", "table", how, make, expect, trust)

    file = "participants.csv"
    return [
        table("UTF-16", "22", "in UTF-16 with its mark", one(file, text.encode("utf-16")),
              refused(At("E-FILE-003", f"{file}:1"))),
        table("UTF-16 without mark", "22", "in UTF-16 little endian", one(file, text.encode("utf-16-le")),
              refused(At("E-FILE-003", f"{file}:1"))),
        table("Latin-1", "22", "0xFC in line 3", one(file, text.replace("P2,A", "P2,ü").encode("latin-1")),
              refused(At("E-FILE-003", f"{file}:3", "0xFC"))),
        table("BOM", "22", "a byte-order mark before the header", one(file, b"\xef\xbb\xbf" + text.encode()),
              handled(whole, want, oracle)),
        table("CR", "22", "lines end in CR", one(file, text.replace("\n", "\r")), handled(whole, want, oracle)),
        table("CRLF", "22", "lines end in CR LF", one(file, text.replace("\n", "\r\n")),
              handled(whole, want, oracle)),
        table("no last line end", "22", "the last line is not ended", one(file, text.rstrip("\n")),
              handled(whole, want, oracle)),
        table("NUL", "22", "a NUL byte in line 3", one(file, text.replace("P2,A", "P2,\x00")),
              refused(At("E-FILE-003", f"{file}:3", "NUL"))),
        table("HTML", "22", "a web page under the name", one(file, "<!DOCTYPE html><html><table></table></html>"),
              refused(At("E-FILE-005", f"{file}:1"))),
        table("XLSX named CSV", "22", "a workbook under the name", one(file, _xlsx()),
              refused(At("E-FILE-005", file))),
        table("XLS", "22", "an old workbook under the name", one(file, b"\xd0\xcf\x11\xe0" + bytes(600)),
              refused(At("E-FILE-005", file))),
        table("gzip named CSV", "22", "packed, without .gz", one(file, packed(text)),
              refused(At("E-FILE-005", file))),
        table("gzip cut short", "22", "the packed sheet ends early", one(file + ".gz", packed(text)[:-12]),
              refused(At("E-FILE-005", file + ".gz"))),
        table("pickle", "5", "a pickle under the name: never loaded",
              one(file, b"\x80\x04cposix\nsystem\n(S'touch canary'\ntR."), refused(At("E-FILE-003", file + ":1"))),
        table("Parquet", "22", "Parquet's magic under the name", one(file, b"PAR1" + bytes(40)),
              refused(At("E-FILE-005", file))),
        table("PDF", "22", "a PDF under the name", one(file, b"%PDF-1.4\n"), refused(At("E-FILE-005", file))),
        table("# line", "22", "a comment in line 2", one(file, text.replace("\nP1", "\n# as of May\nP1")),
              refused(At("E-SHEET-019", f"{file}:2", "# as of May"))),
        table("quoted #", "22", "an id that starts with # in quotes", one(file, text.replace("\nP1,", '\n"#1",')),
              handled(lambda v: str(v["participant_id"].iloc[0]), "#1", "the text in quotes")),
        table("semicolons", "21", "semicolons between cells", one(file, text.replace(",", ";")),
              handled(whole, want, oracle)),
        table("tabs", "21", "tabs between cells", one(file, text.replace(",", "\t")), handled(whole, want, oracle)),
        table("trailing comma on each row", "17", "rows end in a comma, the header does not",
              one(file, text.replace("yes\n", "yes,\n")),
              told(At("E-SHEET-019", f"{file}:2"), get=whole, want=want, oracle=oracle)),
        table("trailing comma everywhere", "17", "header and rows end in a comma",
              one(file, text.replace("\n", ",\n")),
              told(At("E-SHEET-018", f"{file}:1 [9]"), get=whole, want=want, oracle=oracle)),
        table("empty rows", "17", "two rows of commas at the end", one(file, text + ",,,,,,,\n,,,,,,,\n"),
              told(At("E-SHEET-019", f"{file}:5"), get=whole, want=want, oracle=oracle)),
        table("row too long", "17", "line 3 has a cell too many", one(file, text.replace("P2,A", "P2,A,A")),
              refused(At("E-SHEET-003", f"{file}:3"))),
        table("row too short", "17", "line 3 lacks a cell", one(file, text.replace("P2,A,", "P2,")),
              refused(At("E-SHEET-003", f"{file}:3"))),
        table("unnamed column", "17", "a column with values and no name", one(file, text.replace(",sex,", ",,")),
              refused(At("E-SHEET-018", f"{file}:1 [4]"))),
        table("column twice", "18", "two columns of one name", one(file, text.replace(",sex,", ",age,")),
              refused(At("E-SHEET-002", f"{file}:1 [age]", "age"))),
        table("zero width in a column's name", "16", "dose_mg with a zero-width space",
              one(file, text.replace("dose_mg", "dose\u200b_mg")),
              refused(At("E-SHEET-010", f"{file}:1 [3]"))),
        table("quote not closed", "22", "a quote opens in line 2", one(file, text.replace("P1,A", 'P1,"A')),
              refused(At("E-SHEET-019", f"{file}:2"))),
        table("quoted line end", "22", "a cell holds a line end", one(file, text.replace("P1,A,", 'P1,"A\nB",')),
              handled(lambda v: [int(i) for i in v.index], [2, 4, 5], "lines as an editor counts them")),
        table("only blanks", "23", "blanks and line ends only", one(file, " \n\n  \n"),
              refused(At("E-FILE-004", file))),
        table("XLSX", "22", "a workbook named .xlsx", one("participants.xlsx", _xlsx()),
              handled(whole, want, oracle)),
        table("XLSX formula", "8", "a cell of the workbook holds a formula",
              one("participants.xlsx", _xlsx(_formula_cell)),
              refused(At("E-SHEET-007", "participants.xlsx:2", "=1+1"))),
        table("XLSX second sheet", "22", "the workbook has another sheet",
              one("participants.xlsx", _xlsx(_second_sheet)),
              told(At("E-SHEET-019", "participants.xlsx", "old"), get=whole, want=want, oracle=oracle)),
        table("XLSX cut short", "22", "half of the workbook", one("participants.xlsx", _xlsx()[:2000]),
              refused(At("E-FILE-005", "participants.xlsx"))),
        table("ZIP named XLSX", "14", "an archive that is no workbook", _zip_slip,
              refused(At("E-FILE-005", "participants.xlsx"))),
        table("folder", "39", "the path is a folder", lambda folder: folder, refused(At("E-FILE-002", "in"))),
        table("device", "39", "the path is /dev/zero", lambda _folder: Path("/dev/zero"),
              refused(At("E-FILE-002", "zero"))),
        table("pipe", "39", "the path is a named pipe", _pipe, refused(At("E-FILE-002", "pipe.csv"))),
        table("no such file", "", "there is no file", lambda folder: folder / "none.csv",
              refused(At("E-FILE-001", "none.csv"))),
        table("name too long", "7", "a name of 300 characters", lambda folder: folder / ("x" * 300),
              refused(At("E-FILE-001"))),
        table("NUL in the name", "7", "a name with a NUL", lambda folder: folder / "a\x00b",
              refused(At("E-FILE-001"))),
        table("gzip bomb", "34", "300 MB of blanks in 300 kB", one("a.csv.gz", lambda: packed(b"a,b\n") + packed(b"1,2\n" * (1 << 22)) * 20),  # fmt: skip
              refused(At("E-FILE-005", "a.csv.gz"))),
    ]  # fmt: skip


def _zip_slip(folder: Path) -> Path:
    import zipfile

    path = folder / "participants.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escaped.txt", "x")
    return path


def _pipe(folder: Path) -> Path:
    import os

    os.mkfifo(folder / "pipe.csv")
    return folder / "pipe.csv"


# --- overrides ---------------------------------------------------------------------------------------------


def _overrides() -> list[Case]:
    head = "item,action,reason,who,date\n"
    rows = {
        "unknown item": ("P9-X,exclude,smeared,AB,2025-05-01", At("E-OVERRIDE-001", "overrides.csv:2 [item]", "P9-X")),
        "unknown action": ("P1-S,drop,smeared,AB,2025-05-01", At("E-OVERRIDE-002", "overrides.csv:2 [action]", "drop")),
        "no reason": ("P1-S,exclude,,AB,2025-05-01", At("E-OVERRIDE-003", "overrides.csv:2 [reason]")),
        "nobody": ("P1-S,exclude,smeared,,2025-05-01", At("E-OVERRIDE-003", "overrides.csv:2 [who]")),
        "no date": ("P1-S,exclude,smeared,AB,", At("E-OVERRIDE-003", "overrides.csv:2 [date]")),
        "date not ISO": ("P1-S,exclude,smeared,AB,01/05/2025", At("E-OVERRIDE-003", "overrides.csv:2 [date]", "01/05/2025")),
        "unknown visit": ("P1-S,assign_visit=C9D1,late,AB,2025-05-01", At("E-OVERRIDE-002", "overrides.csv:2 [action]", "C9D1")),
        "on treatment before the first dose": (
            "P1-S,assign_visit=C2D1,late,AB,2025-05-01", At("E-OVERRIDE-006", "overrides.csv:2 [action]", "C2D1")),
        "twice": ("P1-S,exclude,a,AB,2025-05-01\nP1-S,exclude,b,AB,2025-05-01", At("E-OVERRIDE-004", "overrides.csv:3 [item]", "P1-S")),
        "contradiction": (
            "P1-S,include,a,AB,2025-05-01\nP1-S,exclude,b,AB,2025-05-01", At("E-OVERRIDE-004", "overrides.csv:3 [item]", "P1-S")),
        "action for another kind": ("L1,assign_visit=C2D1,a,AB,2025-05-01", At("E-OVERRIDE-002", "overrides.csv:2 [action]")),
        "code as action": ("P1-S,__import__('os'),a,AB,2025-05-01", At("E-OVERRIDE-002", "overrides.csv:2 [action]")),
    }  # fmt: skip
    cases = [
        _case(f"overrides/{name}", "", f"the rows {row!r}", study_with({"overrides.csv": f"{head}{row}\n"}), refused(at))
        for name, (row, at) in rows.items()
    ]  # fmt: skip
    cases.append(
        _case("overrides/no column reason", "", "the sheet has no column reason",
              study_with({"overrides.csv": "item,action,who,date\nP1-S,exclude,AB,2025-05-01\n"}),
              refused(At("E-SHEET-001", "overrides.csv:1 [reason]")))
    )  # fmt: skip
    cases.append(
        _case("overrides/exclude", "", "a slide is left out by a reviewer",
              study_with({"overrides.csv": f"{head}slide:S1,exclude,smeared,AB,2025-05-01\n"}),
              handled(lambda s: list(s.slides.index), ["S2"], "the slides but the one left out"))
    )  # fmt: skip
    return cases


def _many() -> list[Case]:
    """All faults of a folder in one pass."""
    people = with_cell(with_cell(STUDY[PEOPLE], 2, "dose_mg", "ten"), 4, "age", "200")
    biopsies = with_cell(with_cell(STUDY[BIOPSIES], 3, "visit", "C3D1"), 5, "collection_date", "03/03/2025")
    slides = with_cell(STUDY[SLIDES], 2, "mpp", "half")
    yaml = STUDY["study.yaml"].replace("[-28, -1]", "[-1, -28]")
    every = refused(
        At("E-SHEET-007", "participants.csv:2 [dose_mg]", "ten"),
        At("E-SHEET-008", "participants.csv:4 [age]", "200"),
        At("E-SHEET-012", "biopsies.csv:5 [collection_date]", "03/03/2025"),
        At("E-SHEET-007", "slides.csv:2 [mpp]", "half"),
        At("E-STUDY-001", "study.yaml:4 [visits.screening]"),
    )
    also = refused(
        At("E-SHEET-007", "participants.csv:2 [dose_mg]", "ten"),
        At("E-SHEET-008", "participants.csv:4 [age]", "200"),
        At("E-STUDY-004", "biopsies.csv:3 [visit]", "C3D1"),
        At("E-SHEET-012", "biopsies.csv:5 [collection_date]", "03/03/2025"),
        At("E-SHEET-007", "slides.csv:2 [mpp]", "half"),
    )
    files = {PEOPLE: people, BIOPSIES: biopsies, SLIDES: slides}
    return [
        _case("study/five faults in four files", "", "one fault in each of four files, two in one",
              study_with({**files, "study.yaml": yaml}), every),
        _case("study/five faults in three sheets", "", "study.yaml is sound: visits are checked too",
              study_with(files), also),
        _case("study/sound", "", "nothing is wrong", study_with({}),
              handled(lambda s: (len(s.participants), len(s.biopsies), len(s.libraries), len(s.slides)),
                      (3, 6, 6, 2), "rows of the sheets")),
        _case("study/no folder", "", "the folder does not exist", lambda folder: folder / "none",
              refused(At("E-FILE-001", "none"))),
        _case("study/a file", "", "the path is a file", lambda folder: write(folder, {"x": "y"}) / "x",
              refused(At("E-FILE-002", "x"))),
        _case("study/rows in another order", "51", "the rows of biopsies.csv are turned round",
              study_with({BIOPSIES: "\n".join([STUDY[BIOPSIES].splitlines()[0], *reversed(STUDY[BIOPSIES].splitlines()[1:])]) + "\n"}),
              handled(lambda s: sorted(map(str, s.biopsies.index)),
                      ["P1-S", "P1-T", "P2-S", "P2-T", "P3-S", "P3-T"], "the ids of the sheet")),
    ]  # fmt: skip


CASES = [*_ids(), *_keys(), *_types(), *_together(), *_as_file(), *_overrides(), *_many()]
