"""Single cells: sums by brute force, scanpy's quality numbers, slices, damage, and bounded memory."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from pdbiomarker import expression
from pdbiomarker.errors import AssayError
from pdbiomarker.expression import cellfile
from pdbiomarker.study import SingleCellOptions, check_assay, read_study
from tests.builders import study_folder

TYPES = ["CD8 T", "Myeloid", "Tumour"]
MARKERS = {"CD8 T": ["CD8A", "CD8B"], "Myeloid": ["LYZ", "CD68"], "Tumour": ["MLANA", "PMEL"]}
GENES = [*(g for own in MARKERS.values() for g in own), "MT-CO1", "MT-ND1", "GZMA", "PRF1"]
LOOSE = SingleCellOptions(min_genes=5, max_mito=0.9, min_cells=1)


def cells(biopsies=("B1", "B2", "B3"), *, per=60, genes=120, seed=0, on=()):
    """Cells of three types with clear markers; CD8 T cells double in the biopsies `on`."""
    draw = np.random.default_rng(seed)
    names = [*GENES, *(f"G{k:04d}" for k in range(genes - len(GENES)))]
    base = draw.lognormal(-0.5, 0.8, (3, genes))
    base[:, :6] = 0.02
    for k in range(3):
        base[k, 2 * k : 2 * k + 2] = 6
    base[:, 6:8] = 1.0
    rows, obs = [], []
    for biopsy in biopsies:
        share = [0.4, 0.3, 0.3] if biopsy in on else [0.2, 0.3, 0.5]
        kinds = draw.choice(3, per, p=share)
        rows.append(draw.poisson(base[kinds] * draw.gamma(8, 0.25, (per, 1))))
        obs += [(biopsy, TYPES[k]) for k in kinds]
    frame = pd.DataFrame(obs, columns=["biopsy_id", "cell_type"], index=[f"c{k}" for k in range(len(obs))])
    frame["cell_type"] = frame["cell_type"].astype("category")
    X = sparse.csr_matrix(np.vstack(rows).astype(np.float32))
    return ad.AnnData(X=X, obs=frame, var=pd.DataFrame(index=names))


@pytest.fixture
def written(tmp_path):
    adata = cells()
    path = tmp_path / "cells.h5ad"
    adata.write_h5ad(path)
    return adata, path


def test_sums_and_shares_equal_brute_force(written):
    """Oracle: pandas' groupby over all cells."""
    adata, path = written
    found = expression.read_cells(path, options=LOOSE)
    assert list(found.assays) == ["sc_CD8_T", "sc_Myeloid", "sc_Tumour", "sc_composition"]
    dense = pd.DataFrame(adata.X.toarray(), columns=adata.var_names)
    sums = dense.groupby([adata.obs["cell_type"].to_numpy(), adata.obs["biopsy_id"].to_numpy()]).sum()
    sizes = adata.obs.groupby(["cell_type", "biopsy_id"], observed=True).size()
    for cell_type, name in zip(TYPES, list(found.assays)[:3], strict=True):
        assay = found.assays[name]
        np.testing.assert_array_equal(assay.X, sums.loc[cell_type].loc[assay.obs_names].to_numpy())
        assert assay.obs["n_cells"].tolist() == sizes.loc[cell_type].loc[assay.obs_names].tolist()
        assert not list(check_assay(assay, name))
    composition = found.assays["sc_composition"]
    assert composition.var_names.tolist() == ["CD8_T", "Myeloid", "Tumour"]
    wide = sizes.unstack("cell_type").loc[composition.obs_names, TYPES]  # noqa: PD010
    np.testing.assert_array_equal(composition.layers["numerator"], wide.to_numpy())
    np.testing.assert_array_equal(composition.layers["denominator"], np.full((3, 3), 60.0))
    np.testing.assert_allclose(composition.X.sum(axis=1), 1.0, rtol=1e-14)
    assert not list(check_assay(composition, "sc_composition"))


@pytest.mark.parametrize("values", [1, 500, 10**9])
def test_slices_change_nothing(written, monkeypatch, values):
    _, path = written
    whole = expression.read_cells(path, options=LOOSE)
    monkeypatch.setattr(cellfile.CellFile.slices, "__defaults__", (values,))
    sliced = expression.read_cells(path, options=LOOSE)
    for name, assay in whole.assays.items():
        np.testing.assert_array_equal(sliced.assays[name].X, assay.X)
    pd.testing.assert_frame_equal(sliced.cells, whole.cells)


def test_dense_layers_and_symbols(tmp_path):
    """Counts in a dense layer, ids as index with symbols beside; X is log-normalised."""
    adata = cells()
    adata.var["gene_name"] = adata.var_names
    adata.var_names = [f"ENSG{k:011d}" for k in range(adata.n_vars)]
    adata.layers["counts"] = adata.X.toarray()
    adata.X = np.log1p(adata.X.toarray())
    adata.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(AssayError, match=r"E-CELL-003 .*log-normalised.*layer: counts"):
        expression.read_cells(tmp_path / "cells.h5ad", options=LOOSE)
    options = SingleCellOptions(layer="counts", min_genes=5, max_mito=0.9, min_cells=1)
    found = expression.read_cells(tmp_path / "cells.h5ad", options=options)
    assay = found.assays["sc_CD8_T"]
    assert assay.var["symbol"].iloc[0] == assay.var["label"].iloc[0] == "CD8A"
    truth = np.asarray(adata.layers["counts"])[(adata.obs["cell_type"] == "CD8 T").to_numpy()].sum(axis=0)
    np.testing.assert_array_equal(assay.X.sum(axis=0), truth)
    assert np.isfinite(expression.signature_scores(assay, ["CYT"]).X).all()


def test_cells_that_fail_quality_are_counted_by_reason(tmp_path):
    adata = cells()
    X = adata.X.toarray()
    X[0] = 0  # nothing
    X[1, 3:] = 0  # few genes
    X[2, 6:8] = 5000  # mitochondrial
    kinds = adata.obs["cell_type"].astype(object)
    kinds.iloc[3] = None
    adata.obs["cell_type"] = kinds.astype("category")
    adata.X = sparse.csr_matrix(X)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    found = expression.read_cells(
        tmp_path / "cells.h5ad", options=SingleCellOptions(min_genes=5, max_mito=0.75, min_cells=1)
    )
    first = found.cells.iloc[0]
    assert first[["cells", "passed", "few_genes", "mito", "without_type"]].tolist() == [60, 56, 2, 1, 1]
    assert found.assays["sc_composition"].layers["denominator"][0, 0] == 56
    (told,) = [p for p in found.problems if p.code == "E-CELL-007"]
    assert told.severity == "warning"
    assert "Of 180 cells 4 are left out: 2 with fewer than 5 genes" in told.message
    with pytest.raises(AssayError, match=r"E-CELL-007 .*None of 180 cells passes: 180 have fewer"):
        expression.read_cells(tmp_path / "cells.h5ad", options=SingleCellOptions(min_genes=1000))


@pytest.mark.slow  # scanpy takes ten seconds to load
def test_quality_numbers_are_those_of_scanpy(written):
    """Oracle: scanpy's calculate_qc_metrics; medians over the cells of each biopsy, to float32."""
    adata, path = written
    found = expression.read_cells(path, options=LOOSE).cells
    import scanpy as sc

    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], inplace=True, percent_top=None, log1p=False)
    medians = adata.obs.groupby("biopsy_id")[["total_counts", "n_genes_by_counts", "pct_counts_mt"]].median()
    np.testing.assert_array_equal(found["median_counts"], medians["total_counts"])
    np.testing.assert_array_equal(found["median_genes"], medians["n_genes_by_counts"])
    np.testing.assert_allclose(100 * found["median_mito"], medians["pct_counts_mt"], rtol=1e-6)


def test_types_by_markers(tmp_path):
    """Against the planted types: every cell with clear markers is found; without markers it is unassigned."""
    adata = cells(per=150, seed=3)
    X = adata.X.toarray()
    X[:20, :6] = 0
    adata.X = sparse.csr_matrix(X)
    truth = adata.obs["cell_type"].astype(str).to_numpy()
    del adata.obs["cell_type"]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    gmt = "".join(f"{k}\t\t{chr(9).join(v)}\n" for k, v in MARKERS.items())
    (tmp_path / "markers.gmt").write_text(gmt, encoding="utf-8")
    options = SingleCellOptions(min_genes=20, max_mito=0.6, markers=str(tmp_path / "markers.gmt"))
    found = expression.read_cells(tmp_path / "cells.h5ad", options=options)
    composition = found.assays["sc_composition"]
    assert composition.var_names.tolist() == ["CD8_T", "Myeloid", "Tumour", "unassigned"]
    assert "sc_unassigned" not in found.assays
    counted = composition.layers["numerator"].sum(axis=0)
    planted = [(truth[20:] == t).sum() for t in TYPES]
    assert counted[3] == 20
    np.testing.assert_array_equal(counted[:3], planted)
    with pytest.raises(AssayError, match=r"E-CELL-004 .*none of the markers of 'B cell'"):
        expression.read_cells(tmp_path / "cells.h5ad", markers={"B cell": ["CD19"]})


def test_few_cells_have_no_value(written):
    _, path = written
    numbers = expression.read_cells(path, options=LOOSE).assays["sc_composition"].layers["numerator"][:, 0]
    least = int(np.sort(numbers)[1])
    found = expression.read_cells(path, options=dataclasses.replace(LOOSE, min_cells=least))
    kept = [b for b, n in zip(["B1", "B2", "B3"], numbers, strict=True) if n >= least]
    assert len(kept) == 2
    assert found.assays["sc_CD8_T"].obs_names.tolist() == kept
    assert any(p.code == "E-CELL-006" and p.value == "CD8 T" for p in found.problems)
    none = expression.read_cells(path, options=dataclasses.replace(LOOSE, min_cells=55))
    assert list(none.assays) == ["sc_composition"]
    assert sum("it has no assay" in p.message for p in none.problems) == 3


def test_biopsies_are_those_of_the_study(tmp_path):
    path = tmp_path / "study" / "cells.h5ad"
    folder = study_folder(
        tmp_path / "study",
        biopsies="participant_id,biopsy_id,visit\nP1,B2,screening\nP1,B1,C2D1\nP2,B9,screening\n",
        study="id: S\nvisits: {screening: {}, C2D1: {}}\nassays:\n"
        "  sc: {kind: count, h5ad: cells.h5ad, single_cell: {min_genes: 5, max_mito: 0.9, min_cells: 1}}\n",
        files={"cells.h5ad": "x"},
    )
    cells().write_h5ad(path)
    study = read_study(folder)
    (spec,) = study.spec.assays
    assert spec.single_cell == LOOSE
    found = expression.read_cells(path, options=spec.single_cell, study=study)
    assert found.assays["sc_composition"].obs_names.tolist() == ["B2", "B1"]  # the order of the visits
    (told,) = [p for p in found.problems if p.code == "E-CELL-005"]
    assert (told.severity, told.item) == ("quarantine", "B3")
    other = cells(("X1", "X2"))
    other.write_h5ad(path)
    with pytest.raises(AssayError, match=r"E-CELL-005 .*No cell is of a biopsy of the study"):
        expression.read_cells(path, options=LOOSE, study=study)
    again = read_study(study.write(tmp_path / "copy"))
    assert again.spec == study.spec


def _edit(path, name, change):
    with h5py.File(path, "r+") as file:
        values = file[name][:]
        del file[name]
        file[name] = change(values)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("X/indices", lambda v: np.where(np.arange(v.size) == 900, 99999, v), "column 99999"),
        ("X/indices", lambda v: np.where(np.arange(v.size) == 900, -1, v), "column -1"),
        ("X/indices", lambda v: v[:-5], "columns for"),
        ("X/indptr", lambda v: np.where(np.arange(v.size) == 3, 10**9, v), "pointers fall"),
        ("X/indptr", lambda v: v + 1, "the first pointer is not 0"),
        ("X/indptr", lambda v: v[:-1], "180 pointers for 180 rows"),
        ("X/indptr", lambda v: np.append(v[:-1], v[-1] + 7), "the last pointer"),
    ],
)
def test_fault_53_damaged_matrices_are_refused(written, name, change, message):
    """Read unchecked, such files lose counts, put them into other genes, or end the process."""
    _, path = written
    _edit(path, name, change)
    with pytest.raises(AssayError, match=f"E-CELL-002 .*{message}"):
        expression.read_cells(path, options=LOOSE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v * 1.5, "fractions"),
        (np.log1p, "log-normalised"),
        (lambda v: v - 3, "below 0"),
        (lambda v: np.where(np.arange(v.size) == 5, np.nan, v), "missing or infinite"),
    ],
)
def test_values_that_are_no_counts_are_refused(written, change, message):
    _, path = written
    _edit(path, "X/data", change)
    with pytest.raises(AssayError, match=f"E-CELL-003 .*{message}"):
        expression.read_cells(path, options=LOOSE)


def test_other_files_that_are_refused(written, tmp_path):
    adata, path = written
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink("other.h5ad", "/X")
    with pytest.raises(AssayError, match=r"E-CELL-001 .*another file \(/X\)"):
        expression.read_cells(path)
    (tmp_path / "text.h5ad").write_text("no")
    with pytest.raises(AssayError, match=r"E-CELL-001 .*no HDF5"):
        expression.read_cells(tmp_path / "text.h5ad")
    with pytest.raises(AssayError, match=r"E-FILE-001"):
        expression.read_cells(tmp_path / "absent.h5ad")
    adata.X = sparse.csc_matrix(adata.X)
    adata.write_h5ad(path)
    with pytest.raises(AssayError, match=r"E-CELL-001 .*csc_matrix.*csr_matrix"):
        expression.read_cells(path)
    adata.X = sparse.csr_matrix(adata.X)
    adata.write_h5ad(path)
    with pytest.raises(AssayError, match=r"E-CELL-004 .*no column 'patient'.*biopsy_id, cell_type"):
        expression.read_cells(path, options=SingleCellOptions(biopsy="patient"))
    with pytest.raises(AssayError, match=r"E-CELL-001 .*no layers/raw"):
        expression.read_cells(path, options=SingleCellOptions(layer="raw"))
    adata.var_names = ["TWICE", "TWICE", *adata.var_names[2:]]
    adata.write_h5ad(path)
    with pytest.raises(AssayError, match=r"E-COUNT-005 .*'TWICE'"):
        expression.read_cells(path)


def test_keys_of_study_yaml(tmp_path):
    for keys, message in (
        ("kind: count, h5ad: c.h5ad, file: c.csv", "The assay names file and h5ad"),
        (
            "kind: count, file: c.csv, single_cell: {min_cells: 5}",
            "'single_cell' belongs to",
        ),
        ("kind: count, h5ad: c.h5ad, single_cell: {min_cels: 5}", "min_cels"),
        ("kind: count, h5ad: c.h5ad, single_cell: {min_cells: 0}", "greater than or equal to 1"),
        ("kind: ihc, slides: s.csv, h5ad: c.h5ad", "kind ihc has no h5ad"),
        ("kind: count, h5ad: ../c.h5ad", "outside the study folder"),
        ("kind: count, h5ad: absent.h5ad", "does not exist"),
    ):
        folder = study_folder(
            tmp_path / "s",
            biopsies="participant_id,biopsy_id,visit\nP1,B1,screening\n",
            study=f"id: S\nvisits: {{screening: {{}}}}\nassays:\n  sc: {{{keys}}}\n",
            files={"c.csv": "gene,B1\nG,1\n", "c.h5ad": "x"},
        )
        with pytest.raises(Exception, match=message):
            read_study(folder)


MEMORY = """
import resource, sys
import h5py, numpy as np
from pdbiomarker.expression import read_cells
from pdbiomarker.study import SingleCellOptions

path, n, genes = sys.argv[1], 30000, 20000
rng = np.random.default_rng(0)
per = 300
with h5py.File(path, "w") as f:
    f.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    x = f.create_group("X")
    x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (n, genes)})
    x["indptr"] = np.arange(n + 1, dtype=np.int64) * per
    data = x.create_dataset("data", (n * per,), dtype=np.float32, chunks=(1 << 18,))
    indices = x.create_dataset("indices", (n * per,), dtype=np.int32, chunks=(1 << 18,))
    for k in range(0, n, 6000):
        step = np.sort(rng.integers(0, genes - per, (6000, per)), axis=1) + np.arange(per)
        indices[k * per : (k + 6000) * per] = step.ravel().astype(np.int32)
        data[k * per : (k + 6000) * per] = rng.integers(1, 5, 6000 * per).astype(np.float32)
    for name, size, prefix in (("obs", n, "c"), ("var", genes, "g")):
        g = f.create_group(name)
        g.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
        g.attrs["column-order"] = np.array([], dtype="S1")
        ids = g.create_dataset("_index", data=[f"{prefix}{k}".encode() for k in range(size)],
                               dtype=h5py.string_dtype())
        ids.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
    for name, m in (("biopsy_id", 20), ("cell_type", 10)):
        col = f["obs"].create_dataset(name, data=[f"{name}{k % m}".encode() for k in range(n)],
                                      dtype=h5py.string_dtype())
        col.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
found = read_cells(path, options=SingleCellOptions(min_genes=100))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
assert int(found.cells["passed"].sum()) == n
print(before, after)
"""


@pytest.mark.slow
def test_memory_stays_within_the_formula(tmp_path):
    """9 million counts, 30,000 cells x 20,000 genes, 20 biopsies x 10 types, in a process of its own.

    The formula is that of the module's head: 150 N + 24 G g + 0.3e9 bytes.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "big.h5ad")], capture_output=True, text=True, check=True
    )
    before, after = (int(v) for v in done.stdout.split()[-2:])
    assert after - before <= 150 * 30_000 + 24 * 200 * 20_000 + 0.3e9
