"""The files of counting tools: what is read, what is refused. Oracle: the numbers as written."""

from __future__ import annotations

import gzip

import anndata as ad
import h5py
import numpy as np
import openpyxl
import pandas as pd
import pytest
from scipy import sparse

from pdbiomarker import expression
from pdbiomarker.errors import AssayError
from pdbiomarker.expression.formats import library_name, sniff
from pdbiomarker.expression.identifiers import known_symbols
from pdbiomarker.expression.quantified import Transcripts, count_genes, gene_sums
from pdbiomarker.study import read_study
from tests.builders import study_folder

FEATURECOUNTS = (
    "# Program:featureCounts v2.0.3; Command:...\n"
    "Geneid\tChr\tStart\tEnd\tStrand\tLength\t/bam/L1.sorted.bam\t/bam/L2.sorted.bam\n"
    "G1\t1;1\t1;9\t5;20\t+;+\t16\t10\t20\nG2\t2\t1\t9\t-\t9\t30\t40\n"
)
STAR = (
    "N_unmapped\t9\t9\t9\nN_multimapping\t8\t8\t8\nN_noFeature\t1\t50\t2\nN_ambiguous\t3\t1\t1\n"
    "G1\t100\t{a}\t{b}\nG2\t200\t{c}\t{d}\n"
)
HTSEQ = "G1\t10\nG2\t30\n__no_feature\t5\n__ambiguous\t1\n__too_low_aQual\t0\n__not_aligned\t0\n"


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def codes(error):
    return [p.code for p in error.value.problems if p.severity == "error"]


# --- featureCounts, STAR, HTSeq -----------------------------------------------------------------------


@pytest.mark.parametrize("content", [FEATURECOUNTS, FEATURECOUNTS.partition("\n")[2]])
def test_featurecounts(tmp_path, content):
    adata = expression.read_counts(put(tmp_path / "counts.txt", content))
    assert adata.obs_names.tolist() == ["L1", "L2"]
    assert adata.X.tolist() == [[10, 30], [20, 40]]
    assert adata.uns["provenance"]["format"] == "featurecounts"
    assert not list(expression.check_counts(tmp_path / "counts.txt"))


def star(folder, forward, libraries=("L1", "L2")):
    """Files whose forward column holds this share of 300 stranded reads."""
    for k, library in enumerate(libraries):
        share = forward if isinstance(forward, float) else forward[k]
        a, c = round(100 * share), round(200 * share)
        put(folder / f"{library}_ReadsPerGene.out.tab", STAR.format(a=a, b=100 - a, c=c, d=200 - c))


@pytest.mark.parametrize(
    ("share", "strand", "row"),
    [(0.5, "unstranded", [100, 200]), (0.95, "forward", [95, 190]), (0.03, "reverse", [97, 194])],
)
def test_star_takes_the_strand_that_the_reads_show(tmp_path, share, strand, row):
    star(tmp_path / "star", share)
    adata = expression.read_counts(tmp_path / "star")
    assert adata.obs_names.tolist() == ["L1", "L2"]
    assert adata.X.tolist() == [row, row]
    assert adata.uns["provenance"]["strand"].startswith(strand)
    assert adata.obs["N_multimapping"].tolist() == [8, 8]
    assert adata.var_names.tolist() == ["G1", "G2"]
    named = expression.read_counts(tmp_path / "star", source=expression.CountSource(strand="forward"))
    assert named.X[0, 0] == round(100 * share)


def test_star_asks_where_the_strand_is_not_clear(tmp_path):
    for share in (0.7, (0.95, 0.05)):
        star(tmp_path / "star", share)
        with pytest.raises(AssayError, match="which strand") as caught:
            expression.read_counts(tmp_path / "star")
        assert codes(caught) == ["E-COUNT-033"]
        assert "strand: reverse" in str(caught.value)


def test_htseq_rows_over_genes_become_facts_of_the_library(tmp_path):
    put(tmp_path / "h/L1.txt", HTSEQ)
    put(tmp_path / "h/L2.counts.txt.gz", gzip.compress(HTSEQ.replace("G1\t10", "G1\t7").encode(), mtime=0))
    adata = expression.read_counts(tmp_path / "h")
    assert adata.obs_names.tolist() == ["L1", "L2"]
    assert adata.X.tolist() == [[10, 30], [7, 30]]
    assert adata.obs["no_feature"].tolist() == [5, 5]
    again = expression.read_counts({"X": tmp_path / "h/L1.txt", "Y": tmp_path / "h/L2.counts.txt.gz"})
    assert again.obs_names.tolist() == ["X", "Y"]


def test_files_that_do_not_belong_together(tmp_path):
    put(tmp_path / "a/L1.txt", HTSEQ)
    put(tmp_path / "a/L2.txt", HTSEQ.replace("G2", "G3"))
    with pytest.raises(AssayError, match=r"counts other features than a/L1.txt; it lacks 'G2'"):
        expression.read_counts(tmp_path / "a")
    put(tmp_path / "b/L1.txt", HTSEQ)
    put(tmp_path / "b/L2.txt", FEATURECOUNTS)
    with pytest.raises(AssayError, match="several formats"):
        expression.read_counts([tmp_path / "b/L1.txt", tmp_path / "b/L2.txt"])
    put(tmp_path / "c/L1.txt", HTSEQ)
    put(tmp_path / "c/L2.txt", "gene,a\nG1,2\n")
    with pytest.raises(AssayError, match="put together"):
        expression.read_counts(tmp_path / "c")
    (tmp_path / "d").mkdir()
    with pytest.raises(AssayError, match="no file of counts"):
        expression.read_counts(tmp_path / "d")
    with pytest.raises(AssayError, match="no such format"):
        expression.read_counts(tmp_path / "a", source=expression.CountSource(format="rsem"))


def test_the_order_of_genes_in_a_file_does_not_matter(tmp_path):
    put(tmp_path / "L1.txt", HTSEQ)
    lines = HTSEQ.splitlines()
    put(tmp_path / "L2.txt", "\n".join([lines[1].replace("30", "31"), lines[0], *lines[2:]]) + "\n")
    adata = expression.read_counts([tmp_path / "L1.txt", tmp_path / "L2.txt"])
    assert adata.X.tolist() == [[10, 30], [10, 31]]


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("x/L1Aligned.sortedByCoord.out.bam", "featurecounts", "L1"),
        ("s/007/quant.sf.gz", "salmon", "007"),
        ("k/L1/abundance.tsv", "kallisto", "L1"),
        ("s/L1.quant.sf", "salmon", "L1.quant"),
        ("t/L1/ReadsPerGene.out.tab", "star", "L1"),
    ],
)
def test_names_of_libraries(path, kind, name):
    assert library_name(path, kind) == name


def test_sniffing():
    assert sniff(b"gene,A\nG1,2\n") == "table"
    assert sniff(HTSEQ.encode()) == "htseq"
    assert sniff(b"Name\tLength\tEffectiveLength\tTPM\tNumReads\n") == "salmon"


# --- Salmon and kallisto ------------------------------------------------------------------------------

TX = ["ENST00000000001.1", "ENST00000000002.1", "ENST00000000003.1"]
GENES = "transcript,gene\nENST00000000001,GA\nENST00000000002,GA\nENST00000000003,GB\n"
READS = {"L1": [100.4, 50.0, 30.0], "L2": [40.0, 160.0, 0.0]}
TPM = {"L1": [500.0, 100.0, 400.0], "L2": [200.0, 800.0, 0.0]}
LENGTH = {"L1": [900.0, 2000.0, 450.0], "L2": [950.0, 1900.0, 500.0]}


def salmon(folder, kallisto=False):
    for library, reads in READS.items():
        rows = zip(TX, LENGTH[library], TPM[library], reads, strict=True)
        if kallisto:
            text = "target_id\tlength\teff_length\test_counts\ttpm\n"
            text += "".join(f"{t}\t1\t{e}\t{r}\t{a}\n" for t, e, a, r in rows)
            put(folder / library / "abundance.tsv", text)
        else:
            text = "Name\tLength\tEffectiveLength\tTPM\tNumReads\n"
            text += "".join(f"{t}\t1\t{e}\t{a}\t{r}\n" for t, e, a, r in rows)
            put(folder / library / "quant.sf", text)


@pytest.mark.parametrize("kallisto", [False, True])
def test_transcripts_become_genes_by_the_named_definition(tmp_path, kallisto):
    """By hand: GA's length is (500*900 + 100*2000)/600 in L1, (200*950 + 800*1900)/1000 in L2; GB has no
    abundance in L2 and takes the length of L1. Scaled: TPM times mean length, to the reads of the library."""
    salmon(tmp_path / "q", kallisto)
    source = expression.CountSource(transcripts=put(tmp_path / "tx.csv", GENES))
    adata = expression.read_counts(tmp_path / "q", source=source)
    lengths = np.array([[650000 / 600, 450.0], [1710.0, 450.0]])
    np.testing.assert_allclose(adata.layers["length"], lengths, rtol=1e-12)
    scaled = np.array([[600.0, 400.0], [1000.0, 0.0]]) * lengths.mean(axis=0)
    expected = scaled / scaled.sum(axis=1, keepdims=True) * np.array([[180.4], [200.0]])
    assert adata.X.tolist() == np.rint(expected).tolist()
    assert "lengthScaledTPM" in adata.uns["provenance"]["counts"]
    before = adata.uns["provenance"]["sha256"]
    one = next(path for path in sorted((tmp_path / "q").rglob("*")) if path.is_file())
    put(one, one.read_bytes() + b"\n")  # an empty line: the same numbers, another file
    again = expression.read_counts(tmp_path / "q", source=source)
    assert again.X.tolist() == adata.X.tolist()
    assert again.uns["provenance"]["sha256"] != before
    raw = expression.read_counts(
        tmp_path / "q",
        source=expression.CountSource(transcripts=tmp_path / "tx.csv", counts_from="estimated"),
    )
    assert raw.X.tolist() == [[150, 30], [200, 0]]
    tpm = expression.read_counts(
        tmp_path / "q", source=expression.CountSource(transcripts=tmp_path / "tx.csv", counts_from="scaled")
    )
    assert tpm.X.tolist() == [[108, 72], [200, 0]]


@pytest.mark.parametrize(
    ("column", "what"), [("NumReads", "reads"), ("TPM", "TPM"), ("EffectiveLength", "effective length")]
)
def test_quantities_that_are_no_numbers_are_named(tmp_path, column, what):
    salmon(tmp_path / "q")
    path = tmp_path / "q" / "L2" / "quant.sf"
    table = pd.read_csv(path, sep="\t")
    table.loc[1, column] = -1
    table.to_csv(path, sep="\t", index=False)
    source = expression.CountSource(transcripts=put(tmp_path / "tx.csv", GENES))
    with pytest.raises(AssayError) as caught:
        expression.read_counts(tmp_path / "q", source=source)
    (problem,) = caught.value.problems
    assert (problem.code, problem.row) == ("E-COUNT-004", 3)
    assert problem.message.startswith(f"The {what} of ")
    assert "in library 'L2'" in problem.message


def test_no_abundance_anywhere_takes_the_mean_length_of_the_transcripts():
    zero = np.zeros((2, 2))
    sums = gene_sums(
        Transcripts(["a", "b"], zero, zero, np.array([[100.0, 200.0], [300.0, 500.0]])), ["G", "G"]
    )
    assert sums.length.tolist() == [[275.0, 275.0]]
    assert count_genes(sums).tolist() == [[0, 0]]


def test_transcripts_without_a_table_are_asked_for(tmp_path):
    salmon(tmp_path / "q")
    with pytest.raises(AssayError, match="tx2gene") as caught:
        expression.read_counts(tmp_path / "q")
    assert codes(caught) == ["E-COUNT-036"]
    other = put(tmp_path / "other.csv", "transcript,gene\nT1,GA\n")
    with pytest.raises(AssayError, match="None of the 3 transcripts"):
        expression.read_counts(tmp_path / "q", source=expression.CountSource(transcripts=other))
    part = put(tmp_path / "part.csv", "\n".join(GENES.splitlines()[:3]) + "\n")
    adata = expression.read_counts(tmp_path / "q", source=expression.CountSource(transcripts=part))
    (problem,) = expression.problems_of(adata)
    assert (problem.code, problem.value) == ("E-COUNT-036", TX[2])
    assert "1 of 3 transcripts, with 7.9% of the reads" in problem.message


def test_gencode_ids_name_their_gene(tmp_path):
    ids = ["ENST01|ENSG01|x|", "ENST02|ENSG01|x|", "ENST03|ENSG02|x|"]
    rows = "".join(f"{i}\t1\t100\t5\t5\n" for i in ids)
    put(tmp_path / "q/L1/quant.sf", "Name\tLength\tEffectiveLength\tTPM\tNumReads\n" + rows)
    adata = expression.read_counts(tmp_path / "q")
    assert adata.var_names.tolist() == ["ENSG01", "ENSG02"]
    assert adata.X.tolist() == [[10, 5]]


# --- spreadsheets and h5ad ----------------------------------------------------------------------------


def test_xlsx_with_a_gene_that_became_a_date(tmp_path):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["gene", "A", "B"])
    sheet.append(["TP53", 10, 20])
    sheet.append([pd.Timestamp("2021-09-02").to_pydatetime(), 30, 40.0])
    book.save(tmp_path / "counts.xlsx")
    adata = expression.read_counts(tmp_path / "counts.xlsx")
    assert adata.X.tolist() == [[10, 30], [20, 40]]
    assert adata.var["symbol"].tolist() == ["", "SEPTIN2"]
    (problem,) = expression.problems_of(adata)
    assert (problem.code, problem.row, problem.value) == ("E-COUNT-013", 3, "2021-09-02")
    assert "SEPTIN2" in problem.message


@pytest.mark.parametrize("where", ["X", "layer", "raw"])
def test_h5ad(tmp_path, where):
    counts = np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]])
    var = pd.DataFrame({"gene_name": ["GA", "GB", "GC"]}, index=["1", "2", "3"])
    logs = np.log1p(counts)
    obs = pd.DataFrame(index=["L1", "L2"])
    adata = ad.AnnData(counts if where == "X" else logs, obs=obs, var=var)
    if where == "layer":
        adata.layers["counts"] = sparse.csr_matrix(counts)
    if where == "raw":
        adata.raw = ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)
    adata.write_h5ad(tmp_path / "c.h5ad")
    found = expression.read_counts(tmp_path / "c.h5ad")
    assert found.X.tolist() == counts.tolist()
    assert found.var["symbol"].tolist() == ["GA", "GB", "GC"]
    assert found.obs_names.tolist() == ["L1", "L2"]


def test_h5ad_that_is_refused(tmp_path):
    logs = ad.AnnData(np.log1p(np.arange(6.0).reshape(2, 3)), obs=pd.DataFrame(index=["a", "b"]))
    logs.write_h5ad(tmp_path / "log.h5ad")
    with pytest.raises(AssayError, match="look like log values"):
        expression.read_counts(tmp_path / "log.h5ad")
    whole = ad.AnnData(np.ones((2, 3)), obs=pd.DataFrame(index=["a", "b"]))
    whole.write_h5ad(tmp_path / "link.h5ad")
    with h5py.File(tmp_path / "link.h5ad", "a") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink("/etc/other.h5", "/X")
    with pytest.raises(AssayError, match="takes data from another file") as caught:
        expression.read_counts(tmp_path / "link.h5ad")
    assert codes(caught) == ["E-ASSAY-002"]
    put(tmp_path / "cut.h5ad", (tmp_path / "log.h5ad").read_bytes()[:300])
    with pytest.raises(AssayError) as caught:
        expression.read_counts(tmp_path / "cut.h5ad")
    assert codes(caught) == ["E-FILE-005"]


# --- shifted headers, trailing delimiters, copies -----------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("S1,S2,\nG1,1,2\nG2,3,4\n", "'S1' stands over the gene ids"),
        (",gene,S1\n1,G1,5\n2,G2,7\n", "the first column holds row numbers"),
        ("x,gene,S1\n0,G1,5\n1,G2,7\n", "the first column holds row numbers"),
    ],
)
def test_shifted_headers_are_refused(tmp_path, content, words):
    with pytest.raises(AssayError, match=words) as caught:
        expression.read_counts(put(tmp_path / "c.csv", content))
    assert "E-COUNT-035" in codes(caught)


def test_a_library_over_the_gene_column_is_a_shifted_header(tmp_path):
    biopsies = "participant_id,biopsy_id,visit\nP1,S1,screening\nP1,S2,C2D1\nP1,S3,C1D15\n"
    study = read_study(study_folder(tmp_path / "s", biopsies=biopsies))
    with pytest.raises(AssayError, match="'S1' is a library of the sheets") as caught:
        expression.read_counts(put(tmp_path / "c.csv", "S1,S2,S3\nG1,1,2\nG2,3,4\n"), study=study)
    assert codes(caught) == ["E-COUNT-035"]


def test_lines_that_end_in_a_delimiter_are_read_with_a_warning(tmp_path):
    adata = expression.read_counts(put(tmp_path / "c.csv", "gene,A,B,\nG1,1,2,\nG2,3,4,\n"))
    assert adata.X.tolist() == [[1, 3], [2, 4]]
    assert [p.code for p in expression.problems_of(adata)] == ["E-SHEET-019"]


def test_copies_are_left_out_where_the_study_says_whose_they_are(tmp_path):
    """L2 copies L1 of the same biopsy: one goes. L4 copies L3 of another biopsy: both go."""
    rng = np.random.default_rng(2)
    columns = {"L1": rng.poisson(50, 80), "L3": rng.poisson(50, 80), "L5": rng.poisson(50, 80)}
    columns |= {"L2": columns["L1"], "L4": columns["L3"]}
    table = pd.DataFrame(columns, index=[f"G{k}" for k in range(80)])
    table.to_csv(tmp_path / "c.csv", index_label="gene")
    biopsies = "participant_id,biopsy_id,visit\nP1,B1,screening\nP1,B2,C2D1\nP2,B3,screening\nP2,B4,C2D1\n"
    libraries = "library_id,biopsy_id\nL1,B1\nL2,B1\nL3,B2\nL4,B3\nL5,B4\n"
    study = read_study(study_folder(tmp_path / "s", biopsies=biopsies, files={"libraries.csv": libraries}))
    adata = expression.read_counts(tmp_path / "c.csv", study=study)
    assert adata.obs["libraries"].tolist() == ["L1", "L5"]
    told = [(p.code, p.severity, p.item) for p in expression.problems_of(adata)]
    assert told == [("E-COUNT-015", "quarantine", item) for item in ("L2", "L3", "L4")]


# --- in a study folder --------------------------------------------------------------------------------


def test_study_yaml_names_the_files_of_a_tool(tmp_path):
    study = """
    id: T
    visits: {pre: {}, on: {}}
    assays:
      star: {kind: count, files: star/, strand: reverse}
      salmon: {kind: count, files: "quant/*/quant.sf", transcripts: tx.csv, counts_from: estimated}
    """
    biopsies = "participant_id,biopsy_id,visit\nP1,L1,pre\nP1,L2,on\n"
    root = study_folder(tmp_path / "s", biopsies=biopsies, study=study, plan="", files={"tx.csv": GENES})
    (root / "plan.yaml").unlink()
    star(root / "star", 0.1)
    salmon(root / "quant")
    read = read_study(root)
    specs = {spec.name: spec for spec in read.spec.assays}
    assert expression.assay_files(specs["salmon"], read) == [
        "quant/L1/quant.sf",
        "quant/L2/quant.sf",
        "tx.csv",
    ]
    assert expression.read_assay(read, specs["star"]).X.tolist() == [[90, 180], [90, 180]]
    assert expression.read_assay(read, specs["salmon"]).X.tolist() == [[150, 30], [200, 0]]
    again = read_study(read.write(tmp_path / "copy"))
    assert again.spec.assays == read.spec.assays
    assert expression.read_assay(again, specs["star"]).X.tolist() == [[90, 180], [90, 180]]


@pytest.mark.parametrize(
    ("assay", "words"),
    [
        ("{kind: count}", "needs a file"),
        ("{kind: count, file: a.csv, files: b/}", "names file and files"),
        ("{kind: intensity}", "needs a file"),
        ("{kind: count, file: a.csv, slides: s.csv}", "has no slides"),
        ("{kind: count, files: none/}", "folder does not exist"),
        ("{kind: count, files: ../other}", "leads outside"),
    ],
)
def test_study_yaml_that_is_refused(tmp_path, assay, words):
    study = f"id: T\nvisits: {{pre: {{}}, on: {{}}}}\nassays:\n  rna: {assay}\n"
    root = study_folder(tmp_path / "s", biopsies="participant_id,biopsy_id,visit\nP1,L1,pre\n", study=study)
    with pytest.raises(Exception, match=words):
        read_study(root)


# --- ids ----------------------------------------------------------------------------------------------


def test_outdated_symbols_are_told_and_mapped_where_that_is_safe(tmp_path):
    content = "gene,A,B\nPDL1,1,2\nIL8,3,4\nCXCL8,5,6\nSEPT9,7,8\nTP53,9,10\n"
    adata = expression.read_counts(put(tmp_path / "c.csv", content))
    assert adata.var_names.tolist() == ["PDL1", "IL8", "CXCL8", "SEPT9", "TP53"]
    assert adata.var["symbol"].tolist() == ["CD274", "", "", "SEPTIN9", ""]
    (problem,) = expression.problems_of(adata)
    assert problem.code == "E-COUNT-031"
    assert "3 gene ids" in problem.message


def test_ids_of_several_kinds_and_versions(tmp_path):
    rows = "".join(f"ENSG{k:011d}.1,{k},1\n" for k in range(10)) + "ENSG00000000003.2,5,5\n"
    adata = expression.read_counts(put(tmp_path / "v.csv", "gene,A,B\n" + rows))
    assert adata.uns["gene_ids"] == {"Ensembl gene": 11}
    assert ["several versions" in p.message for p in expression.problems_of(adata)] == [True]
    rows += "".join(f"{k},7,{k}\n" for k in range(1000, 1005))
    mixed = expression.read_counts(put(tmp_path / "m.csv", "gene,A,B\n" + rows))
    assert [p.code for p in expression.problems_of(mixed)] == ["E-COUNT-038", "E-COUNT-038"]


def test_aliases_of_a_genes_table_and_the_report_of_merging(tmp_path):
    genes = put(tmp_path / "g.csv", "id,symbol,alias\n1,CD274,PDL1|B7H1\n2,PDCD1,PD1\n3,XX,PD1\n")
    counts = put(tmp_path / "c.csv", "gene,A,B\n1,1,2\nB7H1,3,4\nPD1,5,6\n9,7,8\n")
    adata = expression.read_counts(counts, genes=genes)
    assert adata.var["symbol"].tolist() == ["CD274", "CD274", "", ""]  # PD1 is an alias of two genes
    merged, report = expression.merge_genes(adata)
    assert merged.var_names.tolist() == ["CD274", "PD1", "9"]
    assert merged.X.tolist() == [[4, 5, 7], [6, 6, 8]]
    assert report["status"].tolist() == ["merged", "merged", "no symbol", "no symbol"]
    assert report["reads"].sum() == 36


def test_a_table_of_aliases_is_sound():
    table = known_symbols()
    assert not set(table) & {symbol for symbol, _ in table.values()}
    assert {reason for _, reason in table.values()} == {"alias", "renamed", "spreadsheet"}
    assert table["MARCH1"] == ("MARCHF1", "spreadsheet")
