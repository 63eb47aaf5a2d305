"""Error rates of what `pd_change` does by default, by simulation with known truth.

A quick version always; `--slow` runs the full one. Bounds are three Monte Carlo standard errors around the
nominal level. The model: one participant intercept, the intraclass correlation allowed below zero,
Kenward-Roger.
"""

from __future__ import annotations

import numpy as np
import pytest

from pdbiomarker.mixed import fit
from pdbiomarker.mixed.glmm import fit_counts

SETS = {False: 4000, True: 40000}


@pytest.fixture
def sets(request: pytest.FixtureRequest) -> int:
    return SETS[bool(request.config.getoption("--slow"))]


def null_sets(rng, n_sets, n_pairs, icc, *, missing=False):
    """Standard normal values of pairs (sets x 2 n), the first visit first, with an intraclass correlation."""
    level = rng.normal(size=(n_sets, n_pairs)) * np.sqrt(icc)
    y = np.concatenate([level, level], axis=1) + rng.normal(size=(n_sets, 2 * n_pairs)) * np.sqrt(1 - icc)
    if missing:
        y[:, 2 * n_pairs - n_pairs // 3 :] = np.nan
    return y


def design(n_pairs):
    X = np.column_stack([np.ones(2 * n_pairs), np.repeat([0.0, 1.0], n_pairs)])
    return X, np.tile(np.arange(n_pairs), 2)


def within(rate, level, n, *, extra=0.0):
    return abs(rate - level) <= 3 * np.sqrt(level * (1 - level) / n) + extra


@pytest.mark.parametrize("missing", [False, True], ids=["balanced", "a third of on-treatment missing"])
@pytest.mark.parametrize("icc", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("n_pairs", [4, 6, 10, 20])
def test_type_one_error_and_coverage(sets, n_pairs, icc, missing):
    """Complete pairs: the paired t-test, exact. With missing visits Kenward-Roger is approximate.

    With 4 and 6 pairs of which a third lost the second visit, 3 and 4 pairs are left; the level holds
    within .015 of .05 and .008 of .01.
    """
    rng = np.random.default_rng([n_pairs, int(10 * icc), missing])
    y = null_sets(rng, sets, n_pairs, icc, missing=missing)
    X, people = design(n_pairs)
    result = fit(y, X, people, contrasts=[[0.0, 1.0]], allow_negative_icc=True)
    p = result.p[:, 0]
    assert np.isfinite(p).mean() > 0.99
    p = p[np.isfinite(p)]
    slack = (0.015, 0.008) if missing else (0.0, 0.0)
    assert within((p < 0.05).mean(), 0.05, sets, extra=slack[0])
    assert within((p < 0.01).mean(), 0.01, sets, extra=slack[1])


@pytest.mark.parametrize(("n_pairs", "icc", "published"), [(6, 0.3, 0.052), (10, 0.0, 0.058)])
def test_plain_kenward_roger_has_its_known_excess(sets, n_pairs, icc, published):
    """Without negative intraclass correlations: .052 and .058 in 200,000 earlier null sets."""
    rng = np.random.default_rng([n_pairs, 99])
    X, people = design(n_pairs)
    p = fit(null_sets(rng, sets, n_pairs, icc), X, people, contrasts=[[0.0, 1.0]]).p[:, 0]
    assert within((p < 0.05).mean(), published, sets)


def test_constant_noise_does_not_turn_into_weights(sets):
    """(i) Within-participant SD .6 (ln), counts near 400, participant SD 1: unweighted logs hold .05."""
    rng = np.random.default_rng(1)
    n = 12
    X, people = design(n)
    level = rng.normal(size=(sets, n))
    mean = np.exp(np.log(400) + np.tile(level, 2) + 0.6 * rng.normal(size=(sets, 2 * n)))
    y = np.log2(rng.poisson(mean) + 0.5)
    p = fit(y, X, people, contrasts=[[0.0, 1.0]], allow_negative_icc=True).p[:, 0]
    assert within((p < 0.05).mean(), 0.05, sets)


def test_a_shrinking_area_is_no_effect():
    """(ii) Area 8 -> 2 mm2 at .3 cells/mm2, SD .7, dispersion .3: 1.0 (log2 of densities: 1.76)."""
    rng = np.random.default_rng(2)
    n, n_sets = 12, 200
    X, people = design(n)
    area = np.repeat([8.0, 2.0], n)
    mean = 0.3 * area * np.exp(0.7 * np.tile(rng.normal(size=(n_sets, n)), 2))
    counts = rng.poisson(mean * rng.gamma(1 / 0.3, 0.3, mean.shape)).astype(float)
    result = fit_counts(counts, X, people, offset=np.log(area), contrasts=[[0.0, 1.0]])
    ratio = np.exp(np.nanmedian(result.estimate[:, 0]))
    assert 0.85 < ratio < 1.15
    naive = np.log2((counts + 0.5) / area)
    assert 2 ** (naive[:, n:] - naive[:, :n]).mean() > 1.4
    p = result.p[:, 0]
    assert np.nanmean(p < 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n_sets) + 0.02


def test_a_late_heterogeneity_does_not_spoil_either_visit(sets):
    """(iii) Three visits, slope SD 1 at the late one: each contrast on its own two visits holds .05."""
    rng = np.random.default_rng(3)
    n = 12
    X, people = design(n)
    level = rng.normal(size=(sets, n))
    screening, early, late = (level + 0.7 * rng.normal(size=(sets, n)) for _ in range(3))
    late = late + rng.normal(size=(sets, n))
    for on in (early, late):
        y = np.concatenate([screening, on], axis=1)
        p = fit(y, X, people, contrasts=[[0.0, 1.0]], allow_negative_icc=True).p[:, 0]
        assert within((p < 0.05).mean(), 0.05, sets)


@pytest.mark.parametrize(("n_pairs", "limit"), [(6, 0.08), (10, 0.065)])
def test_counts_are_tested_by_t(n_pairs, limit):
    """(iv) NB of size 2.5: at most .08 with 6 pairs and .065 with 10 (z: .14 and .08)."""
    rng = np.random.default_rng([n_pairs, 4])
    n_sets = 600
    X, people = design(n_pairs)
    mean = 30 * np.exp(0.6 * np.tile(rng.normal(size=(n_sets, n_pairs)), 2))
    counts = rng.poisson(mean * rng.gamma(2.5, 0.4, mean.shape)).astype(float)
    p = fit_counts(counts, X, people, contrasts=[[0.0, 1.0]]).p[:, 0]
    assert np.nanmean(p < 0.05) <= limit + 3 * np.sqrt(0.05 * 0.95 / n_sets)


@pytest.mark.parametrize(("n_pairs", "n_single"), [(2, 20), (3, 12), (4, 30), (8, 20)])
def test_unpaired_baselines_do_not_spoil_the_level(sets, n_pairs, n_single):
    """Few pairs beside many baselines: at most .065 (with negative correlations .13 for 2 + 20)."""
    rng = np.random.default_rng([n_pairs, n_single])
    n = n_pairs + n_single
    y = null_sets(rng, sets, n, 0.3)[:, : n + n_pairs]
    X, people = design(n)
    X, people = X[: n + n_pairs], people[: n + n_pairs]
    p = fit(y, X, people, contrasts=[[0.0, 1.0]]).p[:, 0]
    assert np.nanmean(p < 0.05) <= 0.065 + 3 * np.sqrt(0.05 * 0.95 / sets)
