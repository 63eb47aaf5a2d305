"""`fit_counts` and `fit_proportions`: the road from arrays to tested contrasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.mixed.basis import contrast_coordinates, orthonormal_basis

from .families import FAMILIES, Family
from .information import contrast_tests
from .inputs import Checked, Inference, check_arrays, check_counts, check_inference, shaped
from .laplace import Levels
from .maximum import Maximum, Sample, maximise, simulate
from .pairs import count_pairs

__all__ = ["GlmmFit", "fit_counts", "fit_proportions"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class GlmmFit:
    """Fits of F features with k contrasts and p coefficients; logs of means or logits of proportions.

    Attributes
    ----------
    estimate, se, df, t, p : (F, k) arrays
        Each contrast with its standard error (from the observed information), degrees of freedom, t and
        two-sided p; NaN where the data do not tell it. exp(estimate) is a ratio of means (or of odds) within
        a participant.
    estimable : (F, k) array of bool
        False where the design does not determine the contrast, or the data separate (no cell at one visit:
        the estimate is infinite).
    coefficients : (F, p) array
        Coefficients of X; NaN where one is not estimable by itself.
    sigma, sigma_biopsy : (F,) arrays
        Standard deviation of the participant and of the biopsy intercept (NaN: not in the model).
    dispersion : (F,) array
        theta of nbinom2, phi of betabinomial; inf at the limit (poisson, binomial); NaN in those families.
    loglik : (F,) array
        Laplace log-likelihood (ML) with all constants, as glmmTMB's logLik.
    status : (F,) array of str
        ``ok``; ``singular``: on a boundary, see `boundary`, estimates stand; ``not_estimable``: no contrast
        is; ``too_few``: no more observations than coefficients, or one participant; ``constant``: no count
        but zero, or every proportion 0, or every one 1; ``not_converged``: no maximum was found.
    boundary : (F,) array of str
        Which: any of ``participant``, ``biopsy`` (that variance is 0), ``dispersion`` (at its limit),
        ``separated``, joined by ``+``.
    n_obs, n_groups : (F,) arrays of int
        Observations used, and participants among them.
    n_pairs : (F, k) array of int
        Participants within whom the contrast's columns vary; 0 for a contrast between participants, whose
        df is participants - coefficients that do not vary within participants.
    family : str
    inference : Inference
    """

    estimate: Array
    se: Array
    df: Array
    t: Array
    p: Array
    estimable: Flags
    coefficients: Array
    sigma: Array
    sigma_biopsy: Array
    dispersion: Array
    loglik: Array
    status: NDArray[np.str_]
    boundary: NDArray[np.str_]
    n_obs: NDArray[np.int64]
    n_groups: NDArray[np.int64]
    n_pairs: NDArray[np.int64]
    family: str
    inference: Inference


def fit_counts(
    y: ArrayLike,
    X: ArrayLike,
    groups: ArrayLike | Mapping[str, ArrayLike],
    *,
    offset: ArrayLike | None = None,
    family: str = "nbinom2",
    contrasts: ArrayLike | None = None,
    inference: Inference | str = "t",
) -> GlmmFit:
    """Fit counts of cells with a participant intercept by maximum likelihood (Laplace).

    log E(y) = X b + offset + u[participant] (+ v[biopsy]).

    Parameters
    ----------
    y : (F, n) or (n,) array
        Counts, features x observations; NaN = missing, for that feature only.
    X : (n, p) array
        Design matrix. Aliased columns are allowed.
    groups : (n,) array of labels, or mapping of term names to them
        Participant of each observation; a mapping's second term is the biopsy, within its participant, for
        observations below the biopsy (slides, regions).
    offset : (n,) or (F, n) array, optional
        log of the area (mm2), so that exp of a contrast is a ratio of densities.
    family : {"nbinom2", "poisson"}
        Variance mu + mu^2 / theta, or mu.
    contrasts : (k, p) or (p,) array, optional
        Default: each coefficient.
    inference : Inference or {"t", "bootstrap", "wald"}

    Returns
    -------
    GlmmFit
        One row for each feature, in order; a feature that cannot be fitted has a status and NaN.

    Raises
    ------
    AssayError
        Shapes that do not fit, counts that are negative or not whole, missing labels, unknown names.

    Notes
    -----
    Estimates and standard errors are those of glmmTMB (Brooks and others 2017, doi:10.32614/RJ-2017-066);
    the test is not: z holds .14 where it says .05 with 6 pairs, t with pairs - 1 degrees of freedom .08.

    Examples
    --------
    >>> import numpy as np
    >>> before, after = [3, 10, 4, 8, 2, 14], [9, 21, 13, 30, 5, 30]
    >>> visit = np.repeat([0.0, 1.0], 6)
    >>> X = np.column_stack([np.ones(12), visit])
    >>> fit = fit_counts(before + after, X, np.tile(np.arange(6), 2), offset=np.log(np.full(12, 2.0)))
    >>> [float(x[0, 1].round(3)) for x in (fit.estimate, fit.se, fit.df)], str(fit.boundary[0])
    ([0.969, 0.183, 5.0], 'dispersion')
    """
    problems = Problems()
    chosen = _family(family, ("nbinom2", "poisson"), problems)
    options = check_inference(inference, problems)
    checked = check_arrays(y, X, groups, contrasts=contrasts, problems=problems)
    check_counts(checked.y, None, problems)
    shift = None if offset is None else shaped(offset, "offset", checked.y.shape, problems)
    problems.raise_if_any(AssayError)
    y_used = checked.y
    if shift is not None:
        # Without an area a count says nothing.
        y_used = np.where(np.isfinite(shift), checked.y, np.nan)
        shift = np.where(np.isfinite(shift), shift, 0.0)
    return _fit(dataclasses.replace(checked, y=y_used), None, shift, (chosen, options))


def fit_proportions(
    k: ArrayLike,
    X: ArrayLike,
    groups: ArrayLike | Mapping[str, ArrayLike],
    *,
    n: ArrayLike,
    family: str = "betabinomial",
    contrasts: ArrayLike | None = None,
    inference: Inference | str = "t",
) -> GlmmFit:
    """Fit k positive of n cells with a participant intercept by maximum likelihood (Laplace).

    logit E(k / n) = X b + u[participant] (+ v[biopsy]).

    Parameters
    ----------
    k : (F, N) or (N,) array
        Positive cells, features x observations; NaN = missing.
    X, groups, contrasts, inference
        As in `fit_counts`.
    n : (F, N) or (N,) array
        Cells; an observation with n = 0 or NaN says nothing.
    family : {"betabinomial", "binomial"}
        The probability varies between biopsies as Beta(p phi, (1 - p) phi), or not.

    Returns
    -------
    GlmmFit

    Raises
    ------
    AssayError
        As `fit_counts`; also k above n.

    Examples
    --------
    >>> import numpy as np
    >>> before, after = [3, 10, 4, 8, 2, 14], [9, 21, 13, 30, 5, 30]
    >>> X = np.column_stack([np.ones(12), np.repeat([0.0, 1.0], 6)])
    >>> fit = fit_proportions(before + after, X, np.tile(np.arange(6), 2), n=np.full(12, 60))
    >>> [float(x[0, 1].round(3)) for x in (fit.estimate, fit.se, fit.df)]
    [1.304, 0.211, 5.0]
    """
    problems = Problems()
    chosen = _family(family, ("betabinomial", "binomial"), problems)
    options = check_inference(inference, problems)
    checked = check_arrays(k, X, groups, contrasts=contrasts, problems=problems)
    size = shaped(n, "n", checked.y.shape, problems)
    if size is not None:
        size = np.broadcast_to(size, checked.y.shape)
        check_counts(checked.y, size, problems)
    problems.raise_if_any(AssayError)
    if size is None:
        raise AssayError(problems)
    known = np.isfinite(size) & (size > 0)
    counts = np.where(known, checked.y, np.nan)
    return _fit(dataclasses.replace(checked, y=counts), np.where(known, size, 0.0), None, (chosen, options))


def _family(name: str, allowed: tuple[str, ...], problems: Problems) -> Family:
    if name not in allowed:
        problems.add(
            "E-MODEL-005",
            "This family does not exist here.",
            column="family",
            value=name,
            remedy=f"use one of {', '.join(allowed)}",
        )
        return FAMILIES[allowed[0]]
    return FAMILIES[name]


def _fit(
    checked: Checked, size: Array | None, offset: Array | None, chosen: tuple[Family, Inference]
) -> GlmmFit:
    family, options = chosen
    order = np.lexsort(
        (checked.participants if checked.biopsies is None else checked.biopsies, checked.participants)
    )
    y, X = checked.y[:, order], checked.X[order]
    observed = ~np.isnan(y)
    participants = checked.participants[order]
    biopsies = None if checked.biopsies is None else checked.biopsies[order]
    features, k = len(y), len(checked.contrasts)
    result = _empty(features, k, X.shape[1], (family.name, options))
    if not y.size:
        return result
    patterns, which = np.unique(observed, axis=0, return_inverse=True)
    which = which.reshape(-1)
    basis = orthonormal_basis(X, patterns)
    everything = np.concatenate([checked.contrasts, np.eye(X.shape[1])])
    coordinates, estimable = contrast_coordinates(basis, everything)
    root = np.sqrt(np.maximum(patterns.sum(axis=1), 1))
    pairs = count_pairs(X, patterns, participants, checked.contrasts, basis.kept)
    sample = Sample(
        levels=Levels.of(participants, biopsies),
        y=np.where(observed, y, 0.0),
        size=None if size is None else np.where(observed, size[:, order], 0.0),
        seen=None if observed.all() else observed.astype(np.float64),
        offset=np.zeros((1, y.shape[1])) if offset is None else offset[:, order],
        design=basis.columns * root[:, None, None]
        if len(patterns) == 1
        else (basis.columns * root[:, None, None])[which],
    )
    scaled = (coordinates * root[:, None, None])[which]

    result.n_obs[:] = observed.sum(axis=1)
    result.n_groups[:] = pairs.groups[which]
    result.n_pairs[:] = pairs.pairs[which] if options.n_pairs is None else options.n_pairs
    result.estimable[:] = estimable[which][:, :k]
    rank = basis.kept.sum(axis=1)[which]
    enough = (result.n_obs > rank) & (result.n_groups > 1)
    flat = (sample.y == 0).all(axis=1)
    if sample.size is not None:
        flat |= (sample.y == sample.size).all(axis=1)
    told = result.estimable.any(axis=1)
    result.status[:] = np.select([~enough, ~told, flat], ["too_few", "not_estimable", "constant"], "ok")
    live = np.flatnonzero(result.status == "ok")
    if len(live):
        found = maximise(family, sample.take(live))
        df = pairs.df[which] if options.n_pairs is None else np.full((features, k), options.n_pairs - 1.0)
        _write(result, live, found, (scaled[live], estimable[which][live], df[live]))
        if options.method == "bootstrap":
            _bootstrap(result, live, (family, sample.take(live)), found, scaled[live][:, :k])
    return result


def _empty(features: int, k: int, p: int, named: tuple[str, Inference]) -> GlmmFit:
    def unknown(*shape: int) -> Array:
        return np.full(shape, np.nan)

    return GlmmFit(
        estimate=unknown(features, k),
        se=unknown(features, k),
        df=unknown(features, k),
        t=unknown(features, k),
        p=unknown(features, k),
        estimable=np.zeros((features, k), dtype=bool),
        coefficients=unknown(features, p),
        sigma=unknown(features),
        sigma_biopsy=unknown(features),
        dispersion=unknown(features),
        loglik=unknown(features),
        status=np.full(features, "too_few", dtype="<U13"),
        boundary=np.full(features, "", dtype="<U40"),
        n_obs=np.zeros(features, dtype=np.int64),
        n_groups=np.zeros(features, dtype=np.int64),
        n_pairs=np.zeros((features, k), dtype=np.int64),
        family=named[0],
        inference=named[1],
    )


def _write(result: GlmmFit, live: Indices, found: Maximum, contrasts: tuple[Array, Flags, Array]) -> None:
    """Contrasts, variances and statuses of the features that were fitted."""
    coordinates, estimable, df = contrasts
    k = result.estimate.shape[1]
    if result.inference.method == "wald":
        df = np.full_like(df, np.inf)
    spread = np.concatenate([df, np.zeros((len(df), coordinates.shape[1] - k))], axis=1)
    told = estimable & found.converged[:, None]
    tested = contrast_tests(found.g, found.information, coordinates, told, spread)
    result.estimate[live], result.coefficients[live] = tested.estimate[:, :k], tested.estimate[:, k:]
    for target, numbers in (
        (result.se, tested.se),
        (result.df, tested.df),
        (result.t, tested.t),
        (result.p, tested.p),
    ):
        target[live] = numbers[:, :k]
    result.estimable[live] &= tested.determined[:, :k]

    fitted = found.converged
    for target, value in (
        (result.sigma, found.s_u),
        (result.sigma_biopsy, found.s_v),
        (result.dispersion, np.exp(found.d)),
        (result.loglik, found.loglik),
    ):
        target[live] = np.where(fitted, value, np.nan)
    edges = {
        "participant": found.s_u == 0,
        "biopsy": found.s_v == 0,
        "dispersion": np.isposinf(found.d),
        "separated": (estimable & ~tested.determined).any(axis=1),
    }
    for row, i in enumerate(live.tolist()):
        if not fitted[row]:
            result.status[i] = "not_converged"
            continue
        named = [name for name, hit in edges.items() if hit[row]]
        result.boundary[i] = "+".join(named)
        if not result.estimable[i].any():
            result.status[i] = "not_estimable"
        elif named and named != ["separated"]:
            result.status[i] = "singular"


def _bootstrap(
    result: GlmmFit, live: Indices, data: tuple[Family, Sample], found: Maximum, coordinates: Array
) -> None:
    """Replace p by that of the bootstrapped likelihood ratio."""
    family, sample = data
    for row, i in enumerate(live.tolist()):
        one = sample.take(np.array([row]))
        for c in range(coordinates.shape[1]):
            known = result.estimable[i, c] and result.status[i] in ("ok", "singular")
            result.p[i, c] = (
                _bootstrap_p(family, one, (found.loglik[row], coordinates[row, c]), result.inference)
                if known
                else np.nan
            )


def _bootstrap_p(family: Family, one: Sample, tested: tuple[float, Array], options: Inference) -> float:
    """Find p of one contrast of one feature; sets in which a fit fails count as exceeding."""
    loglik, direction = tested
    # Coefficients that leave the contrast at zero: the complement of its direction.
    complement = np.linalg.svd(direction[None, :])[2][1:].T
    restricted = dataclasses.replace(one, design=one.design @ complement)
    null = maximise(family, restricted, curvature=False)
    if not null.converged[0]:
        return float("nan")
    ratio = max(2.0 * (loglik - null.loglik[0]), 0.0)
    parameters = np.concatenate([null.g[0], null.s_u, null.s_v, null.d])
    drawn = simulate(family, restricted, parameters, sets=options.resamples, seed=options.seed)
    rows = np.zeros(options.resamples, dtype=np.intp)
    begin = np.concatenate([null.g[0], _inside(null)])
    small = maximise(
        family,
        dataclasses.replace(restricted.take(rows), y=drawn.astype(np.float64)),
        start=np.tile(begin, (options.resamples, 1)),
        curvature=False,
    )
    begin = np.column_stack([small.g @ complement.T, _inside(small)])
    large = maximise(
        family,
        dataclasses.replace(one.take(rows), y=drawn.astype(np.float64)),
        start=begin,
        curvature=False,
    )
    # The largest fit is at least as good as the restricted one from which it started.
    ratios = np.maximum(2.0 * (large.loglik - small.loglik), 0.0)
    exceeds = (ratios >= ratio - 1e-9) | ~small.converged | ~large.converged
    return float((1 + exceeds.sum()) / (options.resamples + 1))


def _inside(found: Maximum) -> Array:
    """s_u, s_v, d away from their boundaries, where a search can start, (M, 3) or (3,)."""
    deviations = [np.where(np.isnan(s), 0.0, np.maximum(s, 0.2)) for s in (found.s_u, found.s_v)]
    d = np.where(np.isnan(found.d), 0.0, np.minimum(found.d, np.log(100.0)))
    inside = np.column_stack([*deviations, d])
    return inside[0] if len(inside) == 1 else inside
