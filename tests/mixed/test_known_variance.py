"""Known variances beside the residual variance: Var(e) = s2 / w + v.

Against a dense implementation (1e-7), weighted least squares, meta-analysis, and error rates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dense_mixed import DenseModel, Group
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker.mixed import MixedFit, fit


class Counts:
    """Ten participants, two visits with gaps; log counts whose Poisson variance is known; two lesions."""

    def __init__(self, seed: int = 4) -> None:
        rng = np.random.default_rng(seed)
        participant, lesion, visit = (
            np.repeat(np.arange(10), 4),
            np.tile([0, 0, 1, 1], 10),
            np.tile([0, 1], 20),
        )
        keep = rng.random(40) < 0.85
        self.participant, self.lesion, visit = participant[keep], lesion[keep], visit[keep]
        n = int(keep.sum())
        self.X = np.column_stack([np.ones(n), visit, np.linspace(-1, 1, 10)[self.participant]]).astype(float)
        self.V = rng.lognormal(-1.5, 1.0, (4, n))
        self.Y = 2 + rng.normal(size=(4, 10))[:, self.participant] + 0.5 * rng.normal(size=(4, n))
        self.Y += np.sqrt(self.V) * rng.normal(size=self.Y.shape)
        self.Y[1, 3] = self.Y[1, 8] = np.nan
        self.W = rng.lognormal(0, 0.5, self.Y.shape)

    def fit(self, *, nested: bool = False, weighted: bool = False, **changes: Any) -> MixedFit:
        groups: dict[str, Any] = {"participant": self.participant}
        if nested:
            groups["participant/lesion"] = self.lesion
        parts: dict[str, Any] = {"Y": self.Y, "X": self.X, "groups": groups, "known_variance": self.V}
        parts["weights"] = self.W if weighted else None
        parts |= changes
        return fit(parts.pop("Y"), parts.pop("X"), parts.pop("groups"), **parts)

    def dense_groups(self, nested: bool) -> list[Group]:
        lesions = [f"{a}|{b}" for a, b in zip(self.participant, self.lesion, strict=True)]
        return [Group(list(self.participant)), *([Group(lesions)] if nested else [])]


@pytest.mark.parametrize("ddf", ["kenward-roger", "satterthwaite"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("seed", [4, 5])
def test_dense_implementation(ddf: str, weighted: bool, nested: bool, seed: int) -> None:
    data = Counts(seed)
    result = data.fit(nested=nested, weighted=weighted, ddf=ddf)
    for g, y in enumerate(data.Y):
        best = DenseModel(
            y, data.X, data.dense_groups(nested), weights=data.W[g] if weighted else None, known=data.V[g]
        ).fit(ddf=ddf)
        assert result.loglik[g] == pytest.approx(best.loglik, abs=1e-9)
        np.testing.assert_allclose(result.sigma2[g], best.sigma2, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(result.variance[g], best.variance, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(result.estimate[g], best.estimate, rtol=1e-7)
        np.testing.assert_allclose(result.se[g], best.se, rtol=1e-7)
        np.testing.assert_allclose(result.df[g], best.df, rtol=1e-6)
        np.testing.assert_allclose(result.rdf[g], best.rdf, rtol=1e-6)


def test_joint_test_densely() -> None:
    data = Counts()
    L = np.array([[0, 1, 0], [0, 0, 1.0]])
    found = data.fit().joint(L)
    for g, y in enumerate(data.Y):
        model = DenseModel(y, data.X, data.dense_groups(False), known=data.V[g])
        components = model.components(model.optimum())
        _, m, F, p = model.kenward_roger(components, components[-1], L)
        np.testing.assert_allclose([found.F[g], found.den_df[g], found.p[g]], [F, m, p], rtol=1e-6)


@pytest.mark.parametrize("ddf", ["kenward-roger", "satterthwaite", "residual"])
def test_no_known_variance_is_the_plain_model(ddf: str) -> None:
    data = Counts()
    plain, zero = data.fit(known_variance=None, ddf=ddf), data.fit(known_variance=0 * data.V, ddf=ddf)
    for name in ("estimate", "se", "df", "p", "sigma2", "theta", "variance", "loglik", "rdf"):
        np.testing.assert_allclose(
            getattr(zero, name), getattr(plain, name), rtol=1e-6, atol=1e-9, err_msg=name
        )
    np.testing.assert_array_equal(zero.status, plain.status)


def test_equal_known_variances_are_part_of_the_residual() -> None:
    """s2 + v is one number: the plain s2, as long as v is below it; where above, s2 is 0 and singular."""
    data = Counts()
    plain = data.fit(known_variance=None)
    part = data.fit(known_variance=np.full_like(data.V, 0.5 * plain.sigma2.min()))
    np.testing.assert_allclose(part.sigma2 + 0.5 * plain.sigma2.min(), plain.sigma2, rtol=1e-6)
    for name in ("estimate", "se", "df", "p", "loglik", "variance"):
        np.testing.assert_allclose(getattr(part, name), getattr(plain, name), rtol=1e-6, err_msg=name)
    all_ = data.fit(known_variance=np.full_like(data.V, 50 * plain.sigma2.max()))
    np.testing.assert_array_equal(all_.sigma2, 0.0)
    assert list(all_.status) == ["singular"] * 4
    assert np.isfinite(all_.se).all()


def test_random_effects_meta_analysis() -> None:
    """A value and its variance from each study: the variance between them by REML solves its equation."""
    y = np.array([0.10, 0.30, 0.35, 0.65, 0.45, 0.15])
    v = np.array([0.03, 0.03, 0.05, 0.01, 0.05, 0.02])
    result = fit([y], np.ones((6, 1)), np.arange(6), known_variance=[v], ddf="residual")
    tau2 = result.sigma2[0]
    w = 1 / (tau2 + v)
    mean = (w * y).sum() / w.sum()
    score = (w**2 * (y - mean) ** 2).sum() - w.sum() + (w**2).sum() / w.sum()
    assert tau2 > 0
    assert score == pytest.approx(0, abs=1e-8)
    assert result.estimate[0, 0] == pytest.approx(mean, rel=1e-10)
    assert result.se[0, 0] == pytest.approx(w.sum() ** -0.5, rel=1e-10)
    # A study of one value is its own residual: told once.
    np.testing.assert_array_equal(result.singular, [[True]])


@given(exponent=st.integers(-5, 5), seed=st.integers(0, 100))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_units_and_order_do_not_matter(exponent: int, seed: int) -> None:
    data, c = Counts(), 10.0**exponent
    plain = data.fit(nested=True, weighted=True)
    order = np.random.default_rng(seed).permutation(len(data.X))
    changed = data.fit(
        Y=c * data.Y[:, order],
        X=data.X[order],
        groups={"participant": data.participant[order], "participant/lesion": data.lesion[order]},
        known_variance=c * c * data.V[:, order],
        weights=data.W[:, order],
    )
    np.testing.assert_allclose(changed.estimate, c * plain.estimate, rtol=1e-6)
    np.testing.assert_allclose(changed.se, c * plain.se, rtol=1e-6)
    np.testing.assert_allclose(changed.df, plain.df, rtol=1e-5)
    np.testing.assert_allclose(changed.sigma2, c * c * plain.sigma2, rtol=1e-5, atol=1e-8 * c * c)


def test_missing_values() -> None:
    """A missing response needs no known variance."""
    data = Counts()
    data.V[1, 3] = np.nan
    result = data.fit()
    keep = ~np.isnan(data.Y[1])
    alone = fit(data.Y[1:2, keep], data.X[keep], data.participant[keep], known_variance=data.V[1:2, keep])
    np.testing.assert_allclose(result.estimate[1], alone.estimate[0], rtol=1e-8)
    np.testing.assert_allclose(result.p[1], alone.p[0], rtol=1e-6)


def test_a_noisy_visit_does_not_reject_too_often() -> None:
    """On-treatment counts are small, so noisier; no effect, 12 pairs, 4,000 sets: .05 within 3 errors."""
    rng = np.random.default_rng(9)
    participant, visit = np.repeat(np.arange(12), 2), np.tile([0.0, 1.0], 12)
    V = np.where(visit == 1, 0.3, 0.02) * rng.lognormal(0, 0.5, (4000, 24))
    Y = rng.normal(size=(4000, 12))[:, participant] + np.sqrt(0.1 + V) * rng.normal(size=V.shape)
    result = fit(Y, np.column_stack([np.ones(24), visit]), participant, known_variance=V, contrasts=[[0, 1]])
    assert np.isfinite(result.p).all()
    assert abs((result.p < 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 4000) + 0.003
