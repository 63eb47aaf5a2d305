"""Features made ready for a solver, block by block: patterns of missing values, bases, location and scale."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .basis import Basis, contrast_coordinates, orthonormal_basis, unit_coefficients, within_groups
from .inputs import Inputs
from .structure import Effects, Layout, arrange, number_effects

__all__ = ["Block", "SharedLayout", "aliased_columns", "offsets", "precision", "prepare", "take"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

#: What differs by less than this many units in the last place of the largest response is rounding.
ROUNDING = 8 * np.finfo(np.float64).eps


class SharedLayout:
    """Order of rows and columns that the blocks of features share.

    Attributes
    ----------
    rows : (n,) array of int
        Observations sorted by the group of the first term.
    starts : (q,) array of int
        First observation of each group.
    columns : (p,) array of int
        Order of the columns of X.
    contrasts : (k + p, p) array
        The contrasts, then each coefficient, with their columns in that order.
    effects, slots : Effects and Layout, or None
        Components and blocks of observations for models beyond one intercept; None without observations.
    """

    def __init__(self, inputs: Inputs, *, general: bool) -> None:
        X, codes = inputs.X, inputs.terms[0].codes
        n, p = X.shape
        self.rows = np.argsort(codes, kind="stable")
        in_order = codes[self.rows]
        self.starts: Indices = np.flatnonzero(np.diff(in_order, prepend=-1))
        # Columns that do not vary within groups come first: their part within groups is then exactly zero.
        span = np.zeros(p)
        if n:
            upper = np.maximum.reduceat(X[self.rows], self.starts, axis=0)
            span = (upper - np.minimum.reduceat(X[self.rows], self.starts, axis=0)).max(axis=0)
        self.columns = np.argsort(span > 0, kind="stable")
        self.X = np.ascontiguousarray(X[self.rows][:, self.columns])
        self.contrasts = np.concatenate([inputs.contrasts, np.eye(p)])[:, self.columns]
        self.unit = unit_coefficients(self.X)
        self.effects: Effects | None = None
        self.slots: Layout | None = None
        if general and n:
            terms = [
                dataclasses.replace(term, codes=term.codes[self.rows], slopes=term.slopes[self.rows])
                for term in inputs.terms
            ]
            self.effects = number_effects(terms, residual=inputs.known_variance is not None)
            self.slots = arrange(terms, self.effects, p)

    @property
    def doubles(self) -> int:
        """How many doubles the largest arrays of one feature hold."""
        n, p = (int(size) for size in self.X.shape)
        if self.slots is None or self.effects is None:
            return n * (p + 1) + len(self.starts) * (p + 1) * (p + 2) // 2
        size = int(self.slots.rows.size)
        crossed = sum(len(a) for a, _ in self.slots.columns.values())
        width = (p + 1 + crossed) * (1 + len(self.effects.pair))
        return size * (width + self.slots.slots * (2 + len(self.effects.pair)))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some features: which observations they have, their bases, and their responses brought to unit size.

    Response = scale (constant + Q g + residual). All arrays have one row a feature, but `basis`,
    `aliased`, `coordinates`, `estimable`, `within_dof` and `within` have one row a pattern of observation,
    and `pattern` says which. The last two are those of `basis.within_groups`, for the groups of the first
    term; `varies` tells whether the responses differ by more than rounding.
    """

    observed: Flags
    weights: Array | None
    known: Array | None
    pattern: Indices
    basis: Basis
    aliased: Flags
    coordinates: Array
    estimable: Flags
    within_dof: NDArray[np.int64]
    within: Flags
    varies: Flags
    residual: Array
    coefficients: Array
    constant: Array
    scale: Array
    rounding: Array


def prepare(inputs: Inputs, layout: SharedLayout, rows: Indices) -> Block:
    """Sort the observations by group, find the patterns of missing values, take off scale and location."""
    y = inputs.Y[rows][:, layout.rows]
    observed = ~np.isnan(y)
    w = None
    if inputs.weights is not None:
        w = inputs.weights[rows][:, layout.rows]
        observed &= w > 0
    known = None if inputs.known_variance is None else inputs.known_variance[rows][:, layout.rows]
    patterns, which = _patterns(observed)
    basis = orthonormal_basis(layout.X, patterns)
    coordinates, estimable = contrast_coordinates(basis, layout.contrasts)
    within_dof, within = within_groups(basis, patterns, layout.starts, coordinates)
    # The rank does not depend on the order of the columns, but which of them are named does.
    aliased = ~basis.kept if basis.kept.all() else aliased_columns(inputs.X[layout.rows], patterns)

    y = np.where(observed, y, 0.0)
    peak = np.abs(y).max(axis=1, initial=0.0)
    first = _power_of_two(peak)
    y = y / first[:, None]
    constant = np.zeros(len(rows))
    upper = np.where(observed, y, -np.inf).max(axis=1)
    lower = np.where(observed, y, np.inf).min(axis=1)
    varies = upper - lower > ROUNDING * peak / first
    if layout.unit is not None:
        # The middle of the range, not the mean: of equal values it is exactly their value.
        constant = np.where(observed.any(axis=1), 0.5 * (np.maximum(upper, lower) + lower), 0.0)
        y = np.where(observed, y - constant[:, None], 0.0)
    second = _power_of_two(np.abs(y).max(axis=1, initial=0.0))
    y = y / second[:, None]
    Q = basis.columns if len(patterns) == 1 else basis.columns[which]
    coefficients = np.zeros((len(rows), Q.shape[2]))
    for _ in range(2):
        share = y @ Q[0] if len(Q) == 1 else np.matmul(y[:, None, :], Q)[:, 0]
        y = y - (share @ Q[0].T if len(Q) == 1 else np.matmul(Q, share[..., None])[..., 0])
        coefficients += share
    return Block(
        observed=observed,
        weights=w,
        known=known,
        pattern=which,
        basis=basis,
        aliased=aliased,
        coordinates=coordinates,
        estimable=estimable,
        within_dof=within_dof,
        within=within,
        varies=varies,
        residual=y,
        coefficients=coefficients,
        constant=constant / second,
        scale=first * second,
        rounding=ROUNDING * peak / (first * second),
    )


def aliased_columns(X: Array, observed: Flags) -> Flags:
    """Columns of X that add nothing to those before them, (G, p), over the observations of each feature."""
    patterns, which = _patterns(observed)
    return np.asarray(~orthonormal_basis(X, patterns).kept[which])


def take(block: Block, rows: Indices) -> Block:
    """Those features of a block; the patterns stay."""
    return dataclasses.replace(
        block,
        observed=block.observed[rows],
        weights=None if block.weights is None else block.weights[rows],
        known=None if block.known is None else block.known[rows],
        pattern=block.pattern[rows],
        varies=block.varies[rows],
        residual=block.residual[rows],
        coefficients=block.coefficients[rows],
        constant=block.constant[rows],
        scale=block.scale[rows],
        rounding=block.rounding[rows],
    )


def precision(block: Block) -> tuple[Array, Array]:
    """Weights with mean 1 over the observed, (1 or G, n), and the mean taken off, (1 or G,)."""
    if block.weights is None:
        shared = len(block.basis.kept) == 1
        return (block.observed[:1] if shared else block.observed).astype(float), np.ones(1)
    precision = np.where(block.observed, block.weights, 0.0)
    norm = precision.sum(axis=1) / block.observed.sum(axis=1)
    return precision / norm[:, None], norm


def _patterns(observed: Flags) -> tuple[Flags, Indices]:
    """The different rows, and which of them each row is."""
    if (observed == observed[0]).all():
        return observed[:1], np.zeros(len(observed), dtype=np.intp)
    packed = np.packbits(observed, axis=1)
    _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    return observed[first], which.reshape(-1)


def _power_of_two(size: Array) -> Array:
    """The power of two next above each size (1 for 0): dividing by it rounds nothing."""
    exponent = np.frexp(size)[1]
    return np.ldexp(1.0, np.where(size > 0, np.clip(exponent, -1000, 1000), 0))


def offsets(block: Block, layout: SharedLayout) -> Array:
    """Contrasts and coefficients of what was taken off the responses, (G, k + p)."""
    if len(block.coordinates) == 1:
        least = block.coefficients @ block.coordinates[0].T
    else:
        least = np.matmul(block.coordinates[block.pattern], block.coefficients[..., None])[..., 0]
    if layout.unit is not None:
        least = least + block.constant[:, None] * (layout.contrasts @ layout.unit)
    return np.asarray(least * block.scale[:, None])
