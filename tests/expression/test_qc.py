"""Quality of count assays: numbers by hand, components by their definition, outliers known from elsewhere."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from pdbiomarker import expression
from pdbiomarker.expression.qc import QC_COLUMNS, components, expression_qc
from pdbiomarker.study import read_study
from tests.riaz import build_riaz_study

HANDLING = expression.read_signature("HANDLING").genes


def assay(n=12, genes=700, seed=1, shift=0.0):
    """Half of the biopsies are of batch 2, in which a quarter of the genes is up by `shift` (log2)."""
    draw = np.random.default_rng(seed)
    names = [*HANDLING, *(f"G{k:04d}" for k in range(genes - len(HANDLING)))]
    batch = np.arange(n) % 2
    x = draw.normal(5, 1.5, (genes, 1)) + draw.normal(0, 0.3, (genes, n))
    x[: genes // 4] += shift * batch
    var = pd.DataFrame({"kind": "count", "symbol": names}, index=pd.Index(names, dtype=str))
    obs = pd.DataFrame({"batch": [f"R{b + 1}" for b in batch]}, index=[f"B{k:02d}" for k in range(n)])
    return ad.AnnData(draw.poisson(2.0**x).T.astype(float), obs=obs, var=var)


def test_numbers_by_hand():
    adata = assay()
    adata.X[3] = np.nan
    facts = pd.DataFrame({"visit": ["pre", "on"] * 6, "site": "liver"}, index=adata.obs_names)
    table, _ = expression_qc({"rna": adata}, facts)
    assert tuple(table) == QC_COLUMNS
    assert table["biopsy_id"].tolist() == adata.obs_names.tolist()
    x = adata.X[0]
    row = table.iloc[0]
    assert row["library_size"] == x.sum()
    assert row["genes_detected"] == (x > 0).sum()
    assert row["top_50_share"] == pytest.approx(np.sort(x)[-50:].sum() / x.sum(), rel=1e-14)
    handling = np.log2((x[: len(HANDLING)] + 0.5) / (x.sum() + 1) * 1e6).mean()
    assert row["handling_score"] == pytest.approx(handling, rel=1e-13)
    assert row[["visit", "batch", "site"]].tolist() == ["pre", "R1", "liver"]
    assert table.iloc[3][["library_size", "genes_detected", "pc1"]].isna().all()
    assert table["immune_stroma"].isna().all()  # the genes are not in this matrix


def test_components_by_definition():
    """Oracle: the largest eigenvalues of the covariance between biopsies."""
    draw = np.random.default_rng(2)
    x = draw.normal(size=(300, 9))
    found = components(x)
    centred = x - x.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    np.testing.assert_allclose(found.share, values[::-1][:3] / values.sum(), rtol=1e-9)
    for k in range(3):
        own = vectors[:, -1 - k] * np.sqrt(values[-1 - k])
        np.testing.assert_allclose(found.scores[:, k], own * np.sign(own @ found.scores[:, k]), atol=1e-8)
    turned = components(x[:, ::-1])
    np.testing.assert_allclose(turned.scores[::-1], found.scores, atol=1e-8)  # signs are defined
    assert components(x[:, :2]).scores.shape == (2, 0)
    assert components(np.ones((5, 4))).scores.shape == (4, 0)


def test_a_batch_shows_in_the_components():
    _, plain = expression_qc({"rna": assay()})
    _, shifted = expression_qc({"rna": assay(shift=3.0)})
    first = shifted.set_index("component").loc["pc1"]
    assert first["batch"] > 0.9
    assert plain.set_index("component").loc["pc1", "batch"] < 0.9
    assert np.isnan(first["visit"])


def test_what_is_unusual_is_flagged():
    adata = assay()
    adata.X[4, adata.n_vars // 3 :] = 0
    adata.X[7, : len(HANDLING)] *= 40
    table, _ = expression_qc({"rna": adata})
    flags = table.set_index("biopsy_id")["flags"]
    assert "genes seen, half of the biopsies have" in flags["B04"]
    assert "handling score +" in flags["B07"]
    assert (flags.drop(["B04", "B07"]) == "").all()


def test_other_assays_and_empty_ones_are_passed_over():
    scores = expression.signature_scores(assay(), ["HANDLING"])
    table, parts = expression_qc({"scores": scores, "none": assay()[:0].copy()})
    assert table.empty
    assert tuple(table) == QC_COLUMNS
    assert parts.empty


@pytest.mark.data
def test_riaz_outliers_are_the_nine_known_ones(shared_data, tmp_path):
    """Oracle: an independent analysis of the same counts (vst, top 1000 genes) names 9 outliers on PC1."""
    study = read_study(build_riaz_study(shared_data, tmp_path / "riaz"))
    (spec,) = study.spec.assays
    counts = expression.read_counts(shared_data("riaz2017/counts.csv.gz"), study=study, spec=spec)
    table, _ = expression_qc({"rna": counts}, study.biopsies)
    assert table["flags"].str.contains("first component").sum() == 9
    assert table["handling_score"].notna().all()
    assert table["immune_stroma"].notna().all()
