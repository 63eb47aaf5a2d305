"""Bad and odd clinical sheets, CDISC datasets and results folders."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bad_inputs.case import At, Case, Expect, handled, refused, told
from bad_inputs.seeds import one, study_with, with_cell, without_column
from cdisc_files import PEOPLE, exposures
from cdisc_files import write as write_dataset
from small_study import copy, small_study

# --- clinical sheets ---------------------------------------------------------------------------------------

SHEETS = {
    "doses": (
        "participant_id,start,end,amount,unit,cycle,day,planned_amount,status\n"
        "P1,2025-02-01T09:00,2025-02-01T10:00,10,mg,1,1,10,given\n"
        "P2,2025-02-03T09:00,2025-02-03T10:00,10,mg,1,1,10,given\n"
    ),
    "concentrations": (
        "participant_id,datetime,time_h,nominal_time_h,analyte,concentration,unit,lloq,specimen\n"
        "P1,2025-02-01T11:00,2,2,DRUG,12.5,ng/mL,0.5,serum\n"
        "P1,2025-02-02T09:00,24,24,DRUG,3.5,ng/mL,0.5,serum\n"
    ),
    "lesions": (
        "participant_id,date,lesion_id,role,diameter_mm,node,state,visit,reader\n"
        "P1,2025-01-20,T1,target,30,no,measured,BL,A\n"
        "P1,2025-03-20,T1,target,20,no,measured,W8,A\n"
    ),
    "responses": "participant_id,date,response,reader\nP1,2025-03-20,PR,A\nP2,2025-03-21,SD,A\n",
    "outcomes": (
        "participant_id,death_date,last_contact_date,new_therapy_date,treatment_end_date,measurable_disease\n"
        "P1,,2025-06-01,,2025-05-01,yes\n"
        "P2,2025-05-15,,,2025-05-01,yes\n"
    ),
    "ada": (
        "participant_id,date,assay_step,result,titre,titre_scale,neutralizing,drug_concentration,unit\n"
        "P1,2025-03-01,confirm,positive,160,linear,negative,1.5,ug/mL\n"
        "P2,2025-03-03,screen,negative,,,,2.5,ug/mL\n"
    ),
    "adverse_events": (
        "participant_id,term,grade,start,end,serious,related,dose_limiting\n"
        "P1,Fatigue,2,2025-02-10,2025-02-20,no,yes,no\n"
        "P2,Nausea,1,2025-02-12,2025-02-14,no,yes,no\n"
    ),
}  # fmt: skip


def _clinical() -> list[Case]:
    def case(sheet: str, what: str, trust: str, how: str, text: str, expect: Expect) -> Case:
        return Case(
            f"{sheet}/{what}", "study folder", how, study_with({f"clinical/{sheet}.csv": text}), expect, trust
        )

    cases = []
    needed = {
        "doses": ("start",), "concentrations": ("concentration", "unit"), "lesions": ("date", "lesion_id", "role"),
        "responses": ("date", "response"), "adverse_events": ("term",),
    }  # fmt: skip
    for sheet, text in SHEETS.items():
        file = f"clinical/{sheet}.csv"
        cases.append(
            case(
                sheet,
                "sound",
                "",
                "two rows as they should be",
                text,
                handled(lambda s, n=sheet: len(s.clinical[n]), 2, "rows of the sheet"),
            )
        )
        cases.append(
            case(
                sheet,
                "unknown participant",
                "19",
                "a participant who is not enrolled",
                with_cell(text, 2, "participant_id", "P9"),
                refused(At("E-SHEET-006", f"{file}:2 [participant_id]", "P9")),
            )
        )
        cases.append(
            case(
                sheet,
                "no participant",
                "19",
                "an empty participant_id",
                with_cell(text, 2, "participant_id", ""),
                refused(At("E-SHEET-004", f"{file}:2 [participant_id]")),
            )
        )
        cases.append(
            case(
                sheet,
                "no column participant_id",
                "17",
                "the column is gone",
                without_column(text, "participant_id"),
                refused(At("E-SHEET-001", f"{file}:1 [participant_id]")),
            )
        )
        first = text.splitlines()[1]
        cases.append(
            case(
                sheet,
                "row twice",
                "18",
                "the first row stands again",
                f"{text}{first}\n",
                refused(At("E-SHEET-016", f"{file}:4 [participant_id]")),
            )
        )
        for column in needed.get(sheet, ()):
            cases.append(
                case(
                    sheet,
                    f"no column {column}",
                    "17",
                    "a needed column is gone",
                    without_column(text, column),
                    refused(At("E-SHEET-001", f"{file}:1 [{column}]")),
                )
            )
            code = "E-SHEET-017"
            if column == "concentration":  # nothing was measured: a row of its own, not a fault
                cases.append(
                    case(
                        sheet,
                        "empty concentration",
                        "15",
                        "nothing was measured",
                        with_cell(text, 2, column, ""),
                        handled(
                            lambda s: float(s.clinical["concentrations"]["concentration"].iloc[0]),
                            float("nan"),
                            "missing, not 0",
                        ),
                    )
                )
                continue
            cases.append(
                case(
                    sheet,
                    f"empty {column}",
                    "19",
                    "a needed cell is empty",
                    with_cell(text, 2, column, ""),
                    refused(At(code, f"{file}:2 [{column}]"), beside=("E-CLIN-003", "E-CLIN-004")),
                )
            )
    cells = [
        ("doses", "start", "03/02/2025", "E-SHEET-012", "20"), ("doses", "amount", "-10", "E-SHEET-008", ""), ("doses", "amount", "ten", "E-SHEET-007", ""),
        ("doses", "unit", "tablets", "E-CLIN-005", ""), ("doses", "unit", "ng/mL", "E-CLIN-005", ""), ("doses", "cycle", "1.5", "E-SHEET-007", ""),
        ("doses", "status", "maybe", "E-CLIN-002", ""), ("doses", "amount", "1e400", "E-SHEET-007", "21"), ("doses", "end", "2025-01-01", "E-CLIN-006", "20"),
        ("concentrations", "concentration", "high", "E-CLIN-009", ""), ("concentrations", "concentration", "-1", "E-SHEET-008", ""),
        ("concentrations", "concentration", "inf", "E-CLIN-009", "21"), ("concentrations", "unit", "mg", "E-CLIN-005", ""),
        ("concentrations", "time_h", "two", "E-SHEET-007", ""), ("concentrations", "datetime", "45689", "E-SHEET-012", "20"), ("concentrations", "lloq", "-1", "E-SHEET-008", ""),
        ("lesions", "role", "main", "E-CLIN-002", ""), ("lesions", "diameter_mm", "-5", "E-SHEET-008", ""), ("lesions", "diameter_mm", "1001", "E-SHEET-008", ""),
        ("lesions", "diameter_mm", "3 cm", "E-SHEET-007", ""), ("lesions", "state", "gone?", "E-CLIN-002", ""), ("lesions", "date", "20.01.2025", "E-SHEET-012", "20"),
        ("responses", "response", "ORR", "E-CLIN-002", ""), ("responses", "date", "2025-13-01", "E-SHEET-012", "20"),
        ("outcomes", "measurable_disease", "perhaps", "E-CLIN-002", ""), ("outcomes", "last_contact_date", "01-JUN-2025", "E-SHEET-012", "20"),
        ("ada", "assay_step", "guess", "E-CLIN-002", ""), ("ada", "result", "weak", "E-CLIN-002", ""), ("ada", "titre", "-4", "E-SHEET-008", ""), ("ada", "titre", "many", "E-SHEET-007", ""),
        ("adverse_events", "grade", "6", "E-SHEET-008", ""), ("adverse_events", "grade", "2.5", "E-SHEET-007", ""), ("adverse_events", "end", "2025-02-01", "E-CLIN-006", "20"), ("adverse_events", "serious", "x", "E-CLIN-002", ""),
    ]  # fmt: skip
    for sheet, column, text, code, trust in cells:
        file = f"clinical/{sheet}.csv"
        cases.append(
            case(
                sheet,
                f"{column} {text.replace('/', '.')}",
                trust,
                f"the {column} of line 2 is {text!r}",
                with_cell(SHEETS[sheet], 2, column, text),
                refused(At(code, f"{file}:2 [{column}]", text)),
            )
        )
    cases += [
        case("concentrations", "below the limit", "21", "'<0.5' and 'BLQ'", with_cell(with_cell(SHEETS["concentrations"], 2, "concentration", "<0.5"), 3, "concentration", "BLQ"), handled(lambda s: s.clinical["concentrations"]["blq"].tolist(), [True, True], "what the laboratory typed")),
        case("responses", "after the cut-off", "20", "a response of 2026", with_cell(SHEETS["responses"], 2, "date", "2026-03-20"), told(At("E-CLIN-007", "clinical/responses.csv:2 [date]"), get=lambda s: len(s.clinical["responses"]), want=1, oracle="the row is set aside")),
        case("adverse_events", "partial date", "20", "a start of 2025-02", with_cell(SHEETS["adverse_events"], 2, "start", "2025-02"), told(At("E-CLIN-008", "clinical/adverse_events.csv:2 [start]", "2025-02"))),
        case("labs", "unknown sheet", "", "a sheet that is not one of the clinical ones", "a,b\n1,2\n", told(At("E-CLIN-001", "clinical/labs.csv"))),
        case("doses", "UTF-16", "22", "in UTF-16", "", refused(At("E-FILE-004", "clinical/doses.csv"))),
    ]  # fmt: skip
    return cases


# --- CDISC -------------------------------------------------------------------------------------------------


@cache
def _bytes(form: str) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        return write_dataset(Path(name), PEOPLE, form).read_bytes()


def _cdisc() -> list[Case]:
    def case(what: str, trust: str, how: str, data: Any, expect: Expect, name: str = "dm.xpt") -> Case:
        return Case(f"CDISC/{what}", "CDISC dataset", how, one(name, data), expect, trust)

    ids = handled(lambda d: d.frame["USUBJID"].tolist(), ["007", "1E5"], "the ids that were written")
    bad = refused(At("E-CDISC-001"))

    def document(change: Callable[[dict[str, Any]], None]) -> bytes:
        content = json.loads(_bytes("json"))
        change(content)
        return json.dumps(content).encode()

    def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
        return lambda content: content.__setitem__(key, value)

    cases = [
        case(
            f"sound {form}",
            "15",
            f"two participants as {form}",
            lambda form=form: _bytes(form),
            ids,
            f"dm.{form}",
        )
        for form in ("xpt", "json", "parquet", "csv")
    ]
    cases += [
        case(
            f"{form} cut at {share:.0%}",
            "33",
            f"the first {share:.0%}",
            lambda form=form, share=share: _bytes(form)[: int(share * len(_bytes(form)))],
            bad,
            f"dm.{form}",
        )
        for form in ("xpt", "json", "parquet")
        for share in (0.1, 0.5, 0.9)
    ]
    cases += [
        case("XPT of junk", "33", "the first card and noise", lambda: _bytes("xpt")[:80] + np.random.default_rng(1).bytes(2000), bad),
        case("XPT with a flipped bit in the names", "33", "one bit of the namestr header", lambda: _flip(_bytes("xpt"), 560), refused(At("E-CDISC-001"))),
        case("XPT claims 9,999 variables", "34", "the count of variables changed", lambda: _bytes("xpt").replace(b"NAMESTR HEADER RECORD!!!!!!!0000000011", b"NAMESTR HEADER RECORD!!!!!!!0000009999").replace(b"NAMESTR HEADER RECORD!!!!!!!000000", b"NAMESTR HEADER RECORD!!!!!!!009999", 1), bad),
        case("CSV named XPT", "22", "a text under the name", b"USUBJID\n007\n", bad),
        case("XPT named JSON", "22", "a transport file under the name", lambda: _bytes("xpt"), refused(At("E-CDISC-001")), "dm.json"),
        case("sas7bdat of zeros", "33", "its magic and zeros", b"\x00" * 12 + b"\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92\x08\x00" + bytes(2000), bad, "dm.sas7bdat"),
        case("sas7bdat of noise", "33", "its magic and noise", b"\x00" * 12 + b"\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92\x08\x00" + np.random.default_rng(2).bytes(70_000), bad, "dm.sas7bdat"),
        case("empty", "23", "no byte", b"", refused(At("E-FILE-004", "dm.xpt"))),
        case("pickle", "5", "a pickle under the name", b"\x80\x04cposix\nsystem\n.", bad, "dm.parquet"),
        case("JSON a list", "33", "the document is a list", b"[]", refused(At("E-CDISC-002")), "dm.json"),
        case("JSON of the future", "53", "version 9.0.0", lambda: document(put("datasetJSONVersion", "9.0.0")), refused(At("E-CDISC-002", "", "9.0.0")), "dm.json"),
        case("JSON without columns", "17", "no columns", lambda: document(put("columns", [])), refused(At("E-CDISC-002")), "dm.json"),
        case("JSON row too short", "17", "a row lacks its last cell", lambda: document(lambda c: c["rows"][1].pop()), refused(At("E-CDISC-002")), "dm.json"),
        case("JSON records miscounted", "17", "records: 7", lambda: document(put("records", 7)), refused(At("E-CDISC-002", "", "7")), "dm.json"),
        case("JSON key twice", "4", "two keys 'rows'", lambda: _bytes("json").replace(b'"rows"', b'"rows": [], "rows"', 1), refused(At("E-CDISC-001", "dm.json", "rows")), "dm.json"),
        case("JSON with NaN", "21", "a number that is NaN", lambda: document(lambda c: c["rows"][0].__setitem__([x["name"] for x in c["columns"]].index("AGE"), float("nan"))), refused(At("E-CDISC-002")), "dm.json"),
        case("JSON text for a number", "26", "AGE 'old'", lambda: document(lambda c: c["rows"][0].__setitem__([x["name"] for x in c["columns"]].index("AGE"), "old")), refused(At("E-CDISC-002")), "dm.json"),
        case("JSON column twice", "18", "two columns of one name", lambda: document(lambda c: c["columns"][1].__setitem__("name", c["columns"][0]["name"])), refused(At("E-CDISC-002")), "dm.json"),
        case("JSON deep", "34", "100,000 brackets", b"[" * 100_000, bad, "dm.json"),
        case("CSV in UTF-16", "22", "a text table in UTF-16", "USUBJID\n007\n".encode("utf-16"), refused(At("E-FILE-003")), "dm.csv"),
        case("XPT of two variables of one name", "18", "AGEU renamed to AGE", lambda: _bytes("xpt").replace(b"AGEU    ", b"AGE     "), bad),
        case("Parquet of two columns of one name", "18", "AGE stands twice", _two_columns, refused(At("E-CDISC-001"), beside=("E-SHEET-002",)), "dm.parquet"),
        Case("CDISC/missing", "CDISC dataset", "no such file", lambda folder: folder / "dm.xpt", refused(At("E-FILE-001"))),
        Case("CDISC/empty folder", "CDISC folder", "no dataset", lambda folder: folder, refused(At("E-FILE-004", "in")), "23"),
        Case("CDISC/two of one", "CDISC folder", "DM as XPT and as JSON", _twice, refused(At("E-CDISC-003"))),
        Case("CDISC/no participants", "CDISC folder", "EX without DM", _only_ex, handled(lambda t: sorted(t.tables), ["doses"], "the one table that EX gives; a study needs participants.csv")),
        Case("CDISC/dose negative", "CDISC folder", "EXDOSE -10", _negative_dose, handled(lambda t: sorted(set(t.tables["doses"]["amount"].astype(float))), [-10.0], "as in the file: the check of the study refuses the sheet (E-SHEET-008)")),
    ]  # fmt: skip
    return cases


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def _two_columns() -> bytes:
    stream = io.BytesIO()
    table = pa.table([pa.array(["007"]), pa.array([61.0]), pa.array([62.0])], names=["USUBJID", "AGE", "AGE"])
    pq.write_table(table, stream)
    return stream.getvalue()


def _twice(folder: Path) -> Path:
    write_dataset(folder, PEOPLE, "xpt")
    write_dataset(folder, PEOPLE, "json")
    return folder


def _only_ex(folder: Path) -> Path:
    write_dataset(folder, exposures(), "xpt")
    return folder


def _negative_dose(folder: Path) -> Path:
    write_dataset(folder, PEOPLE, "xpt")
    write_dataset(folder, exposures(amount=-10.0), "xpt")
    return folder


# --- results folders ---------------------------------------------------------------------------------------


@cache
def _results() -> Path:
    """A finished run of a small study without slides, made once for each process."""
    from pdbiomarker.run import change_study

    root = Path(tempfile.mkdtemp(prefix="badresults"))
    # Not atexit: a child process of multiprocessing ends without it.
    Finalize(None, shutil.rmtree, (root, True), exitpriority=1)
    study = small_study(root / "study", slides=False)
    change_study(study, root / "out", workers=1, progress=False)
    return root / "out"


def _harmed(name: str, change: Callable[[bytes], bytes | None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        out = copy(_results(), folder / "out")
        path = out / name
        data = change(path.read_bytes()) if path.exists() else change(b"")
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        return out

    return make


def _manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        content = json.loads(data)
        change(content)
        return json.dumps(content, indent=2).encode()

    return edit


def _outside(content: dict[str, Any]) -> None:
    content["outputs"]["../../etc/passwd"] = "0" * 64


def _results_cases() -> list[Case]:
    def verified(what: str, trust: str, how: str, name: str, change: Any, expect: Expect) -> Case:
        return Case(f"results/{what}", "results, verified", how, _harmed(name, change), expect, trust)

    def back(what: str, trust: str, how: str, name: str, change: Any, expect: Expect) -> Case:
        return Case(
            f"results/{what}, read back", "results, read back", how, _harmed(name, change), expect, trust
        )

    def apart(what: str, trust: str, how: str, name: str, change: Any, expect: Expect) -> Case:
        return Case(
            f"results/{what}, no manifest yet",
            "results, taken apart",
            how,
            _harmed(name, change),
            expect,
            trust,
        )

    table = "results/pd_change.csv"
    json_file = "results/study.json"
    h5ad = "assays/rna.h5ad"
    broken = refused(At("E-FILE-005"))
    return [
        verified("sound", "65", "nothing was changed", table, lambda d: d, handled(lambda v: len(v), 0, "no difference")),
        verified("one byte", "65", "one digit of the table", table, lambda d: d[:-3] + bytes([d[-3] ^ 1]) + d[-2:], refused(At("E-RUN-003", f"{table} [sha256]"))),
        verified("emptied", "45", "the table is empty", table, lambda _d: b"", refused(At("E-RUN-003", f"{table} [sha256]"))),
        verified("removed", "45", "the table is gone", table, lambda _d: None, refused(At("E-RUN-003", table))),
        verified("added", "65", "a file was put there", "results/extra.csv", lambda _d: b"x", refused(At("E-RUN-060", "results/extra.csv"))),
        verified("manifest edited", "65", "a hash in the manifest was changed", "manifest.json", _manifest(lambda c: c["outputs"].update({table: "0" * 64})), refused(At("E-RUN-003", f"{table} [sha256]"), beside=("E-RUN-003", "E-AUDIT-002"))),
        verified("manifest names a file outside", "7", "../../etc/passwd among the outputs", "manifest.json", _manifest(_outside), refused(At("E-RUN-003", "../../etc/passwd"), beside=("E-AUDIT-002",))),
        verified("manifest cut short", "41", "half of the manifest", "manifest.json", lambda d: d[: len(d) // 2], refused(At("E-RUN-003", "manifest.json"))),
        verified("manifest a list", "65", "the manifest is []", "manifest.json", lambda _d: b"[]", refused(At("E-RUN-003", "manifest.json"))),
        verified("manifest deep", "34", "100,000 brackets", "manifest.json", lambda _d: b"[" * 100_000, refused(At("E-RUN-003", "manifest.json"))),
        verified("manifest in UTF-16", "22", "in UTF-16", "manifest.json", lambda d: d.decode().encode("utf-16"), refused(At("E-RUN-003", "manifest.json"))),
        verified("no manifest", "44", "the manifest is gone", "manifest.json", lambda _d: None, refused(At("E-FILE-001", "manifest.json"))),
        apart("table cut short", "44", "half of the table", table, lambda d: d[: len(d) // 2], refused(At("E-SHEET-003"), beside=("E-SHEET-019", "E-FILE-005"))),
        apart("table without a column", "44", "a column renamed", table, lambda d: d.replace(b"estimate", b"estimote", 1), broken),
        apart("table empty", "45", "the table is empty", table, lambda _d: b"", refused(At("E-FILE-004"))),
        apart("text for a number", "65", "an estimate that is a word", table, lambda d: _word(d), broken),
        apart("study cut short", "44", "half of study.json", json_file, lambda d: d[: len(d) // 2], broken),
        apart("study a list", "65", "study.json is []", json_file, lambda _d: b"[]", broken),
        apart("study deep", "34", "100,000 brackets", json_file, lambda _d: b"[" * 100_000, broken),
        apart("study without assays", "65", "a key is gone", json_file, lambda d: d.replace(b'"assays"', b'"essays"', 1), broken),
        apart("assay cut short", "44", "half of an h5ad", h5ad, lambda d: d[: len(d) // 2], broken),
        apart("assay a text", "44", "a text under the name", h5ad, lambda _d: b"text", broken),
        apart("assay gone", "44", "an h5ad is gone", h5ad, lambda _d: None, broken),
        back("table edited", "65", "one digit of the table", table, lambda d: d[:-3] + bytes([d[-3] ^ 1]) + d[-2:], refused(At("E-RUN-003", f"{table} [sha256]"))),
        back("study a list", "65", "study.json is []", json_file, lambda _d: b"[]", refused(At("E-RUN-003", f"{json_file} [sha256]"))),
        back("assay replaced", "6", "another file in place of an h5ad", h5ad, lambda _d: b"\x89HDF\r\n\x1a\n" + bytes(9000), refused(At("E-RUN-003", f"{h5ad} [sha256]"))),
        back("assay one byte", "65", "one bit of an h5ad", h5ad, lambda d: d[:4000] + bytes([d[4000] ^ 1]) + d[4001:], refused(At("E-RUN-003", f"{h5ad} [sha256]"))),
        back("assay gone", "44", "an h5ad is gone", h5ad, lambda _d: None, refused(At("E-RUN-003", h5ad))),
        back("manifest edited", "65", "another hash of an h5ad in the manifest", "manifest.json", _manifest(lambda c: c["outputs"].update({h5ad: "0" * 64})), refused(At("E-RUN-003", f"{h5ad} [sha256]"), At("E-RUN-003", "manifest.json"))),
        verified("log cut short", "65", "the last line of the audit log is gone", "audit.jsonl", lambda d: b"\n".join(d.split(b"\n")[:-2]) + b"\n", refused(At("E-AUDIT-002", "audit.jsonl:1"))),
        verified("log without its head", "65", "audit.head.json is gone", "audit.head.json", lambda _d: None, refused(At("E-AUDIT-002", "audit.head.json [line]"))),
        verified("head of the log edited", "65", "audit.head.json names line 1", "audit.head.json", lambda d: d.replace(b'"line":2', b'"line":1'), refused(At("E-AUDIT-002", "audit.head.json [line]"))),
        verified("head of the log a list", "65", "audit.head.json is []", "audit.head.json", lambda _d: b"[]", refused(At("E-AUDIT-002", "audit.head.json [line]"))),
        Case("results/not a results folder", "results, read back", "an empty folder", lambda folder: folder, refused(At("E-FILE-001", "manifest.json")), "44"),
    ]  # fmt: skip


def _word(data: bytes) -> bytes:
    lines = data.decode().splitlines()
    place = lines[0].split(",").index("estimate")
    cells = lines[1].split(",")
    cells[place] = "high"
    return "\n".join([lines[0], ",".join(cells), *lines[2:]]).encode() + b"\n"


CASES = [*_clinical(), *_cdisc(), *_results_cases()]
