r"""The REML criterion and its derivatives for any random effects, many features at once.

Rows are scaled by the roots of the precision weights (0 = not observed), so that V = B + sum_k g_k G_k with
the components g of module `structure`. Without known variances B = I, g is relative to the residual variance
s2, and s2 is profiled out; with them (Var(e) = s2 W^-1 + K) B holds K and s2 is one more component, G = I.

Write V = D + Z Z' with D the block diagonal part and Z the columns of crossed terms times the root of their
covariance. With T = (Z, Q, y), Q the orthonormal basis of X,

    C = T' D^-1 T + diag(I, 0, 0) = L L',    U = D^-1 T L^-T = (U_z, U_x, u_y),

    V^-1 = D^-1 - U_z U_z',     P = V^-1 - U_x U_x',     u_y = P y / sqrt(r2),     r2 = y'P y = L_yy^2,

where P = V^-1 - V^-1 Q (Q'V^-1 Q)^-1 Q'V^-1. With F_k = G_k (U_x, u_y), E_k = (U_x, u_y)' F_k and
E_kl = F_k' V^-1 F_l, partitioned into x and y,

    c_k  = tr(P G_k)       = tr(V^-1 G_k) - tr E_k,xx
    M_kl = tr(P G_k P G_l) = tr(V^-1 G_k V^-1 G_l) - 2 tr E_kl,xx + tr(E_k,xx E_l,xx)
    q_k  = y'P G_k P y / r2 = E_k,yy,    q_kl = y'P G_k P G_l P y / r2 = E_kl,yy - E_k,yx E_l,xy.

Minus twice the REML log-likelihood is, up to a constant,

    f = log|D| + 2 sum_(z, x) log L_jj + nu log r2      profiled over s2; + r2 with known variances,
    f_k  = c_k - w q_k,     f_kl = -M_kl + w (2 q_kl - [q_k q_l]),     w = nu; or r2, without [].

Arrays of rows are (G, rows, m q): slot j of block i is at j q + i, so that a block's slots are strided and
the products over all observations are plain matrix products.

Sources: Patterson and Thompson 1971, doi:10.1093/biomet/58.3.545; Henderson's mixed-model equations as laid
out by Bates, Machler, Bolker and Walker 2015, doi:10.18637/jss.v067.i01. Derived for this module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .reml import cholesky, inverse_triangle, lower
from .structure import Effects, Layout

__all__ = ["BlockedData", "Point", "criterion", "evaluate"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

#: Up to this many slots, blocks are inverted slot by slot for all features at once.
UNROLLED = 6


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class BlockedData:
    """Scaled rows of G features.

    Attributes
    ----------
    layout, effects :
        Of the random effects; with known variances `effects` ends with the residual.
    rows : (G, p + 1, m q) array
        Basis of X and response, times the roots of the weights.
    roots : (1 or G, m q) array
        Roots of the weights; 0 where not observed.
    base : (G, m q) array or None
        Diagonal of B; 1 where not observed. None: B = I, and s2 is profiled out.
    kept : (1 or G, p) array of bool
        Columns of the basis that are not aliased.
    dof : (G,) array
        nu.
    """

    layout: Layout
    effects: Effects
    rows: Array
    roots: Array
    base: Array | None
    kept: Flags
    dof: Array

    @property
    def profiled(self) -> bool:
        """Whether s2 is profiled out."""
        return self.base is None

    @property
    def count(self) -> NDArray[np.intp]:
        """Observations of each feature, (1 or G,)."""
        return np.asarray(np.count_nonzero(self.roots, axis=1), dtype=np.intp)

    def take(self, rows: Indices) -> BlockedData:
        """Those of some features."""
        if len(rows) == len(self.dof):
            return self
        return dataclasses.replace(
            self,
            rows=self.rows[rows],
            roots=self.roots if len(self.roots) == 1 else self.roots[rows],
            base=None if self.base is None else self.base[rows],
            kept=self.kept if len(self.kept) == 1 else self.kept[rows],
            dof=self.dof[rows],
        )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Point:
    """The criterion and its parts at one set of components for each feature; p columns, K components.

    Attributes
    ----------
    value, residual : (G,) arrays
        f and r2.
    inverse_root : (G, p + 1, p + 1) array
        Inverse of L without its crossed rows and columns.
    first : (G, K, p + 1, p + 1) array
        E_k.
    second : mapping of (k, l), k <= l, to (G, p + 1, p + 1) array
        E_kl; empty if it was not asked for.
    trace : (G, K) array
        c_k.
    raw_trace : (G, K) array
        tr(V^-1 G_k).
    information : (G, K, K) array
        M_kl.
    slope : (G, K) array
        f_k.
    share, product : (G, K), (G, K, K) arrays
        w q_k and w q_kl.
    """

    value: Array
    residual: Array
    inverse_root: Array
    first: Array
    second: dict[tuple[int, int], Array]
    trace: Array
    raw_trace: Array
    information: Array
    slope: Array
    share: Array
    product: Array

    def curvature(self, profiled: bool, dof: Array) -> Array:
        """f_kl, (G, K, K)."""
        hessian = 2.0 * self.product - self.information
        if profiled:
            hessian = hessian - self.share[:, :, None] * self.share[:, None, :] / dof[:, None, None]
        return hessian


class _Covariance:
    """D^-1 and products with the components, at one set of components for each feature."""

    def __init__(self, data: BlockedData, components: Array) -> None:
        layout = data.layout
        self.m, self.q = layout.slots, layout.blocks
        self.data = data
        m, q = self.m, self.q
        g = len(components)
        s = data.roots.reshape(-1, m, q).transpose(1, 0, 2)
        self.outer = s[:, None] * s[None, :]
        self.observed = (s > 0).astype(float)
        V = np.zeros((m, m, g, q))
        for k, pattern in layout.patterns.items():
            V += components[:, k, None] * pattern[:, :, None, :]
        V *= self.outer
        diagonal = np.arange(m)
        if data.base is None:
            V[diagonal, diagonal] += 1.0
        else:
            V[diagonal, diagonal] += data.base.reshape(g, m, q).transpose(1, 0, 2)
            V[diagonal, diagonal] += components[:, -1, None] * self.observed
        self.small = m <= UNROLLED
        self.log_determinant = self._invert(V)

    def _invert(self, V: Array) -> Array:
        """Set the inverse, (m, m, G, q), and return log|V|; NaN where V is not positive definite."""
        if self.small:
            log = np.zeros(V.shape[2:])
            for k in range(self.m):
                pivot = V[k, k].copy()
                log += np.log(pivot)
                column, row = V[:, k].copy(), V[k] / pivot
                V -= column[:, None] * row[None]
                V[k] = row
                V[:, k] = -column / pivot
                V[k, k] = 1.0 / pivot
            self.inverse = V
            return log.sum(axis=1)
        square = V.transpose(2, 3, 0, 1)
        sign, log = np.linalg.slogdet(square)
        bad = (sign <= 0) | ~np.isfinite(log)
        square = np.where(bad[..., None, None], np.eye(self.m), square)
        self.inverse = np.linalg.inv(square).transpose(2, 3, 0, 1)
        return np.where(bad, np.nan, log).sum(axis=1)

    def solve(self, rows: Array) -> Array:
        """Rows times D^-1: (G, r, m q)."""
        return self._times(self.inverse, rows)

    def _times(self, matrix: Array, rows: Array) -> Array:
        """Rows times a symmetric block-diagonal matrix (m, m, 1 or G, q)."""
        g, r, _ = rows.shape
        blocks = rows.reshape(g, r, self.m, self.q)
        if self.small:
            out = np.einsum("ijgq,grjq->griq", matrix, blocks)
        else:
            out = np.matmul(blocks.transpose(0, 3, 1, 2), matrix.transpose(2, 3, 0, 1)).transpose(0, 2, 3, 1)
        return np.asarray(out).reshape(g, r, -1)

    def component(self, k: int, rows: Array) -> Array:
        """Rows times G_k."""
        layout, roots = self.data.layout, self.data.roots[:, None]
        if k in layout.patterns:
            return self._times(layout.patterns[k][:, :, None, :], rows * roots) * roots
        if k not in layout.columns:
            return rows * (roots > 0)
        a, b = layout.columns[k]
        scaled = rows * roots
        out = (scaled @ b.T) @ a
        if a is not b:
            out += (scaled @ a.T) @ b
        return np.asarray(out * roots)

    def block(self, k: int) -> Array:
        """D^-1 G_k of an inner component, (m, m, G, q)."""
        if k not in self.data.layout.patterns:
            return np.asarray(self.inverse * self.observed[None])
        matrix = self.data.layout.patterns[k][:, :, None, :] * self.outer
        if self.small:
            return np.asarray(np.einsum("ijgq,jlgq->ilgq", self.inverse, matrix))
        product = np.matmul(self.inverse.transpose(2, 3, 0, 1), matrix.transpose(2, 3, 0, 1))
        return np.asarray(product.transpose(2, 3, 0, 1))


def _crossed_rows(data: BlockedData, root: Array) -> Array:
    """Z', (G, columns, m q): crossed columns times the root of their covariance and of the weights."""
    layout, effects = data.layout, data.effects
    g, size = len(root), layout.rows.size
    parts = []
    for j in layout.columns:
        owner, (_, b) = effects.owner[j], effects.pair[j]
        if not effects.diagonal[j]:
            continue
        total = np.zeros((g, len(layout.columns[j][0]), size))
        for i in layout.columns:
            if effects.owner[i] == owner and effects.pair[i][1] == b:
                total += root[:, i, None, None] * layout.columns[i][0]
        parts.append(total * data.roots[:, None])
    return np.concatenate(parts, axis=1) if parts else np.zeros((g, 0, size))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Factor:
    """D and the triangular factor of C."""

    covariance: _Covariance
    solved: Array
    pivots: Array
    factor: Array
    crossed: int
    value: Array


def _factorise(data: BlockedData, components: Array, root: Array | None) -> _Factor:
    covariance = _Covariance(data, components)
    rows = data.rows
    crossed = 0
    if data.layout.columns:
        if root is None:
            root = data.effects.root(components)
        z = _crossed_rows(data, root)
        crossed = z.shape[1]
        rows = np.concatenate([z, rows], axis=1)
    solved = covariance.solve(rows)
    C = np.matmul(rows, solved.transpose(0, 2, 1))
    C[:, np.arange(crossed), np.arange(crossed)] += 1.0
    p = data.rows.shape[1] - 1
    inner = np.arange(crossed, crossed + p)
    C[:, inner, inner] += ~data.kept
    factor = cholesky(np.ascontiguousarray(lower(C).T), C.shape[1])
    pivots = np.diagonal(factor)
    logs = np.log(pivots)
    value = covariance.log_determinant + 2.0 * logs[:, :-1].sum(axis=1)
    value = value + (2.0 * data.dof * logs[:, -1] if data.profiled else np.square(pivots[:, -1]))
    return _Factor(covariance, solved, pivots, factor, crossed, np.where(np.isfinite(value), value, np.inf))


def criterion(data: BlockedData, root: Array) -> Array:
    """F at one root for each feature, (G,); infinite where V is not positive definite."""
    with np.errstate(all="ignore"):
        return _factorise(data, data.effects.components(root), root).value


def evaluate(
    data: BlockedData, components: Array, *, root: Array | None = None, second: bool = False,
    rotate: Array | None = None,
) -> Point:  # fmt: skip
    """Evaluate f, its derivatives and what inference needs, at one set of components for each feature.

    Parameters
    ----------
    data : BlockedData
        G features.
    components : (G, K) array
        g.
    root : (G, K) array, optional
        A root of the components; needed for nothing but speed.
    second : bool
        Whether to keep the matrices E_kl.
    rotate : (G, p + 1, p + 1) array, optional
        Multiplies (U_x, u_y)', for definitions that mix two covariances (module `compat`).
    """
    found = _factorise(data, components, root)
    covariance, z = found.covariance, found.crossed
    inverse = np.ascontiguousarray(inverse_triangle(found.factor).transpose(2, 0, 1))
    U = np.matmul(inverse, found.solved)
    uz, ux = U[:, :z], U[:, z:]
    if rotate is not None:
        ux = np.matmul(rotate, ux)
    p, count = ux.shape[1] - 1, components.shape[1]
    g = len(components)

    def inverse_times(rows: Array) -> Array:
        out = covariance.solve(rows)
        return out - np.matmul(np.matmul(rows, uz.transpose(0, 2, 1)), uz) if z else out

    F = [covariance.component(k, ux) for k in range(count)]
    solved = [inverse_times(f) for f in F]
    first = np.empty((g, count, p + 1, p + 1))
    for k in range(count):
        np.matmul(ux, F[k].transpose(0, 2, 1), out=first[:, k])
    xx = first[:, :, :p, :p]
    raw, raw_products = _traces(data, covariance, uz, inverse_times)
    information, product = np.empty((g, count, count)), np.empty((g, count, count))
    kept: dict[tuple[int, int], Array] = {}
    rate = data.dof if data.profiled else np.square(found.pivots[:, -1])
    for k in range(count):
        for j in range(k, count):
            if second:
                kept[k, j] = np.matmul(F[k], solved[j].transpose(0, 2, 1))
                diagonal = np.diagonal(kept[k, j], axis1=1, axis2=2)
            else:
                diagonal = np.einsum("grn,grn->gr", F[k], solved[j])
            both = raw_products[:, k, j] - 2.0 * diagonal[:, :p].sum(axis=1)
            both += np.einsum("gab,gab->g", xx[:, k], xx[:, j])
            information[:, k, j] = information[:, j, k] = both
            cross = np.einsum("ga,ga->g", first[:, k, p, :p], first[:, j, p, :p])
            product[:, k, j] = product[:, j, k] = rate * (diagonal[:, p] - cross)
    trace = raw - np.trace(xx, axis1=2, axis2=3)
    share = rate[:, None] * first[:, :, p, p]
    return Point(
        value=found.value,
        residual=np.square(found.pivots[:, -1]),
        inverse_root=inverse[:, z:, z:],
        first=first,
        second=kept,
        trace=trace,
        raw_trace=raw,
        information=information,
        slope=trace - share,
        share=share,
        product=product,
    )


def _traces(
    data: BlockedData, covariance: _Covariance, uz: Array, inverse_times: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """tr(V^-1 G_k), (G, K), and tr(V^-1 G_k V^-1 G_l), (G, K, K)."""
    g, count = len(data.dof), len(data.effects.pair)
    trace, products = np.zeros((g, count)), np.zeros((g, count, count))
    inner = [k for k in range(count) if k not in data.layout.columns]
    blocks = {k: covariance.block(k) for k in inner}
    low = {k: covariance.component(k, uz) for k in inner} if uz.shape[1] else {}
    for at, k in enumerate(inner):
        trace[:, k] = np.einsum("iigq->g", blocks[k])
        if low:
            trace[:, k] -= np.einsum("grn,grn->g", uz, low[k])
        for j in inner[at:]:
            both = np.einsum("ijgq,jigq->g", blocks[k], blocks[j])
            if low:
                both = both - 2.0 * np.einsum("grn,grn->g", low[k], covariance.solve(low[j]))
                left, right = (np.matmul(uz, low[i].transpose(0, 2, 1)) for i in (k, j))
                both += np.einsum("gab,gab->g", left, right)
            products[:, k, j] = products[:, j, k] = both
    for k, (a, b) in data.layout.columns.items():
        wide = [np.broadcast_to(c, (g, *c.shape)) * data.roots[:, None] for c in (a, b)]
        twice = 1.0 if a is b else 2.0
        left = inverse_times(wide[0])
        right = left if a is b else inverse_times(wide[1])
        trace[:, k] = twice * np.einsum("grn,grn->g", wide[1], left)
        for j in range(count):
            both = twice * np.einsum("grn,grn->g", right, covariance.component(j, left))
            products[:, k, j] = products[:, j, k] = both
    return trace, products
