"""Exposure at a biopsy: what the participant had been exposed to when the tissue was taken.

Clearance may change with time and dose, so a nominal dose or the area of the first cycle is not the exposure
that a biopsy has seen: the area from the first dose to the biopsy, the concentration at that moment and the
last trough before it are given, each with what it rests on.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.pk.areas import concentration_at
from pdbiomarker.clinical.pk.intervals import latest_slope, span_of
from pdbiomarker.clinical.pk.profiles import NO_DOSE, BlqRule, Course, check_options, courses
from pdbiomarker.clinical.pk.single_dose import single_dose_profile
from pdbiomarker.errors import Problems
from pdbiomarker.tables import nearest

__all__ = ["EXPOSURE_COLUMNS", "exposure_at"]

#: Columns of the table of :func:`exposure_at`, in order.
EXPOSURE_COLUMNS: Final = (
    "biopsy_id",
    "participant_id",
    "time_h",
    "n_doses",
    "hours_since_last_dose",
    "auc_to_biopsy",
    "auc_extrapolated_pct",
    "concentration",
    "concentration_is",
    "last_trough",
    "last_trough_time_h",
    "flags",
)
_LATE_IN_INTERVAL: Final = 0.8


def exposure_at(
    biopsies: pd.DataFrame,
    concentrations: pd.DataFrame,
    doses: pd.DataFrame,
    *,
    route: str = "infusion",
    method: str = "linear_up_log_down",
    blq: BlqRule | None = None,
) -> pd.DataFrame:
    """Give the exposure at each biopsy.

    Parameters
    ----------
    biopsies : DataFrame
        biopsy_id (a column or the index), participant_id, time_h (from the first dose; negative before it).
    concentrations, doses : DataFrame
        As :func:`pdbiomarker.clinical.pk.nca` takes them.
    route, method, blq
        As in :func:`pdbiomarker.clinical.pk.nca`.

    Returns
    -------
    DataFrame
        One row for each biopsy, in their order: :data:`EXPOSURE_COLUMNS`. auc_to_biopsy from the first dose,
        in concentration x h; concentration_is ``measured``, ``interpolated``, ``extrapolated``, ``before
        dose`` or ``below limit``; last_trough, the last concentration sampled before the last dose but after
        the one before it. Of a biopsy before the first dose the area and the concentration are 0.

    Raises
    ------
    InputError
        As :func:`pdbiomarker.clinical.pk.nca`; E-PK-001: a column of the biopsies is missing.
    """
    problems = Problems()
    check_options(route, method, problems)
    frame = biopsies if "biopsy_id" in biopsies else biopsies.rename_axis(index="biopsy_id").reset_index()
    for column in ("participant_id", "time_h"):
        if column not in frame:
            problems.add(
                "E-PK-001",
                f"The table of biopsies has no column {column!r}.",
                remedy=f"Add it. {nearest(column, map(str, frame.columns))}",
                file="biopsies",
                column=column,
            )
    problems.raise_if_any()
    rule = BlqRule() if blq is None else blq
    known = {course.participant_id: course for course in courses(concentrations, doses, blq=rule)}
    rows = []
    for biopsy, person, time in zip(
        frame["biopsy_id"].tolist(),
        map(str, frame["participant_id"].tolist()),
        pd.to_numeric(frame["time_h"], errors="coerce").astype(float).tolist(),
        strict=True,
    ):
        row = {**dict.fromkeys(EXPOSURE_COLUMNS, math.nan), "biopsy_id": biopsy, "participant_id": person}
        row |= {"time_h": time, "n_doses": None, "concentration_is": "", "flags": ""}
        rows.append(row | _of_biopsy(known.get(person), time, route, method, rule))
    return pd.DataFrame(rows, columns=list(EXPOSURE_COLUMNS)).astype({"n_doses": "Int64"})


def _of_biopsy(
    course: Course | None, time: float, route: str, method: str, rule: BlqRule
) -> dict[str, object]:
    if course is None:
        return {"flags": "no doses and no concentrations"}
    if math.isnan(time):
        return {"flags": "the time of the biopsy is not known"}
    if not course.doses:
        return {"flags": NO_DOSE}
    origin = course.doses[0].time
    if time < origin:
        nothing = {"n_doses": 0, "auc_to_biopsy": 0.0, "auc_extrapolated_pct": 0.0, "concentration": 0.0}
        return {**nothing, "concentration_is": "before dose"}
    number = sum(dose.time <= time for dose in course.doses)
    since = time - course.doses[number - 1].time
    row: dict[str, object] = {"n_doses": number, "hours_since_last_dose": since}
    if len(course.t) == 0:
        return {**row, "flags": "no concentrations"}
    span = span_of(course, origin, time, route=route, method=method, rule=rule)
    row |= {"auc_to_biopsy": span.auc, "auc_extrapolated_pct": span.extrapolated_pct}
    row |= _concentration(course, number - 1, since, route, method, rule)
    flags = list(span.flags)
    trough, told = _trough(course, number - 1, route)
    row |= trough
    return {**row, "flags": "; ".join([*flags, *told])}


def _concentration(
    course: Course, which: int, since: float, route: str, method: str, rule: BlqRule
) -> dict[str, object]:
    profile = single_dose_profile(course, which, route=route, rule=rule)
    if len(profile.t) == 0:
        return {}
    slope = latest_slope(course, which, route=route, rule=rule)
    value = concentration_at(*profile.with_tail(slope), since, method=method, lambda_z=slope)
    sampled = np.flatnonzero(course.t == course.doses[which].time + since)
    if len(sampled) and not (since == 0 and route == "bolus"):
        below = bool(course.blq[sampled[0]])
        at = 0.0 if below else float(course.c[sampled[0]])
        return {"concentration": at, "concentration_is": "below limit" if below else "measured"}
    last = float(profile.upto_last[0][-1]) if profile.above.any() else -math.inf
    gone = profile.t[(profile.t > last) & ~profile.above]
    if since > last and len(gone) and since >= gone[0]:
        return {"concentration": 0.0, "concentration_is": "below limit"}
    if math.isnan(value):
        return {}
    return {"concentration": value, "concentration_is": "interpolated" if since <= last else "extrapolated"}


def _trough(course: Course, which: int, route: str) -> tuple[dict[str, object], list[str]]:
    """The last concentration before the last dose, sampled after the dose before that."""
    if which == 0:
        return {}, ["one dose so far: no trough"]
    start, end = course.doses[which - 1].time, course.doses[which].time
    # A sample at the time of a bolus holds the bolus; one at the start of an infusion was drawn before it.
    upto = course.t < end if route == "bolus" else course.t <= end
    found = np.flatnonzero((course.t > start) & upto)
    if len(found) == 0:
        return {}, ["no trough sampled before the last dose"]
    at = found[-1]
    value = 0.0 if course.blq[at] else float(course.c[at])
    early = course.t[at] < start + _LATE_IN_INTERVAL * (end - start)
    told = [f"the trough was drawn {end - course.t[at]:g} h before the dose"] if early else []
    told += ["the trough is below the limit"] if course.blq[at] else []
    return {"last_trough": value, "last_trough_time_h": float(course.t[at])}, told
