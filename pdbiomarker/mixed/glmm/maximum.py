"""Maximum likelihood by the Laplace approximation: starts, boundaries, and the observed information."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .families import FAMILIES, Family
from .information import Information, invert_information
from .laplace import Laplace, Levels
from .newton import Optimum, minimise

__all__ = ["Maximum", "Sample", "maximise", "simulate"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

#: Runs x observations x parameters of one batch.
BATCH = 250_000
#: Starts: standard deviation of participants, of biopsies, dispersion.
STARTS = ((0.7, 0.4, 5.0), (0.15, 0.15, 1.0))
#: Tried as well where these end without variance between participants: all of it may be there instead.
FAR_START = ((1.2, 0.7, 100.0),)
#: Range of the standard deviations and of the log dispersion.
LARGEST_DEVIATION = 30.0
LOG_DISPERSION = (-12.0, float(np.log(1e8)))
#: A standard deviation below this is zero.
ZERO_DEVIATION = 1e-4
#: A dispersion that gains less log-likelihood than this over its limit is infinite.
LIMIT_GAIN = 1e-7


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Data of M fits, sorted by participant and biopsy; see `Laplace` for the shapes."""

    levels: Levels
    y: Array
    size: Array | None
    seen: Array | None
    offset: Array
    design: Array

    def take(self, rows: Indices) -> Sample:
        """Those fits."""
        return Sample(
            self.levels,
            self.y[rows],
            None if self.size is None else self.size[rows],
            None if self.seen is None else self.seen[rows],
            self.offset if len(self.offset) == 1 else self.offset[rows],
            self.design if len(self.design) == 1 else self.design[rows],
        )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Maximum:
    """M fits.

    Attributes
    ----------
    g : (M, p) array
        Coefficients of `Sample.design`.
    covariance : (M, p, p) array
        Inverse of the observed information, without the directions in `flat`.
    flat : (M, p, p) array
        Projection on the directions that the data do not determine.
    s_u, s_v, d, loglik : (M,) arrays
        Standard deviations (s_v is NaN without biopsies), log dispersion (infinite at the limit, NaN in a
        family without one), log-likelihood.
    converged : (M,) array of bool
    """

    g: Array
    covariance: Array
    flat: Array
    s_u: Array
    s_v: Array
    d: Array
    loglik: Array
    converged: Flags

    @property
    def information(self) -> Information:
        """About the coefficients."""
        return Information(self.covariance, self.flat, self.converged)


def maximise(
    family: Family, sample: Sample, *, start: Array | None = None, curvature: bool = True
) -> Maximum:
    """Fit M sets.

    Parameters
    ----------
    family : Family
    sample : Sample
    start : (M, p + 3) array, optional
        g, s_u, s_v, d to start from; by default two starts are tried and the better end is kept.
    curvature : bool
        Whether `covariance` and `flat` are wanted (else they are zero).

    Returns
    -------
    Maximum
        Where a family's dispersion goes to infinity, the fit of its limit.
    """
    parameters = sample.design.shape[2] + 3
    block = max(1, BATCH // (sample.y.shape[1] * parameters))
    parts = []
    for first in range(0, len(sample.y), block):
        rows = np.arange(first, min(first + block, len(sample.y)))
        parts.append(
            _maximise_block(family, sample.take(rows), None if start is None else start[rows], curvature)
        )
    return _join(parts)


def simulate(family: Family, sample: Sample, parameters: Array, *, sets: int, seed: int) -> NDArray[np.int64]:
    """New responses (sets, n) from one fit; `sample` holds one set, `parameters` are g, s_u, s_v, d."""
    rng = np.random.default_rng(seed)
    p = sample.design.shape[2]
    levels = sample.levels
    s_u, s_v, d = parameters[p:]
    part = levels.to_biopsies(s_u * rng.standard_normal((sets, len(levels.starts))))
    if levels.biopsy_starts is not None:
        part = part + s_v * rng.standard_normal(part.shape)
    fixed = sample.design[0] @ parameters[:p] + sample.offset[0]
    size = None if sample.size is None else np.broadcast_to(sample.size, (sets, len(fixed)))
    drawn = family.draw(rng, fixed + levels.to_observations(part), np.asarray(d), size)
    return drawn if sample.seen is None else drawn * (sample.seen > 0)


def _join(parts: list[Maximum]) -> Maximum:
    names = [field.name for field in dataclasses.fields(Maximum)]
    return Maximum(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _maximise_block(family: Family, sample: Sample, start: Array | None, curvature: bool) -> Maximum:
    p = sample.design.shape[2]
    if start is None:
        optimum = _best(family, sample, STARTS)
        edge = np.flatnonzero(np.abs(optimum.parameters[:, p]) < ZERO_DEVIATION)
        if len(edge):
            far = _best(family, sample.take(edge), FAR_START)
            higher = far.converged & (far.value < optimum.value[edge] - LIMIT_GAIN)
            optimum = _replace(optimum, edge[higher], _select(far, np.flatnonzero(higher)))
        if curvature:
            again = _expand(family, sample, optimum.parameters)
            optimum = _run(family, sample, again, curvature=True)
    else:
        optimum = _run(family, sample, start, curvature=curvature)
    found = _read(family, sample, optimum, curvature)
    return found if family.limit is None else _or_limit(family, sample, found, optimum, curvature)


def _best(family: Family, sample: Sample, guesses: tuple[tuple[float, float, float], ...]) -> Optimum:
    """The better end of the searches from each start."""
    starts = _starts(sample, guesses)
    runs = np.tile(np.arange(len(sample.y)), len(starts))
    tried = _run(family, sample.take(runs), starts.reshape(-1, starts.shape[-1]), curvature=False)
    ends = np.where(np.isfinite(tried.value), tried.value, np.inf).reshape(len(starts), -1)
    # A start that did not converge is used only where none did.
    ends = ends + np.where(tried.converged.reshape(ends.shape), 0.0, 1e6)
    return _select(tried, ends.argmin(axis=0) * len(sample.y) + np.arange(len(sample.y)))


def _select(optimum: Optimum, rows: Indices) -> Optimum:
    names = [field.name for field in dataclasses.fields(Optimum)]
    return Optimum(**{name: getattr(optimum, name)[rows] for name in names})


def _replace(optimum: Optimum, rows: Indices, by: Optimum) -> Optimum:
    merged = {}
    for field in dataclasses.fields(Optimum):
        values = getattr(optimum, field.name).copy()
        values[rows] = getattr(by, field.name)
        merged[field.name] = values
    return Optimum(**merged)


def _starts(sample: Sample, guesses: tuple[tuple[float, float, float], ...]) -> Array:
    """(starts, M, p + 3): a least-squares fit of the crude predictor, and guesses of the variances."""
    seen = np.ones(1) if sample.seen is None else sample.seen
    if sample.size is None:
        crude = np.log(sample.y + 0.5) - sample.offset
    else:
        crude = np.log((sample.y + 0.5) / (sample.size - sample.y + 0.5)) - sample.offset
    # The columns are orthogonal, or zero.
    length = np.maximum(np.square(sample.design).sum(axis=1), 1e-12)
    g = np.matmul((crude * seen)[:, None, :], sample.design)[:, 0] / length
    starts = np.empty((len(guesses), *g.shape[:-1], g.shape[-1] + 3))
    for i, (s_u, s_v, dispersion) in enumerate(guesses):
        starts[i, :, :-3] = g
        starts[i, :, -3:] = s_u, s_v, np.log(dispersion * (1.0 if sample.size is None else 4.0))
    return starts


def _columns(family: Family, sample: Sample) -> Indices:
    """Which of g, s_u, s_v, d are parameters of this family and sample."""
    p = sample.design.shape[2]
    wanted = [*range(p + 1)]
    if sample.levels.biopsy_starts is not None:
        wanted.append(p + 1)
    if family.limit is not None:
        wanted.append(p + 2)
    return np.array(wanted)


def _expand(family: Family, sample: Sample, parameters: Array) -> Array:
    """All of g, s_u, s_v, d; NaN for those that are not parameters."""
    full = np.full((len(parameters), sample.design.shape[2] + 3), np.nan)
    full[:, _columns(family, sample)] = parameters
    return full


def _run(family: Family, sample: Sample, start: Array, *, curvature: bool) -> Optimum:
    """Newton from one start a set."""
    p = sample.design.shape[2]
    columns = _columns(family, sample)
    levels = sample.levels
    nested = levels.biopsy_starts is not None
    objective = Laplace(
        family,
        levels,
        sample.y,
        sample.size,
        sample.seen,
        sample.offset,
        sample.design,
        np.zeros((len(sample.y), len(levels.starts))),
        np.zeros((len(sample.y), len(levels.participant_of))) if nested else None,
    )
    lower = np.concatenate([np.full(p, -np.inf), [-LARGEST_DEVIATION] * 2, LOG_DISPERSION[:1]])[columns]
    upper = np.concatenate([np.full(p, np.inf), [LARGEST_DEVIATION] * 2, LOG_DISPERSION[1:]])[columns]
    free = np.ones((len(sample.y), len(columns)), dtype=bool)
    free[:, :p] = (sample.design != 0).any(axis=1)
    return minimise(objective, start[:, columns], free=free, lower=lower, upper=upper, curvature=curvature)


def _read(family: Family, sample: Sample, optimum: Optimum, curvature: bool) -> Maximum:
    """Name the parameters and invert the information."""
    p = sample.design.shape[2]
    full = _expand(family, sample, optimum.parameters)
    deviations = np.abs(full[:, p : p + 2])
    deviations = np.where(deviations < ZERO_DEVIATION, 0.0, deviations)
    covariance = flat = np.zeros((len(full), p, p))
    converged = optimum.converged & ~(deviations >= LARGEST_DEVIATION).any(axis=1)
    if curvature:
        information = invert_information(optimum.hessian, p)
        converged = converged & information.at_minimum
        covariance, flat = information.covariance, information.flat
    return Maximum(
        g=full[:, :p],
        covariance=covariance,
        flat=flat,
        s_u=deviations[:, 0],
        s_v=deviations[:, 1],
        d=full[:, p + 2],
        loglik=-optimum.value,
        converged=converged,
    )


def _or_limit(family: Family, sample: Sample, found: Maximum, optimum: Optimum, curvature: bool) -> Maximum:
    """Where the dispersion does not help, the fit of the family's limit instead.

    The data leave no doubt above a dispersion of 1e8; between 1e3 and that the limit is fitted and compared.
    """
    if family.limit is None:
        return found
    doubtful = np.flatnonzero((found.d > np.log(1e3)) | ~found.converged)
    if not len(doubtful):
        return found
    start = np.column_stack([found.g, np.maximum(found.s_u, 0.05), np.maximum(found.s_v, 0.05), found.d])[
        doubtful
    ]
    start[~np.isfinite(start)] = 0.1
    limit = FAMILIES[family.limit]
    part = sample.take(doubtful)
    other = _read(limit, part, _run(limit, part, start, curvature=curvature), curvature)
    stuck = optimum.at_bound[doubtful, -1] & (found.d[doubtful] > 0)
    better = other.converged & (stuck | (other.loglik >= found.loglik[doubtful] - LIMIT_GAIN))
    names = [field.name for field in dataclasses.fields(Maximum)]
    merged = {name: getattr(found, name).copy() for name in names}
    for name in names:
        values = np.full(len(better), np.inf) if name == "d" else getattr(other, name)
        merged[name][doubtful[better]] = values[better]
    return Maximum(**merged)
