r"""Moderated variances: the features of a set inform each other about how variable they are.

With the residual variance s2_g on d_g degrees of freedom of each feature, and a prior with d0 degrees of
freedom about s0 (module `fdist`), the posterior variance is

    s2_post = (d_g s2_g + d0 s0) / (d_g + d0),

and the moderated t of a contrast, estimate / (unscaled SD sqrt(s2_post)), has d_g + d0 degrees of freedom.
limma lets them not exceed the sum of all d_g. dream moderates with the d_g of the residuals, adds d0 to the
Satterthwaite degrees of freedom of each contrast, and does not bound them.

This is right for contrasts whose variance depends on s2 alone (within participants), and for sets of many
like features (genes): not for small or mixed panels.

Sources: Smyth 2004, doi:10.2202/1544-6115.1027; Phipson et al. 2016, doi:10.1214/16-AOAS920.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pdbiomarker.errors import AssayError, Problems

from .fdist import FDistribution, Variances, by_likelihood, by_moments, by_robust_moments
from .inference import t_tail

__all__ = ["Definition", "ModeratedT", "Moderation", "moderated_t", "squeeze_variances"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Definition = Literal["limma-3.60", "limma-3.62"]
Algorithm = Literal["moments", "robust moments", "likelihood", "robust likelihood", "none"]

#: Variances below this share of the median (likelihood: of the positive ones) are raised to it.
FLOORS = {"moments": 1e-5, "robust moments": 1e-12, "likelihood": 1e-12, "robust likelihood": 1e-12}
#: Features with at most so many degrees of freedom do not inform the prior.
LEAST_DF = {"moments": 1e-15, "robust moments": 1e-6, "likelihood": 0.01, "robust likelihood": 0.01}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Moderation:
    """Prior and posterior variances of G features.

    Attributes
    ----------
    s2_post : (G,) array
        Posterior variance; the prior one where a feature has no degrees of freedom of its own; NaN where
        its variance is missing.
    s2_prior : (G,) array
        s0; depends on the feature where there is a covariate. NaN where the covariate is missing.
    df_prior : (G,) array
        d0; smaller for outliers if robust; infinite where the features do not differ in variance.
    df_common : float
        d0 of the features that are not outliers.
    n_informing : int
        Features that informed the prior.
    n_raised : int
        Of these, those with a variance of zero, or so near it that it was raised.
    definition : {"limma-3.60", "limma-3.62"}
    algorithm : {"moments", "robust moments", "likelihood", "robust likelihood", "none"}
        What the definition came to for these degrees of freedom; "none" where fewer features than two (three
        for a likelihood) inform the prior.
    """

    s2_post: Array
    s2_prior: Array
    df_prior: Array
    df_common: float
    n_informing: int
    n_raised: int
    definition: Definition
    algorithm: Algorithm


class ModeratedT(NamedTuple):
    """Moderated tests: `t`, their degrees of freedom `df`, and two-sided `p`; (G, k) arrays."""

    t: Array
    df: Array
    p: Array


def squeeze_variances(
    s2: ArrayLike,
    df: ArrayLike,
    *,
    covariate: ArrayLike | None = None,
    robust: bool = False,
    definition: Definition = "limma-3.60",
) -> Moderation:
    """Moderate the residual variances of G features by empirical Bayes.

    Parameters
    ----------
    s2 : (G,) array
        Residual variances, not negative; NaN = missing. Zeros are raised to a small value; half of them
        zero is refused.
    df : (G,) array or number
        Residual degrees of freedom, not negative.
    covariate : (G,) array, optional
        Covariate, usually the mean log2 expression, on which the prior variance may depend smoothly.
    robust : bool
        Protect the prior from outlying variances, and moderate these less.
    definition : {"limma-3.60", "limma-3.62"}
        "limma-3.60": moments of the log variances, as limma's `squeezeVar` to version 3.60. "limma-3.62":
        the same where the positive degrees of freedom are all equal, else by likelihood, as since 3.62.

    Returns
    -------
    Moderation

    Raises
    ------
    AssayError
        E-MODEL-001 (shapes), E-MODEL-006 (negative or infinite variances, half of them zero, missing
        degrees of freedom, a missing covariate, an unknown definition).

    Examples
    --------
    >>> found = squeeze_variances([0.2, 0.5, 1.0, 4.0, 0.7], 6)
    >>> round(found.df_common, 3), found.s2_post.round(3).tolist()
    (3.365, [0.368, 0.56, 0.88, 2.803, 0.688])
    """
    variances, freedom, values = _checked(s2, df, covariate, definition)
    algorithm = _algorithm(freedom, robust, definition)
    used = np.isfinite(variances) & (freedom > LEAST_DF[algorithm])
    _check_used(variances, values, used)
    if used.sum() < (3 if algorithm.endswith("likelihood") else 2):
        s2_post = np.where(freedom > 0, variances, np.nan)
        none, unknown = np.zeros(len(variances)), np.full(len(variances), np.nan)
        return Moderation(s2_post, unknown, none, 0.0, int(used.sum()), 0, definition, "none")
    counted = variances[used & (variances > 0)] if algorithm.endswith("likelihood") else variances[used]
    raised = np.maximum(variances[used], FLOORS[algorithm] * float(np.median(counted)))
    known = np.ones(len(variances), dtype=bool) if values is None else np.isfinite(values)
    own = None if values is None else values[used]
    at = np.zeros(len(variances)) if values is None else values
    fit = _fitted(Variances(raised, freedom[used], own), at[known], algorithm)
    prior_df = np.full(len(variances), fit.prior_df)
    prior_df[used] = fit.each_df
    s2_prior = np.full(len(variances), np.nan)
    s2_prior[known] = fit.scale
    return Moderation(
        s2_post=_posterior(variances, freedom, s2_prior, prior_df),
        s2_prior=s2_prior,
        df_prior=prior_df,
        df_common=fit.prior_df,
        n_informing=int(used.sum()),
        n_raised=int((raised > variances[used]).sum()),
        definition=definition,
        algorithm=algorithm,
    )


def moderated_t(
    estimate: ArrayLike, unscaled_sd: ArrayLike, df: ArrayLike, *, moderation: Moderation, cap: bool = True
) -> ModeratedT:
    """Test contrasts with moderated variances.

    Parameters
    ----------
    estimate, unscaled_sd : (G, k) arrays
        Contrasts, and their standard errors for a residual variance of 1.
    df : (G,) or (G, k) array, or number
        Residual degrees of freedom, or those of each contrast.
    moderation : Moderation
        Of the residual variances of these features.
    cap : bool
        Bound the degrees of freedom by the sum of `df` over all features, as limma does; dream does not.

    Returns
    -------
    ModeratedT
        NaN where an estimate, its standard deviation or the posterior variance is missing.

    Raises
    ------
    AssayError
        E-MODEL-001 (shapes).
    """
    b, v = np.asarray(estimate, dtype=np.float64), np.asarray(unscaled_sd, dtype=np.float64)
    g = len(moderation.s2_post)
    own = np.asarray(df, dtype=np.float64)
    problems = Problems()
    if b.ndim != 2 or b.shape != v.shape or len(b) != g:
        _shape(f"estimate has shape {b.shape}, unscaled_sd {v.shape}, the moderation {g} features.", problems)
    if own.shape not in ((), (g,), b.shape):
        _shape(f"df has shape {own.shape}, the moderation {g} features.", problems)
    problems.raise_if_any(AssayError)
    columns = own[:, None] if own.ndim == 1 else own
    freedom = np.broadcast_to(columns, b.shape).astype(np.float64)
    total = freedom + moderation.df_prior[:, None]
    if cap:
        total = np.minimum(total, np.where(np.isfinite(freedom), freedom, 0.0).sum(axis=0))
    with np.errstate(all="ignore"):
        t = b / (v * np.sqrt(moderation.s2_post)[:, None])
        infinite = np.isinf(total)
        normal = np.clip(special.erfc(np.abs(t) / np.sqrt(2.0)), np.finfo(float).tiny, 1.0)
        p = np.where(infinite, normal, t_tail(t, np.where(infinite, 1.0, total)))
    return ModeratedT(t, total, p)


def _checked(
    s2: ArrayLike, df: ArrayLike, covariate: ArrayLike | None, definition: str
) -> tuple[Array, Array, Array | None]:
    """Arrays of one length, or every reason why not."""
    problems = Problems()
    variances = np.asarray(s2, dtype=np.float64)
    freedom = np.asarray(df, dtype=np.float64)
    values = None if covariate is None else np.asarray(covariate, dtype=np.float64)
    if variances.ndim != 1:
        _shape(f"s2 has {variances.ndim} dimensions instead of 1.", problems)
    if freedom.shape not in ((), variances.shape):
        _shape(f"df has shape {freedom.shape}, s2 has {variances.shape}.", problems)
    if values is not None and values.shape != variances.shape:
        _shape(f"covariate has shape {values.shape}, s2 has {variances.shape}.", problems)
    _refuse(variances < 0, variances, "s2", "A residual variance is negative.", problems)
    _refuse(np.isinf(variances), variances, "s2", "A residual variance is infinite.", problems)
    bad = ~(np.isfinite(freedom) & (freedom >= 0))
    _refuse(bad, freedom, "df", "Degrees of freedom are missing, infinite or negative.", problems)
    if definition not in get_args(Definition):
        problems.add(
            "E-MODEL-006",
            "This definition of the moderation does not exist.",
            column="definition",
            value=definition,
            remedy=f"use one of {', '.join(get_args(Definition))}",
        )
    problems.raise_if_any(AssayError)
    return variances, np.broadcast_to(freedom, variances.shape).astype(np.float64), values


def _check_used(variances: Array, values: Array | None, used: Flags) -> None:
    """Refuse what would make the prior meaningless."""
    problems = Problems()
    if values is not None:
        bad = used & ~np.isfinite(values)
        _refuse(bad, values, "covariate", "The covariate of a feature is missing or infinite.", problems)
    if used.sum() > 1 and np.median(variances[used]) == 0:
        problems.add(
            "E-MODEL-006",
            "At least half of the residual variances are exactly zero.",
            column="s2",
            value=int((variances[used] == 0).sum()),
            remedy="leave features out that do not vary; there is no common variance to borrow",
        )
    problems.raise_if_any(AssayError)


def _refuse(bad: Flags, values: Array, name: str, message: str, problems: Problems) -> None:
    """Name the first place of a fault."""
    if not bad.any():
        return
    place = int(np.flatnonzero(bad)[0])
    problems.add(
        "E-MODEL-006",
        f"{message} ({int(bad.sum())} in all)",
        column=f"{name}[{place}]",
        value=np.atleast_1d(values)[place],
        remedy="a missing variance is NaN; a feature without degrees of freedom has df 0",
    )


def _shape(message: str, problems: Problems) -> None:
    problems.add(
        "E-MODEL-001", message, remedy="give one value a feature; contrasts are features x contrasts"
    )


def _algorithm(df: Array, robust: bool, definition: Definition) -> Algorithm:
    positive = df[df > 0]
    equal = len(positive) == 0 or positive.min() == positive.max()
    if definition == "limma-3.60" or equal:
        return "robust moments" if robust else "moments"
    return "robust likelihood" if robust else "likelihood"


def _fitted(data: Variances, at: Array, algorithm: Algorithm) -> FDistribution:
    if algorithm == "moments":
        return by_moments(data, at)
    if algorithm == "robust moments":
        return by_robust_moments(data, at)
    return by_likelihood(data, at, robust=algorithm == "robust likelihood")


def _posterior(s2: Array, df: Array, s2_prior: Array, df_prior: Array) -> Array:
    """Weighted mean of own and prior variance; a variance on no degrees of freedom does not count."""
    own = np.where(df > 0, s2, 0.0)
    finite = np.where(np.isinf(df_prior), 1.0, df_prior)
    total = df + finite
    mixed = (df * own + finite * s2_prior) / np.where(total > 0, total, np.nan)
    return np.where(np.isinf(df_prior) & ~np.isnan(own), s2_prior, mixed)
