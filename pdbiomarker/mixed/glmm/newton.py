"""Minimise many smooth functions of a few parameters at once, from exact gradients.

Newton steps with a Hessian from differences of the gradient: forward ones on the way, central ones at the
end, where they are the observed information. The eigenvalues of the Hessian are taken by their size, so a
step always leads downhill, away from saddle points too; steps are bounded and shortened until the function
falls. A run that has finished leaves the batch.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Objective", "Optimum", "minimise"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

MAX_ITERATIONS = 80
#: A run is finished when the squared length of its Newton step, in standard errors, is below this.
DECREMENT = 1e-11
#: Steps of the differences: forward, central.
FORWARD_STEP, CENTRAL_STEP = 1e-5, 1e-4
#: No parameter moves by more than this in one step (all are on a log, logit or unit scale).
LONGEST_STEP = 2.0
SHORTENINGS = 12
SMALLEST_EIGENVALUE = 1e-10


class Objective(Protocol):
    """M functions of P parameters each."""

    def evaluate(self, parameters: Array) -> tuple[Array, Array]:
        """Values (..., M) and gradients (..., M, P) at parameters (..., M, P)."""
        ...

    def take(self, rows: Indices) -> Self:
        """Those functions only."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """Where the M runs ended.

    Attributes
    ----------
    parameters, gradient : (M, P) arrays
    value : (M,) array
    hessian : (M, P, P) array
        Rows and columns of fixed parameters are those of the identity.
    converged : (M,) array of bool
    at_bound : (M, P) array of bool
        Parameters that stand at a bound, with the function still falling outwards.
    """

    parameters: Array
    value: Array
    gradient: Array
    hessian: Array
    converged: Flags
    at_bound: Flags


def minimise(
    objective: Objective, start: Array, *, free: Flags, lower: Array, upper: Array, curvature: bool = True
) -> Optimum:
    """Minimise M functions.

    Parameters
    ----------
    objective : Objective
    start : (M, P) array
    free : (M, P) array of bool
        Parameters that may move.
    lower, upper : (P,) arrays
        Their range.
    curvature : bool
        Whether the Hessians at the end are wanted (else they are zero).

    Returns
    -------
    Optimum
    """
    x = np.clip(start, lower, upper)
    runs, size = x.shape
    value, gradient = np.empty(runs), np.empty_like(x)
    converged = np.zeros(runs, dtype=bool)
    active = np.arange(runs)
    part = objective
    here = x.copy()
    f, g = _evaluate(part, here)
    for _ in range(MAX_ITERATIONS):
        movable = free[active] & ~_blocked(here, g, lower, upper)
        hessian = _hessian(part, here, g, movable, central=False)
        step = _step(g, hessian, movable)
        decrement = -(step * g).sum(axis=1)
        last = (decrement < DECREMENT) & np.isfinite(f)
        step *= np.minimum(1.0, LONGEST_STEP / np.maximum(np.abs(step).max(axis=1), 1e-300))[:, None]
        here, f, g, moved = _descend(part, here, step, (f, g), (lower, upper), certain=last)
        done = last | ~moved
        converged[active] = last | (~moved & (decrement < 1e-6))
        x[active], value[active], gradient[active] = here, f, g
        if done.any():
            keep = np.flatnonzero(~done)
            active, part = active[keep], part.take(keep)
            here, f, g = here[keep], f[keep], g[keep]
        if not len(active):
            break
    at_bound = free & _blocked(x, gradient, lower, upper)
    hessian = np.zeros((runs, size, size))
    if curvature:
        hessian = _hessian(objective, x, gradient, free & ~at_bound, central=True)
    return Optimum(x, value, gradient, hessian, converged & np.isfinite(value), at_bound)


def _evaluate(objective: Objective, x: Array) -> tuple[Array, Array]:
    """Value and gradient; what cannot be computed is infinitely bad."""
    with np.errstate(all="ignore"):
        value, gradient = objective.evaluate(x)
    bad = ~(np.isfinite(value) & np.isfinite(gradient).all(axis=-1))
    return np.where(bad, np.inf, value), np.where(bad[..., None], 0.0, gradient)


def _blocked(x: Array, gradient: Array, lower: Array, upper: Array) -> Flags:
    return np.asarray(((x >= upper) & (gradient < 0)) | ((x <= lower) & (gradient > 0)))


def _hessian(objective: Objective, x: Array, gradient: Array, movable: Flags, *, central: bool) -> Array:
    """(M, P, P), symmetric; identity for what does not move."""
    runs, size = x.shape
    h = CENTRAL_STEP if central else FORWARD_STEP
    # Only parameters that move in some run are varied.
    varied = np.flatnonzero(movable.any(axis=0))
    shifts = np.zeros((len(varied), 1, size))
    shifts[np.arange(len(varied)), 0, varied] = h
    if central:
        _, two = _evaluate(objective, np.concatenate([x + shifts, x - shifts]))
        columns = (two[: len(varied)] - two[len(varied) :]) / (2.0 * h)
    else:
        columns = (_evaluate(objective, x + shifts)[1] - gradient) / h
    hessian = np.zeros((runs, size, size))
    hessian[:, varied, :] = columns.transpose(1, 0, 2)
    both = movable[:, :, None] & movable[:, None, :]
    hessian = np.where(both, 0.5 * (hessian + hessian.transpose(0, 2, 1)), 0.0)
    hessian[:, np.arange(size), np.arange(size)] += ~movable
    return hessian


def _step(gradient: Array, hessian: Array, movable: Flags) -> Array:
    """Newton step with the eigenvalues of the Hessian taken by size."""
    vectors_of = np.linalg.eigh(np.where(np.isfinite(hessian), hessian, 0.0))
    values = np.maximum(np.abs(vectors_of.eigenvalues), SMALLEST_EIGENVALUE)
    slope = np.where(movable, gradient, 0.0)
    along = np.matmul(vectors_of.eigenvectors.transpose(0, 2, 1), slope[..., None])[..., 0] / values
    return np.where(movable, -np.matmul(vectors_of.eigenvectors, along[..., None])[..., 0], 0.0)


def _descend(
    objective: Objective,
    x: Array,
    step: Array,
    now: tuple[Array, Array],
    bounds: tuple[Array, Array],
    *,
    certain: Flags,
) -> tuple[Array, Array, Array, Flags]:
    """Shorten each step until the function falls; `certain` steps are so short that rounding decides."""
    f, g = now
    x, f, g = x.copy(), f.copy(), g.copy()
    expected = (step * g).sum(axis=1)
    moved = np.zeros(len(f), dtype=bool)
    open_ = np.arange(len(f))
    share = 1.0
    for _ in range(SHORTENINGS):
        part = objective if len(open_) == len(f) else objective.take(open_)
        trial = np.clip(x[open_] + share * step[open_], *bounds)
        value, gradient = _evaluate(part, trial)
        rounding = 1e-13 * (1.0 + np.abs(f[open_]))
        accept = value <= f[open_] + 1e-4 * share * expected[open_] + rounding
        accept |= certain[open_] & np.isfinite(value) & (value <= f[open_] + 1e-9)
        taken = open_[accept]
        x[taken], f[taken], g[taken] = trial[accept], value[accept], gradient[accept]
        moved[taken] = True
        open_ = open_[~accept]
        if not len(open_):
            break
        share *= 0.25
    return x, f, g, moved
