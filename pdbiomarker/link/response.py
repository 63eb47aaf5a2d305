"""Change against clinical outcome: best response, change of size, and survival from a landmark day.

The order of best responses is CR, PR, SD, PD; those not evaluable are left out and counted. Responders are CR
and PR. Progression-free survival is related to a change only from a fixed landmark day on, at or after the
end of the on-treatment biopsy's window (:mod:`pdbiomarker.link.landmark` says why).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pdbiomarker.change import PDResult
from pdbiomarker.errors import Problems
from pdbiomarker.link.association import (
    Association,
    area_under_curve,
    order_across_groups,
    slope,
    spearman,
)
from pdbiomarker.link.found import Link, link_row, link_table
from pdbiomarker.link.landmark import hazard_ratio
from pdbiomarker.link.values import Measured, as_read, change_table, find_measured, unused
from pdbiomarker.tables import nearest

__all__ = ["OUTCOMES", "RESPONSE_ORDER", "computed_outcomes", "response_pd"]

Floats = NDArray[np.float64]

#: Columns that are looked for, in participants.csv or in the table given.
OUTCOMES: Final = ("best_response", "best_size_change_pct", "pfs_days", "pfs_event")
#: Rank of each best response; what stands together is one group in the ordering.
RESPONSE_ORDER: Final[Mapping[str, int]] = {
    "PD": 0,
    "SD": 1,
    "NON-CR/NON-PD": 1,
    "PR": 2,
    "CRPR": 2,
    "CR/PR": 2,
    "CR": 3,
}
_SOURCES: Final = {True: "computed from clinical/", False: "columns of participants.csv"}
_NOT_EVALUABLE: Final = frozenset({"", "NE", "ND", "NA", "MISSING", "UNK", "UNKNOWN", "NOT EVALUABLE"})
_RESPONDER: Final = 2
_TRUE: Final = {
    "1": True,
    "1.0": True,
    "yes": True,
    "y": True,
    "true": True,
    "event": True,
    "0": False,
    "0.0": False,
    "no": False,
    "n": False,
    "false": False,
    "censored": False,
}
_REASON: Final = (
    "Immortal time: whoever has this biopsy has lived without progression until it, and time before it would "
    "count in favour of the change."
)


def response_pd(
    result: PDResult,
    feature: str,
    outcomes: pd.DataFrame | None = None,
    *,
    contrast: str | None = None,
    landmark_day: int | None = None,
    seed: int | None = None,
) -> Link:
    """Relate the change of a feature to best response, change of size and progression-free survival.

    Parameters
    ----------
    result : PDResult
    feature : str
        ``assay:feature``.
    outcomes : DataFrame, optional
        Indexed by participant_id, with any of :data:`OUTCOMES`: best response (``CR, PR, SD, PD, NE``),
        largest fall (or least rise) of the sum of diameters in %, days from the first dose (day 1) to
        progression, death or censoring, and whether it was an event (yes/no). Default: what was computed
        from ``clinical/`` where the result has it (:func:`computed_outcomes`), else the columns of those
        names in participants.csv. The notes of the table say which.
    contrast : str, optional
        Default: the plan's first change.
    landmark_day : int, optional
        Study day from which survival counts. Default: the last day of the later visit's window.
    seed : int, optional
        Of permutations; default: the plan's.

    Returns
    -------
    Link
        `table`: per response group the mean change; order across groups (Jonckheere-Terpstra), area under
        the curve of responders, correlation and slope with the change of size, and the hazard ratio from the
        landmark day; what has no data has its row and reason.

    Raises
    ------
    InputError
        E-LINK-001 (feature, contrast); E-LINK-002: an outcome that cannot be read; E-LINK-003: a landmark
        day before the end of the biopsy's window, which would be the naive analysis.
    """
    found = find_measured(result, feature, contrast)
    computed = computed_outcomes(result) if outcomes is None else None
    clinical = _outcomes(result, outcomes if computed is None else computed)
    source = "the table given" if outcomes is not None else _SOURCES[computed is not None]
    points = change_table(result, found).join(clinical)
    drawn = result.plan.seed if seed is None else seed
    window, day = _landmark(result, found, points, landmark_day)
    rows = [
        *_by_response(points, found.kind, drawn),
        *_by_size(points, found.kind, drawn),
        *_survival(points, found.kind, day, window),
    ]
    rows = [
        {**row, "note": "; ".join(filter(None, (str(row["note"]), f"outcomes: {source}")))} for row in rows
    ]
    note = " ".join(
        part
        for part in (
            unused(points),
            "Groups were not randomised, and response, change and survival may "
            "share a cause; p-values are not adjusted.",
        )
        if part
    )
    facts = {"landmark_day": day, "kind": found.kind, "unit": found.unit}
    return Link(
        "response",
        found.reference,
        "response",
        found.label,
        "best response",
        found.contrast,
        link_table(rows, found.reference, "response", contrast=found.contrast),
        points.reset_index(),
        note,
        facts=facts,
    )


def computed_outcomes(result: PDResult) -> pd.DataFrame | None:
    """Give the outcomes that were computed from the clinical sheets, indexed by participant_id.

    Parameters
    ----------
    result : PDResult
        With the table ``response_by_participant`` of :func:`pdbiomarker.clinical_tables`.

    Returns
    -------
    DataFrame or None
        The columns of :data:`OUTCOMES` that it has; None where no response was computed.
    """
    table = result.clinical.get("response_by_participant")
    if table is None or table.empty:
        return None
    own = table[table["participant_id"].isin(result.study.participants.index)]
    return own.set_index("participant_id")[[c for c in OUTCOMES if c in own]]


def _outcomes(result: PDResult, given: pd.DataFrame | None) -> pd.DataFrame:
    """Give the outcomes as typed columns, one row per participant; what is unknown is missing."""
    people = result.study.participants
    problems = Problems()
    source = people if given is None else given
    where = "participants.csv" if given is None else "outcomes"
    for person in source.index if given is not None else ():
        if person not in people.index:
            problems.add(
                "E-LINK-002",
                "The participant is not in the study.",
                file=where,
                value=person,
                remedy=nearest(str(person), map(str, people.index)),
            )
    if given is not None and not source.index.is_unique:
        problems.add(
            "E-LINK-002",
            "A participant stands in several rows.",
            file=where,
            remedy="Give one row for each participant.",
            value=source.index[source.index.duplicated()][0],
        )
    problems.raise_if_any()
    index = pd.Index(sorted(people.index), dtype=object, name="participant_id")
    source = source.reindex(index)
    out = pd.DataFrame(index=index)
    out["best_response"] = _responses(source, where, problems)
    for column in ("best_size_change_pct", "pfs_days"):
        out[column] = _numbers(source, column, where, problems=problems)
    out["pfs_event"] = _events(source, where, problems)
    for person, days in zip(index, out["pfs_days"].tolist(), strict=True):
        if not days <= 0:
            continue
        problems.add(
            "E-LINK-002",
            "A time to an event lies before the first dose, which is day 1.",
            remedy="Count days from the first dose.",
            file=where,
            column="pfs_days",
            value=f"{person}: {days:g}",
        )
    problems.raise_if_any()
    return out


def _responses(source: pd.DataFrame, where: str, problems: Problems) -> pd.Series:
    texts = source["best_response"] if "best_response" in source else pd.Series(None, index=source.index)
    out = []
    for person, text in zip(map(str, source.index), texts, strict=True):
        word = "" if pd.isna(text) else str(text).strip().upper()
        if word in _NOT_EVALUABLE:
            out.append("")
            continue
        if word not in RESPONSE_ORDER:
            problems.add(
                "E-LINK-002",
                "A best response is not known.",
                file=where,
                column="best_response",
                value=f"{person}: {text!s}",
                remedy=f"Use {', '.join(RESPONSE_ORDER)}, or NE.",
            )
        out.append(word)
    return pd.Series(out, index=source.index, dtype=object)


def _numbers(source: pd.DataFrame, column: str, where: str, *, problems: Problems) -> pd.Series:
    if column not in source:
        return pd.Series(np.nan, index=source.index)
    values = pd.to_numeric(source[column], errors="coerce").astype(float)
    for person in source.index[source[column].notna() & values.isna()]:
        problems.add(
            "E-LINK-002",
            "A value is not a number.",
            remedy="Correct it, or leave it empty.",
            file=where,
            column=column,
            value=f"{person!s}: {source.at[person, column]!s}",
        )
    return values


def _events(source: pd.DataFrame, where: str, problems: Problems) -> pd.Series:
    out: list[object] = []
    column = source["pfs_event"] if "pfs_event" in source else pd.Series(None, index=source.index)
    for person, value in zip(map(str, source.index), column, strict=True):
        word = "" if pd.isna(value) else str(value).strip().lower()
        out.append(pd.NA if not word else _TRUE.get(word, pd.NA))
        if word and word not in _TRUE:
            problems.add(
                "E-LINK-002",
                "Whether there was an event is not yes or no.",
                file=where,
                column="pfs_event",
                value=f"{person}: {value!s}",
                remedy="Write yes or no.",
            )
    return pd.Series(out, index=source.index, dtype="boolean")


# --- best response and change of size ------------------------------------------------------------------


def _by_response(points: pd.DataFrame, kind: str, seed: int) -> list[dict[str, Any]]:
    if (points["best_response"] == "").all():
        why = "no best response: participants.csv has no column best_response with values"
        return [link_row("best response", "order across groups", status="not_asked", note=why)]
    known = points[points["used"] & (points["best_response"] != "")]
    lost = int((points["used"] & (points["best_response"] == "")).sum())
    left = f"{lost} with a pair and no evaluable response left out" if lost else ""
    rows = []
    for group in sorted(set(known["best_response"]), key=lambda g: (-RESPONSE_ORDER[g], g)):
        mean, unit = as_read(_mean(known.loc[known["best_response"] == group, "change"]), kind)
        rows.append(link_row("best response", "mean change", mean, group=group, unit=unit))
    y = known["change"].to_numpy(dtype=float)
    rank = np.array([RESPONSE_ORDER[g] for g in known["best_response"]], dtype=np.int64)
    order = order_across_groups(rank, y, seed=seed)
    rows.append(
        link_row("best response", "order across groups", order, unit="share of pairs in order", note=left)
    )
    area = area_under_curve(rank >= _RESPONDER, y, seed=seed)
    rows.append(
        link_row(
            "best response", "area under the curve, responders (CR, PR)", area, unit="probability", note=left
        )
    )
    return rows


def _mean(changes: pd.Series) -> Association:
    d = changes.to_numpy(dtype=float)
    n, mean = len(d), float(d.mean())
    if n < 2 or np.ptp(d) == 0:
        return Association(mean, np.nan, np.nan, np.nan, "", n, "no interval of so few")
    half = float(stats.t.ppf(0.975, n - 1) * d.std(ddof=1) / np.sqrt(n))
    return Association(mean, mean - half, mean + half, np.nan, "", n)


def _by_size(points: pd.DataFrame, kind: str, seed: int) -> list[dict[str, Any]]:
    if points["best_size_change_pct"].isna().all():
        why = "no change of size: participants.csv has no column best_size_change_pct with values"
        return [link_row("change of size", "Spearman correlation", status="not_asked", note=why)]
    known = points[points["used"] & points["best_size_change_pct"].notna()]
    x = known["change"].to_numpy(dtype=float)
    y = known["best_size_change_pct"].to_numpy(dtype=float)
    step = {"density": "doubling", "count": "doubling", "intensity": "doubling"}.get(kind, "unit")
    return [
        link_row("change of size", "Spearman correlation", spearman(x, y, seed=seed), unit="correlation"),
        link_row(
            "change of size",
            f"change of size per {step} of the feature",
            slope(x, y),
            unit="percentage points",
        ),
    ]


# --- survival ------------------------------------------------------------------------------------------


def _landmark(
    result: PDResult, found: Measured, points: pd.DataFrame, asked: int | None
) -> tuple[int | None, int | None]:
    """Give the last day on which the later biopsy may lie, and the landmark day; None: not known."""
    rows = result.biopsies
    rows = rows[(rows["assay"] == found.assay) & (rows["contrast"] == found.contrast)]
    rows = rows[
        rows["biopsy_id"].isin([i for ids in points["on_biopsy"].dropna() for i in str(ids).split(";")])
    ]
    visits = {v.name: v for v in result.study.spec.visits}
    ends = [visits[v].high for v in dict.fromkeys(rows["visit"]) if v in visits]
    days = rows["study_day"].dropna().astype(int).tolist() if "study_day" in rows else []
    known = [e for e in [*ends, *days] if e is not None]
    last = max(known) if known and (None not in ends or days) else None
    if asked is None:
        return last, (last if None not in ends and ends else None)
    if asked < 1 or (last is not None and asked < last):
        problems = Problems()
        upto = f"day {last}" if last is not None else "the biopsy's day"
        problems.add(
            "E-LINK-003",
            f"Survival would count from day {asked}, before {upto}. {_REASON}",
            remedy=f"Give a landmark day at or after {upto}.",
            column="landmark_day",
            value=asked,
        )
        problems.raise_if_any()
    return last, asked


def _survival(points: pd.DataFrame, kind: str, day: int | None, window: int | None) -> list[dict[str, Any]]:
    name = "progression-free survival"
    asked = f"hazard ratio per {'doubling' if kind in ('density', 'count', 'intensity') else 'unit'}"
    for column in ("landmark_time", "landmark_event"):
        points[column] = pd.Series(pd.NA, index=points.index, dtype="Float64")
    if points["pfs_days"].isna().all() or points["pfs_event"].isna().all():
        why = "no survival: neither clinical/ nor participants.csv gives pfs_days and pfs_event"
        return [link_row(name, asked, status="not_asked", note=why)]
    if day is None:
        why = f"The visit has no window, so no landmark day is known: give landmark_day. {_REASON}"
        return [link_row(name, asked, status="not_asked", note=why)]
    known = points["used"] & points["pfs_days"].notna() & points["pfs_event"].notna()
    event = points["pfs_event"].fillna(False).astype(bool)
    early = known & (points["pfs_days"] <= day)
    kept = points.index[known & ~early]
    points.loc[kept, "landmark_time"] = points.loc[kept, "pfs_days"] - day
    points.loc[kept, "landmark_event"] = event[kept].astype(float)
    time = points.loc[kept, "landmark_time"].to_numpy(dtype=float)
    found = hazard_ratio(time, event[kept].to_numpy(), points.loc[kept, "change"].to_numpy(dtype=float))
    lost = f"left out: {int((early & event).sum())} with an event and {int((early & ~event).sum())} censored "
    lost += f"by day {day}"
    unknown = int((points["used"] & ~known).sum())
    lost += f", {unknown} without survival" if unknown else ""
    said = f"from day {day} on, time restarted; {lost}"
    if window is None:
        said += "; the days of the biopsies are not known: see that none lies after it"
    return [link_row(name, asked, found, unit="hazard ratio", note=said)]
