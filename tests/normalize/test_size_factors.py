"""Scaling of libraries against edgeR 3.40.2 and DESeq2 1.38.3 (golden/bulk_norm, golden/sim200), 1e-9."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker.errors import AssayError
from pdbiomarker.normalize import (
    FACTORS,
    NormalizeOptions,
    deseq_size_factors,
    norm_factors,
    normalize,
    stable_factors,
    stable_genes,
    tmmwsp_factors,
)
from tests.builders import assay

EDGER = {"tmm": "TMM", "tmmwsp": "TMMwsp", "rle": "RLE", "uq": "upperquartile"}


def numbers(path):
    return pd.read_csv(path).iloc[:, 1:].to_numpy(float)


@pytest.mark.parametrize("matrix", ["dense", "sparse"])
def test_equals_edger_and_deseq2(golden, matrix):
    counts = numbers(golden / f"bulk_norm/{matrix}_counts.csv")
    expected = pd.read_csv(golden / f"bulk_norm/{matrix}_factors.csv")
    for method, column in EDGER.items():
        if column in expected:
            np.testing.assert_allclose(norm_factors(counts, method), expected[column], rtol=1e-9)
    for kind in ("ratio", "poscounts"):
        if kind in expected:
            np.testing.assert_allclose(deseq_size_factors(counts, kind=kind), expected[kind], rtol=1e-9)


@pytest.mark.parametrize("name", ["sim200", "riaz200"])
def test_equals_edger_on_trials(golden, shared_golden, name):
    folder = golden / "sim200" if name == "sim200" else shared_golden("riaz200")
    counts = numbers(folder / "counts.csv")
    expected = pd.read_csv(folder / "edger_norm_factors.csv")
    for method, column in EDGER.items():
        np.testing.assert_allclose(norm_factors(counts, method), expected[column], rtol=1e-9)
    if name == "riaz200":
        sizes = pd.read_csv(folder / "deseq2_size_factors_all.csv")["size_factor"]
        np.testing.assert_allclose(deseq_size_factors(counts), sizes, rtol=1e-9)


def test_what_has_no_answer_is_refused(golden):
    sparse = numbers(golden / "bulk_norm/sparse_counts.csv")
    for method, words in (("rle", "no gene has a read in every library"), ("uq", "quartile of library")):
        counts = sparse if method == "rle" else np.array([[5, 3], *[[0, 2]] * 9])
        with pytest.raises(AssayError, match=words) as caught:
            norm_factors(counts, method)
        assert caught.value.problems[0].code == "E-COUNT-030"
    with pytest.raises(AssayError, match="median-of-ratios"):
        deseq_size_factors(sparse, kind="ratio")
    np.testing.assert_array_equal(deseq_size_factors(sparse), deseq_size_factors(sparse, kind="poscounts"))
    with pytest.raises(ValueError, match="tmmwsp"):
        norm_factors(sparse, "tmmswp")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), method=st.sampled_from(sorted(FACTORS)))
def test_orders_and_empty_genes_do_not_matter(seed, method):
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(2, 0.02, (60, 5)) + 1.0
    factors = norm_factors(counts, method)
    assert np.exp(np.log(factors).mean()) == pytest.approx(1)
    genes, libraries = rng.permutation(60), rng.permutation(5)
    shuffled = norm_factors(counts[genes][:, libraries], method)
    np.testing.assert_allclose(shuffled, factors[libraries], rtol=1e-9)
    padded = norm_factors(np.vstack([counts, np.zeros((3, 5))]), method)
    np.testing.assert_allclose(padded, factors, rtol=1e-9)


def test_proportional_libraries_need_no_factor():
    counts = np.outer(np.arange(1, 50), [1, 2, 5])
    for method in FACTORS:
        np.testing.assert_allclose(norm_factors(counts, method), 1, rtol=1e-12)
    assert tmmwsp_factors(np.zeros((0, 3))).tolist() == [1, 1, 1]
    assert norm_factors(np.zeros((4, 3)), "uq").tolist() == [1, 1, 1]


def influx(rng, n_genes=2000, share=0.7, fold=2.0):
    """Six libraries before and six after: a share of the genes doubles, the rest stays."""
    mean = rng.gamma(1.2, 300, n_genes) + 50
    risen = np.arange(n_genes) < share * n_genes
    depth = rng.lognormal(0, 0.2, 12)
    mu = mean[:, None] * depth * np.where(np.outer(risen, np.arange(12) >= 6), fold, 1.0)
    return rng.poisson(mu).astype(float), risen


def test_trap_20_influx_fools_tmm_and_not_the_genes_named_as_stable():
    """Truth: 1,400 of 2,000 genes rise twofold. On TMM sizes they seem still and the others halved."""
    counts, risen = influx(np.random.default_rng(11))
    size = counts.sum(axis=0)

    def change(factors):
        y = np.log2((counts + 0.5) / (size * factors))
        return (y[:, 6:].mean(axis=1) - y[:, :6].mean(axis=1)) @ np.array([risen, ~risen]).T / [1400, 600]

    np.testing.assert_allclose(change(norm_factors(counts)), [0, -1], atol=0.1)
    np.testing.assert_allclose(change(stable_factors(counts, np.flatnonzero(~risen)[:50])), [1, 0], atol=0.1)


def test_the_rule_for_stable_genes_finds_the_quiet_ones():
    """Truth: of 300 genes 60 vary by counting alone, the others by a factor with SD .8 on log2 as well."""
    rng = np.random.default_rng(5)
    quiet = np.arange(300) < 60
    noise = rng.normal(0, 0.8, (300, 12)) * ~quiet[:, None]
    counts = rng.poisson(500 * 2**noise * rng.lognormal(0, 0.4, 12)).astype(float)
    found = stable_genes(counts, share=0.1)
    assert found.size == 30
    assert quiet[found].all()
    assert stable_genes(np.zeros((5, 3))).size == 0
    with pytest.raises(AssayError, match="there is none"):
        stable_factors(counts, [])


def test_normalize_says_and_follows_the_rule(golden):
    counts = numbers(golden / "bulk_norm/dense_counts.csv").T
    values = {f"B{k}": row for k, row in enumerate(counts.tolist())}
    names = [f"G{k}" for k in range(counts.shape[1])]
    adata = assay(values, names, kind="count")
    for method, words in (("deseq", "DESeq2"), ("none", "total reads")):
        result = normalize(adata, options=NormalizeOptions(normalization=method))
        kept = result.var["tested"].to_numpy()
        expected = norm_factors(counts[:, kept].T, method)
        np.testing.assert_allclose(result.obs["norm_factor"], expected, rtol=1e-12)
        assert result.uns["normalization"]["method"] == method
        assert words in result.uns["normalization"]["rule"]
    strong = np.argsort(counts.min(axis=0))[-3:]
    stable = normalize(adata, options=NormalizeOptions(stable=tuple(names[k] for k in strong)))
    assert stable.uns["normalization"]["rule"].startswith("3 genes named as stable")
    y = np.exp2(stable.layers["y"][:, strong])
    np.testing.assert_allclose(np.log(y).mean(axis=1), np.log(y).mean(), atol=2e-3)
    quality = normalize(adata, options=NormalizeOptions(quality_weights=True))
    assert (quality.obs["quality_weight"] > 0).all()
    assert "weights of whole libraries" in quality.uns["normalization"]["rule"]
