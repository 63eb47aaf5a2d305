"""`fit`: what must not change a result, features that cannot be fitted, input that is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pdbiomarker.mixed
from pdbiomarker.errors import AssayError, FormulaError, InputError
from pdbiomarker.mixed import MixedFit, fit, model

NUMBERS = ("estimate", "se", "df", "t", "p")
METHODS = ["kenward-roger", "satterthwaite", "residual"]


class Trial:
    """Eight participants, three visits with gaps, five features, some values missing."""

    def __init__(self, seed: int = 11, *, weighted: bool = True) -> None:
        rng = np.random.default_rng(seed)
        self.participant = np.repeat(np.arange(8), 3)
        visit = np.tile(np.arange(3), 8)
        keep = (visit < 2) | (rng.random(24) < 0.5)
        self.participant, visit = self.participant[keep], visit[keep]
        n = len(visit)
        dose = np.linspace(-1, 1, 8)[self.participant]
        self.X = np.column_stack([np.ones(n), visit == 1, visit == 2, dose, dose * (visit == 1)]).astype(
            float
        )
        self.Y = 5 + rng.normal(size=(5, 8))[:, self.participant] + rng.normal(size=(5, n))
        self.Y[1, 4] = self.Y[2, 0] = self.Y[2, 9] = np.nan
        self.W = rng.lognormal(0, 0.5, size=self.Y.shape) if weighted else None

    def fit(self, **changes: Any) -> MixedFit:
        parts = {"Y": self.Y, "X": self.X, "groups": self.participant, "weights": self.W} | changes
        return fit(parts.pop("Y"), parts.pop("X"), parts.pop("groups"), **parts)


def _same(one: MixedFit, other: MixedFit, names: tuple[str, ...] = NUMBERS, rtol: float = 1e-9) -> None:
    for name in names:
        np.testing.assert_allclose(
            getattr(other, name), getattr(one, name), rtol=rtol, atol=1e-12, err_msg=name
        )
    np.testing.assert_array_equal(one.status, other.status)


@pytest.mark.parametrize("ddf", METHODS)
def test_order_of_observations_does_not_matter(ddf: str) -> None:
    trial = Trial()
    order = np.random.default_rng(1).permutation(len(trial.X))
    shuffled = trial.fit(
        Y=trial.Y[:, order],
        X=trial.X[order],
        groups=trial.participant[order],
        weights=trial.W[:, order],
        ddf=ddf,
    )
    _same(trial.fit(ddf=ddf), shuffled, (*NUMBERS, "loglik", "theta", "sigma2"))


def test_labels_do_not_matter() -> None:
    trial = Trial()
    names = np.array(["007", "1E5", "NA", "TRUE", "x y", "", "ß", "7"])[trial.participant]
    plain = trial.fit()
    for groups in (
        names,
        list(names),
        pd.Series(names, index=names),
        {"participant": names},
        trial.participant * -3.5,
    ):
        _same(plain, trial.fit(groups=groups), rtol=0)
    assert trial.fit(groups={"participant": names}).terms == ("participant",)


@given(
    exponent=st.integers(-8, 8),
    shift=st.floats(-1e4, 1e4),
    sign=st.sampled_from([-1.0, 1.0]),
)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_unit_and_origin_of_the_response_do_not_matter(exponent: int, shift: float, sign: float) -> None:
    trial, scale = Trial(), sign * 10.0**exponent
    plain, changed = trial.fit(), trial.fit(Y=(trial.Y + shift) * scale)
    visits = slice(1, None)
    np.testing.assert_allclose(
        changed.estimate[:, visits], plain.estimate[:, visits] * scale, rtol=1e-7, atol=1e-9 * abs(scale)
    )
    np.testing.assert_allclose(changed.se, plain.se * abs(scale), rtol=1e-7)
    np.testing.assert_allclose(changed.df, plain.df, rtol=1e-6)
    np.testing.assert_allclose(changed.p[:, visits], plain.p[:, visits], rtol=1e-5)
    np.testing.assert_array_equal(changed.status, plain.status)


def test_units_of_the_design_do_not_matter() -> None:
    trial = Trial()
    units = np.array([1e-3, 1.0, 1e6, 1e-8, 1e8])
    plain, changed = trial.fit(), trial.fit(X=trial.X * units)
    _same(plain, changed, ("df", "t", "p"), rtol=1e-8)
    np.testing.assert_allclose(changed.estimate * units, plain.estimate, rtol=1e-9)


def test_scale_of_the_weights_moves_sigma2_and_theta_only() -> None:
    trial = Trial()
    plain, changed = trial.fit(), trial.fit(weights=trial.W * 1e-5)
    _same(plain, changed, (*NUMBERS, "loglik"))
    np.testing.assert_allclose(changed.sigma2, plain.sigma2 * 1e-5, rtol=1e-9)
    np.testing.assert_allclose(
        changed.theta * changed.sigma2[:, None], plain.theta * plain.sigma2[:, None], rtol=1e-8
    )


def test_swapping_the_visits_turns_the_sign() -> None:
    trial = Trial(weighted=False)
    first_two = trial.X[:, 2] == 0
    X = trial.X[first_two][:, :2]
    swapped = np.column_stack([X[:, 0], 1 - X[:, 1]])
    one, other = (fit(trial.Y[:, first_two], design, trial.participant[first_two]) for design in (X, swapped))
    np.testing.assert_allclose(other.estimate[:, 1], -one.estimate[:, 1], rtol=1e-10)
    for name in ("se", "df", "p"):
        np.testing.assert_allclose(getattr(other, name)[:, 1], getattr(one, name)[:, 1], rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_other_features_and_block_size_do_not_matter(monkeypatch: pytest.MonkeyPatch, weighted: bool) -> None:
    trial = Trial(weighted=weighted)
    together = trial.fit()
    monkeypatch.setattr(model, "BLOCK_DOUBLES", 1)
    _same(together, trial.fit(), (*NUMBERS, "loglik", "theta", "sigma2", "coefficients"), rtol=1e-12)
    monkeypatch.undo()
    hopeless = np.vstack([np.full(trial.Y.shape[1], 2.5), trial.Y, np.full(trial.Y.shape[1], np.nan)])
    weights = None if trial.W is None else np.vstack([trial.W[:1], trial.W, trial.W[:1]])
    among = trial.fit(Y=hopeless, weights=weights)
    for name in (*NUMBERS, "theta", "loglik"):
        np.testing.assert_allclose(getattr(among, name)[1:-1], getattr(together, name), rtol=1e-12)
    assert list(among.status[[0, -1]]) == ["constant", "too_few"]


def test_missing_is_the_same_as_weight_zero_and_as_left_out() -> None:
    trial = Trial()
    gone = np.array([3, 7])
    emptied, unweighted = trial.Y.copy(), trial.W.copy()
    emptied[:, gone] = np.nan
    unweighted[:, gone] = 0
    left = np.delete(np.arange(len(trial.X)), gone)
    reference = trial.fit(
        Y=trial.Y[:, left], X=trial.X[left], groups=trial.participant[left], weights=trial.W[:, left]
    )
    _same(reference, trial.fit(Y=emptied), (*NUMBERS, "loglik"))
    _same(reference, trial.fit(weights=unweighted), (*NUMBERS, "loglik"))
    np.testing.assert_array_equal(reference.n_obs, trial.fit(Y=emptied).n_obs)


def test_weights_of_one_are_no_weights() -> None:
    trial = Trial(weighted=False)
    _same(trial.fit(), trial.fit(weights=np.ones_like(trial.Y)), (*NUMBERS, "loglik", "theta"), rtol=1e-11)


PAIRS = 8
PAIR_X = np.column_stack([np.ones(2 * PAIRS), np.tile([0.0, 1.0], PAIRS)])
PAIR_ID = np.repeat(np.arange(PAIRS), 2)


def _pairs(*features: np.ndarray, **options: Any) -> MixedFit:
    return fit(np.vstack(features), PAIR_X, PAIR_ID, **options)


@pytest.mark.parametrize("ddf", METHODS)
@pytest.mark.parametrize("value", [0.0, 3.3, 1e8 + 0.1, -1e-300])
def test_constant_feature(value: float, ddf: str) -> None:
    result = _pairs(np.full(2 * PAIRS, value), ddf=ddf)
    assert result.status[0] == "constant"
    assert result.estimate[0, 1] == 0.0
    assert result.estimate[0, 0] == value
    assert result.se[0, 1] == 0.0
    assert np.isnan(result.p).all()
    assert np.isnan(result.t).all()


@pytest.mark.parametrize("negative", [False, True])
def test_the_same_change_in_everybody_has_no_test(negative: bool) -> None:
    start = np.random.default_rng(2).normal(size=PAIRS)
    result = _pairs(np.repeat(start, 2) + PAIR_X[:, 1] * 0.7, allow_negative_icc=negative)
    assert result.status[0] == "singular"
    assert result.sigma2[0] == 0
    assert result.estimate[0, 1] == pytest.approx(0.7, abs=1e-12)
    for name in ("se", "df", "t", "p"):
        assert np.isnan(getattr(result, name)).all()


def test_constant_is_told_from_a_perfect_fit() -> None:
    """Equal responses; responses that X fits exactly; the same change in everybody."""
    start = np.random.default_rng(2).normal(size=PAIRS)
    features = np.full(2 * PAIRS, 3.0), PAIR_X[:, 1] * 0.5 + 1, np.repeat(start, 2) + PAIR_X[:, 1]
    result = _pairs(*features)
    assert list(result.status) == ["constant", "singular", "singular"]
    np.testing.assert_allclose(result.estimate[:, 1], [0, 0.5, 1], atol=1e-12)
    np.testing.assert_array_equal(result.sigma2, 0)
    np.testing.assert_array_equal(np.isnan(result.se[:, 1]), [False, True, True])
    assert np.isnan(result.p).all()
    assert np.isnan(result.joint([[0, 1]]).p).all()


def test_opposite_pairs() -> None:
    """Equal sums in every pair: at theta = 0 the pooled variance; a negative theta runs out of its range."""
    half = np.random.default_rng(2).normal(size=PAIRS)
    y = np.column_stack([-half, half]).reshape(-1) + 1
    pooled = _pairs(y)
    assert pooled.status[0] == "singular"
    assert pooled.df[0, 1] == pytest.approx(PAIRS - 1)
    free = _pairs(y, allow_negative_icc=True)
    assert free.status[0] == "not_converged"
    assert np.isnan(free.p).all()
    assert np.isnan(free.estimate).all()


def test_tiny_differences_are_tested_as_they_are() -> None:
    """Pairs that differ by 1e-9 of the spread between participants: still the paired t-test."""
    rng = np.random.default_rng(4)
    y = np.repeat(rng.normal(size=PAIRS), 2) + 1e-9 * rng.normal(size=2 * PAIRS)
    result = _pairs(y)
    change = y[1::2] - y[::2]
    assert result.status[0] == "ok"
    assert result.se[0, 1] == pytest.approx(change.std(ddof=1) / np.sqrt(PAIRS), rel=1e-5)
    assert result.df[0, 1] == pytest.approx(PAIRS - 1)


def test_features_that_cannot_be_fitted_have_a_status() -> None:
    rng = np.random.default_rng(9)
    y = rng.normal(size=2 * PAIRS) + 2 * rng.normal(size=PAIRS)[PAIR_ID]
    only_first, two, one_person, nothing = (np.full(2 * PAIRS, np.nan) for _ in range(4))
    only_first[::2], two[:4:3], one_person[:2] = y[::2], [1.0, 3.0], [1.0, 2.0]
    result = _pairs(y, only_first, two, one_person, nothing)
    assert list(result.status) == ["ok", "singular", "too_few", "too_few", "too_few"]
    assert np.isnan(result.p[2:]).all()
    assert np.isnan(result.estimate[2:]).all()
    np.testing.assert_array_equal(result.n_obs, [16, 8, 2, 2, 0])
    np.testing.assert_array_equal(result.n_groups, [8, 8, 2, 1, 0])
    # Baselines alone tell their mean (a one-sample t-test) and no change.
    np.testing.assert_array_equal(result.estimable[1], [True, False])
    assert result.estimate[1, 0] == pytest.approx(y[::2].mean())
    assert result.se[1, 0] == pytest.approx(y[::2].std(ddof=1) / np.sqrt(PAIRS))
    assert np.isnan(result.estimate[1, 1])
    change_only = _pairs(y, only_first, contrasts=[[0, 1]])
    assert list(change_only.status) == ["ok", "not_estimable"]


@pytest.mark.parametrize("groups", [PAIR_ID, {"participant": PAIR_ID, "batch": np.arange(16) % 3}])
def test_more_coefficients_than_biopsies_have_a_status(groups: Any) -> None:
    """Of all features, or of one that misses most values; the aliased columns are named all the same."""
    rng = np.random.default_rng(3)
    wide = rng.normal(size=(16, 20))
    none = fit(rng.normal(size=(2, 16)), wide, groups)
    assert list(none.status) == ["too_few", "too_few"]
    assert np.isnan(none.p).all()
    np.testing.assert_array_equal(none.aliased.sum(axis=1), 4)
    Y = rng.normal(size=(2, 16))
    Y[1, 5:] = np.nan
    some = fit(Y, np.column_stack([PAIR_X, wide[:, :3]]), groups)
    assert some.status[0] in {"ok", "singular"}
    assert some.status[1] == "too_few"
    assert np.isnan(some.p[1]).all()
    assert np.isfinite(some.p[0]).all()


@pytest.mark.parametrize("ddf", METHODS)
def test_one_participant_and_one_biopsy_have_a_status(ddf: str) -> None:
    one = fit(GOOD, PAIR_X, np.zeros(16), ddf=ddf)
    assert set(one.status) == {"too_few"}
    assert np.isnan(one.p).all()
    assert list(fit(GOOD[:, :1], PAIR_X[:1], PAIR_ID[:1], ddf=ddf).status) == ["too_few"] * 3


def test_aliased_columns_leave_the_other_contrasts_alone() -> None:
    trial = Trial()
    aliased = np.column_stack([trial.X, trial.X[:, 3] * 2])
    contrasts = np.zeros((4, 6))
    contrasts[0, 1] = contrasts[1, 3] = contrasts[2, 3] = contrasts[3, 2] = 1
    contrasts[2, 5] = 2
    result, plain = trial.fit(X=aliased, contrasts=contrasts), trial.fit()
    np.testing.assert_array_equal(result.estimable, np.tile([True, False, True, True], (5, 1)))
    for name in NUMBERS:
        found, expected = getattr(result, name), getattr(plain, name)
        np.testing.assert_allclose(found[:, [0, 2, 3]], expected[:, [1, 3, 2]], rtol=1e-9, err_msg=name)
        assert np.isnan(found[:, 1]).all()
    np.testing.assert_array_equal(np.isnan(result.coefficients[0]), [False, False, False, True, False, True])
    np.testing.assert_allclose(result.loglik, plain.loglik, rtol=1e-10)


def test_no_features_and_no_observations() -> None:
    assert fit(np.zeros((0, 16)), PAIR_X, PAIR_ID).p.shape == (0, 2)
    nothing = fit(np.zeros((2, 0)), np.zeros((0, 2)), [])
    assert list(nothing.status) == ["too_few", "too_few"]
    for counts in (nothing.n_obs, nothing.n_groups):
        assert counts.dtype.kind == "i"
        assert counts.tolist() == [0, 0]


def test_input_is_left_as_it_is() -> None:
    trial = Trial()
    copies = trial.Y.copy(), trial.X.copy(), trial.W.copy()
    trial.fit()
    for kept, now in zip(copies, (trial.Y, trial.X, trial.W), strict=True):
        np.testing.assert_array_equal(kept, now)


GOOD = np.random.default_rng(0).normal(size=(3, 16))


@pytest.mark.parametrize(
    ("changes", "code", "place"),
    [
        ({"Y": GOOD[0]}, "E-MODEL-001", "Y"),
        ({"Y": GOOD[:, :10]}, "E-MODEL-001", None),
        ({"Y": [["a"] * 16]}, "E-MODEL-002", "Y"),
        ({"Y": np.where(GOOD[1, 4] == GOOD, np.inf, GOOD)}, "E-MODEL-002", "Y[1, 4]"),
        ({"X": np.where(PAIR_X == 0, np.nan, PAIR_X)}, "E-MODEL-002", "X[0, 1]"),
        ({"X": PAIR_X[:5]}, "E-MODEL-001", None),
        ({"groups": PAIR_ID[:5]}, "E-MODEL-001", None),
        ({"groups": [None, *PAIR_ID[1:]]}, "E-MODEL-004", "groups"),
        ({"groups": np.where(PAIR_ID == 2, np.nan, PAIR_ID)}, "E-MODEL-004", "groups"),
        ({"groups": pd.array([pd.NA, *PAIR_ID[1:]], dtype="Int64")}, "E-MODEL-004", "groups"),
        ({"groups": np.zeros((16, 2))}, "E-MODEL-001", "groups"),
        ({"weights": GOOD}, "E-MODEL-003", None),
        ({"weights": np.where(GOOD[2, 3] == GOOD, np.nan, 1.0)}, "E-MODEL-002", "weights[2, 3]"),
        ({"weights": np.where(GOOD[2, 3] == GOOD, np.inf, 1.0)}, "E-MODEL-002", "weights[2, 3]"),
        ({"weights": np.ones((2, 16))}, "E-MODEL-001", "weights"),
        ({"contrasts": [[0.0, 1.0, 0.0]]}, "E-MODEL-001", "contrasts"),
        ({"contrasts": [[0.0, np.nan]]}, "E-MODEL-002", "contrasts[0, 1]"),
        ({"ddf": "kenward"}, "E-MODEL-005", "ddf"),
    ],
)
def test_refused_input(changes: dict[str, Any], code: str, place: str | None) -> None:
    parts = {"Y": GOOD, "X": PAIR_X, "groups": PAIR_ID} | changes
    with pytest.raises(AssayError) as caught:
        fit(parts.pop("Y"), parts.pop("X"), parts.pop("groups"), **parts)
    problem = next(p for p in caught.value.problems if p.code == code)
    assert problem.remedy
    if place is not None:
        assert problem.column == place


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        fit(np.full((1, 4), np.inf), PAIR_X[:3], [1, 2, None, 3, 4], ddf="z", contrasts=np.ones((1, 3)))
    assert {p.code for p in caught.value.problems} == {
        "E-MODEL-001",
        "E-MODEL-002",
        "E-MODEL-004",
        "E-MODEL-005",
    }


def test_a_weight_may_be_missing_where_the_response_is() -> None:
    Y, W = GOOD.copy(), np.ones_like(GOOD)
    Y[0, 0] = W[0, 0] = np.nan
    assert fit(Y, PAIR_X, PAIR_ID, weights=W).n_obs[0] == 15


def test_at_least_one_grouping_term_is_needed() -> None:
    with pytest.raises(FormulaError, match=r"at least one random intercept.*\(1\|participant\)") as caught:
        fit(GOOD, PAIR_X, {})
    assert caught.value.problems[0].code == "E-FORMULA-006"


def test_public_names() -> None:
    assert {"DdfMethod", "JointTest", "MarginalMeans", "MixedFit", "RandomSlopes", "fit"} <= set(
        pdbiomarker.mixed.__all__
    )


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_input_that_is_accepted_fails(seed: int) -> None:
    """Any design, gaps, ties, scales and weights: no exception, no warning, no p of 0, no infinite number."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(1, 25)), int(rng.integers(0, 6))
    q = int(rng.integers(1, n + 1))
    group = rng.integers(0, q, n)
    X = rng.normal(size=(n, p)) if rng.random() < 0.5 else rng.integers(0, 2, (n, p)).astype(float)
    Y = rng.normal(size=(4, n)) * 10.0 ** rng.integers(-8, 9) + rng.normal(size=(4, q))[:, group]
    Y = np.round(Y) if rng.random() < 0.3 else Y
    Y[rng.random(Y.shape) < rng.choice([0, 0.1, 0.5, 0.9])] = np.nan
    W = rng.lognormal(0, rng.choice([0.1, 1, 5, 20]), size=Y.shape) * (rng.random(Y.shape) > 0.1)
    result = fit(
        Y,
        X,
        group,
        weights=W if rng.random() < 0.5 else None,
        ddf=str(rng.choice(METHODS)),
        allow_negative_icc=bool(rng.integers(2)),
    )
    for name in NUMBERS:
        assert not np.isinf(getattr(result, name)).any()
    told = np.isfinite(result.p)
    assert ((result.p[told] > 0) & (result.p[told] <= 1)).all()
    assert (result.df[told] > 0).all()
    untold = ~np.isin(result.status, ["ok", "singular"])
    assert np.isnan(result.p[untold]).all()
    assert np.isnan(result.p[~result.estimable]).all()
    assert np.isnan(result.estimate[~result.estimable]).all()
