"""What comes from outside is data: bounded before it is read, never run, never a way out of its folder."""

from __future__ import annotations

import ast
import csv
import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from small_study import copy, replace, small_study

import pdbiomarker as pb
from pdbiomarker.errors import AssayError, InputError, ItemError, Problems
from pdbiomarker.expression.cellfile import open_cells
from pdbiomarker.expression.h5ad import read_h5ad_counts
from pdbiomarker.provenance import read_manifest, sha256_file
from pdbiomarker.tables import load_yaml, read_table, write_table

PACKAGE = Path(pb.__file__).parent


# --- the package itself ---


FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.spawnv"),
    *("pickle.load", "pickle.loads", "marshal.loads", "joblib.load", "pd.read_pickle", "pandas.read_pickle"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "np.load", "numpy.load", "torch.load"),
    *(
        "shutil.unpack_archive",
        "tempfile.mktemp",
        "subprocess.getoutput",
        "pd.eval",
        "urllib.request.urlopen",
    ),
}
FORBIDDEN_METHODS = {"extractall", "extract"}
FORBIDDEN_MODULES = {
    *("pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "requests", "httpx", "urllib3"),
    *("http", "ftplib", "telnetlib", "smtplib", "xmlrpc", "socketserver", "tarfile"),
    *("xml.etree", "xml.sax", "xml.dom", "lxml"),
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults_of(source: str) -> list[str]:
    """Every call and import of a module that could run text, unpack blindly, or reach a network."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if _is_forbidden(a.name)]
        elif isinstance(node, ast.ImportFrom) and _is_forbidden(node.module or ""):
            found.append(node.module or "")
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            text = bool(node.args) and isinstance(node.args[0], ast.JoinedStr | ast.Constant)
            if name in FORBIDDEN_CALLS or method in FORBIDDEN_METHODS or (method == "query" and text):
                found.append(name or method)
            for keyword in node.keywords:
                on = isinstance(keyword.value, ast.Constant) and bool(keyword.value.value)
                if keyword.arg in {"shell", "allow_pickle"} and on:
                    found.append(f"{name}({keyword.arg}=True)")
    return found


def _is_forbidden(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in FORBIDDEN_MODULES)


def test_the_package_runs_no_text_and_unpacks_nothing_blindly() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix(): faults
        for path in PACKAGE.rglob("*.py")
        if (faults := faults_of(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "import os\nos.system('x')",
        "subprocess.run('x', shell=True)",
        "np.load(f, allow_pickle=True)",
        "import pickle",
        "from joblib import load",
        "archive.extractall(folder)",
        "yaml.load(text)",
        "frame.query('a > 1')",
        "import xml.etree.ElementTree",
        "from requests import get",
    ],
)
def test_the_check_of_the_package_can_fail(source: str) -> None:
    assert faults_of(source)


# --- YAML ---


def yaml_of(text: str, tmp_path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    problems = Problems()
    document = load_yaml(path, problems)
    return (None if document is None else document.data), [p.code for p in problems.errors]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("NO", "NO"),
        ("on", "on"),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("190:20:30", "190:20:30"),
        ("012", "012"),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("1e5", 1e5),
        ("1E5", 1e5),
        ("1_000", "1_000"),
        ("2025-01-02", "2025-01-02"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("=", "="),
        ("true", True),
        ("~", None),
    ],
)
def test_yaml_reads_scalars_without_surprise(text: str, value: object, tmp_path: Path) -> None:
    data, errors = yaml_of(f"a: {text}\n", tmp_path)
    assert errors == []
    assert data is not None
    assert data["a"] == value
    assert type(data["a"]) is type(value)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "a: 1\na: 2\n",
        "a: {b: 1, b: 2}\n",
        "a: !!python/object/apply:os.system ['touch x']\n",
        "a: !!python/name:os.system\n",
        "!!map {a: 1}\n",
        "a: &x 1\nb: *x\n",
        "<<: {a: 1}\nb: &b {}\n",
        "a: " + "[" * 5000 + "]" * 5000 + "\n",
        "a: " + "{b: " * 400 + "1" + "}" * 400 + "\n",
        "? [1, 2]\n: 3\n",
        "a: 1\n---\nb: 2\n",
        "- a\n",
        "a: 'x\n",
        "a: \x07\n",
        "a: " + "x" * (1 << 20) + "\n",
        "%YAML 1.1\n%TAG ! tag:x,2000:\n---\na: !y 1\n",
    ],
)
def test_yaml_that_could_harm_is_refused_at_once(text: str, tmp_path: Path) -> None:
    start = time.perf_counter()
    data, errors = yaml_of(text, tmp_path)
    assert data is None
    assert set(errors) == {"E-STUDY-002"}
    assert time.perf_counter() - start < 20  # of a bomb: never


# --- HDF5 ---


def h5ad(path: Path, **arrays: Any) -> Path:
    counts = sparse.csr_matrix(np.arange(12, dtype=np.float32).reshape(3, 4))
    obs = pd.DataFrame(index=[f"L{k}" for k in range(3)])
    ad.AnnData(X=counts, obs=obs, var=pd.DataFrame(index=[f"G{k}" for k in range(4)])).write_h5ad(path)
    return path


def _claim(file: h5py.File) -> None:
    del file["X"]
    file.create_dataset("X", shape=(10**6, 10**6), dtype="f8", chunks=(1000, 1000))


def _claim_packed(file: h5py.File) -> None:
    file["layers"].create_dataset("more", shape=(10**12,), dtype="i1", chunks=(1 << 20,), compression="gzip")


def _large_chunk(file: h5py.File) -> None:
    file["layers"].create_dataset(
        "more", (10,), "f8", maxshape=(None,), chunks=(1 << 28,), compression="gzip"
    )


def _many_claims(file: h5py.File) -> None:
    for k in range(40):
        file["uns"].create_dataset(f"a{k}", shape=(60 << 20,), dtype="i1", chunks=(1 << 20,))


def _wide_texts(file: h5py.File) -> None:
    file["uns"].create_dataset("text", shape=(10,), dtype="S100000000", chunks=(1,))


def _external_link(file: h5py.File) -> None:
    del file["X"]
    file["X"] = h5py.ExternalLink("/etc/hostname", "/x")


def _external_storage(file: h5py.File) -> None:
    file["uns"].create_dataset("s", (4,), "i1", external=[("/etc/hostname", 0, 4)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", shape=(4,))  # noqa: S108 - is never opened
    file["uns"].create_virtual_dataset("v", layout)


def _circle(file: h5py.File) -> None:
    file["uns/self"] = file["uns"]


def _pointer_beyond(file: h5py.File) -> None:
    file["X/indptr"][-1] = 10**9


def _pointers_fall(file: h5py.File) -> None:
    file["X/indptr"][1] = -5


def _column_beyond(file: h5py.File) -> None:
    file["X/indices"][0] = 99


def _column_negative(file: h5py.File) -> None:
    file["X/indices"][0] = -1


def _shape_larger(file: h5py.File) -> None:
    file["X"].attrs["shape"] = np.array([10**9, 4])


HOSTILE: dict[str, Callable[[h5py.File], None]] = {
    function.__name__.strip("_"): function
    for function in (
        *(_claim, _claim_packed, _large_chunk, _many_claims, _wide_texts, _external_link, _external_storage),
        *(
            _virtual,
            _circle,
            _pointer_beyond,
            _pointers_fall,
            _column_beyond,
            _column_negative,
            _shape_larger,
        ),
    )
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_h5ad_is_refused_before_anything_is_allocated(name: str, tmp_path: Path) -> None:
    path = h5ad(tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        HOSTILE[name](file)
    assert path.stat().st_size < 100_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problems = Problems()
    assert read_h5ad_counts(path, "a.h5ad", problems) is None
    assert {p.code for p in problems} == {"E-ASSAY-002"}
    assert all(p.column for p in problems)
    assert {p.code for p in pb.check(path, as_="h5ad")} == {"E-ASSAY-002"}
    with pytest.raises(AssayError, match=r"E-CELL-00[12]"), open_cells(path, "a.h5ad") as cells:
        list(cells.slices())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_good_h5ad_is_read(tmp_path: Path) -> None:
    problems = Problems()
    found = read_h5ad_counts(h5ad(tmp_path / "a.h5ad"), "a.h5ad", problems)
    assert found is not None
    assert list(problems) == []
    assert found.raw.values.tolist() == np.arange(12.0).reshape(3, 4).T.tolist()


# --- TIFF ---


def tiff(entries: list[tuple[int, int, int, int]], tail: bytes = b"") -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries))
    return head + body + struct.pack("<I", 0) + tail


def rgb(width: int, height: int, *, tile: int = 256, compression: int = 8) -> list[tuple[int, int, int, int]]:
    return [
        *((256, 4, 1, width), (257, 4, 1, height), (259, 3, 1, compression), (262, 3, 1, 2)),
        *((277, 3, 1, 3), (258, 3, 1, 8), (284, 3, 1, 1), (322, 4, 1, tile), (323, 4, 1, tile)),
    ]


def ome(xml: str) -> bytes:
    text = xml.encode() + b"\0"
    entries = rgb(64, 64, tile=64, compression=1)
    at = 8 + 2 + 12 * (len(entries) + 3) + 4
    entries += [(270, 2, len(text), at), (324, 4, 1, at + len(text)), (325, 4, 1, 64 * 64 * 3)]
    return tiff(entries, text + bytes(64 * 64 * 3))


OME = (
    '<OME><Image ID="I"><Pixels ID="P" SizeX="64" SizeY="64" SizeZ="{z}" SizeC="3" SizeT="1"/></Image></OME>'
)
LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
BOMBS = {
    "2e9 x 2e9 px": tiff([*rgb(2**31, 2**31), (324, 4, 1, 8), (325, 4, 1, 8)]),
    "37 GB in one tile": tiff([*rgb(110_000, 110_000, tile=110_000), (324, 4, 1, 8), (325, 4, 1, 99)]),
    "tiles that are not there": tiff([*rgb(60_000, 60_000), (324, 4, 1, 8), (325, 4, 1, 8)]),
    "4e9 tiles claimed": tiff([*rgb(60_000, 60_000), (324, 4, 2**32 - 1, 8), (325, 4, 2**32 - 1, 8)]),
    "ratio": tiff([*rgb(8192, 8192, tile=8192), (324, 4, 1, 8), (325, 4, 1, 100)]),
    "0 x 0": tiff([*rgb(0, 0), (324, 4, 1, 8), (325, 4, 1, 8)]),
    "no width": tiff([(257, 4, 1, 10), (262, 3, 1, 2)]),
    "SizeZ": ome(OME.format(z=10**9)),
    "SizeZ of 40 digits": ome(OME.format(z="9" * 40)),
    "entities": ome(LAUGHS + OME.format(z="&c;")),
    "external entity": ome('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + OME.format(z="&e;")),
    "DTD": ome('<!DOCTYPE x SYSTEM "file:///etc/x.dtd">' + OME.format(z=1)),
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_tiff_that_promises_too_much_is_refused_by_its_header(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tiff"
    path.write_bytes(BOMBS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ItemError, match=r"E-SLIDE-00[126]"):
        pb.ihc.open_slide(path, mpp=0.5)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


# --- XLSX ---


SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    "<sheetData>{}</sheetData></worksheet>"
)


def xlsx(path: Path, sheet: str) -> Path:
    frame = pd.DataFrame({"a": ["x"]})
    plain = path.with_name("plain.xlsx")
    frame.to_excel(plain, index=False)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = sheet.encode() if name == "xl/worksheets/sheet1.xml" else old.read(name)
            new.writestr(name, data)
    return path


CELL = '<row r="{row}"><c r="{place}" t="inlineStr"><is><t>{text}</t></is></c></row>'
XLSX_BOMBS = {
    "a cell far away": SHEET.format(CELL.format(row=1048576, place="XFD1048576", text="x")),
    "a wide row": SHEET.format(CELL.format(row=1, place="XFD1", text="x") * 3),
    "60 MB of nothing": SHEET.format(" " * (60 << 20)),
    "60 MB of one text": SHEET.format(CELL.format(row=1, place="A1", text="x" * (60 << 20))),
    "entities": LAUGHS + SHEET.format(CELL.format(row=1, place="A1", text="&c;")),
    "external entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
    + SHEET.format(CELL.format(row=1, place="A1", text="&e;")),
}


@pytest.mark.parametrize("name", list(XLSX_BOMBS))
def test_a_spreadsheet_that_unpacks_to_too_much_is_refused(name: str, tmp_path: Path) -> None:
    path = xlsx(tmp_path / "a.xlsx", XLSX_BOMBS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problems = Problems()
    table = read_table(path, problems=problems)
    if "far" in name or "wide" in name:  # small all the same: read, or refused for its shape
        assert table is None or table.size < 20_000
    else:
        assert table is None
        assert {p.code for p in problems} == {"E-FILE-005"}
    told = "".join(str(p) for p in problems)
    assert "aaaaaaaaaa" not in told
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000  # KiB


# --- paths ---


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("paths") / "plain", slides=False)


def codes_of(study: Path) -> set[str]:
    return {p.code for p in pb.check(study) if p.severity == "error"}


@pytest.mark.parametrize(
    "path",
    [
        "../outside.csv",
        "/etc/hostname",
        "sub/../../outside.csv",
        "https://example.org/counts.csv",
        "file:///etc/hostname",
        "s3://bucket/counts.csv",
        "~/counts.csv",
        "$HOME/counts.csv",
        "counts.csv\x00.gz",
        "/dev/zero",
        "link.csv",
        "sub/link.csv",
        "pipe",
        "sub",
    ],
)
def test_a_file_that_study_yaml_names_lies_in_the_study_folder(
    plain: Path, tmp_path: Path, path: str
) -> None:
    study = copy(plain, tmp_path / "study")
    (tmp_path / "outside.csv").write_text("gene,P01-S\nA,1\n", encoding="utf-8")
    (study / "sub").mkdir()
    (study / "link.csv").symlink_to(tmp_path / "outside.csv")
    (study / "sub" / "link.csv").symlink_to("../../outside.csv")
    os.mkfifo(study / "pipe")
    replace(study / "study.yaml", "file: counts.csv.gz", f"file: {json.dumps(path)}")
    assert codes_of(study) & {"E-FILE-001", "E-FILE-002", "E-FILE-006", "E-STUDY-001"}
    with pytest.raises(InputError):
        pb.run_study(study, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sheet", ["participants.csv", "biopsies.csv", "study.yaml", "plan.yaml"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket"])
def test_a_sheet_is_a_regular_file(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sheet: str, kind: str
) -> None:
    study = copy(plain, tmp_path / "study")
    path = study / sheet
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        monkeypatch.chdir(study)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(sheet)
    assert codes_of(study) & {"E-FILE-001", "E-FILE-002", "E-FILE-006"}


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "address"])
def test_a_slide_is_a_regular_file(tmp_path: Path, kind: str) -> None:
    path: str | Path = tmp_path / "slide.svs"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        Path(path).symlink_to("/dev/zero")
    elif kind == "folder":
        Path(path).mkdir()
    else:
        path = "https://example.org/slide.svs"
    with pytest.raises(ItemError, match=r"E-FILE-00[12]|E-SLIDE-001"):
        pb.ihc.open_slide(path, mpp=0.5)


def test_a_slide_that_is_a_link_is_followed_hashed_and_never_written_through(tmp_path: Path) -> None:
    study, store = small_study(tmp_path / "study"), tmp_path / "store"
    store.mkdir()
    slide = study / "slides" / "P01-S.tif"
    real = store / "real.tif"
    slide.rename(real)
    slide.symlink_to(real)
    before = real.read_bytes(), real.stat().st_mtime_ns
    outcome = pb.quantify_slides(study, tmp_path / "out", progress=False)
    assert outcome.exit_code == 0
    inputs = read_manifest(outcome.out).inputs
    assert inputs["slides/P01-S.tif"] == sha256_file(real)
    assert (real.read_bytes(), real.stat().st_mtime_ns) == before
    assert not any(p.is_symlink() for p in outcome.out.rglob("*"))


# --- exports ---


TEXTS = ["=1+1", "+1-2", "-x", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", "-1.5", "=", "<b>", 'a"b', "x\ny"]


def test_no_cell_of_a_csv_is_a_formula_and_all_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_table(pd.DataFrame({"id": TEXTS, "=name": [-1.5] * len(TEXTS)}), path)
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    risky = [cell for row in rows for cell in row if cell[:1] in set("=+-@\t\r") and cell != "-1.5"]
    assert risky == []
    table = read_table(path, problems=Problems())
    assert table is not None
    assert [text.strip() for text in table["id"]] == [text.strip() for text in TEXTS]
    assert table["=name"].tolist() == ["-1.5"] * len(TEXTS)


# --- the network ---


def test_a_run_needs_no_network(plain: Path, tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("this machine does not let a process have a network of its own")
    command = ["unshare", "-n", sys.executable, "-m", "pdbiomarker", "run", plain, "-o", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "review.html").is_file()
