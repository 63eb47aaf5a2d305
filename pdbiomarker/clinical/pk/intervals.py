"""Several doses: the analysis by dosing interval, areas across intervals.

::

    AUCtau   area over the interval           Cavg  = AUCtau / tau           CLss = dose / AUCtau, at steady
    state accumulation = AUCtau of this dose / AUC of the first dose over the same time (if the amounts are
    the same) fluctuation  = 100 (Cmax - Cmin) / Cavg

Steady state is said where the trough at the end of an interval differs from that at its start by at most 20
%. AUCinf and Vss have no place here: the area after a dose holds what the doses before left behind.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.pk.areas import area_between, concentration_at
from pdbiomarker.clinical.pk.profiles import NO_DOSE, BlqRule, Course, Profile, check_options, courses
from pdbiomarker.clinical.pk.single_dose import single_dose_profile, terminal_of
from pdbiomarker.clinical.pk.terminal import FEWEST
from pdbiomarker.errors import Problems

__all__ = ["INTERVAL_COLUMNS", "Span", "auc_between", "latest_slope", "nca_intervals", "span_of"]

#: Columns of the table of :func:`nca_intervals`, in order.
INTERVAL_COLUMNS: Final = (
    "participant_id",
    "dose_number",
    "dose_time_h",
    "tau_h",
    "amount",
    "n_samples",
    "cmax",
    "tmax",
    "cmin",
    "cavg",
    "ctrough",
    "auc_tau",
    "fluctuation_pct",
    "accumulation_auc",
    "accumulation_cmax",
    "steady_state",
    "cl_ss",
    "flags",
)
_STEADY: Final = 0.20


def nca_intervals(
    concentrations: pd.DataFrame,
    doses: pd.DataFrame,
    *,
    tau_h: float | None = None,
    route: str = "infusion",
    method: str = "linear_up_log_down",
    blq: BlqRule | None = None,
    steady_state: str = "check",
) -> pd.DataFrame:
    """Analyse each dosing interval of each participant.

    Parameters
    ----------
    concentrations, doses : DataFrame
        As :func:`pdbiomarker.clinical.pk.nca` takes them.
    tau_h : float, optional
        The dosing interval in h. Default: the time to the next dose; of the last dose, that before it.
    route, method, blq
        As in :func:`pdbiomarker.clinical.pk.nca`.
    steady_state : {"check", "assume"}
        Whether CLss is given only where the troughs show steady state, or at every dose but the first.

    Returns
    -------
    DataFrame
        One row for each dose: :data:`INTERVAL_COLUMNS`. Areas end at tau: with the sample drawn there, by
        interpolation, or (flagged) extrapolated by the slope of the interval or of an earlier one. NaN with
        its flag where nothing was sampled.

    Raises
    ------
    InputError
        As :func:`pdbiomarker.clinical.pk.nca`; E-PK-008: tau is not positive, or steady_state is neither.
    """
    problems = Problems()
    check_options(route, method, problems)
    if tau_h is not None and not tau_h > 0:
        problems.add("E-PK-008", "The dosing interval is not positive.", remedy="Give hours.", value=tau_h)
    if steady_state not in {"check", "assume"}:
        problems.add(
            "E-PK-008",
            "Steady state is neither checked nor assumed.",
            remedy="Give 'check' or 'assume'.",
            column="steady_state",
            value=steady_state,
        )
    problems.raise_if_any()
    rule = BlqRule() if blq is None else blq
    rows: list[dict[str, object]] = []
    for course in courses(concentrations, doses, blq=rule):
        rows += _of_course(course, tau_h, route, method, rule, steady_state == "assume")
    return pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS))


def _of_course(
    course: Course, tau_h: float | None, route: str, method: str, rule: BlqRule, assume: bool
) -> list[dict[str, object]]:
    profiles = [single_dose_profile(course, k, route=route, rule=rule) for k in range(len(course.doses))]
    taus = [tau_h if tau_h is not None else _tau(course, k) for k in range(len(course.doses))]
    rows = []
    for k, (profile, tau) in enumerate(zip(profiles, taus, strict=True)):
        dose = course.doses[k]
        row: dict[str, object] = {
            **dict.fromkeys(INTERVAL_COLUMNS, math.nan),
            "participant_id": course.participant_id,
            "dose_number": k + 1,
            "dose_time_h": dose.time,
            "tau_h": tau,
            "amount": dose.amount,
            "n_samples": int(course.between(dose.time, dose.time + tau).sum())
            if math.isfinite(tau)
            else len(profile.t),
            "steady_state": False,
        }
        flags = list(profile.flags)
        if len(profile.t) < 2 or not profile.above.any() or math.isnan(tau):
            why = (
                "the interval is not known: give tau_h"
                if math.isnan(tau)
                else "too few samples above the limit"
            )
            rows.append({**row, "flags": "; ".join([*flags, why])})
            continue
        own = terminal_of(profile, dose).lambda_z
        slope = own if math.isfinite(own) else latest_slope(course, k, route=route, rule=rule)
        row |= _shape(profile, tau, method, slope)
        flags += _tail_flags(profile, tau, own, slope)
        if k:
            row |= _against_first(row, profiles[0], course, tau, method)
            if course.doses[0].amount != dose.amount:
                flags.append("another amount than the first dose")
        steady = k > 0 and (assume or _is_steady(profile, float(str(row["ctrough"]))))
        row["steady_state"] = steady
        row["cl_ss"] = dose.amount / float(str(row["auc_tau"])) if steady else math.nan
        rows.append({**row, "flags": "; ".join(flags)})
    return rows


def _tail_flags(profile: Profile, end: float, own: float, slope: float) -> list[str]:
    """What has to be said of an area that ends at `end`, h from the dose."""
    found = []
    if profile.n_above < FEWEST:
        found.append(f"{profile.n_above} samples above the limit")
    last = float(profile.upto_last[0][-1]) if profile.above.any() else 0.0
    if end <= last:
        return found
    if math.isnan(slope):
        ends = end <= profile.t[-1]
        why = "a line to the sample below the limit" if ends else "no slope to extrapolate with"
        return [*found, f"after {last:g} h: {why}"]
    by = "" if math.isfinite(own) else ", by the slope of an earlier dose"
    return [*found, f"extrapolated from {last:g} to {end:g} h{by}"]


def _tau(course: Course, k: int) -> float:
    times = [dose.time for dose in course.doses]
    if k + 1 < len(times):
        return times[k + 1] - times[k]
    return times[k] - times[k - 1] if k else math.nan


def _shape(profile: Profile, tau: float, method: str, slope: float) -> dict[str, object]:
    inside = profile.t <= tau
    c = profile.c[inside]
    auc = area_between(*profile.with_tail(slope), 0.0, tau, method=method, lambda_z=slope)
    within = dataclasses.replace(profile, t=profile.t[inside], c=c, above=profile.above[inside])
    top, low = within.highest, float(c.min())
    cavg = auc / tau
    return {
        "cmax": float(c[top]),
        "tmax": float(within.t[top]),
        "cmin": low,
        "cavg": cavg,
        "ctrough": _at(profile, tau, method, slope),
        "auc_tau": auc,
        "fluctuation_pct": 100 * (float(c[top]) - low) / cavg,
    }


def _at(profile: Profile, time: float, method: str, slope: float) -> float:
    """The concentration at a time: the sample drawn then, or that of the curve."""
    sampled = np.flatnonzero(profile.t == time)
    if len(sampled):
        return float(profile.c[sampled[0]])
    return concentration_at(*profile.with_tail(slope), time, method=method, lambda_z=slope)


def _against_first(
    row: dict[str, object], first: Profile, course: Course, tau: float, method: str
) -> dict[str, object]:
    if len(first.t) < 2 or not first.above.any() or course.doses[0].amount != row["amount"]:
        return {}
    slope = terminal_of(first, course.doses[0]).lambda_z
    auc = area_between(*first.with_tail(slope), 0.0, tau, method=method, lambda_z=slope)
    top = float(first.c[first.highest])
    return {
        "accumulation_auc": float(str(row["auc_tau"])) / auc if auc > 0 else math.nan,
        "accumulation_cmax": float(str(row["cmax"])) / top if top > 0 else math.nan,
    }


def _is_steady(profile: Profile, trough: float) -> bool:
    start = float(profile.c[0]) if profile.above[0] and profile.t[0] == 0 else math.nan
    return bool(abs(trough / start - 1) <= _STEADY) if start > 0 else False


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """An area across doses, with what it rests on.

    Attributes
    ----------
    auc : float
        NaN where a part of the time was not sampled; `flags` says which.
    beyond : float
        The part of it that lies after the last sample of an interval.
    flags : tuple of str
    """

    auc: float
    beyond: float
    flags: tuple[str, ...]

    @property
    def extrapolated_pct(self) -> float:
        """The part extrapolated, in %."""
        return 100 * self.beyond / self.auc if self.auc > 0 else 0.0


def latest_slope(course: Course, which: int, *, route: str, rule: BlqRule) -> float:
    """Give the terminal slope after a dose or, where it has none, after the latest dose that has one."""
    for k in range(which, -1, -1):
        profile = single_dose_profile(course, k, route=route, rule=rule)
        slope = terminal_of(profile, course.doses[k]).lambda_z if len(profile.t) else math.nan
        if math.isfinite(slope):
            return slope
    return math.nan


def span_of(course: Course, start: float, end: float, *, route: str, method: str, rule: BlqRule) -> Span:
    """Give the area from one time to another, both h from the first dose, across however many doses."""
    parts: list[float] = []
    beyond: list[float] = []
    flags: list[str] = []
    slope_before = math.nan
    for k, dose in enumerate(course.doses):
        stop = course.doses[k + 1].time if k + 1 < len(course.doses) else math.inf
        low, high = max(start, dose.time) - dose.time, min(end, stop) - dose.time
        if dose.time >= end:
            break
        profile = single_dose_profile(course, k, route=route, rule=rule)
        slope = terminal_of(profile, dose).lambda_z if len(profile.t) else math.nan
        used = slope if math.isfinite(slope) else slope_before
        slope_before = used
        if low >= high:
            continue
        flags += [f"dose {k + 1}: {flag}" for flag in profile.flags]
        if len(profile.t) < 2:
            flags.append(f"dose {k + 1}: not sampled")
            parts.append(math.nan)
            continue
        flags += [f"dose {k + 1}: {flag}" for flag in _tail_flags(profile, high, slope, used)]
        t, c = profile.with_tail(used)
        if high > t[-1] and math.isfinite(used):
            start_of_tail = max(low, float(t[-1]))
            beyond.append(area_between(t, c, start_of_tail, high, method=method, lambda_z=used))
        parts.append(area_between(t, c, low, high, method=method, lambda_z=used))
    return Span(math.fsum(parts), math.fsum(beyond), tuple(dict.fromkeys(flags)))


def auc_between(
    concentrations: pd.DataFrame,
    doses: pd.DataFrame,
    *,
    start_h: float,
    end_h: float,
    route: str = "infusion",
    method: str = "linear_up_log_down",
    blq: BlqRule | None = None,
) -> pd.DataFrame:
    """Give each participant's AUC from one time to another, h from the first dose.

    Times between samples are interpolated as the method interpolates, so areas of adjoining times add up;
    times after the last sample of a dose are extrapolated by its slope, and flagged.

    Returns
    -------
    DataFrame
        participant_id, start_h, end_h, auc (NaN where a dose in between was not sampled),
        extrapolated_pct, flags.

    Raises
    ------
    InputError
        As :func:`pdbiomarker.clinical.pk.nca`; E-PK-010: the times are not in order, or lie before the dose.
    """
    problems = Problems()
    check_options(route, method, problems)
    if not 0 <= start_h <= end_h < math.inf:
        problems.add(
            "E-PK-010",
            f"There is no time from {start_h:g} to {end_h:g} h after the first dose.",
            remedy="Give 0 <= start_h <= end_h.",
            column="start_h, end_h",
        )
    problems.raise_if_any()
    rule = BlqRule() if blq is None else blq
    rows = []
    for course in courses(concentrations, doses, blq=rule):
        if course.doses:
            origin = course.doses[0].time
            span = span_of(course, origin + start_h, origin + end_h, route=route, method=method, rule=rule)
        else:
            span = Span(math.nan, math.nan, (NO_DOSE,))
        rows.append(
            {
                "participant_id": course.participant_id,
                "start_h": start_h,
                "end_h": end_h,
                "auc": span.auc,
                "extrapolated_pct": span.extrapolated_pct,
                "flags": "; ".join(span.flags),
            }
        )
    columns = ["participant_id", "start_h", "end_h", "auc", "extrapolated_pct", "flags"]
    return pd.DataFrame(rows, columns=columns)
