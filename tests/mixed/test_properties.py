"""What must not change a number: order, names, units, origin, company. Any model, weights, gaps and method.

Estimates and standard errors to 1e-7 relative, df to 1e-6, p to 1e-5 (a p is steep in its t), and to the bit
under other names and units that are powers of two. Other features move no number by more than 1e-11: products
of many features at once may round the last digit differently.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker.mixed import MixedFit, RandomSlopes, fit

MODELS = ("one", "negative", "nested", "crossed", "slope", "known")
METHODS = ("kenward-roger", "satterthwaite")
PEOPLE, FEATURES = 9, 4
CLOSE = {"estimate": 1e-7, "se": 1e-7, "df": 1e-6, "p": 1e-5, "sigma2": 1e-6}


@dataclasses.dataclass(frozen=True)
class Data:
    """Nine participants, two lesions, three visits, two batches; 4 features."""

    model: str
    Y: np.ndarray
    X: np.ndarray
    participant: np.ndarray
    lesion: np.ndarray
    batch: np.ndarray
    W: np.ndarray | None
    ddf: str
    unit: float = 1.0

    def fit(self) -> MixedFit:
        groups: dict[str, Any] = {"participant": self.participant}
        options: dict[str, Any] = {"weights": self.W, "ddf": self.ddf}
        if self.model == "nested":
            groups["participant/lesion"] = self.lesion
        if self.model == "crossed":
            groups["batch"] = self.batch
        if self.model == "slope":
            options["slopes"] = {"participant": RandomSlopes(self.X[:, 1:2])}
        if self.model == "known":
            options["known_variance"] = np.where(np.isnan(self.Y), np.nan, 0.05 * self.unit**2)
        if self.model == "negative":
            options["allow_negative_icc"] = True
        return fit(self.Y, self.X, groups, **options)

    def rows(self, order: np.ndarray) -> Data:
        """The observations in another order."""
        parts = {name: getattr(self, name)[order] for name in ("X", "participant", "lesion", "batch")}
        W = None if self.W is None else self.W[:, order]
        return dataclasses.replace(self, Y=self.Y[:, order], W=W, **parts)

    def features(self, order: np.ndarray) -> Data:
        """Other features, or the same in another order, or one twice."""
        return dataclasses.replace(self, Y=self.Y[order], W=None if self.W is None else self.W[order])


def make(seed: int, model: str, weighted: bool, ddf: str) -> Data:
    rng = np.random.default_rng(seed)
    people, lesion, visit = (x.ravel() for x in np.mgrid[:PEOPLE, :2, :3])
    n = len(people)
    X = np.column_stack([np.ones(n), visit, rng.normal(size=n)]).astype(float)
    batch = rng.integers(0, 2, n)
    Y = 3 + rng.normal(size=(FEATURES, PEOPLE))[:, people] + 0.7 * rng.normal(size=(FEATURES, n))
    Y += 0.5 * rng.normal(size=(FEATURES, 2 * PEOPLE))[:, 2 * people + lesion]
    Y += 0.3 * rng.normal(size=(FEATURES, PEOPLE))[:, people] * visit
    Y[rng.random(Y.shape) < 0.08] = np.nan
    W = rng.lognormal(0, 0.5, Y.shape) if weighted else None
    return Data(model, Y, X, people, lesion, batch, W, ddf)


any_data = st.builds(
    make,
    st.integers(0, 2**32 - 1),
    st.sampled_from(MODELS),
    st.booleans(),
    st.sampled_from(METHODS),
)


def same(one: MixedFit, other: MixedFit, *, columns: slice = slice(None), unit: float = 1.0) -> None:
    """`other` has responses `unit` times those of `one`."""
    np.testing.assert_array_equal(one.status, other.status)
    powers = {"estimate": abs(unit), "se": abs(unit), "sigma2": unit**2}
    for name, tolerance in CLOSE.items():
        expected, found = getattr(one, name) * powers.get(name, 1.0), getattr(other, name)
        if expected.ndim == 2:
            expected, found = expected[:, columns], found[:, columns]
        if name == "estimate":
            expected = expected * np.sign(unit)
        floor = 1e-8 * powers.get(name, 0.0)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=floor, err_msg=name)


@given(data=any_data, seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_order_of_rows_and_names_of_groups(data: Data, seed: int) -> None:
    rng = np.random.default_rng(seed)
    other = data.rows(rng.permutation(len(data.X)))
    names = np.array([f"0{k}" for k in rng.permutation(PEOPLE)])
    other = dataclasses.replace(
        other, participant=names[other.participant], lesion=np.array(["R", "L"])[other.lesion]
    )
    same(data.fit(), other.fit())


@given(data=any_data)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_names_of_groups_alone_change_no_bit(data: Data) -> None:
    names = np.array([f"P-{k:03d}" for k in range(PEOPLE)])
    one, other = data.fit(), dataclasses.replace(data, participant=names[data.participant]).fit()
    for name in CLOSE:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@given(data=any_data, exponent=st.integers(-6, 6), sign=st.sampled_from([-1.0, 1.0]))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_unit_of_the_response(data: Data, exponent: int, sign: float) -> None:
    unit = sign * 10.0**exponent
    same(data.fit(), dataclasses.replace(data, Y=data.Y * unit, unit=unit).fit(), unit=unit)


@given(data=any_data, exponent=st.integers(-20, 20))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_a_power_of_two_as_unit_changes_no_bit(data: Data, exponent: int) -> None:
    unit = 2.0**exponent
    one, other = data.fit(), dataclasses.replace(data, Y=data.Y * unit, unit=unit).fit()
    for name, power in (("estimate", unit), ("se", unit), ("df", 1.0), ("p", 1.0)):
        np.testing.assert_array_equal(getattr(one, name) * power, getattr(other, name), err_msg=name)


@given(data=any_data, constant=st.floats(-1e3, 1e3))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_constant_moves_the_intercept_only(data: Data, constant: float) -> None:
    same(data.fit(), dataclasses.replace(data, Y=data.Y + constant).fit(), columns=slice(1, None))


@given(data=any_data, seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_company_order_and_copies_of_features(data: Data, seed: int) -> None:
    """In another order, one of them twice, and one by itself: 1e-11."""
    together = data.fit()
    order = np.append(np.random.default_rng(seed).permutation(FEATURES), 0)
    others, alone = data.features(order).fit(), data.features(order[:1]).fit()
    for name in CLOSE:
        expected = getattr(together, name)
        np.testing.assert_allclose(getattr(others, name), expected[order], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(getattr(alone, name)[0], expected[order[0]], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("model", MODELS)
def test_copies_of_a_feature_are_equal(model: str) -> None:
    found = make(3, model, True, "kenward-roger").features(np.array([1, 1, 1])).fit()
    for name in CLOSE:
        values = getattr(found, name)
        np.testing.assert_allclose(values[1:], values[:1].repeat(2, axis=0), rtol=1e-12)
