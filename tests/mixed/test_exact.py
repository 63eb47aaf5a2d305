"""Exact tests against full enumeration, scipy and R (`tests/golden/exact/make_exact.R`); calibration."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from pdbiomarker.errors import AssayError
from pdbiomarker.mixed import exact
from pdbiomarker.mixed.exact import Alternative, ExactTest, ZeroRule, sign_flip_test, signed_rank_test

Array = NDArray[np.float64]
SLEEP = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]) - np.array(
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
)
ALTERNATIVES: tuple[Alternative, ...] = ("two-sided", "greater", "less")
RULES: tuple[ZeroRule, ...] = ("wilcox", "pratt")


def _share(values: Array, seen: float, centre: float, alternative: str) -> float:
    """Share of the enumerated values at least as extreme as the one seen."""
    slack = 1e-9 * max(1.0, float(np.abs(values).max()))
    extreme = {
        "two-sided": np.abs(values - centre) >= abs(seen - centre) - slack,
        "greater": values >= seen - slack,
        "less": values <= seen + slack,
    }[alternative]
    return float(extreme.mean())


def _flipped(d: Array, alternative: str) -> float:
    """p by listing all signs, one after the other."""
    d = d[~np.isnan(d)]
    sums = np.array([np.dot(s, np.abs(d)) for s in itertools.product([-1.0, 1.0], repeat=len(d))])
    return _share(sums, float(d.sum()), 0.0, alternative)


def _ranked(d: Array, zeros: str, alternative: str) -> tuple[float, float]:
    """W+ and its p by listing all signs; ranks by scipy on rounded sizes."""
    d = np.round(d[~np.isnan(d)], 9)
    if zeros == "wilcox":
        d = d[d != 0]
    ranks = stats.rankdata(np.abs(d))[d != 0] if len(d) else d
    d = d[d != 0]
    sums = np.array([np.dot(s, ranks) for s in itertools.product([0.0, 1.0], repeat=len(d))])
    seen = float(ranks[d > 0].sum())
    return seen, _share(sums, seen, float(ranks.sum()) / 2, alternative)


@pytest.fixture(scope="module")
def awkward() -> Array:
    """Ties, zeros, gaps, float noise: 40 features of 2 to 9 pairs."""
    rng = np.random.default_rng(11)
    changes = np.round(rng.normal(0.3, 1.0, size=(40, 9)) * 3) / 10
    changes[20:] += rng.choice([0.1 + 0.2 - 0.3, 0.0], size=(20, 9))
    for row in changes[::2]:
        row[rng.permutation(9)[: rng.integers(0, 8)]] = np.nan
    return changes


def test_sleep() -> None:
    """Exact p of .0039 by both tests; approximation .00909 (R's zero rule), .00680 (Pratt)."""
    assert sign_flip_test(SLEEP).p[0] == signed_rank_test(SLEEP).p[0] == 2 / 2**9
    assert signed_rank_test(SLEEP).statistic[0] == 45
    assert sign_flip_test(SLEEP).statistic[0] == pytest.approx(1.58, rel=1e-14)
    normal = [signed_rank_test(SLEEP, zeros=rule, max_exact=0).p[0] for rule in RULES]
    assert normal == pytest.approx([0.009090698015925044, 0.006801553132897053], rel=1e-12)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_sign_flip_is_full_enumeration(awkward: Array, alternative: Alternative) -> None:
    """Counts of 2^n signs are whole: p is the same number."""
    found = sign_flip_test(awkward, alternative=alternative)
    assert found.p.tolist() == [_flipped(d, alternative) for d in awkward]
    assert set(found.method.tolist()) == {"exact"}


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("zeros", RULES)
def test_signed_rank_is_full_enumeration(awkward: Array, zeros: ZeroRule, alternative: Alternative) -> None:
    found = signed_rank_test(awkward, zeros=zeros, alternative=alternative)
    expected = [_ranked(d, zeros, alternative) for d in awkward]
    assert found.statistic.tolist() == [one[0] for one in expected]
    assert found.p.tolist() == [one[1] for one in expected]


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_against_scipy(alternative: Alternative) -> None:
    """Continuous changes: permutation_test lists all signs of 11 pairs; wilcoxon is exact with 30."""
    rng = np.random.default_rng(5)
    few, more = rng.normal(0.4, 1, size=(4, 11)), rng.normal(0.2, 1, size=(20, 30))
    flips = [
        stats.permutation_test(
            (d,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative=alternative
        ).pvalue
        for d in few
    ]
    np.testing.assert_allclose(sign_flip_test(few, alternative=alternative).p, flips, rtol=1e-13)
    ranks = [stats.wilcoxon(d, method="exact", alternative=alternative).pvalue for d in more]
    np.testing.assert_allclose(signed_rank_test(more, alternative=alternative).p, ranks, rtol=1e-11)


def test_twenty_pairs_by_listing_all_signs() -> None:
    d = np.random.default_rng(8).normal(0.3, 1, size=20)
    signs = 1.0 - 2.0 * ((np.arange(2**19)[:, None] >> np.arange(20)) & 1)  # the last sign stays +
    count = int((np.abs(signs @ np.abs(d)) >= abs(d.sum()) - 1e-12).sum())
    assert sign_flip_test(d).p[0] == count / 2**19


@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_signed_rank_is_r(golden: Path, alternative: Alternative, correct: bool) -> None:
    """R 4.2.2 wilcox.test, 15 digits: V and exact p to 1e-13, normal approximation to 1e-12."""
    cases = pd.read_csv(golden / "exact" / "signed_rank_cases.csv").groupby("case")["change"].apply(np.array)
    table = pd.read_csv(golden / "exact" / "signed_rank_results.csv")
    table = table[(table["alternative"] == alternative) & (table["correct"] == correct)]
    assert len(table) == 12
    for row in table.itertuples():
        options = {"alternative": alternative, "correct": correct}
        normal = signed_rank_test(cases[row.case], max_exact=0, **options)
        assert normal.statistic[0] == row.V
        assert normal.p[0] == pytest.approx(row.normal, rel=1e-12)
        found = signed_rank_test(cases[row.case], **options)
        if not np.isnan(row.exact):
            assert found.p[0] == pytest.approx(row.exact, rel=1e-13)
        if row.case == "sixty":
            assert found.method[0] == "normal"


def test_sampled_signs_are_near_the_exact_p() -> None:
    """Within 4 standard errors of 100,000 draws; the counting is (1 + b) / (draws + 1)."""
    changes = np.random.default_rng(2).normal(0.3, 1, size=(6, 14))
    for alternative in ALTERNATIVES:
        p = sign_flip_test(changes, alternative=alternative).p
        sampled = sign_flip_test(changes, alternative=alternative, max_exact=13)
        assert set(sampled.method.tolist()) == {"monte-carlo"}
        assert (np.abs(sampled.p - p) < 4 * np.sqrt(p * (1 - p) / 1e5) + 1e-5).all()
    strong = sign_flip_test(np.full(30, 2.0) + np.arange(30), draws=999)
    assert strong.p[0] == strong.smallest_p[0] == 1 / 1000
    again = sign_flip_test(changes, max_exact=13, seed=2)
    assert not np.array_equal(again.p, sign_flip_test(changes, max_exact=13).p)
    assert np.array_equal(again.p, sign_flip_test(changes, max_exact=13, seed=2).p)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch, awkward: Array) -> None:
    expected = sign_flip_test(awkward).p, sign_flip_test(awkward, max_exact=0, draws=5_000).p
    monkeypatch.setattr(exact, "BLOCK_DOUBLES", 7)
    found = sign_flip_test(awkward).p, sign_flip_test(awkward, max_exact=0, draws=5_000).p
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("pairs", "smallest"), [(4, 0.125), (5, 0.0625), (6, 0.03125), (20, 2 / 2**20)])
def test_smallest_attainable_p(pairs: int, smallest: float) -> None:
    """.125 with 4 pairs, .0625 with 5, .031 with 6."""
    up = np.arange(1.0, pairs + 1)
    for test in (sign_flip_test, signed_rank_test):
        found = test(up)
        assert found.p[0] == found.smallest_p[0] == smallest
        assert test(up, alternative="greater").p[0] == smallest / 2
        assert test(up, alternative="less").smallest_p[0] == smallest / 2
    for alternative in ALTERNATIVES:
        normal = signed_rank_test(-up if alternative == "less" else up, max_exact=0, alternative=alternative)
        assert normal.p[0] == normal.smallest_p[0]


def test_zero_changes_and_missing_pairs() -> None:
    changes = [[0.0, 0.0, 0.0], [np.nan, np.nan, 1.0], [np.nan] * 3, [0.0, 1.0, 1.0]]
    for found in (sign_flip_test(changes), signed_rank_test(changes), signed_rank_test(changes, max_exact=0)):
        assert found.status.tolist() == ["no_change", "too_few", "too_few", "ok"]
        assert found.n_pairs.tolist() == [3, 1, 0, 3]
        assert found.n_changed.tolist() == [0, 1, 0, 2]
        assert found.method[1] == "none"
        assert np.isnan(found.p[1:3]).all()
        assert found.p[0] == found.smallest_p[0] == 1.0
    assert sign_flip_test(np.empty((0, 4))).p.shape == (0,)
    assert signed_rank_test(np.empty((2, 0))).status.tolist() == ["too_few"] * 2


@pytest.mark.parametrize("test", [sign_flip_test, signed_rank_test])
def test_float_noise_is_no_difference(test: Callable[..., ExactTest]) -> None:
    """0.1 + 0.2 and 0.3 are tied, 0.1 + 0.2 - 0.3 is no change."""
    noisy = test([0.1 + 0.2, -0.3, 0.6, 0.1 + 0.2 - 0.3, 0.9])
    clean = test([3.0, -3.0, 6.0, 0.0, 9.0])
    assert (noisy.p[0], noisy.n_changed[0]) == (clean.p[0], clean.n_changed[0])


def test_a_change_just_above_zero_is_not_tied_with_zero() -> None:
    """Sizes up to 1e-10 of the largest are zero; one of 1.5e-10 is not, and has rank 2 after the zero."""
    found = signed_rank_test([-0.9e-10, 1.5e-10, 1.0], zeros="pratt")
    assert (found.statistic[0], found.n_changed[0]) == (2 + 3, 2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 0.25, 3.0, 1e9]))
def test_order_units_and_company_do_not_matter(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    changes = np.round(rng.normal(0.3, 1, size=(5, 8)), 1)
    changes[rng.uniform(size=changes.shape) < 0.2] = np.nan
    shuffled = scale * changes[::-1][:, rng.permutation(8)]
    tests: list[Callable[[Array], ExactTest]] = [
        sign_flip_test,
        lambda d: sign_flip_test(d, max_exact=0, draws=500),
        signed_rank_test,
        lambda d: signed_rank_test(d, zeros="pratt"),
        lambda d: signed_rank_test(d, max_exact=0),
    ]
    for test in tests:
        p = test(changes).p
        np.testing.assert_allclose(test(shuffled).p[::-1], p, rtol=1e-12)
        np.testing.assert_allclose(np.concatenate([test(d).p for d in changes]), p, rtol=0)
        np.testing.assert_allclose(test(-changes).p, p, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"changes": [1.0, np.inf]}, "E-MODEL-002"),
        ({"changes": ["a", "b"]}, "E-MODEL-002"),
        ({"changes": np.zeros((1, 2, 3))}, "E-MODEL-001"),
        ({"alternative": "bigger"}, "E-MODEL-030"),
        ({"max_exact": 41}, "E-MODEL-030"),
        ({"draws": 0}, "E-MODEL-030"),
        ({"seed": -1}, "E-MODEL-030"),
    ],
)
def test_bad_input_is_refused(options: dict[str, object], code: str) -> None:
    with pytest.raises(AssayError, match=code):
        sign_flip_test(**{"changes": [1.0, 2.0], **options})  # type: ignore[arg-type]


def test_every_wrong_option_is_told_at_once() -> None:
    with pytest.raises(AssayError) as caught:
        signed_rank_test([np.inf, 1.0], zeros="drop", alternative="up", max_exact=-1)  # type: ignore[arg-type]
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("pairs", [6, 10])
def test_type_one_error(pairs: int) -> None:
    """Symmetric changes of unequal spread: at most nominal, and what the lattice of p says, within 4 SE."""
    sets = 6_000
    rng = np.random.default_rng(20 + pairs)
    changes = rng.standard_t(4, size=(sets, pairs)) * np.linspace(0.5, 2.0, pairs)
    for found in (sign_flip_test(changes), signed_rank_test(changes)):
        for level in (0.05, 0.01):
            assert float((found.p <= level).mean()) <= level + 4 * np.sqrt(level / sets)
    # Without ties sign-flip p are uniform on the multiples of 2 / 2^n.
    attained = np.floor(0.05 * 2 ** (pairs - 1)) / 2 ** (pairs - 1)
    rate = float((sign_flip_test(changes).p <= 0.05).mean())
    assert abs(rate - attained) < 4 * np.sqrt(attained / sets)


def test_sampled_signs_keep_the_level() -> None:
    """25 pairs, 99 sampled signs, drawn anew for each of 40 x 100 sets: nominal within 4 SE."""
    changes = np.random.default_rng(33).normal(size=(40, 100, 25))
    # All features of a call share their signs, hence the many seeds and the SE over them.
    rates = [
        float((sign_flip_test(block, draws=99, seed=i).p <= 0.05).mean()) for i, block in enumerate(changes)
    ]
    assert abs(np.mean(rates) - 0.05) < 4 * np.std(rates) / np.sqrt(len(rates))
