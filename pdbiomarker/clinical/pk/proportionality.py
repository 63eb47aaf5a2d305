"""Dose proportionality by the power model: ln(parameter) = a + b ln(dose), b = 1 where exposure follows dose.

One value for each participant: least squares with t. Participants with several doses: a random intercept for
each, REML with Kenward-Roger. Over a range of doses r = highest / lowest, the ratio of dose-normalised
exposures lies in (0.8, 1.25) where b lies in (1 + ln 0.8 / ln r, 1 + ln 1.25 / ln r): a confidence interval
inside says proportional, one wholly outside says not, any other says that the data do not tell.

Smith BP et al. (2000) Confidence interval criteria for assessment of dose proportionality. Pharm Res
17:1278-1283, doi 10.1023/A:1026451721686.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from pdbiomarker import mixed
from pdbiomarker.errors import Problems
from pdbiomarker.tables import nearest

__all__ = ["dose_proportionality"]

_FEWEST: Final = 3


def dose_proportionality(
    parameters: pd.DataFrame,
    *,
    values: Sequence[str] = ("cmax", "auc_last", "auc_inf"),
    confidence: float = 0.90,
    limits: tuple[float, float] = (0.8, 1.25),
) -> pd.DataFrame:
    """Fit the power model to pharmacokinetic parameters.

    Parameters
    ----------
    parameters : DataFrame
        participant_id, dose (> 0, any unit), and the columns `values`.
    values : sequence of str
    confidence : float
        Of the interval of the slope, two-sided.
    limits : (float, float)
        Of the ratio of dose-normalised exposures between the highest and the lowest dose.

    Returns
    -------
    DataFrame
        One row for each value: parameter, model (``ols`` or ``mixed``), n, n_participants, n_doses, dose_low,
        dose_high, slope, se, df, ci_low, ci_high, confidence, fold_at_double_dose (2^slope), accept_low,
        accept_high, intercept, verdict, note (what was left out, or why there is no fit).

    Raises
    ------
    InputError
        E-PK-001: a column is missing; E-PK-008: a confidence or limit out of range.
    """
    problems = Problems()
    for column in ("participant_id", "dose", *values):
        if column not in parameters:
            problems.add(
                "E-PK-001",
                f"The table of parameters has no column {column!r}.",
                remedy=f"Add it. {nearest(column, map(str, parameters.columns))}",
                file="parameters",
                column=column,
            )
    if not 0 < confidence < 1 or not 0 < limits[0] < 1 < limits[1]:
        problems.add(
            "E-PK-008",
            "The confidence is not between 0 and 1, or the limits do not hold 1.",
            remedy="Give, for example, 0.90 and (0.8, 1.25).",
            column="confidence, limits",
        )
    problems.raise_if_any()
    return pd.DataFrame([_fit(parameters, value, confidence, limits) for value in values])


def _fit(
    parameters: pd.DataFrame, value: str, confidence: float, limits: tuple[float, float]
) -> dict[str, object]:
    frame = pd.DataFrame(
        {
            "person": parameters["participant_id"].map(str),
            "dose": pd.to_numeric(parameters["dose"], errors="coerce"),
            "value": pd.to_numeric(parameters[value], errors="coerce"),
        }
    )
    usable = (frame["dose"] > 0) & (frame["value"] > 0) & np.isfinite(frame["value"])
    left_out = int((~usable).sum())
    frame = frame[usable].sort_values(["person", "dose", "value"], kind="stable")
    n_doses = int(frame["dose"].nunique())
    row: dict[str, object] = {
        "parameter": value,
        "model": "ols" if not frame["person"].duplicated().any() else "mixed",
        "n": len(frame),
        "n_participants": int(frame["person"].nunique()),
        "n_doses": n_doses,
        "dose_low": float(frame["dose"].min()),
        "dose_high": float(frame["dose"].max()),
        **dict.fromkeys(("slope", "se", "df", "ci_low", "ci_high"), math.nan),
        "confidence": confidence,
        **dict.fromkeys(("fold_at_double_dose", "accept_low", "accept_high", "intercept"), math.nan),
        "verdict": "not estimable",
        "note": f"{left_out} without a value above 0 left out" if left_out else "",
    }
    if n_doses < 2 or len(frame) < _FEWEST:
        why = "one dose only" if n_doses < 2 else f"fewer than {_FEWEST} values"
        return {**row, "note": "; ".join(filter(None, [str(row["note"]), why]))}
    a, b, se, df = _slope(frame, str(row["model"]))
    half = float(stats.t.ppf((1 + confidence) / 2, df)) * se if df > 0 else math.nan
    span = math.log(float(frame["dose"].max() / frame["dose"].min()))
    accept = tuple(1 + math.log(limit) / span for limit in limits)
    fitted: dict[str, object] = {
        "slope": b,
        "se": se,
        "df": df,
        "ci_low": b - half,
        "ci_high": b + half,
        "fold_at_double_dose": 2**b,
        "accept_low": accept[0],
        "accept_high": accept[1],
        "intercept": a,
        "verdict": _verdict(b - half, b + half, accept),
    }
    return {**row, **fitted}


def _slope(frame: pd.DataFrame, model: str) -> tuple[float, float, float, float]:
    x, y = np.log(frame["dose"].to_numpy(dtype=float)), np.log(frame["value"].to_numpy(dtype=float))
    design = np.column_stack([np.ones(len(x)), x])
    if model == "mixed":
        fit = mixed.fit(y[None, :], design, frame["person"].to_numpy())
        return tuple(float(z) for z in (*fit.coefficients[0], fit.se[0, 1], fit.df[0, 1]))  # type: ignore[return-value]
    dx = x - x.mean()
    slope = float(dx @ y / (dx @ dx))
    rest = y - y.mean() - slope * dx
    df = len(x) - 2
    se = math.sqrt(float(rest @ rest) / df / float(dx @ dx)) if df > 0 else math.nan
    return float(y.mean() - slope * x.mean()), slope, se, float(df)


def _verdict(low: float, high: float, accept: tuple[float, ...]) -> str:
    if math.isnan(low):
        return "not estimable"
    if accept[0] <= low and high <= accept[1]:
        return "proportional"
    if high < accept[0]:
        return "less than proportional"
    return "more than proportional" if low > accept[1] else "inconclusive"
