"""Orthonormal bases of the fixed effects, and which contrasts the data can tell.

For the observations that a feature has, X = Q R with Q orthonormal and R upper triangular, made column by
column from the left (Gram-Schmidt, applied twice). A column that adds nothing to those before it is aliased:
its column of Q is zero. With g = R b the model reads X b = Q g, and a contrast l'b is m'g with R'm = l.
It is estimable if, and only if, m is zero at every aliased column, because g is free there.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

__all__ = ["Basis", "contrast_coordinates", "orthonormal_basis", "unit_coefficients", "within_groups"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: A column whose part outside the earlier columns is shorter than this share of it is aliased (as in R's lm).
ALIAS_TOLERANCE = 1e-7
#: A contrast may miss zero at an aliased column by this share of the terms that cancel there, and by the
#: rounding of the terms that should be zero, a share of the column's length.
ESTIMABLE_TOLERANCE = 1e-8
ROUNDING_TOLERANCE = 1e-12


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Bases of m patterns of observation.

    Attributes
    ----------
    columns : (m, n, p) array
        Q; zero in rows that are not observed and in aliased columns.
    triangle : (m, p, p) array
        R, upper triangular; at an aliased column the diagonal holds the column's own length.
    kept : (m, p) array of bool
        Columns that are not aliased.
    """

    columns: Array
    triangle: Array
    kept: Flags


def orthonormal_basis(X: Array, observed: Flags) -> Basis:
    """Orthonormalise the columns of X over the observed rows of each pattern.

    Parameters
    ----------
    X : (n, p) array
        Design matrix, finite.
    observed : (m, n) array of bool
        Which rows each pattern has.

    Returns
    -------
    Basis
        One basis for each pattern.
    """
    m, n = observed.shape
    p = X.shape[1]
    peak = np.abs(X).max(axis=0, initial=0.0)
    unit = np.where(peak > 0, peak, 1.0)
    scaled = X / unit
    Q = np.zeros((m, n, p))
    R = np.zeros((m, p, p))
    kept = np.zeros((m, p), dtype=bool)
    for j in range(p):
        rest = np.where(observed, scaled[:, j], 0.0)
        length = np.linalg.norm(rest, axis=1)
        for _ in range(2):
            share = np.matmul(rest[:, None, :], Q[:, :, :j])[:, 0]
            rest = rest - np.matmul(Q[:, :, :j], share[..., None])[..., 0]
            R[:, :j, j] += share
        left = np.linalg.norm(rest, axis=1)
        kept[:, j] = left > ALIAS_TOLERANCE * length
        R[:, j, j] = np.where(kept[:, j], left, np.where(length > 0, length, 1.0))
        Q[:, :, j] = np.where(kept[:, j, None], rest / R[:, j, j, None], 0.0)
    return Basis(Q, R * unit, kept)


def contrast_coordinates(basis: Basis, contrasts: Array) -> tuple[Array, Flags]:
    """Express contrasts of b as contrasts of g = R b, and tell which are estimable.

    Parameters
    ----------
    basis : Basis
        Bases of m patterns.
    contrasts : (k, p) array
        One contrast a row.

    Returns
    -------
    coordinates : (m, k, p) array
        Rows m with R'm = l; zero at aliased columns.
    estimable : (m, k) array of bool
        Whether the pattern's observations determine the contrast.
    """
    R, kept = basis.triangle, basis.kept
    coordinates = np.zeros((R.shape[0], *contrasts.shape))
    estimable = np.ones(coordinates.shape[:2], dtype=bool)
    for j in range(contrasts.shape[1]):
        terms = coordinates[:, :, :j] * R[:, None, :j, j]
        rest = contrasts[:, j] - terms.sum(axis=2)
        size = np.abs(contrasts[:, j]) + np.abs(terms).sum(axis=2)
        length = np.linalg.norm(R[:, : j + 1, j], axis=1)[:, None]
        rounding = np.abs(coordinates[:, :, :j]).sum(axis=2) * length
        aliased = ~kept[:, None, j]
        limit = ESTIMABLE_TOLERANCE * size + ROUNDING_TOLERANCE * rounding
        estimable &= ~aliased | (np.abs(rest) <= limit)
        coordinates[:, :, j] = np.where(aliased, 0.0, rest / R[:, None, j, j])
    return coordinates, estimable


def within_groups(
    basis: Basis, observed: Flags, starts: NDArray[np.intp], coordinates: Array
) -> tuple[NDArray[np.int64], Flags]:
    """Residual degrees of freedom within groups, and which contrasts X tells within groups alone.

    With D the deviations of Q from its group means, n observations and q groups among them, n - q - rank D
    degrees of freedom within groups tell the residual variance apart from that of the groups, whatever the
    weights. Where there are none, more and more of the variance can be moved to the groups at no cost, and
    a contrast in the row space of D would lose its whole variance: nothing tells how well it is known. Other
    contrasts rest on the means of groups, whose variance the groups tell.

    Parameters
    ----------
    basis : Basis
        Bases of m patterns.
    observed : (m, n) array of bool
        The observations of each pattern, sorted by group.
    starts : (q,) array of int
        First observation of each group.
    coordinates : (m, k, p) array
        Contrasts in the coordinates of the bases.

    Returns
    -------
    dof : (m,) array of int
    within : (m, k) array of bool
        Contrasts in the row space of D; looked for only where `dof` is not positive.
    """
    seen = np.add.reduceat(observed.astype(np.int64), starts, axis=1)
    room = observed.sum(axis=1) - (seen > 0).sum(axis=1)
    # The rank is at most the number of columns, so most patterns need no more than counting.
    dof = room - basis.kept.sum(axis=1)
    within = np.zeros(coordinates.shape[:2], dtype=bool)
    close = np.flatnonzero(dof <= 0)
    if not len(close):
        return dof, within
    Q = basis.columns[close]
    means = np.add.reduceat(Q, starts, axis=1) / np.maximum(seen[close], 1)[..., None]
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=observed.shape[1]))
    D = np.where(observed[close][..., None], Q - means[:, group], 0.0)
    _, values, rows = np.linalg.svd(D, full_matrices=False)
    rows = np.where((values > ALIAS_TOLERANCE)[..., None], rows, 0.0)
    dof[close] = room[close] - (values > ALIAS_TOLERANCE).sum(axis=1)
    c = coordinates[close]
    rest = c - np.matmul(np.matmul(c, rows.transpose(0, 2, 1)), rows)
    size = np.linalg.norm(c, axis=2)
    inside = (np.linalg.norm(rest, axis=2) <= ALIAS_TOLERANCE * size) & (size > 0)
    within[close] = inside & (dof[close] <= 0)[:, None]
    return dof, within


def unit_coefficients(X: Array) -> Array | None:
    """Coefficients b with X b = 1 in every row, or None where the columns do not span the constant.

    They carry a constant taken off the responses back into the estimates without rounding: contrasts
    between visits stay exactly zero for it.
    """
    n, p = X.shape
    if n == 0 or p == 0:
        return None
    peak = np.abs(X).max(axis=0)
    unit = np.where(peak > 0, peak, 1.0)
    ones = np.ones(n)
    for j in range(p):
        if peak[j] > 0 and np.ptp(X[:, j]) == 0:
            coefficients = np.zeros(p)
            coefficients[j] = 1.0 / X[0, j]
            return coefficients
    solution = np.linalg.lstsq(X / unit, ones, rcond=None)[0] / unit
    whole = np.round(solution)
    solution = np.where(np.abs(solution - whole) < 1e-12, whole, solution)
    return solution if np.abs(X @ solution - ones).max() < 1e-12 else None
