"""TMM, CPM and their invariants. Oracle: edgeR 3.40.2 (tests/golden, shared golden/riaz200)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker.expression.library_size import cpm, tmm_factors, voom_log_cpm


@pytest.fixture(scope="module", params=["sim200", "riaz200"])
def reference(request, golden, shared_golden):
    folder = golden / "sim200" if request.param == "sim200" else shared_golden("riaz200")
    counts = pd.read_csv(folder / "counts.csv", index_col=0).to_numpy(float)
    return counts, lambda name: pd.read_csv(folder / f"{name}.csv")


def test_tmm_equals_edger(reference):
    counts, table = reference
    expected = table("edger_norm_factors")
    assert np.array_equal(counts.sum(axis=0), expected["lib.size"])
    np.testing.assert_allclose(tmm_factors(counts), expected["TMM"], rtol=1e-9)


def test_tmm_by_hand():
    """Two libraries, factors from the definition on paper: the two middle ratios decide."""
    counts = np.array([[100.0, 100], [100, 200], [100, 400], [100, 800]])
    size = counts.sum(axis=0)
    # M against library 2 is log2((y1/400) / (y2/1500)); trims of .3 keep ranks 2 and 3 of 4 ratios,
    # trims of .05 keep all abundances.
    m = np.log2((counts[:, 0] / size[0]) / (counts[:, 1] / size[1]))[[1, 2]]
    v = ((size - counts) / size / counts).sum(axis=1)[[1, 2]]
    change = np.sum(m / v) / np.sum(1 / v)
    # of two libraries either may be the reference: the factors are symmetric
    expected = [2 ** (change / 2), 2 ** (-change / 2)]
    np.testing.assert_allclose(tmm_factors(counts), expected, rtol=1e-12)


def test_composition_is_removed():
    """A tenth of the genes rises 20-fold in half of the libraries; the others keep their CPM to 5 %."""
    rng = np.random.default_rng(3)
    mean = rng.lognormal(4, 1, 2000)[:, None] * np.ones(8)
    mean[:200, 4:] *= 20
    counts = rng.poisson(mean)
    size = counts.sum(axis=0) * tmm_factors(counts)
    level = np.median(cpm(counts, size)[200:], axis=0)
    assert np.ptp(np.log2(level)) < 0.07
    assert np.ptp(np.log2(np.median(cpm(counts)[200:], axis=0))) > 1


def test_degenerate_matrices():
    assert tmm_factors(np.zeros((5, 3))).tolist() == [1.0, 1.0, 1.0]
    assert tmm_factors(np.ones((5, 1))).tolist() == [1.0]
    assert tmm_factors([[1, 0], [0, 1]]).tolist() == [1.0, 1.0]
    assert tmm_factors([[3, 6], [5, 10], [0, 0]]).tolist() == [1.0, 1.0]


def matrix(seed: int, genes: int = 60, libraries: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.negative_binomial(2, 0.02, (genes, libraries)).astype(float)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), library=st.integers(0, 4))
def test_doubling_a_library_leaves_unweighted_tmm_cpm(seed, library):
    """To 1e-10, as TRUST asks. Only the unweighted factors can do so: edgeR's weights hold the depth.

    The weights 1/v of edgeR's TMM contain 1/count, so doubling one library changes how its ratios are
    averaged. That is part of the definition which the goldens fix.
    """
    counts = matrix(seed)
    doubled = counts.copy()
    doubled[:, library] *= 2

    def normalised(y, weighted):
        return cpm(y, y.sum(axis=0) * tmm_factors(y, weighted=weighted))

    np.testing.assert_allclose(normalised(doubled, False), normalised(counts, False), rtol=1e-10)
    # every library doubled: all weights double, and cancel
    np.testing.assert_allclose(normalised(2 * counts, True), normalised(counts, True), rtol=1e-10)


def test_doubling_a_library_moves_weighted_tmm_only_a_little(golden):
    """How much, on simulated data: 1.03 % of CPM at most over 88 libraries doubled in turn."""
    counts = pd.read_csv(golden / "sim200" / "counts.csv", index_col=0).to_numpy(float)
    before = cpm(counts, counts.sum(axis=0) * tmm_factors(counts))
    worst = 0.0
    for k in range(0, counts.shape[1], 8):
        doubled = counts.copy()
        doubled[:, k] *= 2
        after = cpm(doubled, doubled.sum(axis=0) * tmm_factors(doubled))
        positive = before > 0
        worst = max(worst, float(np.abs(after[positive] / before[positive] - 1).max()))
    assert 0 < worst < 0.02


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_orders_do_not_matter(seed):
    counts = matrix(seed)
    rng = np.random.default_rng(seed)
    genes, libraries = rng.permutation(60), rng.permutation(5)
    factors = tmm_factors(counts)
    np.testing.assert_allclose(tmm_factors(counts[genes]), factors, rtol=1e-12)
    np.testing.assert_allclose(tmm_factors(counts[:, libraries]), factors[libraries], rtol=1e-12)
    assert abs(np.log(factors).sum()) < 1e-12


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_an_uncounted_gene_changes_nothing(seed):
    counts = matrix(seed)
    more = np.vstack([counts, np.zeros((3, 5))])
    assert np.array_equal(tmm_factors(more), tmm_factors(counts))


def test_cpm_by_hand():
    counts = np.array([[0.0, 10], [100, 190]])
    size = np.array([100.0, 200])
    assert np.allclose(voom_log_cpm(counts), np.log2((counts + 0.5) / (size + 1) * 1e6), rtol=1e-15)
    assert cpm(counts)[1].tolist() == [1e6, 950000.0]
