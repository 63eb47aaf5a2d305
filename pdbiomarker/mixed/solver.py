"""From a block of features to their optima: the fast way of one intercept, and the way of all others."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .blocks import BlockedData, Point, evaluate
from .compat import unweighted_uncertainty
from .inference import ContrastTable, Uncertainty, infer, infer_from, uncertainty
from .inputs import Inputs
from .optimum import Optimum, minimise
from .prepare import Block, SharedLayout, precision
from .reml import GroupedDesign, solve

__all__ = ["Found", "Optima", "blocked_data", "describe", "pick", "solve_any", "solve_one_intercept"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Optima of G features whose responses and weights have unit size.

    Attributes
    ----------
    table : ContrastTable
        Contrasts and coefficients, (G, k + p).
    components : (G, K) array
        Variances and covariances of the terms, relative to s2; absolute with known variances.
    s2, criterion, rdf, dof : (G,) arrays
        Residual variance, f, tr((I - H)^2) with H the hat matrix of fixed and random effects, nu.
    singular : (G, K) array of bool
        Variances on the bound of their range, or not told by the data.
    edge, exact, converged : (G,) arrays of bool
        Whether the fit is singular; whether nothing is left around it; whether it was found.
    norm : (1 or G,) array
        Mean of the weights, taken off them.
    profiled : bool
        Whether s2 was profiled out of the criterion.
    """

    table: ContrastTable
    components: Array
    s2: Array
    criterion: Array
    rdf: Array
    dof: Array
    singular: Flags
    edge: Flags
    exact: Flags
    converged: Flags
    norm: Array
    weights: Array
    profiled: bool


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Optima:
    """Optima that were found before.

    Attributes
    ----------
    sigma2 : (G,) array
    variance : (G, K) array
    singular : (G, K) array of bool
    usable : (G,) array of bool
        Features that have an optimum.
    """

    sigma2: Array
    variance: Array
    singular: Flags
    usable: Flags

    def take(self, rows: Indices) -> Optima:
        """Those of some features."""
        return Optima(self.sigma2[rows], self.variance[rows], self.singular[rows], self.usable[rows])

    def components(self, data: BlockedData, scale: Array, norm: Array) -> Array:
        """Components of scaled responses and weights, (G, K)."""
        effects = data.effects
        if data.profiled:
            return np.asarray(self.variance * effects.unit * (norm / self.sigma2)[:, None])
        s2 = self.sigma2 / norm
        return np.column_stack([self.variance * effects.unit[:-1], s2]) / np.square(scale)[:, None]


def solve_one_intercept(inputs: Inputs, layout: SharedLayout, block: Block) -> Found:
    """Fit one random intercept without known variances."""
    weights, norm = precision(block)
    which = pick(block)
    design = GroupedDesign(block.basis.columns[which], weights, layout.starts, block.basis.kept[which])
    told = block.within_dof[block.pattern] > 0
    solution = solve(design, block.residual, allow_negative=inputs.allow_negative, told=told)
    exact = solution.converged & ((solution.at_upper & told) | (solution.s2 <= np.square(block.rounding)))
    edge = solution.at_zero | solution.at_lower | solution.at_upper
    table = infer(solution, block.coordinates[which], inputs.ddf)
    if not told.all():
        blank = block.within[block.pattern] | (solution.at_upper & ~told)[:, None]
        table.se[blank] = table.df[blank] = np.nan
    theta, c = solution.theta, solution.trace
    with np.errstate(all="ignore"):
        both = solution.expected + c * c / solution.dof
        rdf = np.maximum(solution.dof - 2.0 * theta * c + theta * theta * both, 0.0)
    return Found(
        table=table,
        components=theta[:, None],
        s2=solution.s2,
        criterion=solution.criterion,
        rdf=rdf,
        dof=solution.dof,
        singular=edge[:, None],
        edge=edge,
        exact=exact,
        converged=solution.converged,
        norm=norm,
        weights=weights,
        profiled=True,
    )


def solve_any(inputs: Inputs, layout: SharedLayout, block: Block, optima: Optima | None = None) -> Found:
    """Fit any random effects, or return to optima that are known."""
    data, weights, norm = blocked_data(layout, block)
    effects = data.effects
    if optima is None:
        best = minimise(data, np.square(block.residual).sum(axis=1) / data.dof)
        components = effects.components(best.root)
    else:
        with np.errstate(all="ignore"):
            components = optima.components(data, block.scale, norm)
        best = known_optimum(data, components, optima)
    with np.errstate(all="ignore"):
        point, known = describe(inputs, data, None if inputs.allow_negative else best.root, components, norm)
        table = infer_from(known, block.coordinates[pick(block)], inputs.ddf)
        rdf = _effective_residual_df(point, components, data)
    terms = slice(None) if data.profiled else slice(-1)
    s2 = known.scale if data.profiled else components[:, -1]
    return Found(
        table=table,
        components=(components / effects.unit)[:, terms],
        s2=s2,
        criterion=point.value,
        rdf=rdf,
        dof=data.dof,
        singular=best.zero[:, terms],
        edge=best.zero.any(axis=1),
        exact=best.far | (best.converged & (known.scale <= np.square(block.rounding))),
        converged=best.converged & np.isfinite(point.value),
        norm=norm,
        weights=weights,
        profiled=data.profiled,
    )


def known_optimum(data: BlockedData, components: Array, optima: Optima) -> Optimum:
    """An optimum as `minimise` gives it, from its components."""
    with np.errstate(all="ignore"):
        root = data.effects.root(components)
    singular = optima.singular
    if not data.profiled:
        singular = np.column_stack([singular, components[:, -1] == 0])
    return Optimum(root, singular, singular, optima.usable, np.zeros(len(root), dtype=bool))


def describe(
    inputs: Inputs, data: BlockedData, root: Array | None, components: Array, norm: Array
) -> tuple[Point, Uncertainty]:
    """Evaluate the optimum, and what standard errors and df need there, by the definitions asked for.

    Parameters
    ----------
    inputs : Inputs
    data : BlockedData
        G features.
    root : (G, K) array or None
        Roots of the components; None where those may be negative.
    components : (G, K) array
    norm : (1 or G,) array
        Mean of the weights, taken off them.
    """
    point = evaluate(data, components, root=root, second=inputs.ddf == "kenward-roger")
    known = uncertainty(data, point, root, inputs.ddf)
    dropped = inputs.compat in {"lmerTest", "dream"} and inputs.weights is not None
    if dropped and inputs.ddf == "kenward-roger":
        known = unweighted_uncertainty(data, point, known, components, norm)
    return point, known


def _effective_residual_df(point: Point, components: Array, data: BlockedData) -> Array:
    """tr((I - H)^2) = tr(R P R P) with R = V - sum_k g_k G_k, the terms' components."""
    terms = components if data.profiled else components[:, :-1]
    count = terms.shape[1]
    square = np.einsum("gk,gkl,gl->g", terms, point.information[:, :count, :count], terms)
    left = data.dof - 2.0 * (terms * point.trace[:, :count]).sum(axis=1) + square
    return np.asarray(np.maximum(left, 0.0))


def pick(block: Block) -> slice | NDArray[np.intp]:
    """Which basis each feature has; a slice where all share one."""
    return slice(None) if len(block.basis.kept) == 1 else block.pattern


def blocked_data(layout: SharedLayout, block: Block) -> tuple[BlockedData, Array, Array]:
    """Rows of a block of features as module `blocks` takes them, their weights and the mean taken off."""
    effects, slots = layout.effects, layout.slots
    if effects is None or slots is None:
        raise ValueError("a layout without random effects has no blocks")
    weights, norm = precision(block)
    which = pick(block)
    g = len(block.residual)
    roots = slots.place(np.sqrt(weights))
    columns = slots.place(block.basis.columns[which].transpose(0, 2, 1))
    rows = np.empty((g, columns.shape[1] + 1, slots.rows.size))
    np.multiply(columns, roots[:, None], out=rows[:, :-1])
    np.multiply(slots.place(block.residual), roots, out=rows[:, -1])
    base = None
    if block.known is not None:
        variance = np.where(block.observed, block.known, 0.0) / np.square(block.scale)[:, None] * weights
        base = slots.place(np.where(block.observed, variance, 1.0))
        base[:, slots.rows == weights.shape[1]] = 1.0
        # Where nothing is known to vary, s2 must not vanish altogether.
        base = np.maximum(base, 1e-12 * np.square(block.residual).max(axis=1)[:, None])
    kept = block.basis.kept[which]
    dof = (np.count_nonzero(block.observed, axis=1) - kept.sum(axis=1)).astype(float)
    return BlockedData(slots, effects, rows, roots, base, kept, dof), weights, norm
