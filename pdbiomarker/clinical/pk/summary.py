"""Tables of a pharmacokinetic analysis: concentrations by dose and time, parameters by dose, units.

The geometric mean is exp(mean ln x); the geometric coefficient of variation is 100 sqrt(exp(var ln x) - 1) %.
Values below the limit take no part in either: they are counted beside them, and where they are more than
half no geometric mean is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.pk.profiles import clean_samples
from pdbiomarker.clinical.pk.single_dose import COLUMNS, LIMITS
from pdbiomarker.errors import Problems
from pdbiomarker.study.units import amount_of, parse_unit

_OF_SLOPE: Final = ("auc_inf", "aumc_inf", "lambda_z", "half_life", "cl", "vz", "vss", "mrt")

__all__ = ["PARAMETERS", "concentration_summary", "geometric", "parameter_summary", "parameter_units"]

#: Parameters that are summed up, in order.
PARAMETERS: Final = tuple(name for name in COLUMNS if name not in {"participant_id", "lambda_z_n", "flags"})


def geometric(values: Sequence[float]) -> tuple[float, float]:
    """Give the geometric mean and the geometric CV in %, of values above 0.

    Returns
    -------
    (mean, cv) : float
        NaN where a value is not above 0 or there is none; the CV also where there is one only.

    Examples
    --------
    >>> [round(x, 3) for x in geometric([1.0, 4.0])]
    [2.0, 127.043]
    """
    x = np.asarray(values, dtype=float)
    if len(x) == 0 or not (x > 0).all():
        return math.nan, math.nan
    logs = np.log(x)
    spread = float(np.var(logs, ddof=1)) if len(x) > 1 else math.nan
    return math.exp(float(logs.mean())), 100 * math.sqrt(math.expm1(spread))


def concentration_summary(
    concentrations: pd.DataFrame, dose: Mapping[str, float], *, time: str = "nominal_time_h"
) -> pd.DataFrame:
    """Sum up concentrations by dose and time.

    Parameters
    ----------
    concentrations : DataFrame
        As :func:`pdbiomarker.clinical.pk.nca` takes them, with the column `time`.
    dose : mapping of participant to dose level
    time : str
        The column that says which samples belong together; where it lacks a value, time_h stands in.

    Returns
    -------
    DataFrame
        dose, time_h, n (samples measured), n_blq, mean and sd (below the limit as 0), geo_mean, geo_cv_pct
        (of those above the limit; NaN where more than half are below), median, minimum, maximum (below the
        limit as 0).

    Raises
    ------
    InputError
        As :func:`pdbiomarker.clinical.pk.nca`.
    """
    problems = Problems()
    samples = clean_samples(concentrations, problems)
    problems.raise_if_any()
    if time in concentrations:
        given = pd.to_numeric(concentrations[time], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        samples["time_h"] = np.where(np.isnan(given), samples["time_h"], given)
    samples["dose"] = [dose.get(person, math.nan) for person in samples["participant_id"]]
    kept = samples[~samples["missing"]]
    rows = []
    for (level, at), part in kept.groupby(["dose", "time_h"], sort=True, dropna=False):
        above = part.loc[~part["blq"], "concentration"].tolist()
        whole = np.where(part["blq"], 0.0, part["concentration"])
        most = len(above) * 2 >= len(part)
        mean, cv = geometric(above) if most else (math.nan, math.nan)
        rows.append(
            {
                "dose": level,
                "time_h": at,
                "n": len(part),
                "n_blq": int(part["blq"].sum()),
                **_plain(whole),
                "geo_mean": mean,
                "geo_cv_pct": cv,
            }
        )
    return pd.DataFrame(rows, columns=["dose", "time_h", "n", "n_blq", *_STATISTICS])


_STATISTICS: Final = ("mean", "sd", "geo_mean", "geo_cv_pct", "median", "minimum", "maximum")


def _plain(values: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
        "median": float(np.median(values)),
        "minimum": float(values.min()),
        "maximum": float(values.max()),
    }


def parameter_summary(
    parameters: pd.DataFrame, *, values: Sequence[str] = PARAMETERS, by: Sequence[str] = ("dose",)
) -> pd.DataFrame:
    """Sum up pharmacokinetic parameters by dose.

    Parameters
    ----------
    parameters : DataFrame
        As from :func:`pdbiomarker.clinical.pk.nca`, with the columns `by`.
    values : sequence of str
        Parameters; those that the table lacks are left out.
    by : sequence of str

    Returns
    -------
    DataFrame
        `by`, parameter, n (values known), n_missing, n_unreliable (of those that rest on the terminal slope,
        how many fail a limit of :data:`pdbiomarker.clinical.pk.single_dose.LIMITS`; they are summed up too),
        mean, sd, geo_mean, geo_cv_pct (NaN for tmax, and where a value is not above 0), median, minimum,
        maximum. Every combination of `by` and parameter has its row.
    """
    rows: list[dict[str, object]] = []
    for level, part in parameters.groupby(list(by), sort=True, dropna=False):
        for value in values:
            if value not in parameters:
                continue
            known = pd.to_numeric(part[value], errors="coerce").dropna().to_numpy(dtype=float)
            row: dict[str, object] = dict(zip(by, level, strict=True))
            row |= {"parameter": value, "n": len(known), "n_missing": len(part) - len(known)}
            row["n_unreliable"] = (
                int((_unreliable(part) & part[value].notna()).sum()) if value in _OF_SLOPE else 0
            )
            if len(known):
                mean, cv = (math.nan, math.nan) if value == "tmax" else geometric(known.tolist())
                row |= {**_plain(known), "geo_mean": mean, "geo_cv_pct": cv}
            rows.append(row)
    return pd.DataFrame(rows, columns=[*by, "parameter", "n", "n_missing", "n_unreliable", *_STATISTICS])


def _unreliable(part: pd.DataFrame) -> pd.Series:
    """Which rows fail a limit of their terminal slope."""
    r2, span, beyond = (
        part[name].astype(float) if name in part else pd.Series(np.nan, index=part.index)
        for name in ("adj_r2", "span_ratio", "extrapolated_pct")
    )
    return (r2 < LIMITS.adj_r2) | (span < LIMITS.span_ratio) | (beyond > LIMITS.extrapolated_pct)


def parameter_units(concentration: str | None, *, with_dose: bool = True) -> dict[str, str]:
    """Give the unit of each parameter, from that of the concentrations.

    Parameters
    ----------
    concentration : str or None
        None: the concentrations have no unit, and what depends on it has ``""``.
    with_dose : bool
        Whether doses had units, so that clearances and volumes are in L.

    Examples
    --------
    >>> parameter_units("ng/mL")["auc_inf"], parameter_units("ng/mL")["cl"]
    ('h*ng/mL', 'L/h')
    """
    unit = None if concentration is None else parse_unit(concentration)
    c = "" if unit is None else unit.text
    area, moment = (f"h*{c}", f"h^2*{c}") if c else ("", "")
    volume = "L" if c and with_dose else ""
    fixed = {"tmax": "h", "half_life": "h", "mrt": "h", "lambda_z": "1/h", "adj_r2": "", "span_ratio": ""}
    fixed |= {
        "lambda_z_n": "samples",
        "extrapolated_pct": "%",
        "amount": "" if unit is None else amount_of(unit).text,
    }
    areas = dict.fromkeys(("auc_last", "auc_all", "auc_inf", "auc_tau", "auc_to_biopsy"), area)
    heights = dict.fromkeys(("cmax", "cmin", "cavg", "ctrough", "concentration", "last_trough"), c)
    clearance = f"{volume}/h" if volume else ""
    return {
        **heights,
        **areas,
        "aumc_inf": moment,
        **fixed,
        "cl": clearance,
        "cl_ss": clearance,
        "vz": volume,
        "vss": volume,
    }
