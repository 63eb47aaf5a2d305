"""Voom with correlation and quality weights, vst and batch-free values against R (golden/bulk_norm)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pdbiomarker.errors import AssayError
from pdbiomarker.normalize import library_weights, tmm_factors, voom, voom_quality_weights, vst, without_batch
from pdbiomarker.normalize.vst import _likelihood, gene_dispersions, trend_of_dispersion


@pytest.fixture(scope="module")
def read(golden):
    return lambda name: pd.read_csv(golden / f"bulk_norm/{name}.csv")


@pytest.fixture(scope="module")
def bulk(read):
    """Counts of the genes that were kept, design ~ visit, effective library sizes, sheet."""
    sheet = read("dense_libraries")
    counts = read("dense_counts").iloc[:, 1:].to_numpy(float)[read("kept")["kept"].to_numpy()]
    design = np.column_stack([np.ones(12), sheet["visit"] == "on"]).astype(float)
    return counts, design, counts.sum(axis=0) * tmm_factors(counts), sheet


def matrix(table):
    return table.iloc[:, 1:].to_numpy(float)


def test_quality_weights_equal_limma(bulk, read):
    """Limma 3.54.1, voomWithQualityWeights and arrayWeights(method="genebygene"); 1e-7."""
    counts, design, size, _ = bulk
    expected = read("sample_weights")
    found = voom_quality_weights(counts, design, size)
    np.testing.assert_allclose(found.sample_weights, expected["quality"], rtol=1e-7)
    np.testing.assert_allclose(found.weights, matrix(read("voom_quality_weights")), rtol=1e-7)
    plain = voom(counts, design, size)
    alone = library_weights(plain.E, design, plain.weights)
    np.testing.assert_allclose(alone, expected["array_weights"], rtol=1e-7)
    # libraries 3 and 8 were drawn with extra noise
    assert set(np.argsort(found.sample_weights)[:2]) == {2, 7}


def test_quality_weights_where_nothing_can_be_told():
    y = np.random.default_rng(0).normal(size=(20, 3))
    assert library_weights(y, np.eye(3)).tolist() == [1, 1, 1]
    assert library_weights(y[:1], np.ones((3, 1))).tolist() == [1, 1, 1]


def test_voom_with_a_correlation_equals_limma(bulk, read):
    """voom(block, correlation) at limma's own consensus correlation; 1e-7."""
    counts, design, size, sheet = bulk
    rho = read("dupcor").set_index("what")["value"]["rho_first"]
    same = sheet["participant"].to_numpy()[:, None] == sheet["participant"].to_numpy()
    covariance = np.where(np.eye(12, dtype=bool), 1.0, np.where(same, rho, 0.0))
    found = voom(counts, design, size, covariance=covariance)
    np.testing.assert_allclose(found.weights, matrix(read("voom_block_weights")), rtol=1e-7)
    plain = voom(counts, design, size)
    even = voom(counts, design, size, covariance=np.eye(12))
    np.testing.assert_allclose(even.weights, plain.weights, rtol=1e-12)


def test_vst_equals_deseq2(read):
    """DESeq2 1.38.3, blind, parametric: trend 2e-4, values 1e-4 in log2 (its line search stops at 1e-6)."""
    counts = matrix(read("dense_counts"))
    found = vst(counts)
    assert found.trend.kind == "parametric"
    np.testing.assert_allclose(found.trend[:2], read("vst_trend")["value"], rtol=2e-4)
    np.testing.assert_allclose(found.values, matrix(read("vst")), atol=1e-4)


def test_gene_dispersions_equal_deseq2_and_are_the_maximum(read):
    """95 % of the genes within 1e-3 of DESeq2's; those that differ are not less likely by ours."""
    counts = matrix(read("dense_counts"))
    seen = counts.any(axis=1)
    factors = vst(counts).size_factors
    expected = read("vst_dispersions")["dispersion"].to_numpy()[seen]
    found = gene_dispersions(counts[seen], factors)
    apart = np.abs(found / expected - 1) > 1e-3
    assert apart.mean() < 0.05
    scaled = counts[seen] / factors
    mu = np.maximum(scaled.mean(axis=1)[:, None] * factors, 0.5)
    gain = _likelihood(counts[seen], mu, np.log(found)) - _likelihood(counts[seen], mu, np.log(expected))
    assert gain[apart].min() >= -1e-6


@pytest.mark.data
def test_vst_equals_deseq2_on_riaz(shared_golden):
    folder = shared_golden("riaz200")
    counts = pd.read_csv(folder / "counts.csv").set_index("gene")
    expected = pd.read_csv(folder / "deseq2_vst_blind60.csv").set_index("gene")
    found = pd.DataFrame(vst(counts.to_numpy(float)).values, index=counts.index, columns=counts.columns)
    np.testing.assert_allclose(found.loc[expected.index], expected, atol=2e-3)


def test_a_trend_that_does_not_exist_is_a_constant():
    rng = np.random.default_rng(3)
    means = rng.gamma(2, 100, 400)
    rising = 0.001 * means * rng.gamma(50, 1 / 50, 400)  # falls with 1/mean: no a0 + a1/mean with both > 0
    trend = trend_of_dispersion(means, rising)
    assert trend.kind == "mean"
    assert trend.a0 == pytest.approx(rising.mean(), rel=0.02)
    assert trend.a1 == 0


def test_vst_levels_the_variance():
    """Truth: dispersion .2 at means 20 to 2,000; SD on the vst scale is the same within 15 %."""
    rng = np.random.default_rng(8)
    means = np.repeat([20.0, 200.0, 2000.0], 200)
    counts = rng.negative_binomial(5, 5 / (5 + means[:, None]), (600, 30)).astype(float)
    spread = vst(counts).values.std(axis=1).reshape(3, 200).mean(axis=1)
    assert spread.max() / spread.min() < 1.15


def test_without_batch_equals_limma(bulk, read):
    """removeBatchEffect(E, batch, design); the file holds 12 digits."""
    counts, design, size, sheet = bulk
    y = voom(counts, design, size).E
    found = without_batch(y, sheet["batch"].tolist(), design)
    np.testing.assert_allclose(found, matrix(read("without_batch")), atol=1e-9)
    np.testing.assert_array_equal(without_batch(y, ["one"] * 12), y)


def test_batch_and_visit_aliased_are_not_separable(bulk):
    counts, design, size, sheet = bulk
    y = voom(counts, design, size).E
    with pytest.raises(AssayError, match="not separable") as caught:
        without_batch(y, sheet["visit"].tolist(), design)
    assert caught.value.problems[0].code == "E-STUDY-005"
