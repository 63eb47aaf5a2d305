"""Bad and odd measurements: count matrices, tables of values, single cells, RCC lanes, exports, regions."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.io
from bad_inputs.case import At, Case, Expect, handled, left_out, refused, told
from bad_inputs.seeds import GENES, LIBRARIES, STUDY, counts, matrix, one, packed, study_with, write
from rcc_set import draw, rcc_text
from scipy import sparse

N = len(GENES)


# --- count matrices ----------------------------------------------------------------------------------------


def _total(adata: Any) -> int:
    return int(adata.X.sum())


def _changed(row: int, column: int, value: object) -> list[list[object]]:
    rows: list[list[object]] = counts().tolist()
    rows[row][column] = value
    return rows


def _cpm() -> np.ndarray:
    values = counts() + 0.0
    return values / values.sum(axis=0) * 1e6


def _with_column(column: int, values: Any) -> list[list[object]]:
    table = counts().astype(object)
    table[:, column] = values
    return table.tolist()


def _counts() -> list[Case]:
    total = int(counts().sum())
    sound = handled(_total, total, "the sum of the counts that were written")
    name = "counts.csv"

    def case(what: str, trust: str, how: str, content: Any, expect: Expect, file: str = name) -> Case:
        return Case(f"counts/{what}", "counts", how, one(file, content), expect, trust)

    wide = matrix(counts().T.tolist(), LIBRARIES, GENES)
    ensembl = tuple(f"ENSG{k:011d}" for k in range(N))
    cell_codes = {
        "text": ("many", "E-COUNT-001"), "thousands": ('"1,234"', "E-COUNT-001"), "percent": ("12%", "E-COUNT-001"),
        "negative": ("-3", "E-COUNT-002"), "fraction": ("3.5", "E-COUNT-003"), "empty": ("", "E-COUNT-004"),
        "NaN": ("NaN", "E-COUNT-004"), "inf": ("inf", "E-COUNT-004"), "1e400": ("1e400", "E-COUNT-004"),
        "2^53 + 1": (str(2**53 + 1), "E-COUNT-004"), "hex": ("0x10", "E-COUNT-001"), "NA": ("NA", "E-COUNT-004"),
        "full-width digits": ("１２", "E-COUNT-001"),
    }  # fmt: skip
    cells = [
        case(f"cell {what}", "26", f"one cell holds {text}", matrix(_changed(4, 2, text)),
             refused(At(code, "counts.csv:6 [L3]", text.strip('"'))))
        for what, (text, code) in cell_codes.items()
    ]  # fmt: skip
    scaled = [
        case("TPM", "26", "transcripts per million", matrix(_cpm().round(3).tolist()), refused(At("E-COUNT-003", "", "TPM or CPM"))),
        case("log2 CPM", "26", "log2(CPM + 1)", matrix(np.log2(_cpm() + 1).round(4).tolist()), refused(At("E-COUNT-003", "", "log values"))),
        case("z-scores", "26", "centred and scaled by gene", matrix(_z().round(4).tolist()), refused(At("E-COUNT-002", "", "z-scores"), At("E-COUNT-003", "", "z-scores"))),
        case("expected counts", "26", "RSEM's fractional counts", matrix((counts() + 0.31).tolist()), refused(At("E-COUNT-003", "", "expected counts"))),
        case("whole as 3.0", "21", "whole numbers with .0", matrix((counts() + 0.0).tolist()), sound),
        case("whole as 1e3", "21", "1000 written 1e3", matrix(_changed(0, 0, "1e3")), handled(lambda a: float(a.X[0, 0]), 1000.0, "the number that 1e3 is")),
    ]  # fmt: skip
    rounded = [[int(v) for v in row] for row in np.rint(_cpm())]
    shape = [
        case("rounded TPM", "26", "TPM rounded to whole numbers, 120 genes", matrix(rounded * 2, [*GENES, *(f"X{g}" for g in GENES)]), told(At("E-COUNT-016", "counts.csv", "one depth"))),
        case("transposed, Ensembl", "26", "libraries in rows, genes (Ensembl) in columns", matrix(counts().T.tolist(), LIBRARIES, ensembl), refused(At("E-COUNT-010", "counts.csv:1", "transposed"))),
        case("transposed, unknown genes", "26", "libraries in rows, 60 genes of no known scheme in columns", wide, told(At("E-COUNT-010", "counts.csv:1", "transposed"))),
        case("gene twice", "25", "GENE001 stands twice", matrix(None, ["GENE001", *GENES[1:]]), refused(At("E-COUNT-005", "counts.csv:3", "GENE001"))),
        case("library twice", "18", "L1 stands twice", matrix(None, GENES, ["L1", "L1", *LIBRARIES[2:]]), refused(At("E-COUNT-006", "counts.csv:1 [L1]", "L1"))),
        case("libraries by case", "16", "L1 and l1", matrix(None, GENES, ["L1", "l1", *LIBRARIES[2:]]), told(At("E-SHEET-009", "counts.csv:1 [l1]", "l1"))),
        case("gene without name", "25", "an empty gene id", matrix(None, ["", *GENES[1:]]), refused(At("E-COUNT-012", "counts.csv:2"))),
        case("library without name", "16", "an empty library id", matrix(None, GENES, ["L1", "", *LIBRARIES[2:]]), refused(At("E-SHEET-004", "counts.csv:1"))),
        case("gene 1-Mar", "25", "MARCHF1 as a spreadsheet shows it", matrix(None, ["1-Mar", *GENES[1:]]), told(At("E-COUNT-013", "counts.csv:2", "1-Mar"))),
        case("gene 2-Sep", "25", "SEPTIN2 as a spreadsheet shows it", matrix(None, ["2-Sep", *GENES[1:]]), told(At("E-COUNT-013", "counts.csv:2", "2-Sep"))),
        case("gene 43891", "25", "a spreadsheet's serial number", matrix(None, ["43891", *GENES[1:]]), told(At("E-COUNT-013", "counts.csv:2", "43891"))),
        case("gene 2020-03-01", "25", "an ISO date", matrix(None, ["2020-03-01", *GENES[1:]]), told(At("E-COUNT-013", "counts.csv:2", "2020-03-01"))),
        case("gene NA", "15", "a gene called NA", matrix(None, ["NA", *GENES[1:]]), handled(lambda a: str(a.var_names[0]), "NA", "the id as typed")),
        case("gene 007", "15", "a gene called 007", matrix(None, ["007", *GENES[1:]]), handled(lambda a: str(a.var_names[0]), "007", "the id as typed")),
        case("library 1E5", "15", "a library called 1E5", matrix(None, GENES, ["1E5", *LIBRARIES[1:]]), handled(lambda a: str(a.obs_names[0]), "1E5", "the id as typed")),
        case("gene =1+1", "8", "a gene that starts like a formula", matrix(None, ["=1+1", *GENES[1:]]), handled(lambda a: str(a.var_names[0]), "=1+1", "the id as typed")),
        case("gene with a control character", "9", "a BEL in a gene id", matrix(None, ["G\x07", *GENES[1:]]), refused(At("E-SHEET-010", "counts.csv:2"))),
        case("gene with blanks", "25", "blanks round a gene id", matrix(None, [" GENE000 ", *GENES[1:]]), told(At("E-SHEET-009", "counts.csv:2", "GENE000"), get=lambda a: str(a.var_names[0]), want="GENE000", oracle="without the blanks")),
        case("summary row", "25", "HTSeq's __no_feature among genes", matrix(None, ["__no_feature", *GENES[1:]]), refused(At("E-COUNT-011", "counts.csv:2", "__no_feature"))),
        case("all-zero library", "27", "a library without a read", matrix(_with_column(2, 0)), left_out(At("E-COUNT-009", "counts.csv:1 [L3]", "L3", "L3"), get=lambda a: list(a.obs_names), want=["L1", "L2", "L4", "L5", "L6"])),
        case("1000x low depth", "27", "a library with a thousandth of the reads", matrix(_with_column(2, counts()[:, 2] // 1000 + (np.arange(N) == 0))), left_out(At("E-COUNT-014", "counts.csv:1 [L3]", "L3", "L3"))),
        case("copied column", "27", "L3 is a copy of L1", matrix(_with_column(2, counts()[:, 0])), told(At("E-COUNT-015", "counts.csv:1 [L3]", "L1"))),
        case("all zero", "27", "no read at all", matrix(np.zeros((N, 6), int).tolist()), refused(At("E-COUNT-009"), beside=("E-COUNT-009",))),
        case("shifted header", "17", "the header lacks the corner, as R writes it", matrix().replace("gene,", "", 1), told(At("E-SHEET-003", "counts.csv:1"), get=_total, want=total, oracle="the counts written")),
        case("row numbers first", "17", "pandas' row numbers before the genes", _row_numbers(), refused(At("E-COUNT-035", "counts.csv:1"), At("E-COUNT-001"))),
        case("trailing comma", "17", "every line ends in a comma", matrix().replace("\n", ",\n"), told(At("E-SHEET-019", "counts.csv:1"), get=_total, want=total, oracle="the counts written")),
        case("line too short", "17", "line 4 lacks a cell", _cut_line(4), refused(At("E-SHEET-003", "counts.csv:4"))),
        case("text column", "26", "a column of descriptions", matrix(_with_column(2, "kinase")), refused(At("E-COUNT-001", "counts.csv:2 [L3]", "kinase"))),
        case("header only", "23", "no gene", matrix([], []), refused(At("E-SHEET-011", "counts.csv:1"))),
        case("empty", "23", "a file without a byte", "", refused(At("E-FILE-004", "counts.csv"))),
        case("one column", "23", "gene ids and nothing else", "gene\nA\nB\n", refused(At("E-FILE-005", "counts.csv:1", "gene"))),
    ]  # fmt: skip
    text = matrix()
    files = [
        case("UTF-16", "22", "in UTF-16", text.encode("utf-16"), refused(At("E-FILE-003", "counts.csv:1"))),
        case("Latin-1", "22", "0xE9 in a gene id", text.replace("GENE000", "G\u00e9").encode("latin-1"), refused(At("E-FILE-003", "counts.csv:2"))),
        case("BOM", "22", "a byte-order mark", b"\xef\xbb\xbf" + text.encode(), sound),
        case("CR LF", "22", "lines end in CR LF", text.replace("\n", "\r\n"), sound),
        case("CR", "22", "lines end in CR", text.replace("\n", "\r"), sound),
        case("NUL", "22", "a NUL byte", text.replace("GENE001", "G\x00"), refused(At("E-FILE-003", "counts.csv:3"))),
        case("HTML", "22", "a web page", "<html><body>log in</body></html>", refused(At("E-FILE-005", "counts.csv:1"))),
        case("semicolons", "21", "semicolons between cells", matrix(sep=";"), sound),
        case("tabs", "21", "tabs in a .csv", matrix(sep="\t"), sound),
        case("gz", "22", "packed by gzip", packed(text), sound, "counts.csv.gz"),
        case("gz without the suffix", "22", "packed, called .csv", packed(text), sound),
        case("gz cut short", "33", "half of the packed file", packed(text)[:300], refused(At("E-FILE-005", "counts.csv.gz")), "counts.csv.gz"),
        case("gz with a flipped bit", "33", "one bit in the middle", _flipped(packed(text), 250), refused(At("E-FILE-005", "counts.csv.gz")), "counts.csv.gz"),
        case("gz bomb", "34", "1 GB of zeros in 1 MB", lambda: packed(b"gene,L1\nA,") + packed(bytes([48]) * (1 << 24)) * 64, refused(At("E-FILE-005", "counts.csv.gz")), "counts.csv.gz"),
        case("bzip2", "22", "packed by bzip2", b"BZh91AY&SY" + bytes(90), refused(At("E-FILE-005", "counts.csv"))),
        case("XLS", "22", "an old workbook", b"\xd0\xcf\x11\xe0" + bytes(600), refused(At("E-FILE-005", "counts.csv"))),
        case("pickle", "5", "a pickled frame, called .csv", b"\x80\x04cposix\nsystem\n(S'touch canary'\ntR.", refused(At("E-FILE-003", "counts.csv:1"))),
        case("npz", "5", "numpy's archive, called .csv", _npz(), refused(At("E-FILE-005", "counts.csv"))),
        case("Matrix Market", "22", "an .mtx, which has no ids", _mtx(), refused(At("E-FILE-005", "counts.mtx:1", "MatrixMarket")), "counts.mtx"),
        case("Parquet", "22", "the table as Parquet", _parquet(), sound, "counts.parquet"),
        case("Parquet cut short", "33", "half of it", _parquet()[:400], refused(At("E-FILE-005", "counts.parquet")), "counts.parquet"),
        Case("counts/missing", "counts", "no such file", lambda folder: folder / name, refused(At("E-FILE-001", name))),
        Case("counts/folder", "counts", "an empty folder", lambda folder: folder, refused(At("E-FILE-002", "in"))),
        Case("counts/device", "counts", "/dev/zero", lambda _folder: Path("/dev/zero"), refused(At("E-FILE-002", "zero")), "39"),
    ]  # fmt: skip
    return [*cells, *scaled, *shape, *files, *_of_study()]


def _z() -> np.ndarray:
    logs = np.log2(counts() + 1.0)
    return (logs - logs.mean(axis=1, keepdims=True)) / logs.std(axis=1, keepdims=True)


def _row_numbers() -> str:
    lines = matrix().splitlines()
    return "\n".join(["," + lines[0], *(f"{k}," + line for k, line in enumerate(lines[1:]))]) + "\n"


def _cut_line(number: int) -> str:
    lines = matrix().splitlines()
    lines[number - 1] = lines[number - 1].rpartition(",")[0]
    return "\n".join(lines) + "\n"


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=counts())
    return stream.getvalue()


def _mtx() -> bytes:
    stream = io.BytesIO()
    scipy.io.mmwrite(stream, sparse.coo_array(counts()))
    return stream.getvalue()


def _parquet() -> bytes:
    frame = pd.DataFrame(counts(), columns=list(LIBRARIES))
    frame.insert(0, "gene", list(GENES))
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False)
    return stream.getvalue()


def _of_study() -> list[Case]:
    def case(what: str, trust: str, how: str, text: str, expect: Expect) -> Case:
        return Case(
            f"counts/{what}", "assay of a study", how, study_with({"counts.csv": text}), expect, trust
        )

    return [
        case("unclaimed library", "19", "the matrix has L9, which no biopsy claims", matrix(None, GENES, [*LIBRARIES[:5], "L9"]),
             left_out(At("E-COUNT-007", "counts.csv:1 [L9]", "L9", "L9"), At("E-COUNT-008", "", "L6", "L6"), get=lambda a: list(a.obs_names), want=["P1-S", "P1-T", "P2-S", "P2-T", "P3-S"])),
        case("no library claimed", "19", "other ids than the sheet's", matrix(None, GENES, [f"X{k}" for k in range(6)]), refused(At("E-COUNT-007", "counts.csv:1"), beside=("E-COUNT-007", "E-COUNT-008"))),
        case("transposed in a study", "26", "libraries in rows", matrix(counts().T.tolist(), LIBRARIES, GENES), refused(At("E-COUNT-010", "counts.csv:1"))),
        case("copied over another biopsy", "27", "L3 is a copy of L1, of another participant", matrix(_with_column(2, counts()[:, 0])), left_out(At("E-COUNT-015", "counts.csv:1 [L1]", "", "L1"), At("E-COUNT-015", "counts.csv:1 [L3]", "", "L3"), get=lambda a: list(a.obs_names), want=["P1-T", "P2-T", "P3-S", "P3-T"])),
        case("columns in another order", "51", "the libraries turned round", matrix(counts()[:, ::-1].tolist(), GENES, LIBRARIES[::-1]), handled(lambda a: a.X.sum(axis=1).astype(int).tolist(), counts().sum(axis=0).tolist(), "the column sums, by library")),
    ]  # fmt: skip


# --- tables of values --------------------------------------------------------------------------------------


def _values() -> list[Case]:
    ids = ["P1-S", "P1-T", "P2-S", "P2-T", "P3-S", "P3-T"]
    good = "feature," + ",".join(ids) + "\nCD8,1,2,3,4,5,6\nCD4,2,3,4,5,6,7\n"

    def case(what: str, trust: str, how: str, text: str, expect: Expect, extra: str = "") -> Case:
        yaml = STUDY["study.yaml"].replace(
            "  rna:", f"  flow: {{kind: score, file: flow.csv{extra}}}\n  rna:"
        )
        return Case(
            f"values/{what}",
            "values of a study",
            how,
            study_with({"study.yaml": yaml, "flow.csv": text}),
            expect,
            trust,
        )

    return [
        case("sound", "", "two features of six biopsies", good, handled(lambda a: a.X.sum(), 48.0, "the sum of the cells")),
        case("text", "", "a cell 'high'", good.replace(",3,4,5,6\n", ",high,4,5,6\n"), refused(At("E-SHEET-007", "flow.csv:2 [P2-S]", "high"))),
        case("<5 without a rule", "21", "a limit where none is declared", good.replace(",3,4,5,6\n", ",<5,4,5,6\n"), refused(At("E-SHEET-007", "flow.csv:2 [P2-S]", "<5"))),
        case("<5 censored", "21", "a limit, declared as censored", good.replace(",3,4,5,6\n", ",<5,4,5,6\n"), handled(lambda a: (float(a["P2-S", "CD8"].X[0, 0]), int(a["P2-S", "CD8"].layers["censored"][0, 0])), (5.0, -1), "the limit, marked as an upper bound"), ", limits: censored"),
        case("decimal comma", "21", "3,5 with semicolons", good.replace(",", ";").replace(";3;4;5;6\n", ";3,5;4;5;6\n"), refused(At("E-SHEET-007", "flow.csv:2 [P2-S]", "3,5"))),
        case("infinite", "21", "inf", good.replace(",3,4,5,6\n", ",inf,4,5,6\n"), refused(At("E-SHEET-007", "flow.csv:2 [P2-S]", "inf"))),
        case("feature twice", "18", "CD8 stands twice", good.replace("CD4", "CD8"), refused(At("E-SHEET-005", "flow.csv:3 [feature]", "CD8"))),
        case("biopsy twice", "18", "P1-S heads two columns", good.replace("P1-T", "P1-S"), refused(At("E-SHEET-002", "flow.csv:1 [P1-S]", "P1-S"))),
        case("unknown biopsy", "19", "a column of no biopsy", good.replace("P3-T", "P9-T"), left_out(At("E-SHEET-006", "", "P9-T", "P9-T"))),
        case("no biopsy known", "19", "transposed: features in columns", "biopsy,CD8,CD4\nP1-S,1,2\nP1-T,3,4\n", refused(At("E-SHEET-006"), beside=("E-SHEET-006",))),
        case("empty cell", "15", "not measured", good.replace(",3,4,5,6\n", ",,4,5,6\n"), handled(lambda a: float(a["P2-S", "CD8"].X[0, 0]), float("nan"), "missing, not 0")),
    ]  # fmt: skip


# --- single cells and h5ad ---------------------------------------------------------------------------------


def _cells(change: Callable[[ad.AnnData], None] | None = None) -> ad.AnnData:
    draw_ = np.random.default_rng(4)
    X = sparse.csr_matrix(draw_.poisson(6, (60, 300)).astype(np.float32))
    obs = pd.DataFrame(
        {"biopsy_id": np.repeat(["B1", "B2"], 30), "cell_type": ["T", "M"] * 30},
        index=[f"c{k}" for k in range(60)],
    )
    adata = ad.AnnData(X=X, obs=obs, var=pd.DataFrame(index=[f"G{k:03d}" for k in range(300)]))
    if change is not None:
        change(adata)
    return adata


def _h5ad(
    change: Callable[[ad.AnnData], None] | None = None, harm: Callable[[h5py.File], None] | None = None
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "cells.h5ad"
        _cells(change).write_h5ad(path)
        if harm is not None:
            with h5py.File(path, "r+") as file:
                harm(file)
        return path

    return make


def _set(name: str, at: int, value: float) -> Callable[[h5py.File], None]:
    def harm(file: h5py.File) -> None:
        file[name][at] = value

    return harm


def _replaced(name: str, data: Any) -> Callable[[h5py.File], None]:
    def harm(file: h5py.File) -> None:
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = data
        file[name].attrs.update(attributes)

    return harm


def _attribute(name: str, key: str, value: Any) -> Callable[[h5py.File], None]:
    def harm(file: h5py.File) -> None:
        file[name].attrs[key] = value

    return harm


def _external(file: h5py.File) -> None:
    del file["X/data"]
    file["X/data"] = h5py.ExternalLink("/etc/hostname", "/x")


def _raw_outside(file: h5py.File) -> None:
    del file["X/data"]
    file.create_dataset("X/data", (17_000,), "f4", external=[("/etc/hostname", 0, 4 * 17_000)])


def _huge(file: h5py.File) -> None:
    del file["X/data"]
    file.create_dataset("X/data", (1 << 34,), "f4", chunks=(1 << 20,), compression="gzip", fillvalue=1)
    file["X"].attrs["shape"] = np.array([60, 300])


def _log(adata: ad.AnnData) -> None:
    adata.X = adata.X.log1p()


def _negative(adata: ad.AnnData) -> None:
    adata.X.data[5] = -2


def _nan(adata: ad.AnnData) -> None:
    adata.X.data[5] = np.nan


def _fraction(adata: ad.AnnData) -> None:
    adata.X.data[5] = 2.5


def _endless(path: Path) -> Path:
    """Zeros in the heap that holds the texts: the HDF5 library steps on by the size of an object, 0, for ever."""
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    data[at : at + 64] = bytes(64)
    path.write_bytes(data)
    return path


def _no_type(adata: ad.AnnData) -> None:
    del adata.obs["cell_type"]


def _no_biopsy(adata: ad.AnnData) -> None:
    del adata.obs["biopsy_id"]


def _genes_twice(adata: ad.AnnData) -> None:
    names = list(adata.var_names)
    names[1] = names[0]
    adata.var_names = names


def _single() -> list[Case]:
    def case(what: str, trust: str, how: str, make: Any, expect: Expect, waits: str = "") -> Case:
        return Case(f"single cells/{what}", "single cells", how, make, expect, trust, waits)

    damage = ("E-CELL-002",)
    nnz = _cells().X.nnz
    sound = int(_cells().X.sum())
    return [
        case("sound", "", "60 cells of two biopsies", _h5ad(), handled(lambda f: int(sum(a.X.sum() for n, a in f.assays.items() if not n.endswith("composition"))), sound, "the sum of all counts")),
        case("column beyond", "53", "a column number of 300 in 300 genes", _h5ad(None, _set("X/indices", 7, 300)), refused(At(damage[0], "", ""))),
        case("column negative", "53", "a column number of -1", _h5ad(None, _set("X/indices", 7, -1)), refused(At(damage[0]))),
        case("pointer beyond", "53", "the last pointer beyond the data", _h5ad(None, _set("X/indptr", 60, nnz + 1000)), refused(At(damage[0]))),
        case("pointers fall", "53", "a pointer smaller than the one before", _h5ad(None, _set("X/indptr", 30, 1)), refused(At(damage[0]))),
        case("pointer negative", "53", "a pointer of -5", _h5ad(None, _set("X/indptr", 1, -5)), refused(At(damage[0]))),
        case("pointers too few", "53", "ten pointers for 60 cells", _h5ad(None, _replaced("X/indptr", np.arange(10))), refused(At(damage[0]))),
        case("data too short", "53", "fewer values than columns", _h5ad(None, _replaced("X/data", np.ones(5, "f4"))), refused(At(damage[0]))),
        case("data of text", "53", "values that are texts", _h5ad(None, _replaced("X/data", np.array([b"x"] * nnz))), refused(At("E-CELL-002"))),
        case("log-normalised", "26", "log(1 + x)", _h5ad(_log), refused(At("E-CELL-003", "", "log"))),
        case("negative", "26", "a count of -2", _h5ad(_negative), refused(At("E-CELL-003"))),
        case("NaN", "26", "a count that is NaN", _h5ad(_nan), refused(At("E-CELL-003"))),
        case("fraction", "26", "a count of 2.5", _h5ad(_fraction), refused(At("E-CELL-003"))),
        case("no cell type", "17", "obs has no cell_type", _h5ad(_no_type), refused(At("E-CELL-004"))),
        case("no biopsy", "17", "obs has no biopsy_id", _h5ad(_no_biopsy), refused(At("E-CELL-004"))),
        case("gene twice", "25", "two genes of one name", _h5ad(_genes_twice), refused(At("E-COUNT-005"))),
        case("external link", "13", "X/data is a link to another file", _h5ad(None, _external), refused(At("E-CELL-001"))),
        case("external storage", "13", "X/data lies in another file", _h5ad(None, _raw_outside), refused(At("E-CELL-001"))),
        case("future encoding", "53", "encoding-version 9.0.0", _h5ad(None, _attribute("X", "encoding-version", "9.0.0")), refused(At("E-CELL-002", "", "9.0.0"))),
        case("unknown encoding", "53", "encoding-type of the future", _h5ad(None, _attribute("X", "encoding-type", "hyper_matrix")), refused(At("E-CELL-001"))),
        case("shape beyond", "34", "10^12 cells by its header", _h5ad(None, _attribute("X", "shape", np.array([10**12, 300]))), refused(At("E-CELL-002"), beside=("E-CELL-001",))),
        case("64 GB of fill values", "34", "2^34 values in a few bytes", _h5ad(None, _huge), refused(At("E-CELL-002"))),
        case("endless heap", "53", "the heap of texts has objects of no size", lambda folder: _endless(_h5ad()(folder)), refused(At("E-CELL-001", "cells.h5ad", "did not come to an end"))),
        case("cut short", "33", "the first 3,000 bytes", _cut(3000), refused(At("E-CELL-001"))),
        case("no HDF5", "22", "a text under the name", one("cells.h5ad", "gene,L1\n"), refused(At("E-CELL-001", "cells.h5ad"))),
        case("empty", "23", "no byte", one("cells.h5ad", b""), refused(At("E-CELL-001", "cells.h5ad"))),
        case("missing", "", "no such file", lambda folder: folder / "cells.h5ad", refused(At("E-FILE-001", "cells.h5ad"))),
        case("pickle", "5", "a pickle under the name", one("cells.h5ad", b"\x80\x04cposix\nsystem\n."), refused(At("E-CELL-001", "cells.h5ad"))),
    ]  # fmt: skip


def _cut(size: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = _h5ad()(folder)
        path.write_bytes(path.read_bytes()[:size])
        return path

    return make


def _counts_h5ad() -> list[Case]:
    """Counts of libraries, and assays, in h5ad."""

    def make(harm: Callable[[h5py.File], None] | None = None, dense: bool = False, kind: bool = False) -> Any:
        def write_it(folder: Path) -> Path:
            X = counts().T.astype(float)
            var = pd.DataFrame(index=list(GENES))
            if kind:
                var = var.assign(kind="count", unit="reads", lower=np.nan, upper=np.nan, lloq=np.nan, family="", label=list(GENES), expected_direction=0)  # fmt: skip
            adata = ad.AnnData(X if dense else sparse.csr_matrix(X), pd.DataFrame(index=list(LIBRARIES)), var)
            path = folder / "counts.h5ad"
            adata.write_h5ad(path)
            if harm is not None:
                with h5py.File(path, "r+") as file:
                    harm(file)
            return path

        return write_it

    def case(what: str, trust: str, how: str, made: Any, expect: Expect, reader: str = "counts") -> Case:
        return Case(f"h5ad/{what}", reader, how, made, expect, trust)

    total = int(counts().sum())
    damage = refused(At("E-ASSAY-002", "counts.h5ad [X]"))
    return [
        case("counts", "53", "libraries x genes, sparse", make(), handled(_total, total, "the sum of the counts")),
        case("dense counts", "53", "libraries x genes, dense", make(dense=True), handled(_total, total, "the sum of the counts")),
        case("column beyond", "53", "a column number of 60 in 60 genes", make(_set("X/indices", 3, 60)), damage),
        case("column negative", "53", "a column number of -1", make(_set("X/indices", 3, -1)), damage),
        case("pointer beyond", "53", "the last pointer beyond the data", make(_set("X/indptr", 6, 10_000)), damage),
        case("pointer far beyond", "53", "a pointer of 2^30", make(_set("X/indptr", 3, 2**30)), damage),
        case("external link", "13", "X/data is a link to another file", make(_external), refused(At("E-ASSAY-002", "counts.h5ad [/X/data]"))),
        case("future encoding", "53", "encoding-version 9.0.0", make(_attribute("X", "encoding-version", "9.0.0")), damage),
        case("endless heap", "53", "the heap of texts has objects of no size", lambda folder: _endless(make()(folder)), refused(At("E-ASSAY-002", "counts.h5ad", "did not come to an end"))),
        case("assay, endless heap", "53", "the heap of texts has objects of no size", lambda folder: _endless(make(kind=True)(folder)), refused(At("E-ASSAY-002", "counts.h5ad", "did not come to an end")), "h5ad assay"),
        case("NaN", "26", "a value is NaN", make(_set("X/data", 3, np.nan)), refused(At("E-COUNT-004"))),
        case("negative", "26", "a value of -1", make(_set("X/data", 3, -1)), refused(At("E-COUNT-002"))),
        case("assay", "53", "a sound assay", make(dense=True, kind=True), handled(lambda v: v, None, "no problem is told"), "h5ad assay"),
        case("assay, external link", "13", "X/data is a link to another file", make(_external, kind=True), refused(At("E-ASSAY-002", "counts.h5ad [/X/data]")), "h5ad assay"),
        case("assay, pointer beyond", "53", "the last pointer beyond the data", make(_set("X/indptr", 6, 10_000), kind=True), refused(At("E-ASSAY-002")), "h5ad assay"),
        case("assay, column beyond", "53", "a column number beyond the genes", make(_set("X/indices", 3, 99), kind=True), refused(At("E-ASSAY-002")), "h5ad assay"),
        case("assay without kinds", "53", "no column kind", make(), refused(At("E-ASSAY-001")), "h5ad assay"),
        case("assay, no HDF5", "22", "a text under the name", one("a.h5ad", "x"), refused(At("E-ASSAY-002", "a.h5ad")), "h5ad assay"),
    ]  # fmt: skip


# --- nCounter ----------------------------------------------------------------------------------------------


def _rcc(old: str = "", new: str = "", **facts: Any) -> str:
    text = rcc_text(draw(np.random.default_rng(1)), **facts)
    if old and old not in text:
        raise ValueError(old)
    return text.replace(old, new, 1) if old else text


def _first_count() -> str:
    return next(line for line in _rcc().splitlines() if line.startswith("Endogenous,GENE00,"))


def _lanes() -> list[Case]:
    def case(what: str, trust: str, how: str, content: Any, expect: Expect) -> Case:
        return Case(f"RCC/{what}", "RCC file", how, one("lane.RCC", content), expect, trust)

    line = _first_count()
    head = line.rpartition(",")[0]
    place = f"lane.RCC:{_rcc().splitlines().index(line) + 1}"
    text = _rcc()
    return [
        case("sound", "30", "a lane as it should be", text, handled(lambda v: v, None, "no problem is told")),
        case("low FOV", "30", "100 of 280 fields counted", _rcc(fov=(280, 100)), left_out(At("E-LANE-003", "lane.RCC [FovCounted]", "", "lane"))),
        case("no FOV", "30", "0 of 0 fields", _rcc(fov=(0, 0)), left_out(At("E-LANE-003", "lane.RCC [FovCounted]", "", "lane"))),
        case("binding density high", "30", "a density of 3.1", _rcc(density=3.1), left_out(At("E-LANE-004", "lane.RCC [BindingDensity]", "", "lane"))),
        case("binding density of text", "30", "a density 'high'", _rcc("BindingDensity,0.8", "BindingDensity,high"), refused(At("E-LANE-001", "lane.RCC [BindingDensity]", "high"))),
        case("FOV infinite", "21", "FovCount,inf", _rcc("FovCount,280", "FovCount,inf"), refused(At("E-LANE-001", "lane.RCC [FovCount]", "inf"))),
        case("no positives", "30", "the positive controls are gone", "\n".join(x for x in text.splitlines() if not x.startswith("Positive")) + "\n", left_out(At("E-LANE-005", "lane.RCC [Positive]", "", "lane"), beside=("E-LANE-006",))),
        case("count of text", "26", "a count 'x'", text.replace(line, f"{head},x"), refused(At("E-COUNT-001", f"{place} [Count]", "x"))),
        case("count negative", "26", "a count of -4", text.replace(line, f"{head},-4"), refused(At("E-COUNT-002", f"{place} [Count]", "-4"))),
        case("count fractional", "26", "a count of 4.5", text.replace(line, f"{head},4.5"), refused(At("E-COUNT-003", f"{place} [Count]", "4.5"))),
        case("count infinite", "21", "a count of 1e400", text.replace(line, f"{head},1e400"), refused(At("E-COUNT-001", f"{place} [Count]", "1e400"))),
        case("code twice", "18", "GENE00 stands twice", text.replace(line, f"{line}\n{line}"), refused(At("E-COUNT-005", "", "GENE00"))),
        case("row of three", "17", "a row without its count", text.replace(line, head), refused(At("E-SHEET-003", place))),
        case("concentration of dots", "26", "POS_A(1.2.8)", text.replace("POS_A(128)", "POS_A(1.2.8)"), handled(lambda v: v, None, "no problem is told: the other five controls decide")),
        case("cut short", "33", "half of the file", text[: len(text) // 2], refused(At("E-FILE-005", "lane.RCC [Code_Summary]"))),
        case("entity", "12", "a document type with an entity", '<!DOCTYPE x [<!ENTITY a "aaaa">]>\n' + text, refused(At("E-LANE-001", "lane.RCC:1"))),
        case("UTF-16", "22", "in UTF-16", text.encode("utf-16"), refused(At("E-FILE-003", "lane.RCC:1"))),
        case("NUL", "22", "a NUL in a gene", text.replace("GENE00", "GE\x00E"), refused(At("E-SHEET-010", ""))),
        case("empty", "23", "no byte", b"", refused(At("E-FILE-005", "lane.RCC [Header]"))),
        case("HTML", "22", "a web page", "<html></html>", refused(At("E-FILE-005"))),
        case("zip", "22", "a zip of lanes", b"PK\x03\x04" + bytes(60), refused(At("E-FILE-005"))),
        case("quote not closed", "22", "a quote in a gene's name", text.replace("GENE00,", '"GENE00,', 1), refused(At("E-SHEET-003"))),
        Case("RCC/folder without lanes", "RCC folder", "an empty folder", lambda folder: folder, refused(At("E-FILE-002", "in")), "23"),
        Case("RCC/another code set", "RCC folder", "one lane of five has another RLF", _folder_of_lanes(code_set="Panel_v2"), left_out(At("E-LANE-002", "", "", "lane4")), "30"),
        Case("RCC/one lane twice", "RCC folder", "two files hold one lane", _folder_of_lanes(copy=True), left_out(At("E-LANE-010", "", "", "lane4")), "38"),
    ]  # fmt: skip


def _folder_of_lanes(*, copy: bool = False, code_set: str = "Panel_v1") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rng = np.random.default_rng(5)
        texts = [
            rcc_text(draw(rng), lane=k + 1, sample=f"S{k}", code_set=code_set if k == 4 else "Panel_v1")
            for k in range(5)
        ]
        if copy:
            texts[4] = texts[0]
        return write(folder, {f"lane{k}.RCC": text for k, text in enumerate(texts)})

    return make


# --- exports of cells --------------------------------------------------------------------------------------

QUPATH = "Image\tClass\tParent\tCentroid X µm\tCentroid Y µm\tNucleus: Area µm^2\tCell: DAB OD mean"


def _qupath(change: Callable[[list[list[str]]], None] | None = None, header: str = QUPATH) -> str:
    draw_ = np.random.default_rng(3)
    rows = []
    for k in range(200):
        positive = k < 60
        x, y = draw_.uniform(0, 1000, 2)
        call = "Positive" if positive else "Negative"
        rows.append(["S1.svs", call, "Tumor", f"{x:.2f}", f"{y:.2f}", "45.5", "0.45" if positive else "0.05"])
    if change is not None:
        change(rows)
    return "\n".join([header, *("\t".join(row) for row in rows)]) + "\n"


def _put(row: int, column: int, value: str) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        rows[row][column] = value

    return change


def _positive(found: Any) -> tuple[int, int]:
    return int(found.cells["positive"].sum()), len(found.cells)


def _area(found: Any) -> float:
    return float(found.cells["area_um2"].iloc[0])


def _exports() -> list[Case]:
    def case(what: str, trust: str, how: str, content: Any, expect: Expect, file: str = "d.tsv") -> Case:
        return Case(f"export/{what}", "cell export", how, one(file, content), expect, trust)

    sound = handled(_positive, (60, 200), "the calls that were written")
    return [
        case("sound", "28", "200 cells of QuPath", _qupath(), sound),
        case("micro sign", "28", "µ as U+00B5", _qupath(header=QUPATH.replace("µ", "\u00b5")), sound),
        case("Greek mu", "28", "μ as U+03BC", _qupath(header=QUPATH.replace("µ", "\u03bc")), handled(_area, 45.5, "the same unit")),
        case("Latin-1 export", "22", "µ as byte 0xB5", _qupath().encode("latin-1"), handled(_area, 45.5, "the same unit")),
        case("pixels without size", "28", "areas and places in px", _qupath(header=QUPATH.replace("µm", "px")), refused(At("E-CELLS-003"))),
        case("no unit", "28", "a position without unit", _qupath(header=QUPATH.replace("X µm", "X")), refused(At("E-CELLS-002"))),
        case("area as QuPath names it", "28", "a nuclear area without unit beside positions in um", _qupath(header=QUPATH.replace("Area µm^2", "Area")), handled(_area, 45.5, "the unit of the positions")),
        case("NaN OD, called", "28", "one density is NaN, the cell has its call", _qupath(_put(0, 6, "NaN")), sound),
        case("NaN OD, not called", "28", "one cell with neither density nor call", _qupath(lambda rows: (_put(0, 6, "NaN")(rows), _put(0, 1, "")(rows))), told(At("E-CELLS-005"), get=_positive, want=(59, 199), oracle="the cells that can be judged")),
        case("unknown class", "28", "a class 'Blob'", _qupath(_put(0, 1, "Blob")), refused(At("E-CELLS-004", "d.tsv:2 [Class]", "Blob"), beside=("E-CELLS-005",))),
        case("second header", "28", "the header stands again in line 101", _second_header(), told(At("E-SHEET-019", "d.tsv:101"), get=_positive, want=(60, 200), oracle="the cells, without the header")),
        case("decimal commas", "21", "0,45", _qupath(lambda rows: [r.__setitem__(6, r[6].replace(".", ",")) for r in rows]), refused(At("E-SHEET-007", "d.tsv:2 [Cell: DAB OD mean]", "0,45"))),
        case("text in a number", "28", "a place 'left'", _qupath(_put(0, 3, "left")), refused(At("E-SHEET-007", "d.tsv:2 [Centroid X µm]", "left"))),
        case("infinite place", "21", "x = inf", _qupath(_put(0, 3, "inf")), refused(At("E-SHEET-007", "d.tsv:2 [Centroid X µm]", "inf"))),
        case("negative area", "28", "an area of -3", _qupath(_put(0, 5, "-3")), refused(At("E-SHEET-008", "d.tsv:2 [Nucleus: Area µm^2]", "-3"))),
        case("export twice", "18", "every cell stands twice", _twice(), refused(At("E-CELLS-008"))),
        case("two scans of one name", "18", "S1.svs and S1.tif", _qupath(_put(0, 0, "S1.tif")), refused(At("E-CELLS-008", "", "S1"))),
        case("no cell", "23", "a header and no row", QUPATH + "\n", refused(At("E-CELLS-001", "d.tsv"))),
        case("no known column", "17", "columns a and b", "a\tb\n1\t2\n", refused(At("E-CELLS-001"))),
        case("UTF-16", "22", "in UTF-16", _qupath().encode("utf-16"), sound),
        case("NUL", "22", "a NUL byte", _qupath().replace("Tumor", "Tu\x00or", 1), refused(At("E-FILE-003"))),
        case("counts clash", "28", "positive and negative do not add up", "slide,Num Detections,Num Positive,Num Negative\nS1,100,40,70\n", refused(At("E-CELLS-006", "s.csv:2")), "s.csv"),
        case("share clash", "28", "60 % of 100 are not 40", "slide,Num Detections,Num Positive,Positive %\nS1,100,40,60.0\n", refused(At("E-CELLS-006", "s.csv:2")), "s.csv"),
        case("share beyond", "28", "130 % positive", "slide,Num Detections,Positive %\nS1,100,130\n", refused(At("E-SHEET-008", "s.csv:2 [Positive %]", "130"), At("E-CELLS-006", "s.csv:2")), "s.csv"),
        case("H-score beyond", "28", "an H-score of 390", "slide,Num Negative,Num 1+,Num 2+,Num 3+,H-score\nS1,50,20,20,10,390\n", refused(At("E-SHEET-008", "s.csv:2 [H-score]", "390"), At("E-CELLS-006", "s.csv:2 [H-score]")), "s.csv"),
        case("count negative", "28", "-1 positive cells", "slide,Num Detections,Num Positive\nS1,100,-1\n", refused(At("E-SHEET-008", "s.csv:2 [Num Positive]", "-1")), "s.csv"),
        case("GeoJSON of detections", "28", "cells as polygons with NaN", json.dumps({"type": "FeatureCollection", "features": [_detection([[0, 0], [float("nan"), 0], [5, 5], [0, 0]])]}), refused(At("E-REGION-002", "d.geojson:1"), beside=("E-CELLS-001",)), "d.geojson"),
        case("GeoJSON beyond a double", "29", "a corner of 10^400", json.dumps({"type": "FeatureCollection", "features": [_detection([[0, 0], [10**400, 0], [5, 5], [0, 0]])]}), refused(At("E-REGION-002", "d.geojson:1"), beside=("E-CELLS-001",)), "d.geojson"),
        case("pickle", "5", "a pickle called .parquet", b"\x80\x04cposix\nsystem\n.", refused(At("E-FILE-005")), "d.parquet"),
        Case("export/missing", "cell export", "no such file", lambda folder: folder / "d.tsv", refused(At("E-FILE-001", "d.tsv"))),
    ]  # fmt: skip


def _second_header() -> str:
    lines = _qupath().splitlines()
    return "\n".join([*lines[:100], lines[0], *lines[100:]]) + "\n"


def _twice() -> str:
    lines = _qupath().splitlines()
    return "\n".join([*lines, *lines[1:]]) + "\n"


def _detection(ring: list[list[float]]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"objectType": "detection", "classification": {"name": "Positive"}}}  # fmt: skip


# --- regions -----------------------------------------------------------------------------------------------

SQUARE = [[100, 100], [200, 100], [200, 200], [100, 200], [100, 100]]


def _feature(rings: Any, label: Any = "Tumor", kind: str = "Polygon") -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": rings}, "properties": {"classification": {"name": label}}}  # fmt: skip


def _collection(*features: Any) -> str:
    return json.dumps({"type": "FeatureCollection", "features": list(features)})


def _nest(regions: Any) -> float:
    return float(regions.compartments["nest"].area) if "nest" in regions.compartments else 0.0


def _regions() -> list[Case]:
    def case(what: str, trust: str, how: str, content: Any, expect: Expect) -> Case:
        return Case(f"regions/{what}", "regions", how, one("s.geojson", content), expect, trust)

    good = _feature([SQUARE])
    bad = {
        "NaN": [[100, 100], [float("nan"), 100], [200, 200], [100, 200], [100, 100]],
        "infinite": [[100, 100], [1e400, 100], [200, 200], [100, 200], [100, 100]],
        "beyond a double": [[100, 100], [10**400, 100], [200, 200], [100, 200], [100, 100]],
        "bow-tie": [[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]],
        "not closed": SQUARE[:-1],
        "two corners": [[0, 0], [5, 5], [0, 0]],
        "no corner": [],
        "texts": [["a", "b"]] * 4,
        "nulls": [[None, None]] * 4,
        "one number each": [[1], [2], [3], [1]],
        "nested lists": [[[0, 0]], [[1, 1]], [[2, 2]], [[0, 0]]],
        "no area": [[0, 0], [5, 5], [10, 10], [0, 0]],
        "far out": [[0, 0], [1e9, 0], [1e9, 1e9], [0, 1e9], [0, 0]],
        "a mapping": {"x": 1},
    }
    cases = [
        case(f"ring {what}", "29", "one region is broken, the other is sound", _collection(_feature([ring]), good),
             left_out(At("E-REGION-002", "s.geojson [s#1]", "", "s#1"), get=_nest, want=10_000.0))
        for what, ring in bad.items()
    ]  # fmt: skip
    off = [[x + 2000, y] for x, y in SQUARE]
    half = [[950, 0], [1050, 0], [1050, 100], [950, 100], [950, 0]]
    moved = [[x + 50, y] for x, y in SQUARE]
    many = [[100 + 50 * np.cos(a), 100 + 50 * np.sin(a)] for a in np.linspace(0, 2 * np.pi, 20_000)]
    many[-1] = many[0]
    text = _collection(good)
    cases += [
        case("sound", "29", "a square of 100 px", text, handled(_nest, 10_000.0, "100 x 100 px")),
        case("off the slide", "29", "a region beyond the border", _collection(_feature([off]), good), left_out(At("E-REGION-003", "s.geojson [s#1]", "", "s#1"), get=_nest, want=10_000.0)),
        case("half off", "29", "half of a region beyond the border", _collection(_feature([half])), told(At("E-REGION-003", "s.geojson [s#1]"), get=_nest, want=5_000.0, oracle="the half inside, 50 x 100 px")),
        case("overlap", "29", "two squares that share half", _collection(good, _feature([moved])), told(At("E-REGION-004", "s.geojson"), get=_nest, want=15_000.0, oracle="the union, 150 x 100 px")),
        case("fractions of pixels", "29", "corners at .25", _collection(_feature([[[x + 0.25, y + 0.25] for x, y in SQUARE]])), handled(_nest, 10_000.0, "a shift keeps the area")),
        case("20,000 corners", "29", "a circle of radius 50", _collection(_feature([many])), handled(lambda r: round(_nest(r)), round(np.pi * 2500), "pi r^2")),
        case("unknown class", "28", "a class 'Blob'", _collection(_feature([SQUARE], "Blob"), good), told(At("E-REGION-005", "s.geojson [s#1]", "Blob"), get=_nest, want=10_000.0, oracle="the other region")),
        case("class of a number", "28", "a class 7", _collection(_feature([SQUARE], 7), good), told(At("E-REGION-005", "s.geojson [s#1]"))),
        case("hostile class", "10", "a class of HTML", _collection(_feature([SQUARE], "<script>")), told(At("E-REGION-005", "s.geojson [s#1]", "<script>"))),
        case("a point", "29", "a point in place of a polygon", _collection(_feature([5, 5], "Tumor", "Point"), good), left_out(At("E-REGION-002", "s.geojson [s#1]", "", "s#1"), get=_nest, want=10_000.0)),
        case("30,000 levels", "29", "brackets", "[" * 30_000 + "]" * 30_000, left_out(At("E-REGION-001", "s.geojson", "", "s"))),
        case("cut short", "33", "half of the file", text[: len(text) // 2], left_out(At("E-REGION-001", "s.geojson", "", "s"))),
        case("empty", "23", "no byte", b"", left_out(At("E-REGION-001", "s.geojson", "", "s"))),
        case("a number", "22", "the document is 7", "7", left_out(At("E-REGION-001", "s.geojson", "", "s"))),
        case("number of 5,000 digits", "29", "a number that Python will not read", "[" + "1" * 5000 + "]", left_out(At("E-REGION-001", "s.geojson", "", "s"))),
        case("UTF-16", "22", "in UTF-16", text.encode("utf-16"), left_out(At("E-REGION-001", "s.geojson", "", "s"))),
        case("features of texts", "29", "a list of words", '["a", null, 7]', told(At("E-REGION-005"))),
        case("properties a list", "29", "properties: []", json.dumps([{"type": "Feature", "geometry": None, "properties": []}]), told(At("E-REGION-005"))),
        case("geometry missing", "29", "a class and no shape", json.dumps([{"type": "Feature", "properties": {"classification": {"name": "Tumor"}}}]), left_out(At("E-REGION-002", "s.geojson [s#1]", "", "s#1"))),
        Case("regions/missing", "regions", "no such file", lambda folder: folder / "s.geojson", left_out(At("E-FILE-001", "s.geojson", "", "s"))),
        Case("regions/a device", "regions", "/dev/zero", lambda _folder: Path("/dev/zero"), left_out(At("E-FILE-001", "zero", "", "zero")), "39"),
    ]  # fmt: skip
    return cases


# --- sets of genes -----------------------------------------------------------------------------------------


def _sets() -> list[Case]:
    def case(what: str, trust: str, how: str, content: Any, expect: Expect) -> Case:
        return Case(f"gene sets/{what}", "gene sets", how, one("own.gmt", content), expect, trust)

    good = "OWN\tours\tGENE001\tGENE002\n"
    return [
        case("sound", "", "a set of two", good, handled(lambda v: [list(s.genes) for s in v], [["GENE001", "GENE002"]], "the genes in the file")),
        case("empty", "23", "no byte", "", refused(At("E-SHEET-011", "own.gmt"))),
        case("UTF-16", "22", "in UTF-16", good.encode("utf-16"), refused(At("E-FILE-003"))),
        case("no genes", "23", "a name and a source", "OWN\tours\n", refused(At("E-SHEET-003"), beside=("E-FILE-004",))),
        case("set twice", "18", "OWN stands twice", good * 2, refused(At("E-SHEET-005"))),
        case("date as gene", "25", "1-Mar among the genes", good.replace("GENE002", "1-Mar"), told(At("E-COUNT-013", "own.gmt:1", "1-Mar"))),
    ]  # fmt: skip


CASES = [
    *_counts(), *_values(), *_single(), *_counts_h5ad(), *_lanes(), *_exports(), *_regions(), *_sets(),
]  # fmt: skip
