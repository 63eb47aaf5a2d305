"""An independent, dense implementation of mixed models with any random effects, one feature at a time.

V is written out as a matrix, derivatives come from the general theory of linear mixed models (traces of
products of n x n matrices), Kenward-Roger follows the published algorithm step by step, and scipy searches
the optimum from many starts: it shares no expression with `pdbiomarker.mixed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Group:
    """A term: labels of the observations, covariates with slopes, and whether those are correlated."""

    labels: Sequence[object]
    slopes: Array | None = None
    correlated: bool = True


@dataclasses.dataclass(frozen=True)
class DenseFit:
    estimate: Array
    se: Array
    df: Array
    p: Array
    variance: Array
    sigma2: float
    loglik: float
    rdf: float


class DenseModel:
    """One feature; observations that are missing or have weight 0 are left out."""

    def __init__(
        self,
        y: Array,
        X: Array,
        groups: Sequence[Group],
        *,
        weights: Array | None = None,
        known: Array | None = None,
    ) -> None:
        w = np.ones(len(y)) if weights is None else np.asarray(weights, float)
        use = np.isfinite(y) & (w > 0)
        self.y, self.X = np.asarray(y, float)[use], np.asarray(X, float)[use]
        self.n, self.p = self.X.shape
        self.nu = self.n - self.p
        self.R = np.diag(1.0 / w[use])
        self.known = None if known is None else np.diag(np.asarray(known, float)[use])
        self.shapes: list[tuple[int, bool]] = []
        self.G: list[Array] = []
        for group in groups:
            labels = [label for label, u in zip(group.labels, use, strict=True) if u]
            same = np.array([[float(a == b) for b in labels] for a in labels])
            slopes = np.zeros((len(use), 0)) if group.slopes is None else np.asarray(group.slopes, float)
            Z = np.column_stack([np.ones(self.n), slopes[use]])
            self.shapes.append((Z.shape[1], group.correlated))
            for a in range(Z.shape[1]):
                for b in range(a + 1) if group.correlated else (a,):
                    product = np.outer(Z[:, a], Z[:, b])
                    self.G.append(same * (product if a == b else product + product.T))
        self.count = len(self.G)
        self.parameters = self.count + (known is not None)

    def components(self, root: Array) -> Array:
        """Entries of T = Lambda Lambda' from those of Lambda, row by row; the residual variance last."""
        out: list[float] = []
        at = 0
        for size, correlated in self.shapes:
            if correlated:
                lower = np.zeros((size, size))
                index = np.tril_indices(size)
                lower[index] = root[at : at + len(index[0])]
                out.extend((lower @ lower.T)[index])
                at += len(index[0])
            else:
                out.extend(np.square(root[at : at + size]))
                at += size
        if self.known is not None:
            out.append(root[-1] ** 2)
        return np.array(out)

    def jacobian(self, root: Array) -> Array:
        """By central differences, exact for quadratics."""
        unit = np.eye(len(root))
        return np.column_stack([0.5 * (self.components(root + e) - self.components(root - e)) for e in unit])

    def second(self, root: Array) -> Array:
        """(K, K, K), constant."""
        K = len(root)
        unit, zero = np.eye(K), self.components(np.zeros(K))
        out = np.zeros((K, K, K))
        for i in range(K):
            for j in range(K):
                out[:, i, j] = (
                    self.components(unit[i] + unit[j])
                    - self.components(unit[i])
                    - self.components(unit[j])
                    + zero
                )
        return out

    def matrices(self, components: Array) -> tuple[list[Array], Array]:
        """G of all components that are searched, and V (relative to s2 unless variances are known)."""
        G = self.G if self.known is None else [*self.G, self.R]
        base = self.R if self.known is None else self.known
        return G, base + sum(c * g for c, g in zip(components, G, strict=True))

    def pieces(self, components: Array) -> tuple[list[Array], Array, Array, Array]:
        G, V = self.matrices(components)
        inverse = np.linalg.inv(V)
        Phi = np.linalg.inv(self.X.T @ inverse @ self.X)
        return G, inverse, Phi, inverse - inverse @ self.X @ Phi @ self.X.T @ inverse

    def criterion(self, components: Array) -> float:
        """Minus twice the REML log-likelihood; profiled over s2 unless variances are known."""
        _, V = self.matrices(components)
        sign, log = np.linalg.slogdet(V)
        if sign <= 0:
            return np.inf
        _, inverse, _, P = self.pieces(components)
        rest = float(self.y @ P @ self.y)
        logs = log + np.linalg.slogdet(self.X.T @ inverse @ self.X)[1]
        if self.known is None:
            return float(logs + self.nu * (1 + np.log(2 * np.pi * rest / self.nu)))
        return float(logs + self.nu * np.log(2 * np.pi) + rest)

    def gradient(self, components: Array) -> Array:
        G, _, _, P = self.pieces(components)
        Py = P @ self.y
        s2 = self.y @ Py / self.nu if self.known is None else 1.0
        return np.array([np.trace(P @ g) - Py @ g @ Py / s2 for g in G])

    def slope(self, root: Array) -> Array:
        return self.gradient(self.components(root)) @ self.jacobian(root)

    def optimum(self, starts: int = 10) -> Array:
        """The best of several searches, then the zero of the gradient to full precision."""
        rng = np.random.default_rng(0)
        spread = np.sqrt(np.var(self.y))
        best: Array | None = None
        for i in range(starts):
            start = np.full(self.parameters, 0.7) if i == 0 else rng.lognormal(-0.5, 1.2, self.parameters)
            start = start * (1.0 if self.known is None else spread)
            found = optimize.minimize(
                lambda r: self.criterion(self.components(r)), start, jac=self.slope, method="BFGS",
                options={"gtol": 1e-7},
            ).x  # fmt: skip
            if best is None or self.criterion(self.components(found)) < self.criterion(self.components(best)):
                best = found
        assert best is not None
        root = np.where(np.abs(best) < 1e-3 * (1.0 if self.known is None else spread), 0.0, best)
        free = root != 0
        if free.any():

            def at(values: Array) -> Array:
                full = root.copy()
                full[free] = values
                return self.slope(full)[free]

            polished = optimize.root(at, root[free], method="hybr", options={"xtol": 1e-14}).x
            root[free] = polished
        return root

    def fit(self, contrasts: Array | None = None, ddf: str = "kenward-roger") -> DenseFit:
        root = self.optimum()
        components = self.components(root)
        _, inverse, Phi, P = self.pieces(components)
        s2 = float(self.y @ P @ self.y) / self.nu if self.known is None else float(components[-1])
        L = np.eye(self.p) if contrasts is None else np.asarray(contrasts, float)
        if ddf == "kenward-roger":
            found = [self.kenward_roger(components, s2, row[None])[:2] for row in L]
        else:
            found = [self.satterthwaite(root, s2, row) for row in L]
        se, df = np.array(found).T
        estimate = L @ Phi @ self.X.T @ inverse @ self.y
        p = 2 * stats.t.sf(np.abs(estimate / se), df)
        scale = s2 if self.known is None else 1.0
        noise = self.R * s2 + (0 if self.known is None else self.known)
        left = noise @ P / scale
        return DenseFit(
            estimate, se, df, p, components[: self.count] * scale, s2, -0.5 * self.criterion(components),
            float(np.trace(left @ left)),
        )  # fmt: skip

    def beta(self, components: Array) -> Array:
        _, inverse, Phi, _ = self.pieces(components)
        return Phi @ self.X.T @ inverse @ self.y

    def absolute(self, components: Array, s2: float) -> tuple[list[Array], Array]:
        """All matrices V is linear in, the residual last, and V in the unit of y squared."""
        G = [*self.G, self.R]
        V = self.matrices(components)[1] * (s2 if self.known is None else 1.0)
        return G, V

    def kenward_roger(self, components: Array, s2: float, L: Array) -> tuple[float, float, float, float]:
        """SE of the first row of L, denominator df, F and its scale, as published, for L (q x p)."""
        G, V = self.absolute(components, s2)
        inverse = np.linalg.inv(V)
        X = self.X
        Phi = np.linalg.inv(X.T @ inverse @ X)
        A = [inverse @ g for g in G]
        P = [-X.T @ a @ inverse @ X for a in A]
        K = len(G)
        Q = [[X.T @ A[i] @ A[j] @ inverse @ X for j in range(K)] for i in range(K)]
        information = np.array(
            [
                [
                    0.5 * np.trace(A[i] @ A[j])
                    - np.trace(Phi @ Q[i][j])
                    + 0.5 * np.trace(Phi @ P[i] @ Phi @ P[j])
                    for j in range(K)
                ]
                for i in range(K)
            ]
        )
        W = np.linalg.inv(information)
        U = sum(W[i, j] * (Q[i][j] - P[i] @ Phi @ P[j]) for i in range(K) for j in range(K))
        adjusted = Phi + 2 * Phi @ U @ Phi
        q = len(L)
        Theta = L.T @ np.linalg.inv(L @ Phi @ L.T) @ L
        T = [Theta @ Phi @ p @ Phi for p in P]
        A1 = sum(W[i, j] * np.trace(T[i]) * np.trace(T[j]) for i in range(K) for j in range(K))
        A2 = sum(W[i, j] * np.trace(T[i] @ T[j]) for i in range(K) for j in range(K))
        B = (A1 + 6 * A2) / (2 * q)
        g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        c = np.array([g, q - g, q + 2 - g]) / (3 * q + 2 * (1 - g))
        E = 1 / (1 - A2 / q)
        variance = 2 / q * (1 + c[0] * B) / ((1 - c[1] * B) ** 2 * (1 - c[2] * B))
        rho = variance / (2 * E**2)
        m = 4 + (q + 2) / (q * rho - 1)
        b = L @ Phi @ X.T @ inverse @ self.y
        F = m / (E * (m - 2)) * b @ np.linalg.inv(L @ adjusted @ L.T) @ b / q
        return float(np.sqrt(L[0] @ adjusted @ L[0])), float(m), float(F), float(stats.f.sf(F, q, m))

    def satterthwaite(self, root: Array, s2: float, row: Array) -> tuple[float, float]:
        """Parameters are the roots and s2; those that move nothing are left out."""
        components = self.components(root)
        G, V = self.absolute(components, s2)
        inverse = np.linalg.inv(V)
        Phi = np.linalg.inv(self.X.T @ inverse @ self.X)
        P = inverse - inverse @ self.X @ Phi @ self.X.T @ inverse
        Py = P @ self.y
        K = len(G)
        hessian = np.array([[-np.trace(P @ a @ P @ b) + 2 * Py @ a @ P @ b @ Py for b in G] for a in G])
        gradient = np.array([np.trace(P @ g) - Py @ g @ Py for g in G])
        # Absolute variances: s2 times those of the roots unless variances are known.
        J = np.zeros((K, K))
        second = np.zeros((K, K, K))
        if self.known is None:
            J[:-1, :-1] = s2 * self.jacobian(root)
            J[:-1, -1] = components
            second[:-1, :-1, :-1] = s2 * self.second(root)
            second[:-1, :-1, -1] = second[:-1, -1, :-1] = self.jacobian(root)
        else:
            J[:-1, :-1] = self.jacobian(root)[:-1, :-1]
            second[:-1, :-1, :-1] = self.second(root)[:-1, :-1, :-1]
        J[-1, -1] = 1.0
        H = J.T @ hessian @ J + np.einsum("k,kij->ij", gradient, second)
        u = inverse @ self.X @ Phi @ row
        moved = np.array([u @ g @ u for g in G]) @ J
        used = np.abs(J).max(axis=0) > 0
        covariance = 2 * np.linalg.inv(H[np.ix_(used, used)])
        v = row @ Phi @ row
        return float(np.sqrt(v)), float(2 * v**2 / (moved[used] @ covariance @ moved[used]))
