"""Influence and bootstrap against brute force, the dense model, scipy.stats.bootstrap, and their coverage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pdbiomarker.errors import AssayError
from pdbiomarker.mixed import MixedFit, fit, resample
from pdbiomarker.mixed.resample import (
    leave_one_out,
    leave_one_out_changes,
    participant_bootstrap,
    refit_bootstrap,
)

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
CHANGE = np.array([[0.0, 1.0]])


class Means(NamedTuple):
    estimate: Array
    p: Array


class Trial(NamedTuple):
    y: Array
    X: Array
    participants: list[str]

    def refit(self, rows: Indices, groups: Indices) -> MixedFit:
        return fit(self.y[:, rows], self.X[rows], groups, contrasts=CHANGE)


@pytest.fixture(scope="module")
def trial() -> Trial:
    """Eight participants, three features, two missing biopsies."""
    rng = np.random.default_rng(4)
    labels = [f"P{i:02d}" for i in range(8) for _ in range(2)]
    on = np.tile([0.0, 1.0], 8)
    y = rng.normal(size=(3, 8)).repeat(2, axis=1) + 0.8 * on + 0.7 * rng.normal(size=(3, 16))
    keep = np.array([i not in (3, 8) for i in range(16)])
    X = np.column_stack([np.ones(16), on])
    return Trial(y[:, keep], X[keep], [x for x, k in zip(labels, keep, strict=True) if k])


def test_leave_one_out_is_brute_force(trial: Trial, dense: Callable[..., Any]) -> None:
    """The dense model, one feature at a time: estimates 1e-7, p 1e-5 relative."""
    found = leave_one_out(trial.refit, trial.participants)
    assert found.participants == tuple(f"P{i:02d}" for i in range(8))
    assert found.estimate.shape == found.p.shape == (3, 1, 8)
    labels = np.array(trial.participants)
    for g in range(3):
        for i, name in enumerate(found.participants):
            kept = labels != name
            one = dense(trial.y[g, kept], trial.X[kept], labels[kept].tolist(), contrasts=CHANGE)
            assert found.estimate[g, 0, i] == pytest.approx(one.estimate[0], rel=1e-7)
            assert found.p[g, 0, i] == pytest.approx(one.p[0], rel=1e-5)
    everybody = fit(trial.y, trial.X, trial.participants, contrasts=CHANGE)
    np.testing.assert_allclose(found.full_p, everybody.p, rtol=1e-12)
    np.testing.assert_allclose(found.shift, found.estimate - everybody.estimate[:, :, None], rtol=1e-9)


def test_order_of_rows_does_not_matter(trial: Trial) -> None:
    order = np.random.default_rng(1).permutation(len(trial.participants))
    shuffled = Trial(trial.y[:, order], trial.X[order], [trial.participants[i] for i in order])
    found, expected = (leave_one_out(one.refit, one.participants) for one in (shuffled, trial))
    assert found.participants == expected.participants
    np.testing.assert_allclose(found.p, expected.p, rtol=1e-8)
    found, expected = (refit_bootstrap(one.refit, one.participants, draws=20) for one in (shuffled, trial))
    np.testing.assert_allclose(found.lower, expected.lower, rtol=1e-8)


def test_complete_pairs_are_paired_t_tests() -> None:
    """Compound symmetry: the mixed model without each participant is the t-test without that pair."""
    rng = np.random.default_rng(6)
    base, change = rng.normal(size=(4, 9)), rng.normal(0.5, 1, size=(4, 9))
    y = np.stack([base, base + change], axis=2).reshape(4, 18)
    X = np.column_stack([np.ones(18), np.tile([0.0, 1.0], 9)])

    def refit(rows: Indices, groups: Indices) -> MixedFit:
        return fit(y[:, rows], X[rows], groups, contrasts=CHANGE, allow_negative_icc=True)

    model = leave_one_out(refit, [f"P{i}" for i in range(9) for _ in range(2)])
    plain = leave_one_out_changes(change)
    np.testing.assert_allclose(model.estimate[:, 0], plain.estimate, rtol=1e-9)
    np.testing.assert_allclose(model.p[:, 0], plain.p, rtol=1e-7)
    for i in range(9):
        test = stats.ttest_1samp(np.delete(change, i, axis=1), 0.0, axis=1)
        np.testing.assert_allclose(plain.p[:, i], test.pvalue, rtol=1e-11)
    np.testing.assert_allclose(plain.full_p, stats.ttest_1samp(change, 0.0, axis=1).pvalue, rtol=1e-11)


def test_who_changes_sign_and_call() -> None:
    """One outlier hides a decrease in the first feature; a participant without a pair moves nothing."""
    changes = [
        [-0.5, -0.3, -0.4, 9.0],
        [1.0, 1.1, 1.4, 0.8],
        [np.nan, np.nan, 0.3, 0.5],
        [2.0, 2.0, 2.0, np.nan],
    ]
    found = leave_one_out_changes(changes, ["A", "B", "C", "D"])
    assert found.changes_sign.tolist()[0] == [False, False, False, True]
    assert not found.changes_sign[1:].any()
    assert found.most_influential.tolist() == [3, 2, 2, 0]
    assert found.full_p[0] > 0.05
    assert found.changes_call.tolist()[0] == [False, False, False, True]  # .02 without D
    assert found.lost.tolist() == [[False] * 4, [False] * 4, [False, False, True, True], [False] * 4]
    np.testing.assert_array_equal(found.estimate[2, :2], found.full_estimate[2])
    assert np.isnan(found.full_p[3])  # equal changes: no test
    np.testing.assert_array_equal(found.estimate[3], 2.0)


def test_sleep_without_each() -> None:
    """R: t.test(extra ~ group, paired): p .0028328901; participant 9 moves the mean most (1.58 to 1.2444)."""
    found = leave_one_out_changes(SLEEP)
    assert found.full_p[0] == pytest.approx(0.0028328901, abs=1e-10)
    assert found.most_influential[0] == 8
    assert found.estimate[0, 8] == pytest.approx(11.2 / 9, rel=1e-13)


def test_contrast_that_hangs_on_one_participant_is_lost() -> None:
    """P0 alone has the second visit: without P0 the contrast cannot be estimated."""
    y = np.array([[1.0, 2.0, 1.5, 1.2, 1.1, 1.4, 0.8]])
    X = np.array([[1.0, 0], [1, 1], [1, 0], [1, 0], [1, 0], [1, 0], [1, 0]])
    one = Trial(y, X, ["P0", "P0", "P1", "P1", "P2", "P2", "P3"])
    found = leave_one_out(one.refit, one.participants)
    assert found.lost[0, 0].tolist() == [True, False, False, False]
    assert np.isnan(found.estimate[0, 0, 0])
    assert found.most_influential[0, 0] >= 1
    boot = refit_bootstrap(one.refit, one.participants, draws=40)
    assert 0 < boot.n_failed[0, 0] < 40
    assert boot.status[0, 0] == "ok"
    assert (
        refit_bootstrap(one.refit, one.participants, draws=40, method="bca").status[0, 0] == "no_correction"
    )


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("pairs", [5, 9, 24])
def test_bootstrap_is_scipys(method: Any, pairs: int) -> None:
    """scipy.stats.bootstrap with the same resamples: 1e-10 (whole numbers, so that ties are the same)."""
    rng = np.random.default_rng(pairs)
    changes = np.floor(rng.gamma(2.0, 20.0, size=(6, pairs)) - 20)
    found = participant_bootstrap(changes, draws=1_500, seed=3, method=method, level=0.9)
    for g, d in enumerate(changes):
        theirs = stats.bootstrap(
            (np.sort(d),),
            np.mean,
            n_resamples=1_500,
            confidence_level=0.9,
            method=method if method == "percentile" else "BCa",
            rng=np.random.default_rng([3, pairs]),
        )
        limits = theirs.confidence_interval
        assert (found.lower[g], found.upper[g]) == pytest.approx((limits.low, limits.high), rel=1e-10)
        assert found.se[g] == pytest.approx(theirs.standard_error, rel=1e-10)
    assert (found.note != "").all() == (pairs < 20)
    assert (found.status == "ok").all()


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_refits_and_changes_agree(method: Any) -> None:
    """A refit that takes means, labels in the order of the changes: the same resamples, the same limits."""
    changes = np.sort(np.random.default_rng(12).normal(1, 2, size=(1, 8)))

    def refit(rows: Indices, groups: Indices) -> Means:
        assert len(np.unique(groups)) == len(rows) == len(groups)
        return Means(changes[:, rows].mean(axis=1), np.ones(1))

    expected = participant_bootstrap(changes, draws=300, method=method)
    found = refit_bootstrap(refit, [f"P{i}" for i in range(8)], draws=300, method=method)
    for name in ("estimate", "lower", "upper", "se", "n_participants", "n_failed"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-10, err_msg=name)
    assert found.note[0] == resample.CAUTION


def test_bootstrap_of_the_mixed_model(trial: Trial) -> None:
    """Against a loop that copies the rows of each drawn participant under a new name."""
    found = refit_bootstrap(trial.refit, trial.participants, draws=25, seed=7)
    assert found.lower.shape == found.status.shape == (3, 1)
    labels = np.array(trial.participants)
    estimates = []
    for drawn in np.random.default_rng([7, 8]).integers(0, 8, size=(25, 8)):
        rows = [r for i in drawn for r in np.flatnonzero(labels == f"P{i:02d}")]
        names = [f"{j}" for j, i in enumerate(drawn) for _ in np.flatnonzero(labels == f"P{i:02d}")]
        estimates.append(fit(trial.y[:, rows], trial.X[rows], names, contrasts=CHANGE).estimate[:, 0])
    limits = np.nanquantile(estimates, [0.025, 0.975], axis=0)
    np.testing.assert_allclose([found.lower[:, 0], found.upper[:, 0]], limits, rtol=1e-9)


def test_company_order_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    changes = rng.normal(size=(7, 9))
    changes[::2, :3] = np.nan
    expected = participant_bootstrap(changes, draws=400, method="bca")
    monkeypatch.setattr(resample, "BLOCK_DOUBLES", 800)
    shuffled = participant_bootstrap(changes[::-1][:, rng.permutation(9)], draws=400, method="bca")
    alone = participant_bootstrap(changes[3], draws=400, method="bca")
    np.testing.assert_allclose(shuffled.lower[::-1], expected.lower, rtol=1e-12)
    np.testing.assert_allclose(alone.upper, expected.upper[3:4], rtol=1e-12)
    assert expected.n_participants.tolist() == [6, 9, 6, 9, 6, 9, 6]
    other = participant_bootstrap(changes, draws=400, method="bca", seed=2)
    assert (other.lower != expected.lower).all()


def test_what_has_no_interval() -> None:
    changes = [[np.nan, np.nan, 3.0], [np.nan] * 3, [2.0, 2.0, 2.0], [0.1, 0.1, np.nan], [1.0, 2.0, 4.0]]
    for method in ("percentile", "bca"):
        found = participant_bootstrap(changes, draws=200, method=method)  # type: ignore[arg-type]
        assert found.status.tolist() == ["too_few", "too_few", "constant", "constant", "ok"]
        assert np.isnan(found.lower[:4]).all()
        assert found.estimate[0] == 3.0
        assert np.isnan(found.estimate[1])
        assert found.lower[4] < found.estimate[4] < found.upper[4]


@pytest.mark.parametrize(("pairs", "covers"), [(6, 0.86), (8, 0.88), (20, 0.93)])
def test_coverage_is_what_the_note_says(pairs: int, covers: float) -> None:
    """Normal changes, nominal .95: .85-.89 with 6-8 pairs; 3,000 sets, 4 Monte-Carlo SE."""
    changes = np.random.default_rng(100 + pairs).normal(size=(3_000, pairs))
    for method in ("percentile", "bca"):
        found = participant_bootstrap(changes, draws=1_000, method=method)  # type: ignore[arg-type]
        rate = float(np.mean((found.lower <= 0) & (found.upper >= 0)))
        assert abs(rate - covers) < 4 * np.sqrt(covers * (1 - covers) / 3_000)


def test_bad_input_is_refused(trial: Trial) -> None:
    def refuses(code: str, call: Callable[[], object]) -> None:
        with pytest.raises(AssayError, match=code):
            call()

    refuses("E-MODEL-002", lambda: participant_bootstrap([np.inf, 1.0]))
    for option in ({"draws": 1}, {"seed": -1}, {"method": "basic"}, {"level": 1.0}):
        refuses("E-MODEL-030", lambda option=option: participant_bootstrap(SLEEP, **option))
        refuses(
            "E-MODEL-030", lambda option=option: refit_bootstrap(trial.refit, trial.participants, **option)
        )
    refuses("E-MODEL-030", lambda: leave_one_out(trial.refit, trial.participants, level=0.0))
    refuses("E-MODEL-030", lambda: leave_one_out(trial.refit, ["A"] * 14))
    refuses("E-MODEL-004", lambda: leave_one_out(trial.refit, [None, *trial.participants[1:]]))
    refuses("E-MODEL-004", lambda: leave_one_out(trial.refit, [np.nan, *trial.participants[1:]]))
    refuses("E-MODEL-001.*give one label for each column", lambda: leave_one_out_changes(SLEEP, ["A", "B"]))

    def uneven(rows: Indices, groups: Indices) -> Means:
        return Means(np.zeros(len(rows)), np.ones(len(rows)))

    refuses("E-MODEL-001", lambda: leave_one_out(uneven, trial.participants))
    refuses("E-MODEL-001", lambda: refit_bootstrap(uneven, trial.participants, draws=50))
