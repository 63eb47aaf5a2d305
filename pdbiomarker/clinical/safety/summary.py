"""Safety tables: participants by kind of event, by term and by maximum grade; by dose and overall."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.people import dose_label, dose_order
from pdbiomarker.clinical.safety.events import SafetyData

__all__ = ["by_kind", "by_term", "max_grades"]

GRADES: Final = (1, 2, 3, 4, 5)
_SEVERE: Final = 3


def max_grades(data: SafetyData) -> pd.DataFrame:
    """Give each participant's maximum grade of each term among treatment-emergent events.

    Returns
    -------
    DataFrame
        participant_id, dose_mg, system_organ_class, term, grade (maximum; NaN where none is known), n_events,
        grade_imputed (whether the maximum rests on a missing grade), by participant, class and term.
    """
    events = data.events[data.events["emergent"]]
    rows = []
    for key, own in events.groupby(["participant_id", "system_organ_class", "term"], sort=True):
        worst = own["grade"].max()
        at_worst = own[own["grade"] == worst]
        rows.append(
            (
                *key,
                own["dose_mg"].iloc[0],
                worst,
                len(own),
                bool(len(at_worst) and at_worst["grade_imputed"].all()),
            )
        )
    names = ["participant_id", "system_organ_class", "term", "dose_mg", "grade", "n_events", "grade_imputed"]
    order = ["participant_id", "dose_mg", "system_organ_class", "term", "grade", "n_events", "grade_imputed"]
    return pd.DataFrame(rows, columns=names)[order]


def by_kind(data: SafetyData) -> pd.DataFrame:
    """Count participants with a treatment-emergent event of each kind, by dose level and overall.

    Returns
    -------
    DataFrame
        dose (``30 mg`` ..., ``all``), kind, n (participants with at least one), n_treated, pct, n_events,
        n_grade_missing (participants counted there only because a missing grade was taken as severe). Kinds:
        any, related, grade 3 or higher, related and grade 3 or higher, serious, related and serious,
        dose-limiting, grade 5 (fatal), and ``maximum grade 1`` to ``5`` (each participant in one of them)
        and ``unknown``.
    """
    emergent = data.events[data.events["emergent"]]
    rows = []
    for dose, treated in _levels(data):
        own = emergent[emergent["participant_id"].isin(treated)]
        for kind, chosen in _kinds(own):
            people = set(chosen["participant_id"])
            sure = set(chosen.loc[~chosen["grade_imputed"], "participant_id"])
            graded = "grade" in kind
            rows.append(
                {
                    "dose": dose,
                    "kind": kind,
                    "n": len(people),
                    "n_treated": len(treated),
                    "pct": 100 * len(people) / len(treated) if treated else np.nan,
                    "n_events": len(chosen),
                    "n_grade_missing": len(people - sure) if graded else 0,
                }
            )
    return pd.DataFrame(rows)


def _kinds(own: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    severe = own["grade"] >= _SEVERE
    yield "any", own
    yield "related", own[own["related"]]
    yield "grade 3 or higher", own[severe]
    yield "related, grade 3 or higher", own[severe & own["related"]]
    yield "serious", own[own["serious"]]
    yield "related, serious", own[own["serious"] & own["related"]]
    yield "dose-limiting", own[own["dose_limiting"]]
    yield "grade 5 (fatal)", own[own["grade"] == GRADES[-1]]
    worst = own.groupby("participant_id")["grade"].transform("max")
    for grade in GRADES:
        yield f"maximum grade {grade}", own[(worst == grade) & (own["grade"] == grade)]
    yield "maximum grade unknown", own[worst.isna()]


def by_term(data: SafetyData) -> pd.DataFrame:
    """Count participants by system organ class and term, by dose level and overall.

    Returns
    -------
    DataFrame
        dose, system_organ_class, term (empty: any term of the class; class ``any`` and an empty term: any
        event), n (a participant counts once in a row), n_treated, pct, n_events, grade_1 ... grade_5 and
        grade_unknown (participants by maximum grade: they add up to n), n_severe (maximum grade 3 or higher),
        n_serious, n_related. Classes and terms by falling frequency over all doses, then by name; a row that
        is empty at a dose is there.
    """
    emergent = data.events[data.events["emergent"]]
    order = _order(emergent)
    rows = []
    for dose, treated in _levels(data):
        own = emergent[emergent["participant_id"].isin(treated)]
        for system, term in order:
            chosen = own if system == "any" else own[own["system_organ_class"] == system]
            chosen = chosen[chosen["term"] == term] if term else chosen
            rows.append(
                {"dose": dose, "system_organ_class": system, "term": term, **_counts(chosen, len(treated))}
            )
    return pd.DataFrame(rows)


def _levels(data: SafetyData) -> Iterator[tuple[str, list[str]]]:
    treated = data.treated
    for dose in dose_order(data.people):
        yield dose_label(dose), [p for p in treated if data.people[p].dose_mg == dose]
    rest = [p for p in treated if np.isnan(data.people[p].dose_mg)]
    if rest and len(rest) < len(treated):
        yield dose_label(float("nan")), rest
    yield "all", treated


def _order(events: pd.DataFrame) -> list[tuple[str, str]]:
    def ranked(frame: pd.DataFrame, column: str) -> list[str]:
        counts = frame.groupby(column)["participant_id"].nunique()
        return sorted(map(str, counts.index), key=lambda name: (-int(counts[name]), name))

    found = [("any", "")]
    for system in ranked(events, "system_organ_class"):
        own = events[events["system_organ_class"] == system]
        found += [(system, ""), *((system, term) for term in ranked(own, "term"))]
    return found


def _counts(chosen: pd.DataFrame, n_treated: int) -> dict[str, object]:
    worst = chosen.groupby("participant_id")["grade"].max()
    n = len(worst)
    return {
        "n": n,
        "n_treated": n_treated,
        "pct": 100 * n / n_treated if n_treated else np.nan,
        "n_events": len(chosen),
        **{f"grade_{grade}": int((worst == grade).sum()) for grade in GRADES},
        "grade_unknown": int(worst.isna().sum()),
        "n_severe": int((worst >= _SEVERE).sum()),
        "n_serious": chosen.loc[chosen["serious"], "participant_id"].nunique(),
        "n_related": chosen.loc[chosen["related"], "participant_id"].nunique(),
    }
