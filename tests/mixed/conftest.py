"""An independent, dense implementation of the model, one feature at a time.

It writes V out as a matrix, takes derivatives from the general theory of linear mixed models (traces of
products of n x n matrices), follows the published Kenward-Roger algorithm step by step, and searches the
optimum with scipy: it shares no expression with `pdbiomarker.mixed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Dense:
    estimate: Array
    se: Array
    df: Array
    p: Array
    theta: float
    sigma2: float
    loglik: float


class _Model:
    def __init__(self, y: Array, X: Array, groups: Sequence[object], w: Array | None) -> None:
        weights = np.ones(len(y)) if w is None else np.asarray(w, dtype=float)
        use = np.isfinite(y) & (weights > 0)
        self.y, self.X = y[use], X[use]
        labels = [g for g, u in zip(groups, use, strict=True) if u]
        self.G1 = np.array([[float(a == b) for b in labels] for a in labels])
        self.G2 = np.diag(1.0 / weights[use])
        self.n, self.p = self.X.shape
        self.largest = max(weights[use][np.array(labels, dtype=object) == g].sum() for g in set(labels))

    def pieces(self, theta: float) -> tuple[Array, Array, Array, Array]:
        V = self.G2 + theta * self.G1
        inverse = np.linalg.inv(V)
        Phi = np.linalg.inv(self.X.T @ inverse @ self.X)
        P = inverse - inverse @ self.X @ Phi @ self.X.T @ inverse
        return V, inverse, Phi, P

    def criterion(self, theta: float) -> float:
        """Minus twice the REML log-likelihood, profiled over sigma2."""
        V, inverse, _, P = self.pieces(theta)
        nu = self.n - self.p
        rest = float(self.y @ P @ self.y)
        logs = np.linalg.slogdet(V)[1] + np.linalg.slogdet(self.X.T @ inverse @ self.X)[1]
        return float(logs + nu * (1 + np.log(2 * np.pi * rest / nu)))

    def slope(self, phi: float) -> float:
        theta = np.expm1(phi) / self.largest
        *_, P = self.pieces(theta)
        s2 = self.y @ P @ self.y / (self.n - self.p)
        return float(np.trace(P @ self.G1) - self.y @ P @ self.G1 @ P @ self.y / s2) * np.exp(phi)

    def optimum(self, lowest: float) -> float:
        """phi = log(1 + theta max a) at the global minimum over a dense grid, then by bisection."""
        grid = np.linspace(lowest, 12.0, 400)
        values = [self.criterion(np.expm1(x) / self.largest) for x in grid]
        best = int(np.argmin(values))
        if best == 0 and self.slope(grid[0]) >= 0:
            return float(grid[0])
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        if self.slope(low) * self.slope(high) > 0:
            return float(grid[best])
        return float(optimize.brentq(self.slope, low, high, xtol=1e-14, rtol=1e-14))


def _satterthwaite(m: _Model, theta: float, s2: float, row: Array, boundary: bool) -> tuple[float, float]:
    _, inverse, Phi, P = m.pieces(theta)
    v = row @ Phi @ row
    if boundary:
        return float(np.sqrt(s2 * v)), float(m.n - m.p)
    Py, G = P @ m.y, m.G1
    hessian = np.array(
        [
            [-np.trace(P @ G @ P @ G) + 2 * (Py @ G @ P @ G @ Py) / s2, Py @ G @ Py / s2**2],
            [Py @ G @ Py / s2**2, -(m.n - m.p) / s2**2 + 2 * (m.y @ Py) / s2**3],
        ]
    )
    u = inverse @ m.X @ Phi @ row
    gradient = np.array([s2 * (u @ G @ u), v])
    variance = gradient @ (2 * np.linalg.inv(hessian)) @ gradient
    return float(np.sqrt(s2 * v)), float(2 * (s2 * v) ** 2 / variance)


def _kenward_roger(m: _Model, theta: float, s2: float, row: Array) -> tuple[float, float]:
    """The algorithm as published, for one contrast, with G = (Z Z', W^-1) and sigma = (s2 theta, s2)."""
    V = s2 * (m.G2 + theta * m.G1)
    inverse = np.linalg.inv(V)
    Phi = np.linalg.inv(m.X.T @ inverse @ m.X)
    G = [m.G1, m.G2]
    A = [inverse @ g for g in G]
    P = [-m.X.T @ a @ inverse @ m.X for a in A]
    Q = [[m.X.T @ A[i] @ A[j] @ inverse @ m.X for j in range(2)] for i in range(2)]
    information = np.array(
        [
            [
                0.5 * np.trace(A[i] @ A[j])
                - np.trace(Phi @ Q[i][j])
                + 0.5 * np.trace(Phi @ P[i] @ Phi @ P[j])
                for j in range(2)
            ]
            for i in range(2)
        ]
    )
    W = np.linalg.inv(information)
    U = sum(W[i, j] * (Q[i][j] - P[i] @ Phi @ P[j]) for i in range(2) for j in range(2))
    adjusted = Phi + 2 * Phi @ U @ Phi
    ell = 1
    Theta = np.outer(row, row) / (row @ Phi @ row)
    T = [Theta @ Phi @ p @ Phi for p in P]
    A1 = sum(W[i, j] * np.trace(T[i]) * np.trace(T[j]) for i in range(2) for j in range(2))
    A2 = sum(W[i, j] * np.trace(T[i] @ T[j]) for i in range(2) for j in range(2))
    B = (A1 + 6 * A2) / (2 * ell)
    g = ((ell + 1) * A1 - (ell + 4) * A2) / ((ell + 2) * A2)
    c = np.array([g, ell - g, ell + 2 - g]) / (3 * ell + 2 * (1 - g))
    E = 1 / (1 - A2 / ell)
    variance = 2 / ell * (1 + c[0] * B) / ((1 - c[1] * B) ** 2 * (1 - c[2] * B))
    rho = variance / (2 * E**2)
    return float(np.sqrt(row @ adjusted @ row)), float(4 + (ell + 2) / (ell * rho - 1))


def fit_densely(
    y: Array,
    X: Array,
    groups: Sequence[object],
    *,
    weights: Array | None = None,
    contrasts: Array | None = None,
    ddf: str = "kenward-roger",
    allow_negative_icc: bool = False,
) -> Dense:
    m = _Model(np.asarray(y, float), np.asarray(X, float), groups, weights)
    phi = m.optimum(-11.0 if allow_negative_icc else 0.0)
    theta = np.expm1(phi) / m.largest
    _, inverse, Phi, P = m.pieces(theta)
    s2 = float(m.y @ P @ m.y) / (m.n - m.p)
    L = np.eye(m.p) if contrasts is None else np.asarray(contrasts, float)
    if ddf == "kenward-roger":
        found = [_kenward_roger(m, theta, s2, row) for row in L]
    else:
        found = [_satterthwaite(m, theta, s2, row, phi == 0 and not allow_negative_icc) for row in L]
    se, df = np.array(found).T
    estimate = L @ Phi @ m.X.T @ inverse @ m.y
    p = 2 * stats.t.sf(np.abs(estimate / se), df)
    return Dense(estimate, se, df, p, float(theta), s2, -0.5 * m.criterion(theta))


@pytest.fixture(scope="session")
def dense() -> Callable[..., Dense]:
    return fit_densely
