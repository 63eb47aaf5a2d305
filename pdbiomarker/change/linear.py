"""Linear models of one question, for all features at once.

The mixed model with the plan's random terms; where there is none, or a participant's visits have become one
number, least squares. With the participant as the only term the intraclass correlation may be negative where
every participant has both visits: then the model is the paired t-test, exactly. Among participants with one
visit only it may not: two complete pairs beside twenty unpaired baselines gave a type I error of .13 at a
nominal .05 with it, and .05 without.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pdbiomarker import mixed
from pdbiomarker.change.layout import Layout
from pdbiomarker.change.question import Question
from pdbiomarker.change.random import PARTICIPANT, RandomPart
from pdbiomarker.mixed.dupcor import fit_correlated
from pdbiomarker.mixed.prepare import aliased_columns

__all__ = ["LEAST_SQUARES", "LINEAR", "SUMMED", "Linear", "Setting", "fit_linear"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

LINEAR: Final = "linear mixed"
LEAST_SQUARES: Final = "linear"
SUMMED: Final = "linear on weighted sums"
_ROUNDING: Final = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """A question put to n biopsies.

    Attributes
    ----------
    question : Question
    layout : Layout
    matrix : (n, p) array
        Design of the fixed part.
    names : tuple of str, length p
    vector : (p,) array
        The contrast.
    within : bool
        Whether the contrast compares visits of the same participant only.
    random : RandomPart
    ddf : str
    allow_negative : bool
    """

    question: Question
    layout: Layout
    matrix: Floats
    names: tuple[str, ...]
    vector: Floats
    within: bool
    random: RandomPart
    ddf: str
    allow_negative: bool

    def summed(self) -> tuple[Floats, Flags]:
        """Rows of the design of participants' weighted sums, (P, p), and who has all visits, (P,)."""
        means = self.layout.means(self.matrix.T.copy())
        whole = np.isfinite(means).all(axis=(0, 2))
        weights = self.question.weights or {}
        return np.where(whole[:, None], self.layout.weighted(means, weights).T, 0.0), whole

    @property
    def plain(self) -> bool:
        """Whether the contrast is the mean of the participants' changes: nobody's is expected to differ."""
        if not (self.within and self.question.is_change):
            return False
        rows, whole = self.summed()
        scale = max(1.0, float(np.abs(self.vector).max()))
        return bool(whole.any() and np.all(np.abs(rows[whole] - self.vector) <= 1e-9 * scale))

    def changes(self, y: Floats) -> Floats:
        """Each participant's own answer, (F, P) of values (F, n); NaN where a visit is missing."""
        if self.question.weights is None:
            return np.full((len(y), len(self.layout.people)), np.nan)
        return self.layout.weighted(self.layout.means(y), self.question.weights)


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """Fits of F features.

    Attributes
    ----------
    estimate, se, df, t, p, var_participant, var_residual : (F,) arrays
    others : mapping of term to (F,) array
        Variances of the other terms.
    status : (F,) array of str
    aliased : (F, p) array of bool
    model, df_method : str
    """

    estimate: Floats
    se: Floats
    df: Floats
    t: Floats
    p: Floats
    var_participant: Floats
    var_residual: Floats
    others: Mapping[str, Floats]
    status: NDArray[np.object_]
    aliased: Flags
    model: str
    df_method: str


def fit_linear(setting: Setting, y: Floats, w: Floats) -> Linear:
    """Fit the linear model of a question.

    Parameters
    ----------
    setting : Setting
        Of n biopsies.
    y, w : (F, n) arrays
        Values on the model scale, NaN = missing, and precision weights.
    """
    present = np.isfinite(y)
    plain = bool(np.isin(w[present], (0.0, 1.0)).all())
    weights = None if plain else np.where(present, w, 0.0)
    if setting.question.several:
        return _summed(setting, y, weights)
    if not setting.random.groups:
        return _least_squares(setting, y, weights)
    if not setting.random.only_participant:
        return _mixed(setting, y, weights, negative=False)
    count = setting.layout.counts(y)
    two = len(setting.layout.visits) > 1
    complete = ((count == 1).all(axis=2) | (count == 0).all(axis=2)).all(axis=1) & two
    complete &= setting.allow_negative
    if complete.all() or not complete.any():
        found = _mixed(setting, y, weights, negative=bool(complete.all() and len(y)))
        return _of_opposites(setting, y, found, complete) if weights is None else found
    parts = [
        (chosen, _mixed(setting, y[chosen], None if weights is None else weights[chosen], negative=negative))
        for chosen, negative in ((complete, True), (~complete, False))
    ]
    found = _joined(parts, len(y))
    return _of_opposites(setting, y, found, complete) if weights is None else found


def _of_opposites(setting: Setting, y: Floats, found: Linear, complete: Flags) -> Linear:
    """Complete pairs with equal sums: their likelihood has no maximum, their changes have a t-test.

    The limit of ever more negative correlations is least squares on the changes, where the design falls
    apart in columns between participants and columns within them.
    """
    lost = np.flatnonzero(complete & (found.status == "not_converged"))
    if not lost.size or not setting.question.is_change or not _falls_apart(setting):
        return found
    test = _summed(setting, y[lost], None)
    tested = np.isin(test.status.astype(str), ["ok"])
    lost = lost[tested]
    for name in ("estimate", "se", "df", "t", "p", "var_residual"):
        getattr(found, name)[lost] = getattr(test, name)[tested]
    found.var_participant[lost] = -0.5 * test.var_residual[tested]
    found.status[lost] = "singular"
    if setting.ddf == "residual":
        found.df[lost] = np.isfinite(y[lost]).sum(axis=1) - np.linalg.matrix_rank(setting.matrix)
        found.p[lost] = 2.0 * stats.t.sf(np.abs(found.t[lost]), found.df[lost])
    return found


def _falls_apart(setting: Setting) -> bool:
    """Whether the design's columns are sums of those that a pair shares and those that its change sees."""
    means = setting.layout.means(setting.matrix.T.copy())
    whole = np.isfinite(means).all(axis=(0, 2))
    between, within = means[:, whole].sum(axis=2).T, np.diff(means[:, whole], axis=2)[:, :, 0].T
    rank = np.linalg.matrix_rank
    return bool(rank(between) + rank(within) == rank(setting.matrix))


def _joined(parts: list[tuple[Flags, Linear]], features: int) -> Linear:
    """Put fits of disjoint features together."""
    first = parts[0][1]
    whole: dict[str, Any] = {"model": first.model, "df_method": first.df_method, "others": {}}
    for field in dataclasses.fields(Linear):
        if field.name in whole:
            continue
        example = getattr(first, field.name)
        out = np.empty((features, *example.shape[1:]), dtype=example.dtype)
        for chosen, part in parts:
            out[chosen] = getattr(part, field.name)
        whole[field.name] = out
    return Linear(**whole)


def _mixed(setting: Setting, y: Floats, weights: Floats | None, *, negative: bool) -> Linear:
    random = setting.random
    only = random.only_participant
    fit = mixed.fit(
        y,
        setting.matrix,
        random.groups[PARTICIPANT] if only else dict(random.groups),
        weights=weights,
        slopes=dict(random.slopes) or None,
        contrasts=setting.vector[None, :],
        ddf=_ddf(setting),
        allow_negative_icc=negative,
    )
    status = np.asarray(fit.status, dtype=object)
    lost = np.isin(status.astype(str), ["ok", "singular"]) & ~np.isfinite(fit.estimate[:, 0])
    status[lost] = "not_estimable"
    # One intercept: theta times the residual variance, which is there also where the model left nothing.
    variance = fit.theta * fit.sigma2[:, None] if only else fit.variance
    at = {PARTICIPANT: 0} if only else {name: k for k, name in enumerate(fit.terms)}
    unknown = np.full(len(y), np.nan)
    return Linear(
        estimate=fit.estimate[:, 0],
        se=fit.se[:, 0],
        df=fit.df[:, 0],
        t=fit.t[:, 0],
        p=fit.p[:, 0],
        var_participant=variance[:, at[PARTICIPANT]] if PARTICIPANT in at else unknown,
        var_residual=fit.sigma2,
        others={name: variance[:, k] for name, k in at.items() if name != PARTICIPANT},
        status=status,
        aliased=fit.aliased,
        model=LINEAR,
        df_method=_ddf(setting),
    )


def _ddf(setting: Setting) -> str:
    return "kenward-roger" if setting.ddf == "permutation" else setting.ddf


def _least_squares(setting: Setting, y: Floats, weights: Floats | None) -> Linear:
    found = _ordinary(setting.matrix, setting.vector, y, weights, LEAST_SQUARES)
    return dataclasses.replace(found, aliased=aliased_columns(setting.matrix, np.isfinite(y)))


def _summed(setting: Setting, y: Floats, weights: Floats | None) -> Linear:
    """Least squares on one number of each participant who has all visits."""
    z = setting.changes(y)
    rows, whole = setting.summed()
    precision = None
    if weights is not None and not setting.layout.replicated:
        with np.errstate(divide="ignore"):
            variance = np.where(weights > 0, 1.0 / weights, np.nan)
        squared = {name: value**2 for name, value in (setting.question.weights or {}).items()}
        spread = setting.layout.weighted(setting.layout.means(variance), squared)
        precision = np.where(np.isfinite(z), 1.0 / spread, 0.0)[:, whole]
    found = _ordinary(rows[whole], setting.vector, z[:, whole], precision, SUMMED)
    if not setting.question.is_change:
        # The participants' own variance is in it: this is the residual variance of no biopsy.
        return dataclasses.replace(found, var_residual=np.full(len(y), np.nan))
    # The residual variance on the scale of one biopsy.
    size = sum(value**2 for value in (setting.question.weights or {}).values())
    return dataclasses.replace(found, var_residual=found.var_residual / size)


def _ordinary(X: Floats, vector: Floats, y: Floats, weights: Floats | None, model: str) -> Linear:
    """(Weighted) least squares with residual degrees of freedom."""
    features = len(y)
    unknown = np.full(features, np.nan)
    observed = np.isfinite(y)
    n = observed.sum(axis=1)
    if not X.size or not n.any():
        status = np.full(features, "too_few", dtype=object)
        aliased = np.zeros((features, X.shape[1]), dtype=bool)
        return Linear(
            estimate=unknown,
            se=unknown,
            df=unknown,
            t=unknown,
            p=unknown,
            var_participant=unknown,
            var_residual=unknown,
            others={},
            status=status,
            aliased=aliased,
            model=model,
            df_method="residual",
        )
    fit = fit_correlated(y, X, np.arange(len(X)), rho=0.0, weights=weights, contrasts=vector[None, :])
    estimate, df = fit.estimate[:, 0], fit.df_residual
    largest = np.where(observed, np.abs(y), 0.0).max(axis=1, initial=0.0)
    mean = np.where(observed, y, 0.0).sum(axis=1) / np.maximum(n, 1)
    spread = np.where(observed, np.abs(y - mean[:, None]), 0.0).max(axis=1, initial=0.0)
    with np.errstate(invalid="ignore"):
        exact = np.sqrt(fit.sigma2) <= _ROUNDING * largest
    flat = spread <= _ROUNDING * largest
    told = np.isfinite(estimate)
    status = np.select(
        [(df <= 0) | (n < 2), ~told, flat, exact], ["too_few", "not_estimable", "constant", "singular"], "ok"
    ).astype(object)
    tested = status == "ok"
    se = np.where(tested, np.sqrt(fit.sigma2) * fit.unscaled_sd[:, 0], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = estimate / se
    df = np.where(tested, df, np.nan)
    return Linear(
        estimate=np.where(status == "too_few", np.nan, estimate),
        se=se,
        df=df,
        t=t,
        p=np.asarray(2.0 * stats.t.sf(np.abs(t), df)),
        var_participant=unknown,
        var_residual=np.where(tested, fit.sigma2, np.where(exact | flat, 0.0, np.nan)),
        others={},
        status=status,
        aliased=np.zeros((features, X.shape[1]), dtype=bool),
        model=model,
        df_method="residual",
    )
