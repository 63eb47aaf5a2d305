"""Non-compartmental analysis of a single dose.

::

    AUClast  to the last concentration above the limit, at tlast      AUCall   and the triangle to the next
    sample AUCinf   = AUClast + clast / lambda_z
    AUMCinf  = AUMClast + clast tlast / lambda_z + clast / lambda_z^2
    CL       = dose / AUCinf (oral: CL/F)                             Vz       = CL / lambda_z (oral: Vz/F)
    MRT      = AUMCinf / AUCinf - duration / 2                        Vss      = CL MRT
    extrapolated = 100 (AUCinf - AUClast) / AUCinf

Vss and MRT are not given for oral doses: absorption takes part in the mean residence time. Times are h, from
the dose. A participant with several doses is analysed up to the second one, and says so; what is steady
state belongs to :func:`pdbiomarker.clinical.pk.nca_intervals`, where AUCinf has no place.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.pk.areas import areas
from pdbiomarker.clinical.pk.profiles import (
    NO_DOSE,
    BlqRule,
    Course,
    Dose,
    Profile,
    check_options,
    courses,
    place_blq,
)
from pdbiomarker.clinical.pk.terminal import FEWEST, Terminal, terminal_slope
from pdbiomarker.errors import Problems

__all__ = ["COLUMNS", "LIMITS", "nca", "single_dose_profile", "terminal_of"]

#: Columns of the table of :func:`nca`, in order.
COLUMNS: Final = (
    "participant_id",
    "cmax",
    "tmax",
    "auc_last",
    "auc_all",
    "auc_inf",
    "aumc_inf",
    "lambda_z",
    "lambda_z_n",
    "adj_r2",
    "span_ratio",
    "half_life",
    "extrapolated_pct",
    "cl",
    "vz",
    "vss",
    "mrt",
    "flags",
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Limits:
    adj_r2: float = 0.9
    span_ratio: float = 2.0
    extrapolated_pct: float = 20.0
    predose_pct: float = 5.0


#: Below (or above) these a parameter is flagged; it is given all the same.
LIMITS: Final = _Limits()


def nca(
    concentrations: pd.DataFrame,
    doses: pd.DataFrame,
    *,
    route: str = "infusion",
    method: str = "linear_up_log_down",
    blq: BlqRule | None = None,
) -> pd.DataFrame:
    """Analyse the first dose of each participant without a compartmental model.

    Parameters
    ----------
    concentrations : DataFrame
        participant_id, time_h (from the first dose), concentration; NaN, 0, a text such as ``BLQ`` or a
        column `blq` mark what is below the limit (where a text or `blq` does, NaN is a sample not measured).
        unit and lloq where known.
    doses : DataFrame
        participant_id, time_h, amount; duration_h of infusions; unit, weight_kg where known. With units,
        amounts are converted so that CL is L/h and volumes are L; without, they are taken as they are.
    route : {"infusion", "bolus", "oral"}
        Of a bolus without a sample at the dose, c(0) is found by a line through the first two ln(c).
    method : {"linear_up_log_down", "linear"}
    blq : BlqRule, optional
        Default: 0 before the first value above the limit and after the last one, dropped between.

    Returns
    -------
    DataFrame
        One row for each participant with samples or doses, by id: :data:`COLUMNS`. cmax in the unit of the
        concentrations, times in h, areas in that unit times h (aumc: h^2), lambda_z 1/h. `flags` says,
        separated by ``;``, what had to be assumed and which limit a parameter fails: fewer than 3 points,
        adjusted r2 below 0.9, span below 2 half-lives, more than 20 % extrapolated.

    Raises
    ------
    InputError
        E-PK-001 to -008, -011: every fault of both tables.

    Examples
    --------
    >>> samples = pd.DataFrame({"participant_id": "P1", "time_h": [0, 1, 4, 24, 72, 168, 336],
    ...                         "concentration": [0, 50, 38, 20, 8, 1.6, 0]})
    >>> doses = pd.DataFrame({"participant_id": ["P1"], "time_h": [0], "amount": [100], "duration_h": [1]})
    >>> round(nca(samples, doses, method="linear")["auc_last"][0], 1)
    1869.8
    """
    problems = Problems()
    check_options(route, method, problems)
    problems.raise_if_any()
    rule = BlqRule() if blq is None else blq
    rows = [_row(course, route, method, rule) for course in courses(concentrations, doses, blq=rule)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"lambda_z_n": "int64"}) if len(frame) else frame


def single_dose_profile(course: Course, which: int, *, route: str, rule: BlqRule) -> Profile:
    """Give the samples from a dose to the next one, with a value at the dose itself.

    The sample that was drawn last before the first dose stands for time 0 where none was drawn at it.
    Without one, time 0 is 0 after the first dose of an infusion or an oral dose, and extrapolated for a
    bolus; after a later dose it is the lowest concentration of the interval. What was assumed is flagged.
    """
    dose = course.doses[which]
    end = course.doses[which + 1].time if which + 1 < len(course.doses) else math.inf
    chosen = course.between(dose.time, end, with_end=route != "bolus")
    flags: list[str] = []
    before = np.flatnonzero(course.t < dose.time)
    at_dose = bool((course.t[chosen] == dose.time).any())
    profile = place_blq(course, chosen, dose.time, rule)
    if len(profile.t) == 0 or at_dose:
        return dataclasses.replace(profile, flags=tuple(flags))
    if which == 0 and len(before) and route != "bolus":
        first, above = float(np.nan_to_num(course.c[before[-1]])), not course.blq[before[-1]]
        flags.append("the pre-dose sample stands for time 0")
    elif route == "bolus":
        first, above = _back_extrapolated(profile)
        flags.append("no sample at the dose: c(0) extrapolated")
    elif which == 0:
        first, above = 0.0, False
    else:
        first = float(profile.c[profile.above].min()) if profile.above.any() else 0.0
        above = False
        flags.append("no pre-dose sample: the lowest of the interval stands for it")
    return Profile(
        np.concatenate([[0.0], profile.t]),
        np.concatenate([[first], profile.c]),
        np.concatenate([[above], profile.above]),
        tuple(flags),
        assumed=True,
    )


def _back_extrapolated(profile: Profile) -> tuple[float, bool]:
    """c(0) of a bolus: the line through the first two ln(c) where they fall, else the first concentration."""
    t, c = profile.t[profile.above], profile.c[profile.above]
    if len(t) == 0:
        return 0.0, False
    if len(t) > 1 and c[1] < c[0]:
        slope = math.log(c[1] / c[0]) / (t[1] - t[0])
        return float(c[0] * math.exp(-slope * t[0])), True
    return float(c[0]), True


def terminal_of(profile: Profile, dose: Dose) -> Terminal:
    """Give the terminal slope of a profile."""
    t, c = profile.t[profile.above], profile.c[profile.above]
    tmax = float(profile.t[profile.highest]) if len(t) else math.nan
    return terminal_slope(t, c, tmax=tmax, infusion_end=dose.duration)


def _row(course: Course, route: str, method: str, rule: BlqRule) -> dict[str, object]:
    row: dict[str, object] = {**dict.fromkeys(COLUMNS, math.nan), "participant_id": course.participant_id}
    row["lambda_z_n"] = 0
    if not course.doses:
        return {**row, "flags": NO_DOSE}
    dose = course.doses[0]
    profile = single_dose_profile(course, 0, route=route, rule=rule)
    flags = list(profile.flags)
    if len(course.doses) > 1:
        later = int((course.t > course.doses[1].time).sum())
        flags.append(f"several doses: the first of {len(course.doses)} only, {later} later samples left out")
    if course.n_missing:
        flags.append(f"{course.n_missing} samples not measured")
    if len(profile.t) == 0:
        return {**row, "flags": "; ".join([*flags, "no samples after the first dose"])}
    if not profile.above.any():
        nothing = {"cmax": 0.0, "auc_last": 0.0, "auc_all": 0.0}
        return {**row, **nothing, "flags": "; ".join([*flags, "every sample below the limit"])}
    row |= _areas(profile, method)
    terminal = terminal_of(profile, dose)
    row |= _of_slope(profile, row, terminal, dose, route)
    flags += _faults(profile, row, terminal, dose, route)
    return {**row, "flags": "; ".join(flags)}


def _areas(profile: Profile, method: str) -> dict[str, object]:
    t, c = profile.upto_last
    auc, aumc = areas(t, c, method=method)
    beyond = len(t) < len(profile.t)
    triangle = (profile.t[len(t)] - t[-1]) * (c[-1] + profile.c[len(t)]) / 2 if beyond else 0.0
    top = profile.highest
    return {
        "cmax": float(profile.c[top]),
        "tmax": float(profile.t[top]),
        "auc_last": auc,
        "auc_all": auc + float(triangle),
        "aumc_inf": aumc,  # to tlast; _of_slope carries it on
    }


def _of_slope(
    profile: Profile, row: dict[str, object], terminal: Terminal, dose: Dose, route: str
) -> dict[str, object]:
    k = terminal.lambda_z
    t, c = profile.upto_last
    tlast, clast = float(t[-1]), float(c[-1])
    auc_last, aumc_last = float(str(row["auc_last"])), float(str(row["aumc_inf"]))
    auc_inf = auc_last + clast / k
    aumc_inf = aumc_last + clast * tlast / k + clast / k**2
    cl = dose.amount / auc_inf
    mrt = math.nan if route == "oral" else aumc_inf / auc_inf - dose.duration / 2
    return {
        "auc_inf": auc_inf,
        "aumc_inf": aumc_inf,
        "lambda_z": k,
        "lambda_z_n": terminal.n if math.isfinite(k) else 0,
        "adj_r2": terminal.adj_r2,
        "span_ratio": terminal.span_ratio,
        "half_life": terminal.half_life,
        "extrapolated_pct": 100 * (auc_inf - auc_last) / auc_inf,
        "cl": cl,
        "vz": cl / k,
        "vss": cl * mrt,
        "mrt": mrt,
    }


def _faults(
    profile: Profile, row: dict[str, object], terminal: Terminal, dose: Dose, route: str
) -> list[str]:
    """Which limits the parameters fail."""
    found: list[str] = []
    extrapolated = float(str(row["extrapolated_pct"]))
    if not math.isfinite(terminal.lambda_z):
        why = f"{terminal.n} points after Tmax" if terminal.n < FEWEST else "the concentrations do not fall"
        found.append(f"no terminal slope: {why}")
    else:
        if terminal.adj_r2 < LIMITS.adj_r2:
            found.append(f"adj. r2 {terminal.adj_r2:.3f} < {LIMITS.adj_r2:g}")
        if terminal.span_ratio < LIMITS.span_ratio:
            found.append(f"span {terminal.span_ratio:.2f} < {LIMITS.span_ratio:g} half-lives")
        if extrapolated > LIMITS.extrapolated_pct:
            found.append(f"{extrapolated:.1f} % extrapolated > {LIMITS.extrapolated_pct:g} %")
    start = float(profile.c[0]) if profile.t[0] == 0 and route != "bolus" else 0.0
    share = 100 * start / float(str(row["cmax"]))
    if share > LIMITS.predose_pct:
        found.append(f"pre-dose {share:.1f} % of Cmax > {LIMITS.predose_pct:g} %")
    if route == "infusion" and dose.duration == 0:
        found.append("no duration of the infusion: MRT and Vss not corrected")
    if math.isnan(dose.amount):
        found.append("amount of the dose not known")
    return found
