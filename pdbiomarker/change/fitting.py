"""Fit one question to all features of a block, each by the model that suits its values.

The linear mixed model for every kind of number (:mod:`pdbiomarker.change.linear`); in its place, chosen
feature by feature before any test and named in the row, a count or Tobit model
(:mod:`pdbiomarker.change.count_models`).

Genes may be moderated: the residual variances of all features are drawn towards their common prior (empirical
Bayes), which adds the prior's degrees of freedom to those of the contrast. Only contrasts within participants
are, whose variance is that of the residual alone: with the participant as the only random term. Moderating
others raised their error rates in simulation.

``ddf: permutation`` puts the sign-flip test of the participants' changes in the place of t, where the
contrast is the mean of these changes and the model linear: changes of log densities of few cells move with
the area, and those of censored values are unknown.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pdbiomarker.change.count_models import COUNTS, PROPORTIONS, TOBIT, Likelihood, fit_cells, fit_censored
from pdbiomarker.change.linear import LINEAR, Linear, Setting, fit_linear
from pdbiomarker.errors import AssayError
from pdbiomarker.mixed.exact import sign_flip_test
from pdbiomarker.mixed.moderate import moderated_t, squeeze_variances
from pdbiomarker.plan import Plan

__all__ = ["LINEAR", "NUMBERS", "SIGN_FLIPS", "Values", "fit_rows", "join_notes"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]

SIGN_FLIPS: Final = "sign-flip test of changes"
_MODERATED: Final = ", moderated"
_LEVEL: Final = 0.95
#: Fewer features than this share no prior worth having.
_MODERATED_FEATURES: Final = 50
_MOST_NAMED: Final = 6
_ROUNDING: Final = 1e-12

#: The columns that a fit fills.
NUMBERS: Final = ("estimate", "se", "df", "t", "p", "ci_low", "ci_high", "var_participant", "var_residual")


@dataclasses.dataclass(frozen=True)
class Values:
    """The values of a block in the biopsies of a question, features x biopsies.

    Attributes
    ----------
    y, w : (F, n) arrays
        On the model scale, and precision weights; NaN = missing.
    numerator, denominator : (F, n) arrays or None
        Counts of cells, and what they are of: mm2 for densities, cells for proportions.
    small : (F,) array of bool
        Counts too small for the linear model.
    side : (F, n) array or None
        -1: the value is at most y; 0: observed; 1: at least y. None: nothing is censored.
    """

    y: Floats
    w: Floats
    numerator: Floats | None
    denominator: Floats | None
    small: Flags
    side: Floats | None = None

    def take(self, features: Indices | Flags) -> Values:
        """Keep some features."""

        def part(table: Floats | None) -> Floats | None:
            return None if table is None else table[features]

        numerator, denominator, side = (part(t) for t in (self.numerator, self.denominator, self.side))
        y, w = self.y[features], self.w[features]
        return Values(y, w, numerator, denominator, self.small[features], side)


def join_notes(first: str, second: str) -> str:
    """Put two notes of a row together; an empty one leaves the other, and one full stop is enough."""
    return f"{first.rstrip('.')}; {second}" if first and second else first or second


def fit_rows(rows: pd.DataFrame, values: Values, setting: Setting, *, plan: Plan) -> None:
    """Fill :data:`NUMBERS`, ``df_method``, ``model``, ``var_other`` and ``status`` of rows, in place.

    Parameters
    ----------
    rows : DataFrame
        One row per feature, with ``kind`` and ``note``; index 0..F-1.
    values : Values
    setting : Setting
    plan : Plan
    """
    _write(rows, fit_linear(setting, values.y, values.w), setting)
    if plan.moderation and setting.within and (setting.random.only_participant or setting.question.several):
        _moderate(rows)
    _replace_counts(rows, values, setting)
    _replace_censored(rows, values, setting)
    if plan.ddf == "permutation":
        _permute(rows, values, setting, plan.seed)


def _write(rows: pd.DataFrame, fit: Linear, setting: Setting) -> None:
    for column in ("estimate", "se", "df", "t", "p", "var_participant", "var_residual", "status"):
        rows[column] = getattr(fit, column)
    rows["df_method"], rows["model"] = fit.df_method, fit.model
    rows["var_other"] = _told(fit.others, len(rows))
    known = np.isin(fit.status.astype(str), ["ok", "singular", "not_estimable"])
    aliased = fit.aliased & known[:, None]
    for columns in np.unique(aliased[aliased.any(axis=1)], axis=0):
        names = [name for name, lost in zip(setting.names, columns, strict=True) if lost]
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        note = f"aliased with the terms before: {', '.join(names[:_MOST_NAMED])}{more}"
        _note(rows, np.flatnonzero((aliased == columns).all(axis=1)), note)
    _limits(rows, np.arange(len(rows)))


def _told(others: dict[str, Floats] | object, features: int) -> list[str]:
    """Variances of further terms as text, such as ``participant:visit 0.31; batch 0.02``."""
    if not isinstance(others, dict):
        return [""] * features
    out = []
    for k in range(features):
        parts = [f"{name} {value[k]:.6g}" for name, value in others.items() if np.isfinite(value[k])]
        out.append("; ".join(parts))
    return out


def _note(rows: pd.DataFrame, at: Indices, note: str) -> None:
    for index in rows.index[at]:
        rows.loc[index, "note"] = join_notes(str(rows.loc[index, "note"]), note)


def _moderate(rows: pd.DataFrame) -> None:
    """Draw the residual variances of the counts towards their prior and test again."""
    usable = rows["status"].isin(["ok", "singular"]) & (rows["kind"] == "count") & (rows["var_residual"] > 0)
    usable &= np.isfinite(rows["df"]) & np.isfinite(rows["se"])
    chosen = np.flatnonzero(usable.to_numpy())
    if not chosen.size:
        return
    if chosen.size < _MODERATED_FEATURES:
        few = f"not moderated: {chosen.size} genes, fewer than {_MODERATED_FEATURES}, share no prior"
        _note(rows, chosen, few)
        return
    part = rows.iloc[chosen]
    s2, df = part["var_residual"].to_numpy(dtype=float), part["df"].to_numpy(dtype=float)
    try:
        prior = squeeze_variances(s2, df, definition="limma-3.62")
    except AssayError as error:
        why = error.problems[0].message.rstrip(".")
        _note(rows, chosen, f"not moderated: the prior could not be fitted ({why})")
        return
    unscaled = part["se"].to_numpy(dtype=float) / np.sqrt(s2)
    estimate = part["estimate"].to_numpy(dtype=float)
    test = moderated_t(estimate[:, None], unscaled[:, None], df[:, None], moderation=prior, cap=False)
    index = rows.index[chosen]
    rows.loc[index, "se"] = unscaled * np.sqrt(prior.s2_post)
    rows.loc[index, "df"] = np.asarray(test.df)[:, 0]
    rows.loc[index, "t"] = np.asarray(test.t)[:, 0]
    rows.loc[index, "p"] = np.asarray(test.p)[:, 0]
    rows.loc[index, "model"] = part["model"] + _MODERATED
    _limits(rows, chosen)


def _replace_counts(rows: pd.DataFrame, values: Values, setting: Setting) -> None:
    """Put count models in the place of the linear one where cells are few."""
    if values.numerator is None or values.denominator is None:
        return
    observed = np.isfinite(values.y)
    counted = np.isfinite(values.numerator) & np.isfinite(values.denominator)
    # A feature without counts beside its values keeps the linear model, and its caution.
    small = values.small & observed.any(axis=1) & (counted | ~observed).all(axis=1)
    kinds = rows["kind"].to_numpy()
    for kind in ("density", "proportion"):
        chosen = np.flatnonzero(small & (kinds == kind))
        if not chosen.size:
            continue
        if len(setting.layout.visits) != 2 or not setting.random.fits_counts:
            _note(rows, chosen, "caution: the count model has no such terms or visits; this row is linear")
            continue
        numerator = np.where(observed, values.numerator, np.nan)[chosen]
        denominator = np.where(observed, values.denominator, np.nan)[chosen]
        _take(rows, chosen, fit_cells(setting, kind, numerator, denominator))


def _replace_censored(rows: pd.DataFrame, values: Values, setting: Setting) -> None:
    """Put the Tobit model in the place of the linear one where values lie beyond a limit."""
    if values.side is None:
        return
    side = np.where(np.isfinite(values.y), values.side, 0.0)
    chosen = np.flatnonzero((side != 0).any(axis=1))
    if not chosen.size:
        return
    if len(setting.layout.visits) == 2 and setting.random.only_participant:
        _take(rows, chosen, fit_censored(setting, values.y[chosen], side[chosen]))
        return
    index = rows.index[chosen]
    rows.loc[index, list(NUMBERS)] = np.nan
    rows.loc[index, "status"], rows.loc[index, "var_other"] = "not_estimable", ""
    why = "values beyond a limit: the Tobit model has two visits and (1|participant) only"
    rows.loc[index, "note"] = [join_notes(why, str(note)) for note in rows.loc[index, "note"]]


def _take(rows: pd.DataFrame, chosen: Indices, fit: Likelihood) -> None:
    """Put the results of a likelihood model in the place of the linear ones."""
    index = rows.index[chosen]
    for column in ("estimate", "se", "df", "t", "p", "var_participant", "var_residual", "status"):
        rows.loc[index, column] = getattr(fit, column)
    rows.loc[index, "df_method"], rows.loc[index, "model"] = "pairs - 1", fit.model
    others = {"participant:visit": fit.var_visit}
    rows.loc[index, "var_other"] = _told(others, len(chosen))
    for at, note in zip(index, fit.notes, strict=True):
        rows.loc[at, "note"] = join_notes(str(rows.loc[at, "note"]), note)
    _limits(rows, chosen)


def _permute(rows: pd.DataFrame, values: Values, setting: Setting, seed: int) -> None:
    """Test by sign flips of the changes of complete pairs; interval and SE are those of the paired t-test."""
    fitted = rows["status"].isin(["ok", "singular"]).to_numpy()
    rows["df_method"] = "permutation"
    if not setting.plain:
        _untested(rows, fitted, "the contrast is not the mean of the participants' changes")
        return
    likelihood = fitted & rows["model"].isin([COUNTS, PROPORTIONS, TOBIT]).to_numpy()
    _untested(rows, likelihood, "it needs changes of well-counted, uncensored values")
    fitted = fitted & ~likelihood
    changes = setting.changes(values.y)
    test = sign_flip_test(changes, seed=seed)
    n = test.n_pairs
    chosen = np.flatnonzero(fitted & (test.status == "ok"))
    known = np.isfinite(changes)
    centred = np.where(known, changes - test.statistic[:, None], 0.0)
    # Equal changes have no interval by t: its width would be rounding.
    rounding = _ROUNDING * np.where(np.isfinite(values.y), np.abs(values.y), 0.0).max(axis=1, initial=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.sqrt(np.square(centred).sum(axis=1) / (n - 1) / n)
        se = np.where(np.abs(centred).max(axis=1, initial=0.0) > rounding, se, np.nan)
        t = test.statistic / se
    index = rows.index[chosen]
    rows.loc[index, "estimate"], rows.loc[index, "se"] = test.statistic[chosen], se[chosen]
    df = np.where(np.isfinite(se), n - 1.0, np.nan)
    rows.loc[index, "df"], rows.loc[index, "t"] = df[chosen], t[chosen]
    rows.loc[index, "p"] = test.p[chosen]
    rows.loc[index, "model"] = SIGN_FLIPS
    rows.loc[index, ["var_participant", "var_residual"]] = np.nan
    rows.loc[index, "var_other"] = ""
    for k, at in zip(chosen.tolist(), index, strict=True):
        how = "all sign flips" if test.method[k] == "exact" else "100,000 sampled sign flips"
        told = f"p of {how} of {n[k]} changes, smallest attainable {test.smallest_p[k]:.3g}"
        told += "; interval by t" if np.isfinite(se[k]) else "; no interval: all changes are equal"
        rows.loc[at, "note"] = join_notes(str(rows.loc[at, "note"]), told)
    _limits(rows, chosen)


def _untested(rows: pd.DataFrame, chosen: Flags, why: str) -> None:
    """Keep the estimates of some rows, without a test."""
    rows.loc[rows.index[chosen], ["df", "t", "p", "ci_low", "ci_high"]] = np.nan
    _note(rows, np.flatnonzero(chosen), f"no sign-flip test: {why}")


def _limits(rows: pd.DataFrame, chosen: Indices) -> None:
    index = rows.index[chosen]
    df = rows.loc[index, "df"].to_numpy(dtype=float)
    se = rows.loc[index, "se"].to_numpy(dtype=float)
    estimate = rows.loc[index, "estimate"].to_numpy(dtype=float)
    half = stats.t.ppf(0.5 + _LEVEL / 2, df) * se
    rows.loc[index, "ci_low"] = estimate - half
    rows.loc[index, "ci_high"] = estimate + half
