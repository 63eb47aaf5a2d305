"""The participant bootstrap against scipy.stats.bootstrap, and its coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from pdbiomarker.errors import AssayError
from pdbiomarker.mixed import bootstrap
from pdbiomarker.mixed.bootstrap import participant_bootstrap

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]


@pytest.mark.parametrize("pairs", [5, 9, 24])
def test_bootstrap_is_scipys(pairs: int) -> None:
    """scipy.stats.bootstrap with the same resamples: 1e-10 (whole numbers, so that ties are the same)."""
    rng = np.random.default_rng(pairs)
    changes = np.floor(rng.gamma(2.0, 20.0, size=(6, pairs)) - 20)
    found = participant_bootstrap(changes, draws=1_500, seed=3, level=0.9)
    for g, d in enumerate(changes):
        theirs = stats.bootstrap(
            (np.sort(d),),
            np.mean,
            n_resamples=1_500,
            confidence_level=0.9,
            method="percentile",
            rng=np.random.default_rng([3, pairs]),
        )
        limits = theirs.confidence_interval
        assert (found.lower[g], found.upper[g]) == pytest.approx((limits.low, limits.high), rel=1e-10)
        assert found.estimate[g] == pytest.approx(d.mean(), rel=1e-14)
    assert (found.note == (bootstrap.CAUTION if pairs < 20 else "")).all()
    assert (found.status == "ok").all()


def test_company_order_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    changes = rng.normal(size=(7, 9))
    changes[::2, :3] = np.nan
    expected = participant_bootstrap(changes, draws=400)
    monkeypatch.setattr(bootstrap, "BLOCK_DOUBLES", 800)
    shuffled = participant_bootstrap(changes[::-1][:, rng.permutation(9)], draws=400)
    alone = participant_bootstrap(changes[3], draws=400)
    np.testing.assert_allclose(shuffled.lower[::-1], expected.lower, rtol=1e-12)
    np.testing.assert_allclose(alone.upper, expected.upper[3:4], rtol=1e-12)
    assert expected.n_participants.tolist() == [6, 9, 6, 9, 6, 9, 6]
    other = participant_bootstrap(changes, draws=400, seed=2)
    assert (other.lower != expected.lower).all()


def test_what_has_no_interval() -> None:
    changes = [[np.nan, np.nan, 3.0], [np.nan] * 3, [2.0, 2.0, 2.0], [0.1, 0.1, np.nan], [1.0, 2.0, 4.0]]
    found = participant_bootstrap(changes, draws=200)
    assert found.status.tolist() == ["too_few", "too_few", "constant", "constant", "ok"]
    assert np.isnan(found.lower[:4]).all()
    assert np.isnan(found.upper[:4]).all()
    assert found.estimate[0] == 3.0
    assert np.isnan(found.estimate[1])
    assert found.lower[4] < found.estimate[4] < found.upper[4]


@pytest.mark.parametrize(("pairs", "covers"), [(6, 0.86), (8, 0.88), (20, 0.93)])
def test_coverage_is_what_the_note_says(pairs: int, covers: float) -> None:
    """Normal changes, nominal .95: .85-.89 with 6-8 pairs; 3,000 sets, 4 Monte-Carlo SE."""
    changes = np.random.default_rng(100 + pairs).normal(size=(3_000, pairs))
    found = participant_bootstrap(changes, draws=1_000)
    rate = float(np.mean((found.lower <= 0) & (found.upper >= 0)))
    assert abs(rate - covers) < 4 * np.sqrt(covers * (1 - covers) / 3_000)


@pytest.mark.parametrize("option", [{"draws": 1}, {"seed": -1}, {"level": 1.0}, {"level": 0.0}])
def test_bad_options_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(AssayError, match="E-MODEL-030"):
        participant_bootstrap(SLEEP, **option)


def test_an_infinite_change_is_refused() -> None:
    with pytest.raises(AssayError, match="E-MODEL-002"):
        participant_bootstrap([np.inf, 1.0])
