"""Proportional hazards (Cox 1972), ties after Efron, by statsmodels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.duration.hazard_regression import PHReg

from pdbiomarker.clinical.columns import text_of
from pdbiomarker.clinical.response.inputs import refuse_missing_columns
from pdbiomarker.clinical.survival.estimate import times_and_events
from pdbiomarker.errors import Problems

__all__ = ["COX_COLUMNS", "cox"]

Array = NDArray[np.float64]

#: The columns of :func:`cox`, in order.
COX_COLUMNS: Final = (
    "term",
    "log_hazard_ratio",
    "se",
    "hazard_ratio",
    "ci_low",
    "ci_high",
    "z",
    "p",
    "n",
    "n_events",
    "df_method",
    "status",
    "note",
)
#: Log hazard ratios per standard deviation, or their standard errors, beyond these: no maximum.
_DIVERGED: Final = (10.0, 50.0)


def cox(table: pd.DataFrame, covariates: Sequence[str], *, level: float = 0.95) -> pd.DataFrame:
    """Fit proportional hazards.

    Parameters
    ----------
    table : DataFrame
        ``days, event`` and the covariates, one row a participant. A covariate that existed only after the
        start of the time needs a landmark first: see :func:`landmark`.
    covariates : sequence of str
        Numbers enter as they are; text enters as one term for each level but the first in order, named
        ``column[level]``.
    level : float
        Of the (Wald) intervals.

    Returns
    -------
    DataFrame
        :data:`COX_COLUMNS`, one row a term; ``status`` is ``ok`` or ``not_estimable`` with the reason in
        ``note`` (no events, a covariate that does not vary, a likelihood without a maximum). Rows without a
        time or a covariate are left out; the note counts them.

    Raises
    ------
    InputError
        E-SURV-001, -006; E-SURV-007: no covariate is named.

    Notes
    -----
    Efron 1977, doi:10.1080/01621459.1977.10480613. Wald limits are approximate with few events: fewer than
    ten events a term are noted.
    """
    problems = Problems()
    if not covariates:
        problems.add("E-SURV-007", "No covariate is named.", column="covariates")
    problems.raise_if_any()
    refuse_missing_columns(table, tuple(covariates), code="E-SURV-001", file="", problems=problems)
    times, events, kept = times_and_events(table)
    names, design, whole = _design(table.loc[kept], covariates)
    times, events, design = times[whole], events[whole], design[whole]
    lost = len(table) - int(whole.sum())
    note = f"{lost} of {len(table)} rows without a time or a covariate" if lost else ""
    why = _why_not(design, events)
    if why:
        rows = [_row(name, None, (len(times), int(events.sum())), level, (why, note)) for name in names]
        return pd.DataFrame(rows, columns=list(COX_COLUMNS))
    center, scale = design.mean(axis=0), design.std(axis=0)
    estimate, se, why = _fit((design - center) / scale, times, events)
    if events.sum() < 10 * len(names):
        note = "; ".join(filter(None, [note, "fewer than 10 events a term"]))
    sizes = (len(times), int(events.sum()))
    rows = [
        _row(name, None if why else (estimate[i] / scale[i], se[i] / scale[i]), sizes, level, (why, note))
        for i, name in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=list(COX_COLUMNS))


def _design(table: pd.DataFrame, covariates: Sequence[str]) -> tuple[list[str], Array, NDArray[np.bool_]]:
    names: list[str] = []
    columns: list[Array] = []
    whole = np.ones(len(table), dtype=bool)
    for column in covariates:
        values = table[column]
        numbers = pd.to_numeric(values, errors="coerce")
        if bool((numbers.notna() | values.isna()).all()):
            names.append(column)
            columns.append(numbers.to_numpy(dtype=float))
            whole &= np.isfinite(columns[-1])
            continue
        texts = np.array([text_of(value) for value in values], dtype=object)
        whole &= texts != ""
        levels = sorted(set(texts[whole]))
        for one in levels[1:] or levels:
            names.append(f"{column}[{one}]")
            columns.append((texts == one).astype(float))
    return names, np.column_stack(columns), whole


def _why_not(design: Array, events: Array) -> str:
    if not len(events) or events.sum() == 0:
        return "no events"
    if (design.std(axis=0) == 0).any():
        return "a covariate does not vary"
    if np.linalg.matrix_rank(design - design.mean(axis=0)) < design.shape[1]:
        return "covariates cannot be told apart"
    return ""


def _fit(design: Array, times: Array, events: Array) -> tuple[Array, Array, str]:
    """Fit standardised columns, so that Newton's steps do not depend on units."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fitted = PHReg(times, design, status=events, ties="efron").fit(disp=0, maxiter=100, gtol=1e-10)
        except (np.linalg.LinAlgError, FloatingPointError):
            fitted = None
    lost = "the likelihood has no maximum: the covariate separates the events"
    if fitted is None or not np.isfinite(fitted.bse).all():
        return design[0], design[0], lost
    beta, se = np.asarray(fitted.params, dtype=float), np.asarray(fitted.bse, dtype=float)
    apart = bool(np.abs(beta).max() > _DIVERGED[0] or se.max() > _DIVERGED[1])
    return beta, se, lost if apart else ""


def _row(
    name: str,
    estimate: tuple[float, float] | None,
    sizes: tuple[int, int],
    level: float,
    told: tuple[str, str],
) -> tuple[object, ...]:
    why, note = told
    text = "; ".join(filter(None, [why, note]))
    if estimate is None:
        return (name, *[float("nan")] * 7, *sizes, "wald", "not_estimable", text)
    beta, se = estimate
    half = stats.norm.isf((1 - level) / 2) * se
    z = beta / se
    p = 2 * float(stats.norm.sf(abs(z)))
    ratios = (float(np.exp(beta)), float(np.exp(beta - half)), float(np.exp(beta + half)))
    return (name, float(beta), float(se), *ratios, float(z), p, *sizes, "wald", "ok", text)
