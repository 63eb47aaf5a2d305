"""Fit one contrast to all features of a block, each by the model that suits its counts.

Three models, chosen feature by feature before any test and named in the row:

* the linear mixed model on the model scale, for every kind of number;
* for densities with few cells (a median count below 10 at a visit) the negative binomial mixed model of the
  count with log(area) as offset, because log2((n + 1/2)/area) turns a change of area into an effect;
* for proportions of few cells (n p or n (1 - p) below 5 in most biopsies) the beta-binomial mixed model of k
  of n cells.

The intraclass correlation may be negative where every participant has both visits: then the linear model is
the paired t-test, exactly. Among participants with one visit only it may not: two complete pairs beside
twenty unpaired baselines gave a type I error of .13 at a nominal .05 with it, and .05 without.

The count models are fitted by maximum likelihood (Laplace) and tested by t with pairs - 1 degrees of freedom.

Genes may be moderated: the residual variances of all features are drawn towards their common prior (empirical
Bayes), which adds the prior's degrees of freedom to those of the contrast. Only contrasts within participants
are, whose variance is that of the residual alone; moderating others raised their error rates in simulation.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pdbiomarker import mixed
from pdbiomarker.errors import AssayError
from pdbiomarker.formula import Design, is_within
from pdbiomarker.mixed.glmm import GlmmFit, fit_counts, fit_proportions
from pdbiomarker.mixed.moderate import moderated_t, squeeze_variances
from pdbiomarker.plan import Plan

__all__ = ["LINEAR", "NUMBERS", "Values", "fit_rows", "join_notes"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LINEAR: Final = "linear mixed"
_MODERATED: Final = "linear mixed, moderated"
_COUNTS: Final = "negative binomial mixed"
_PROPORTIONS: Final = "beta-binomial mixed"
_LEVEL: Final = 0.95
#: Fewer features than this share no prior worth having.
_MODERATED_FEATURES: Final = 50

#: The columns that a fit fills.
NUMBERS: Final = ("estimate", "se", "df", "t", "p", "ci_low", "ci_high", "var_participant", "var_residual")


@dataclasses.dataclass(frozen=True)
class Values:
    """The values of a block at the two visits of a contrast, features x biopsies.

    Attributes
    ----------
    y, w : (F, n) arrays
        On the model scale, and precision weights; NaN = missing.
    numerator, denominator : (F, n) arrays or None
        Counts of cells, and what they are of: mm2 for densities, cells for proportions.
    small : (F,) array of bool
        Counts too small for the linear model.
    """

    y: Floats
    w: Floats
    numerator: Floats | None
    denominator: Floats | None
    small: Flags


def join_notes(first: str, second: str) -> str:
    """Put two notes of a row together; an empty one leaves the other."""
    return "; ".join(part for part in (first, second) if part)


def fit_rows(
    rows: pd.DataFrame,
    values: Values,
    design: Design,
    *,
    vector: Floats,
    participants: NDArray[np.str_],
    plan: Plan,
) -> None:
    """Fill :data:`NUMBERS`, ``df_method``, ``model`` and ``status`` of the rows of one contrast, in place.

    Parameters
    ----------
    rows : DataFrame
        One row per feature, with ``kind, note, n_biopsies, n_pairs``; index 0..F-1.
    values : Values
    design : Design
        Of the n biopsies.
    vector : (p,) array
        The contrast.
    participants : (n,) array of str
    plan : Plan
    """
    _linear(rows, values, design.matrix, vector=vector, participants=participants, plan=plan)
    if plan.moderation and is_within(design, vector):
        _moderate(rows)
    kinds = rows["kind"].to_numpy()
    if values.numerator is None or values.denominator is None:
        return
    observed = np.isfinite(values.y)
    counted = np.isfinite(values.numerator) & np.isfinite(values.denominator)
    # A feature without counts beside its values keeps the linear model, and its caution.
    small = values.small & observed.any(axis=1) & (counted | ~observed).all(axis=1)
    for kind in ("density", "proportion"):
        chosen = np.flatnonzero(small & (kinds == kind))
        if not chosen.size:
            continue
        numerator = np.where(observed, values.numerator, np.nan)[chosen]
        denominator = np.where(observed, values.denominator, np.nan)[chosen]
        if kind == "density":
            with np.errstate(divide="ignore", invalid="ignore"):
                area = np.log(denominator)
            fit = fit_counts(numerator, design.matrix, participants, offset=area, contrasts=vector[None, :])
        else:
            fit = fit_proportions(
                numerator, design.matrix, participants, n=denominator, contrasts=vector[None, :]
            )
        _take(rows, chosen, fit, 1 / np.log(2) if kind == "density" else 1.0)


def _linear(
    rows: pd.DataFrame,
    values: Values,
    matrix: Floats,
    *,
    vector: Floats,
    participants: NDArray[np.str_],
    plan: Plan,
) -> None:
    present = np.isfinite(values.y)
    plain = bool(np.isin(values.w[present], (0.0, 1.0)).all())
    weights = None if plain else np.where(present, values.w, 0.0)
    # One biopsy per participant and visit: every participant has both where biopsies are twice the pairs.
    complete = (rows["n_biopsies"] == 2 * rows["n_pairs"]).to_numpy() & plan.allow_negative_icc
    for chosen, negative in ((complete, True), (~complete, False)):
        if not chosen.any():
            continue
        fit = mixed.fit(
            values.y[chosen],
            matrix,
            participants,
            weights=None if weights is None else weights[chosen],
            contrasts=vector[None, :],
            ddf=plan.ddf,
            allow_negative_icc=negative,
        )
        rows.loc[chosen, "estimate"], rows.loc[chosen, "se"] = fit.estimate[:, 0], fit.se[:, 0]
        rows.loc[chosen, "df"], rows.loc[chosen, "t"] = fit.df[:, 0], fit.t[:, 0]
        rows.loc[chosen, "p"] = fit.p[:, 0]
        rows.loc[chosen, "var_participant"] = fit.theta[:, 0] * fit.sigma2
        rows.loc[chosen, "var_residual"] = fit.sigma2
        status = np.asarray(fit.status, dtype=object)
        lost = np.isin(status.astype(str), ["ok", "singular"]) & ~np.isfinite(fit.estimate[:, 0])
        status[lost] = "not_estimable"
        rows.loc[chosen, "status"] = status
    rows["df_method"] = plan.ddf
    rows["model"] = LINEAR
    _limits(rows, np.arange(len(rows)))


def _moderate(rows: pd.DataFrame) -> None:
    """Draw the residual variances of the counts towards their prior and test again."""
    usable = rows["status"].isin(["ok", "singular"]) & (rows["kind"] == "count") & (rows["var_residual"] > 0)
    usable &= np.isfinite(rows["df"]) & np.isfinite(rows["se"])
    chosen = np.flatnonzero(usable.to_numpy())
    if chosen.size < _MODERATED_FEATURES:
        return
    part = rows.iloc[chosen]
    s2, df = part["var_residual"].to_numpy(dtype=float), part["df"].to_numpy(dtype=float)
    try:
        prior = squeeze_variances(s2, df, definition="limma-3.62")
    except AssayError:
        return
    unscaled = part["se"].to_numpy(dtype=float) / np.sqrt(s2)
    estimate = part["estimate"].to_numpy(dtype=float)
    test = moderated_t(estimate[:, None], unscaled[:, None], df[:, None], moderation=prior, cap=False)
    index = rows.index[chosen]
    rows.loc[index, "se"] = unscaled * np.sqrt(prior.s2_post)
    rows.loc[index, "df"] = np.asarray(test.df)[:, 0]
    rows.loc[index, "t"] = np.asarray(test.t)[:, 0]
    rows.loc[index, "p"] = np.asarray(test.p)[:, 0]
    rows.loc[index, "model"] = _MODERATED
    _limits(rows, chosen)


def _take(rows: pd.DataFrame, chosen: NDArray[np.intp], fit: GlmmFit, unit: float) -> None:
    """Put the results of a count model in the place of the linear ones; `unit` turns logs into the scale."""
    index = rows.index[chosen]
    rows.loc[index, "estimate"] = fit.estimate[:, 0] * unit
    rows.loc[index, "se"] = fit.se[:, 0] * unit
    rows.loc[index, "df"] = fit.df[:, 0]
    rows.loc[index, "t"] = fit.t[:, 0]
    rows.loc[index, "p"] = fit.p[:, 0]
    rows.loc[index, "var_participant"] = np.square(fit.sigma * unit)
    rows.loc[index, "var_residual"] = np.nan
    rows.loc[index, "df_method"] = "pairs - 1"
    rows.loc[index, "model"] = _COUNTS if fit.family == "nbinom2" else _PROPORTIONS
    status = np.asarray(fit.status, dtype=object)
    known = np.isin(status.astype(str), ["ok", "singular"])
    status[known & ~np.asarray(fit.estimable)[:, 0]] = "not_estimable"
    rows.loc[index, "status"] = status
    separated = np.char.find(np.asarray(fit.boundary, dtype=str), "separated") >= 0
    for at, apart in zip(index, separated, strict=True):
        if apart:
            told = "no cell at one visit: the ratio has no finite estimate"
            rows.loc[at, "note"] = join_notes(str(rows.loc[at, "note"]), told)
    _limits(rows, chosen)


def _limits(rows: pd.DataFrame, chosen: NDArray[np.intp]) -> None:
    index = rows.index[chosen]
    df = rows.loc[index, "df"].to_numpy(dtype=float)
    se = rows.loc[index, "se"].to_numpy(dtype=float)
    estimate = rows.loc[index, "estimate"].to_numpy(dtype=float)
    half = stats.t.ppf(0.5 + _LEVEL / 2, df) * se
    rows.loc[index, "ci_low"] = estimate - half
    rows.loc[index, "ci_high"] = estimate + half
