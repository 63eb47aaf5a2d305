"""Reading count matrices: what is kept as typed, what is refused, what is quarantined."""

from __future__ import annotations

import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker import expression
from pdbiomarker.errors import AssayError
from pdbiomarker.study import check_assay, read_study
from tests.builders import study_folder
from tests.riaz import build_riaz_study

SOUND = "gene,A,B\nG1,10,20\nG2,30,40\n"


def write(folder, content, name="counts.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def found(folder, content, name="counts.csv"):
    """(code, severity, row, column, value) of every problem."""
    problems = expression.check_counts(write(folder, content, name))
    return [(p.code, p.severity, p.row, p.column, p.value) for p in problems]


# --- sound matrices, however they are written ---------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (SOUND, "counts.csv"),
        (SOUND.replace(",", "\t"), "counts.tsv"),
        (SOUND.replace(",", ";"), "counts.csv"),
        (SOUND.replace("\n", "\r\n"), "counts.csv"),
        (SOUND.replace("\n", "\r"), "counts.csv"),
        (SOUND.rstrip("\n"), "counts.csv"),
        (SOUND.replace("G2", "\nG2") + "\n\n", "counts.csv"),
        (SOUND.replace("30,40", '"30"," 40"'), "counts.csv"),
        (SOUND.replace("30,40", "3e1,+40.0"), "counts.csv"),
        (b"\xef\xbb\xbf" + SOUND.encode(), "counts.csv"),
        (gzip.compress(SOUND.encode(), mtime=0), "counts.csv.gz"),
        (gzip.compress(SOUND.encode(), mtime=0), "counts.csv"),
    ],
)
def test_ways_of_writing_a_matrix(tmp_path, content, name):
    path = write(tmp_path, content, name)
    assert not list(expression.check_counts(path))
    adata = expression.read_counts(path)
    assert adata.obs_names.tolist() == ["A", "B"]
    assert adata.var_names.tolist() == ["G1", "G2"]
    assert adata.X.tolist() == [[10.0, 30.0], [20.0, 40.0]]


def test_r_style_header_is_read_with_a_warning(tmp_path):
    path = write(tmp_path, "A,B\nG1,10,20\nG2,30,40\n")
    adata = expression.read_counts(path)
    assert adata.obs_names.tolist() == ["A", "B"]
    assert [p.code for p in expression.problems_of(adata)] == ["E-SHEET-003"]


def test_parquet_with_an_index_and_with_a_column(tmp_path):
    frame = pd.DataFrame({"A": [10, 30], "B": [20, 40]}, index=pd.Index(["007", "NA"], name="gene"))
    frame.to_parquet(tmp_path / "index.parquet")
    frame.reset_index().to_parquet(tmp_path / "column.parquet", index=False)
    frame.astype(float).reset_index().to_parquet(tmp_path / "float.parquet", index=False)
    for name in ("index", "column", "float"):
        adata = expression.read_counts(tmp_path / f"{name}.parquet")
        assert adata.var_names.tolist() == ["007", "NA"]
        assert adata.X.tolist() == [[10.0, 30.0], [20.0, 40.0]]


def test_parquet_faults(tmp_path):
    frame = pd.DataFrame({"gene": ["G1", "G2"], "A": [1.5, 2.0], "B": [np.nan, -1.0], "C": ["x", "7"]})
    frame.to_parquet(tmp_path / "c.parquet", index=False)
    problems = expression.check_counts(tmp_path / "c.parquet")
    assert [(p.code, p.row, p.column, p.value) for p in problems] == [
        ("E-COUNT-001", 1, "C", "x"),
        ("E-COUNT-002", 2, "B", "-1.0"),
        ("E-COUNT-003", 1, "A", "1.5"),
        ("E-COUNT-004", 1, "B", ""),
    ]
    pd.DataFrame({"gene": [1.0, 2.0], "A": [1, 2]}).to_parquet(tmp_path / "f.parquet", index=False)
    (problem,) = expression.check_counts(tmp_path / "f.parquet")
    assert (problem.code, problem.file, problem.column) == ("E-SHEET-007", "f.parquet", "gene")
    whole = (tmp_path / "c.parquet").read_bytes()
    assert [c for c, *_ in found(tmp_path, whole[:-60], "cut.parquet")] == ["E-FILE-005"]


def test_ids_stay_as_typed(tmp_path):
    ids = ["007", "7", "1E5", "NA", "TRUE", "None", "null", "nan", "9007199254740993", "0", "00"]
    rows = "".join(f"{gene},{k + 1},{k + 2},{k + 3}\n" for k, gene in enumerate(ids))
    adata = expression.read_counts(write(tmp_path, "gene,007,1E5,NA\n" + rows))
    assert adata.var_names.tolist() == ids
    assert adata.obs_names.tolist() == ["007", "1E5", "NA"]
    assert adata.obs["libraries"].tolist() == ["007", "1E5", "NA"]


@settings(max_examples=60, deadline=None)
@given(
    ids=st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"'), min_size=1),
        min_size=1,
        max_size=6,
        unique=True,
    ),
    seed=st.integers(0, 10_000),
)
def test_any_text_id_survives_reading(tmp_path_factory, ids, seed):
    # an apostrophe protects a formula, `__` marks a summary row: both have a meaning of their own
    ids = [i for i in ids if not i.startswith(("'", "__"))] or ["g"]
    counts = np.random.default_rng(seed).integers(100, 500, size=(len(ids), 2))
    rows = "".join(f'"{i}",{a},{b}\n' for i, (a, b) in zip(ids, counts, strict=True))
    path = tmp_path_factory.mktemp("ids") / "c.csv"
    path.write_text("gene,L1,L2\n" + rows, encoding="utf-8", newline="")
    adata = expression.read_counts(path)
    assert adata.var_names.tolist() == ids
    assert np.array_equal(adata.X, counts.T)


# --- refusals: file, line, gene, library, value -------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # cells
        ("gene,A,B\nG1,1,x\nG2,1,2\n", ("E-COUNT-001", 2, "B", "x")),
        ('gene,A,B\nG1,1,2\nG2,"1,000",2\n', ("E-COUNT-001", 3, "A", "1,000")),
        ("gene;A;B\nG1;1;2\nG2;1,5;2\n", ("E-COUNT-001", 3, "A", "1,5")),
        ("gene,A,B\nG1,0x10,2\nG2,3,4\n", ("E-COUNT-001", 2, "A", "0x10")),
        ("gene,A,B\nG1,1_000,2\nG2,3,4\n", ("E-COUNT-001", 2, "A", "1_000")),
        ("gene,A,B\nG1,<5,2\nG2,3,4\n", ("E-COUNT-001", 2, "A", "<5")),
        ("gene,A,B\nG1,-3,2\nG2,3,4\n", ("E-COUNT-002", 2, "A", "-3")),
        ("gene,A,B\nG1,1,2\nG2,3,4.5\n", ("E-COUNT-003", 3, "B", "4.5")),
        ("gene,A,B\nG1,1,\nG2,3,4\n", ("E-COUNT-004", 2, "B", "")),
        ("gene,A,B\nG1,NA,1\nG2,3,4\n", ("E-COUNT-004", 2, "A", "NA")),
        ("gene,A,B\nG1,-inf,1\nG2,3,4\n", ("E-COUNT-004", 2, "A", "-inf")),
        ("gene,A,B\nG1,1e400,1\nG2,3,4\n", ("E-COUNT-004", 2, "A", "1e400")),
        ("gene,A,B\nG1,99999999999999999999,1\nG2,3,4\n", ("E-COUNT-004", 2, "A", "99999999999999999999")),
        # genes
        ("gene,A,B\nG1,1,2\nG2,3,4\nG1,5,6\n", ("E-COUNT-005", 4, None, "G1")),
        ("gene,A,B\n,1,2\nG2,3,4\n", ("E-COUNT-012", 2, None, "")),
        ("gene,A,B\n__no_feature,1,2\nG2,3,4\n", ("E-COUNT-011", 2, None, "__no_feature")),
        ("gene,A,B\nG2,3,4\nN_unmapped,1,2\n", ("E-COUNT-011", 3, None, "N_unmapped")),
        ("gene,A,B\nG2,3,4\nUnassigned_NoFeatures,1,2\n", ("E-COUNT-011", 3, None, "Unassigned_NoFeatures")),
        ("gene,A,B\nG2,3,4\nTotal,3,4\n", ("E-COUNT-011", 3, None, "Total")),
        ('gene,A,B\n"G\x07",3,4\nG3,3,5\n', ("E-SHEET-010", 2, None, "'G\\x07'")),
        # libraries
        ("gene,A,A\nG1,1,2\nG2,3,4\n", ("E-COUNT-006", 1, "A", "A")),
        ("gene,A,\nG1,1,2\nG2,3,4\n", ("E-SHEET-004", 1, None, "")),
        # shape
        ("gene,A,B\nG1,1\nG2,3,4\n", ("E-SHEET-003", 2, None, None)),
        ("gene,A,B\nG1,1,2\nG2,3,4,5\n", ("E-SHEET-003", 3, None, None)),
        ("gene,A,B\nG1,1,2,\nG2,3,4,\n", ("E-SHEET-003", 2, None, None)),
        ("gene,A,B\n", ("E-SHEET-011", 1, None, None)),
        ("sample,TP53,CD8A,ACTB\nS1,1,2,3\nS2,4,5,6\n", ("E-COUNT-010", 1, None, None)),
        ("gene A B\nG1 1 2\n", ("E-FILE-005", 1, None, "gene A B")),
        ("# Program:featureCounts\nGeneid,A\nG1,2\n", ("E-FILE-005", 1, None, "# Program:featureCounts")),
        # bytes
        (b"", ("E-FILE-004", None, None, None)),
        (b"gene,A\nG\xe9,1\n", ("E-FILE-003", 2, None, r"\xe9")),
        (SOUND.encode("utf-16"), ("E-FILE-003", 1, None, None)),
        (b"gene,A\nG\x00,1\n", ("E-FILE-003", 2, None, None)),
        (b"<html><body>log in</body></html>", ("E-FILE-005", 1, None, None)),
        (b"PK\x03\x04rest", ("E-FILE-005", None, None, None)),
        (b"\x89HDF\r\n\x1a\n", ("E-FILE-005", None, None, None)),
        (gzip.compress(SOUND.encode() * 50, mtime=0)[:40], ("E-FILE-005", None, None, None)),
    ],
)
def test_refused_with_its_place(tmp_path, content, expected):
    problems = found(tmp_path, content)
    assert [(c, r, k, v) for c, s, r, k, v in problems if s == "error"] == [expected]
    with pytest.raises(AssayError) as caught:
        expression.read_counts(tmp_path / "counts.csv")
    assert expected[0] in str(caught.value)
    assert all(p.remedy and p.file == "counts.csv" for p in caught.value.problems)


def test_the_message_names_gene_line_library_and_value(tmp_path):
    with pytest.raises(AssayError) as caught:
        expression.read_counts(write(tmp_path, "gene,A,B\nG1,1,2\nCD8A,3,4.5\n"))
    assert str(caught.value) == (
        "1 problem\n  E-COUNT-003 counts.csv:3 [B]: The count of gene 'CD8A' in library 'B' is fractional. "
        "Found: '4.5'. Remedy: Give raw counts; round expected counts (RSEM, Salmon) first."
    )


def test_an_endless_field_is_no_table(tmp_path):
    packed = gzip.compress(b"gene,A\n" + b"0" * 200_000)
    assert [p[0] for p in found(tmp_path, packed, "counts.csv.gz")] == ["E-SHEET-003", "E-SHEET-011"]
    assert [p[0] for p in found(tmp_path, b"0" * 200_000)] == ["E-FILE-005"]


def test_missing_file_folder_and_pipe(tmp_path):
    assert [p.code for p in expression.check_counts(tmp_path / "none.csv")] == ["E-FILE-001"]
    assert [p.code for p in expression.check_counts(tmp_path)] == ["E-FILE-002"]


def test_every_kind_is_told_in_one_pass_and_lines_are_those_of_the_file(tmp_path):
    content = "gene,A,B,B\nG1,1,2,3\nbad,1\n\nG2,x,-4,4.5\n,1,2,3\nG1,1,,2\nN_unmapped,5,6,7\n"
    problems = found(tmp_path, content)
    assert {(c, r) for c, _, r, *_ in problems} == {
        ("E-SHEET-003", 3),
        ("E-COUNT-012", 6),
        ("E-COUNT-005", 7),
        ("E-COUNT-011", 8),
        ("E-COUNT-006", 1),
        ("E-COUNT-001", 5),
        ("E-COUNT-002", 5),
        ("E-COUNT-003", 5),
        ("E-COUNT-004", 7),
    }


def test_many_faults_are_told_in_bounded_number(tmp_path):
    rows = "".join(f"G{k},x{k},{k}\n" if k % 2 else f"G{k},{k},-1\n" for k in range(1000))
    problems = found(tmp_path, "gene,A,B\n" + rows)
    text = [p for p in problems if p[0] == "E-COUNT-001"]
    assert len(text) == 21
    assert [p[2] for p in text[1:]] == [k + 2 for k in range(1, 40, 2)]
    assert len([p for p in problems if p[0] == "E-COUNT-002"]) == 21
    message = next(iter(expression.check_counts(tmp_path / "counts.csv"))).message
    assert message == "Of 2000 counts 500 are text. The first 20 follow."
    again = "gene,A\n" + "G,1\n" * 50
    assert len(found(tmp_path, again)) == 21


def test_annotation_columns_are_told_once(tmp_path):
    content = "Geneid\tChr\tStrand\ts1\nG1\tchr1\t+\t7\nG2\tchr2\t-\t9\n"
    assert [(c, k) for c, _, _, k, _ in found(tmp_path, content, "c.tsv")] == [
        ("E-COUNT-001", "Chr"),
        ("E-COUNT-001", "Strand"),
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda rng: np.log2(rng.gamma(1, 100, (200, 6)) + 1), "look like log values: "),
        (lambda rng: np.log2(rng.gamma(1, 100, (200, 6))), "look like log values: "),
        (lambda rng: (x := rng.normal(size=(200, 6))) - x.mean(axis=1, keepdims=True), "look like z-scores"),
        (
            lambda rng: (x := rng.gamma(1, 100, (200, 6))) / x.sum(axis=0) * 1e6,
            "every library sums to one million",
        ),
        (
            lambda rng: (x := rng.gamma(1, 100, (200, 6))) / x.sum(axis=0) * 5e7,
            "every library sums to about 5e+07",
        ),
        (lambda rng: rng.gamma(1, 100, (200, 6)) - 50, "background- or batch-corrected"),
        (lambda rng: rng.gamma(1, 100, (200, 6)), "FPKM, normalised or expected counts"),
    ],
)
def test_what_is_not_counts_is_recognised(tmp_path, make, words):
    values = make(np.random.default_rng(7))
    rows = "".join(f"G{k}," + ",".join(map(repr, row)) + "\n" for k, row in enumerate(values.tolist()))
    problems = expression.check_counts(write(tmp_path, "gene,a,b,c,d,e,f\n" + rows))
    assert any(words in p.message for p in problems.errors)
    assert len(problems) <= 42


def test_rounded_tpm_are_noticed(tmp_path):
    x = np.random.default_rng(1).gamma(1, 100, (300, 4))
    values = np.round(x / x.sum(axis=0) * 1e6).astype(int)
    rows = "".join(f"G{k}," + ",".join(map(str, row)) + "\n" for k, row in enumerate(values.tolist()))
    assert [(c, s) for c, s, *_ in found(tmp_path, "gene,a,b,c,d\n" + rows)] == [("E-COUNT-016", "warning")]


@pytest.mark.parametrize(
    ("gene", "meant"),
    [("1-Mar", "MARCHF1"), ("Sep-02", "SEPTIN2"), ("01-Dec", "DELEC1"), ("2021-03-01", ""), ("3/1/2021", "")],
)
def test_spreadsheet_dates_are_named(tmp_path, gene, meant):
    path = write(tmp_path, f"gene,A,B\nTP53,1,2\n{gene},3,4\n")
    adata = expression.read_counts(path)
    (problem,) = expression.problems_of(adata)
    assert (problem.code, problem.row, problem.value) == ("E-COUNT-013", 3, gene)
    assert meant in problem.message
    assert gene in adata.var_names


def test_date_serials_only_among_symbols(tmp_path):
    symbols = "".join(f"GENE{k},1,{k}\n" for k in range(40))
    assert [c for c, *_ in found(tmp_path, "gene,A,B\n" + symbols + "43891,3,4\n")] == ["E-COUNT-013"]
    entrez = "".join(f"{43800 + k},1,{k}\n" for k in range(40))
    assert found(tmp_path, "gene,A,B\n" + entrez) == []


# --- libraries ----------------------------------------------------------------------------------------


def test_libraries_are_quarantined_or_told(tmp_path):
    content = "gene,A,B,C,D,E\nG1,6000,2000,0,1,6000\nG2,3000,4000,0,2,3000\n"
    adata = expression.read_counts(write(tmp_path, content))
    assert adata.obs_names.tolist() == ["A", "B", "E"]
    assert [(p.code, p.severity, p.item) for p in expression.problems_of(adata)] == [
        ("E-COUNT-009", "quarantine", "C"),
        ("E-COUNT-014", "quarantine", "D"),
        ("E-COUNT-015", "warning", "E"),
    ]
    with pytest.raises(AssayError, match="No library has any reads"):
        expression.read_counts(write(tmp_path, "gene,A,B\nG1,0,0\nG2,0,0\n"))


BIOPSIES = """\
participant_id,biopsy_id,visit
P1,P1_pre,screening
P1,P1_on,C2D1
NA,007,screening
NA,1E5,C2D1
"""
LIBRARIES = """\
library_id,biopsy_id,batch
L1,P1_pre,b1
L2,P1_pre,b2
L3,P1_on,b1
007,007,b2
L9,1E5,b2
"""
COUNTS = "gene,L3,L1,L2,007,stray\nG1,1,10,100,5,7\nG2,2,20,200,6,8\n"


def small_study(folder, files, study=None):
    extra = {} if study is None else {"study": study}
    return read_study(study_folder(folder, biopsies=BIOPSIES, files=files, **extra))


def test_libraries_become_biopsies(tmp_path):
    study = small_study(tmp_path / "s", {"libraries.csv": LIBRARIES})
    adata = expression.read_counts(write(tmp_path, COUNTS), study=study)
    assert adata.obs_names.tolist() == ["007", "P1_pre", "P1_on"]
    assert adata.X.tolist() == [[5.0, 6.0], [110.0, 220.0], [1.0, 2.0]]
    assert adata.obs["n_libraries"].tolist() == [1, 2, 1]
    assert adata.obs["library_size"].tolist() == [11.0, 330.0, 3.0]
    assert adata.obs["libraries"].tolist() == ["007", "L1;L2", "L3"]
    assert adata.obs["batch"].tolist() == ["b2", "b1+b2", "b1"]
    stray, lost = expression.problems_of(adata)
    assert (stray.code, stray.severity, stray.item, stray.column) == (
        "E-COUNT-007",
        "quarantine",
        "stray",
        "stray",
    )
    assert (lost.code, lost.severity, lost.item) == ("E-COUNT-008", "quarantine", "L9")
    assert (lost.file, lost.row) == ("libraries.csv", 6)
    assert not list(check_assay(adata, "rna"))
    assert list(study.with_assay("rna", adata).assays) == ["rna"]


def test_biopsy_ids_serve_as_library_ids_and_an_unsequenced_biopsy_is_no_fault(tmp_path):
    study = small_study(tmp_path / "s", {})
    adata = expression.read_counts(write(tmp_path, "gene,P1_on,P1_pre\nG1,1,10\nG2,2,20\n"), study=study)
    assert adata.obs_names.tolist() == ["P1_pre", "P1_on"]
    assert expression.problems_of(adata) == ()


def test_no_library_of_the_study_is_refused_with_both_sides(tmp_path):
    study = small_study(tmp_path / "s", {"libraries.csv": LIBRARIES})
    with pytest.raises(
        AssayError,
        match=r"E-COUNT-007 .*claimed by a biopsy; the matrix has 'X', 'Y', the sheets '007', 'L1'",
    ):
        expression.read_counts(write(tmp_path, "gene,X,Y\nG1,1,10\nG2,2,20\n"), study=study)


def test_transposed_matrix_is_recognised_by_the_sheets(tmp_path):
    study = small_study(tmp_path / "s", {"libraries.csv": LIBRARIES})
    with pytest.raises(AssayError, match=r"E-COUNT-010 .*3 ids of the first column are library ids"):
        expression.read_counts(write(tmp_path, "lib,x1,x2\nL1,1,10\nL2,2,20\nL3,4,5\n"), study=study)


def test_surrounding_spaces_are_removed_with_a_word(tmp_path):
    adata = expression.read_counts(write(tmp_path, "gene,A ,B\n G1\u00a0,1,2\nG2,3,4\n"))
    assert (adata.obs_names.tolist(), adata.var_names.tolist()) == (["A", "B"], ["G1", "G2"])
    assert [p.code for p in expression.problems_of(adata)] == ["E-SHEET-009", "E-SHEET-009"]
    assert [c for c, *_ in found(tmp_path, "gene,A,A \nG1,1,2\nG2,3,4\n")][-1] == "E-COUNT-006"


# --- symbols ------------------------------------------------------------------------------------------


def test_symbols_and_labels(tmp_path):
    genes = write(tmp_path, "entrez,gene_name\n10,NAT2\n007,BOND\n11,NAT2\n12,\n", "genes.csv")
    path = write(tmp_path, "gene,A,B\n007,1,2\n10,3,4\n11,5,6\n12,7,8\n13,9,9\n")
    adata = expression.read_counts(path, genes=genes)
    assert adata.var["symbol"].tolist() == ["BOND", "NAT2", "NAT2", "", ""]
    assert adata.var["label"].tolist() == ["BOND", "NAT2 (10)", "NAT2 (11)", "12", "13"]
    (problem,) = expression.problems_of(adata)
    assert problem.code == "E-COUNT-017"
    assert problem.message.startswith("2 of 5 genes have no symbol")
    ensembl = pd.DataFrame({"id": ["ENSG00000153563"], "Symbol": ["CD8A"]})
    matrix = write(tmp_path, "gene,A,B\nENSG00000153563.16,1,2\nENSG00000000001.1,1,3\n")
    assert expression.read_counts(matrix, genes=ensembl).var["label"].tolist() == [
        "CD8A",
        "ENSG00000000001.1",
    ]


@pytest.mark.parametrize(
    ("table", "code"),
    [("entrez,chromosome\nG1,1\n", "E-SHEET-001"), ("entrez,symbol\n1,A1BG\n", "E-SHEET-006")],
)
def test_unfit_genes_tables_are_refused(tmp_path, table, code):
    with pytest.raises(AssayError, match=f"{code} genes.csv"):
        expression.read_counts(write(tmp_path, SOUND), genes=write(tmp_path, table, "genes.csv"))


def test_an_id_with_two_symbols_keeps_the_first_with_a_warning(tmp_path):
    table = write(tmp_path, "id,symbol\nG1,X\nG1,Y\nG2,Z\n", "genes.csv")
    adata = expression.read_counts(write(tmp_path, SOUND), genes=table)
    assert adata.var["symbol"].tolist() == ["X", "Z"]
    assert [p.code for p in expression.problems_of(adata)] == ["E-SHEET-005"]


# --- the assay ----------------------------------------------------------------------------------------


def test_h5ad_round_trip(tmp_path):
    path = write(tmp_path, "gene,A,B,C\n007,6000,2000,0\nNA,3000,4000,0\n1E5,1,2,0\n")
    adata = expression.read_counts(path)
    # anndata writes pandas' strings as plain ones only when told so; by default pandas 3.1 warns
    with ad.settings.override(allow_write_nullable_strings=False):
        adata.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    assert back.var_names.tolist() == ["007", "NA", "1E5"]
    assert np.array_equal(back.X, adata.X)
    pd.testing.assert_frame_equal(back.var, adata.var, check_dtype=False)
    pd.testing.assert_frame_equal(back.obs, adata.obs, check_dtype=False)
    assert expression.problems_of(back) == expression.problems_of(adata) != ()
    assert dict(back.uns["provenance"]) == adata.uns["provenance"]
    assert str(tmp_path) not in str(adata.uns)


@pytest.mark.data
def test_riaz_matrix(shared_data, tmp_path):
    """22,187 genes x 109 libraries, totals as PROVENANCE says; Pt109_On has two libraries."""
    path, genes = shared_data("riaz2017/counts.csv.gz"), shared_data("riaz2017/genes.csv")
    adata = expression.read_counts(path, genes=genes)
    assert adata.shape == (109, 22187)
    size = adata.obs["library_size"]
    assert (round(size.min() / 1e6, 1), round(size.median() / 1e6, 1), round(size.max() / 1e6, 1)) == (
        27.4,
        37.9,
        63.9,
    )
    assert [p.code for p in expression.problems_of(adata)] == ["E-COUNT-017"]
    assert (adata.var["symbol"] != "").sum() == 15503
    study = read_study(build_riaz_study(shared_data, tmp_path / "riaz"))
    (spec,) = study.spec.assays
    by_biopsy = expression.read_counts(path, study=study, spec=spec)
    assert by_biopsy.shape == (108, 22187)
    assert by_biopsy.obs.loc["Pt109_On", "n_libraries"] == 2
    assert by_biopsy.X.sum() == adata.X.sum()
