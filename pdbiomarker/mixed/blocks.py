r"""The REML criterion and its derivatives for any random effects, many features at once.

Rows are scaled by the roots of the precision weights (0 = not observed), so that V = B + sum_k g_k G_k with
the components g of module `structure`. Without known variances B = I, g is relative to the residual variance
s2, and s2 is profiled out; with them (Var(e) = s2 W^-1 + K) B holds K and s2 is one more component, G = I.

Write V = D + Z Z' with D = R R' the block diagonal part and Z the columns of crossed terms times the root of
their covariance. All rows are whitened by R^-1, and so are the components: below, T, Z, G_k stand for
R^-1 T, R^-1 Z, R^-1 G_k R^-T, and D for I. (Whitened, what varies little beside the terms keeps its digits.)
With T = (Z, Q, y), Q the orthonormal basis of X,

    C = T'T + diag(I, 0, 0) = L L',    U = T L^-T = (U_z, U_x, u_y),

    V^-1 = I - U_z U_z',     P = V^-1 - U_x U_x',     u_y = P y / sqrt(r2),     r2 = y'P y = L_yy^2,

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

import numpy as np
from numpy.typing import NDArray

from .structure import Effects, Layout
from .triangles import cholesky, inverse_triangle, lower, triangle

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
    """R^-1, and the whitened components, at one set of components for each feature."""

    def __init__(self, data: BlockedData, components: Array) -> None:
        layout = data.layout
        self.m, self.q = layout.slots, layout.blocks
        self.small = self.m <= UNROLLED
        self._data = data
        self._roots = data.roots.reshape(-1, self.m, self.q).transpose(1, 0, 2)
        # Small blocks are kept as lower triangles, row by row.
        rows, columns = triangle(self.m) if self.small else np.indices((self.m, self.m)).reshape(2, -1)
        self.log_determinant = self._factorise(self._entries(components, rows, columns))
        #: Whitened inner components, (m, m, G, q), and whitened columns of crossed ones; made by `whiten`.
        self.inner: dict[int, Array] = {}
        self.crossed: dict[int, tuple[Array, Array]] = {}

    def _entries(self, components: Array, rows: Indices, columns: Indices) -> Array:
        """Those entries of D, (entries, G, q)."""
        data, s = self._data, self._roots
        V = np.zeros((len(rows), len(components), self.q))
        for k, pattern in data.layout.patterns.items():
            V += components[:, k, None] * pattern[rows, columns][:, None]
        V *= s[rows]
        V *= s[columns]
        diagonal = np.flatnonzero(rows == columns)
        if data.base is None:
            V[diagonal] += 1.0
        else:
            V[diagonal] += data.base.reshape(-1, self.m, self.q).transpose(1, 0, 2)
            V[diagonal] += components[:, -1, None] * (s > 0)
        return V

    def _factorise(self, V: Array) -> Array:
        """Set R^-1, (m, m, G, q), and return log|D|; NaN where D is not positive definite."""
        m, (_, g, q) = self.m, V.shape
        if self.small:
            factor = cholesky(V.reshape(len(V), -1), m)
            self._root = inverse_triangle(factor).reshape(m, m, g, q)
            log = np.log(np.diagonal(factor)).sum(axis=1).reshape(g, q)
            return np.asarray(2.0 * log.sum(axis=1))
        square = np.ascontiguousarray(V.reshape(m, m, g, q).transpose(2, 3, 0, 1))
        bad = ~np.isfinite(square).all(axis=(2, 3))
        square[bad] = np.eye(m)
        low = np.linalg.eigvalsh(square)[..., 0] <= 0 if not _definite(square) else np.zeros_like(bad)
        square[low] = np.eye(m)
        factor = np.linalg.cholesky(square)
        self._root = np.linalg.inv(factor).transpose(2, 3, 0, 1)
        log = np.log(np.diagonal(factor, axis1=2, axis2=3)).sum(axis=2)
        return np.asarray(2.0 * np.where(bad | low, np.nan, log).sum(axis=1))

    def white(self, rows: Array) -> Array:
        """Rows, (G, r, m q), times R^-T."""
        if not self.small:
            return self._times(self._root, rows)
        g, r, _ = rows.shape
        blocks = rows.reshape(g, r, self.m, self.q)
        out = np.empty_like(blocks)
        for i in range(self.m):
            np.einsum("jgq,grjq->grq", self._root[i, : i + 1], blocks[:, :, : i + 1], out=out[:, :, i])
        return out.reshape(g, r, -1)

    def whiten(self) -> None:
        """Make the whitened components."""
        scaled = self._root * self._roots
        turned = scaled.transpose(1, 0, 2, 3)
        for k, pattern in self._data.layout.patterns.items():
            self.inner[k] = self._product(self._product(scaled, pattern[:, :, None]), turned)
        if self._data.base is not None:
            seen = self._root * (self._roots > 0)
            self.inner[len(self._data.effects.pair) - 1] = self._product(
                seen, self._root.transpose(1, 0, 2, 3)
            )
        roots = self._data.roots[:, None]
        for k, (a, b) in self._data.layout.columns.items():
            shape = (len(self._data.dof), *a.shape)
            left = self.white(np.broadcast_to(a, shape) * roots)
            right = left if a is b else self.white(np.broadcast_to(b, shape) * roots)
            self.crossed[k] = (left, right)

    def _product(self, a: Array, b: Array) -> Array:
        """Products of matrices (m, m, 1 or G, q)."""
        if self.small:
            return np.asarray(np.einsum("ijgq,jlgq->ilgq", a, b))
        product = np.matmul(a.transpose(2, 3, 0, 1), b.transpose(2, 3, 0, 1))
        return np.asarray(product.transpose(2, 3, 0, 1))

    def _times(self, matrix: Array, rows: Array) -> Array:
        """Rows times the transposes of matrices (m, m, 1 or G, q)."""
        g, r, _ = rows.shape
        blocks = rows.reshape(g, r, self.m, self.q)
        if self.small:
            out = np.einsum("ijgq,grjq->griq", matrix, blocks)
        else:
            out = np.matmul(blocks.transpose(0, 3, 1, 2), matrix.transpose(2, 3, 1, 0)).transpose(0, 2, 3, 1)
        return np.asarray(out).reshape(g, r, -1)

    def component(self, k: int, rows: Array) -> Array:
        """Whitened rows times the whitened G_k."""
        if k in self.inner:
            return self._times(self.inner[k], rows)
        a, b = self.crossed[k]
        out = np.matmul(np.matmul(rows, b.transpose(0, 2, 1)), a)
        if a is not b:
            out += np.matmul(np.matmul(rows, a.transpose(0, 2, 1)), b)
        return np.asarray(out)


def _definite(matrices: Array) -> bool:
    """Whether all matrices are positive definite."""
    try:
        np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        return False
    return True


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
    white: Array
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
    white = covariance.white(rows)
    C = np.matmul(white, white.transpose(0, 2, 1))
    C[:, np.arange(crossed), np.arange(crossed)] += 1.0
    p = data.rows.shape[1] - 1
    inner = np.arange(crossed, crossed + p)
    C[:, inner, inner] += ~data.kept
    factor = cholesky(np.ascontiguousarray(lower(C).T), C.shape[1])
    pivots = np.diagonal(factor)
    logs = np.log(pivots)
    value = covariance.log_determinant + 2.0 * logs[:, :-1].sum(axis=1)
    value = value + (2.0 * data.dof * logs[:, -1] if data.profiled else np.square(pivots[:, -1]))
    return _Factor(covariance, white, pivots, factor, crossed, np.where(np.isfinite(value), value, np.inf))


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
    U = np.matmul(inverse, found.white)
    uz, ux = U[:, :z], U[:, z:]
    if rotate is not None:
        ux = np.matmul(rotate, ux)
    covariance.whiten()
    p, count = ux.shape[1] - 1, components.shape[1]
    g = len(components)
    F = [covariance.component(k, ux) for k in range(count)]
    low = [np.matmul(f, uz.transpose(0, 2, 1)) for f in F] if z else []
    first = np.empty((g, count, p + 1, p + 1))
    for k in range(count):
        np.matmul(ux, F[k].transpose(0, 2, 1), out=first[:, k])
    xx = first[:, :, :p, :p]
    raw, raw_products = _traces(covariance, uz, count)
    information, product = np.empty((g, count, count)), np.empty((g, count, count))
    kept: dict[tuple[int, int], Array] = {}
    rate = data.dof if data.profiled else np.square(found.pivots[:, -1])
    for k in range(count):
        for j in range(k, count):
            if second:
                both = np.matmul(F[k], F[j].transpose(0, 2, 1))
                kept[k, j] = both - np.matmul(low[k], low[j].transpose(0, 2, 1)) if z else both
                diagonal = np.diagonal(kept[k, j], axis1=1, axis2=2)
            else:
                diagonal = np.einsum("grn,grn->gr", F[k], F[j])
                diagonal = diagonal - np.einsum("grn,grn->gr", low[k], low[j]) if z else diagonal
            total = raw_products[:, k, j] - 2.0 * diagonal[:, :p].sum(axis=1)
            total += np.einsum("gab,gab->g", xx[:, k], xx[:, j])
            information[:, k, j] = information[:, j, k] = total
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


def _traces(covariance: _Covariance, uz: Array, count: int) -> tuple[Array, Array]:
    """tr(V^-1 G_k), (G, K), and tr(V^-1 G_k V^-1 G_l), (G, K, K)."""
    g = len(uz)
    trace, products = np.zeros((g, count)), np.zeros((g, count, count))
    inner = covariance.inner
    low = {k: covariance.component(k, uz) for k in inner} if uz.shape[1] else {}
    for k, matrix in inner.items():
        trace[:, k] = np.einsum("iigq->g", matrix)
        if low:
            trace[:, k] -= np.einsum("grn,grn->g", uz, low[k])
        for j in inner:
            if j < k:
                continue
            both = np.einsum("ijgq,ijgq->g", matrix, inner[j])
            if low:
                both = both - 2.0 * np.einsum("grn,grn->g", low[k], low[j])
                left, right = (np.matmul(uz, low[i].transpose(0, 2, 1)) for i in (k, j))
                both += np.einsum("gab,gab->g", left, right)
            products[:, k, j] = products[:, j, k] = both
    for k, (a, b) in covariance.crossed.items():
        twice = 1.0 if a is b else 2.0
        left = a - np.matmul(np.matmul(a, uz.transpose(0, 2, 1)), uz)
        right = left if a is b else b - np.matmul(np.matmul(b, uz.transpose(0, 2, 1)), uz)
        trace[:, k] = twice * np.einsum("grn,grn->g", b, left)
        for j in range(count):
            both = twice * np.einsum("grn,grn->g", right, covariance.component(j, left))
            products[:, k, j] = products[:, j, k] = both
    return trace, products
