"""The visit of every biopsy: from the sheet's label, the study day, or both, or why it has none.

Study days have no day 0: the day of the first dose is day 1, the day before is day -1. A label and a day that
contradict each other exclude the biopsy: neither is believed over the other. A partial date places a biopsy
only where every day that it allows does. Tissue from before the screening window is archival; whether it may
be a baseline is said in study.yaml.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from pdbiomarker.pairing.timing import dose_days
from pdbiomarker.study import Study, StudySpec, Visit, override_reason, shifted

__all__ = ["assign_visits", "is_baseline", "overrides_of"]

_COLUMNS: Final = (
    *("participant_id", "visit", "visit_source", "study_day", "lag", "nominal_day", "archival"),
    *("status", "code", "reason"),
)


@dataclasses.dataclass(frozen=True)
class _Assigned:
    """The outcome of one biopsy's assignment."""

    visit: str | None
    source: str
    status: str = "ok"
    code: str = ""
    reason: str = ""
    archival: bool = False


def _excluded(code: str, reason: str, *, archival: bool = False) -> _Assigned:
    return _Assigned(None, "", "excluded", code, reason, archival)


@dataclasses.dataclass(frozen=True)
class _Case:
    """What is known of when a biopsy was taken.

    Attributes
    ----------
    label : str or None
    day : int or None
        Study day.
    hours : float or None
        From the first dose.
    span : tuple of int or None
        First and last study day that a partial date allows.
    archival : bool or None
        As the sheet says it; None: it does not.
    after_cutoff : str
        The data cut-off, where the biopsy was taken after it.
    """

    label: str | None
    day: int | None
    hours: float | None
    span: tuple[int, int] | None
    archival: bool | None
    after_cutoff: str


def is_baseline(visit: Visit, visits: Sequence[Visit]) -> bool:
    """Whether a visit lies before treatment.

    Its window starts before the first dose and ends on day 1 at the latest; without a window, it is the first
    visit of the study.
    """
    if visit.low is None or visit.high is None:
        return visit.name == visits[0].name
    return visit.low < 1 and visit.high <= 1


def assign_visits(study: Study) -> pd.DataFrame:
    """Give every biopsy its visit, or the reason why it has none.

    Parameters
    ----------
    study : Study
        `biopsies` with `visit` (label or missing), `study_day` and, where times are known,
        `hours_from_first_dose`. Visits that count from the last dose need `clinical["doses"]`.

    Returns
    -------
    DataFrame, indexed by biopsy_id, one row per biopsy of the study
        ``participant_id``, ``visit`` (None if none), ``visit_source`` (``label``, ``window``, ``both``,
        ``archival``, ``override`` or empty), ``study_day``, ``lag`` (days from the target day),
        ``nominal_day`` (the day that the visit aims at), ``archival`` (bool), ``status`` (``ok``,
        ``excluded`` or ``quarantined``: an on-treatment biopsy dated before the first dose), ``code`` and
        ``reason``.

    Notes
    -----
    A label and a day that contradict each other exclude the biopsy: neither is believed over the other.
    A day-1 biopsy timed before the first dose counts as the visit whose window ends on day -1. What was taken
    after the data cut-off is not used.
    """
    target = {v.name: v.target for v in study.spec.visits}
    last = {person: max(days) for person, days in dose_days(study).items() if days}
    decided = overrides_of(study)
    refused = _without_consent(study)
    rows: list[dict[str, Any]] = []
    for biopsy_id, row in study.biopsies.iterrows():
        person = str(row["participant_id"])
        case = _case(row, study)
        found = _decided(case, decided.get(str(biopsy_id), ()), study.spec)
        if found is None and person in refused:
            found = _excluded("E-PAIR-016", "The participant did not consent to biopsies.")
        if found is None:
            found = _place(case, _windows(study.spec.visits, last.get(person)), study.spec)
        aim = target.get(found.visit) if found.visit is not None else None
        rows.append(
            {
                "biopsy_id": str(biopsy_id),
                "participant_id": person,
                "study_day": case.day,
                "lag": None if aim is None or case.day is None else case.day - aim,
                "nominal_day": None if found.visit is None else study.spec.nominal_day(found.visit),
                **{"visit_source" if k == "source" else k: v for k, v in dataclasses.asdict(found).items()},
            }
        )
    frame = pd.DataFrame(rows, columns=["biopsy_id", *_COLUMNS]).set_index("biopsy_id")
    frame = frame.astype({"study_day": "Int64", "lag": "Int64", "nominal_day": "Int64"})
    return frame.astype({"visit": object, "archival": bool})


def overrides_of(study: Study) -> dict[str, tuple[Mapping[str, str], ...]]:
    """Decisions of reviewers by biopsy; those about a participant are about all of their biopsies."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in study.overrides.to_dict("records"):
        if row["kind"] == "biopsy":
            found.setdefault(str(row["item"]), []).append(row)  # type: ignore[arg-type]
        elif row["kind"] == "participant":
            for biopsy in study.biopsies.index[study.biopsies["participant_id"] == row["item"]]:
                found.setdefault(str(biopsy), []).append(row)  # type: ignore[arg-type]
    return {biopsy: tuple(rows) for biopsy, rows in found.items()}


def _without_consent(study: Study) -> set[str]:
    if "biopsy_consent" not in study.participants:
        return set()
    return {str(p) for p in study.participants.index[study.participants["biopsy_consent"] == "no"]}


def _case(row: pd.Series, study: Study) -> _Case:
    def whole(column: str) -> int | None:
        value = row.get(column)
        return None if value is None or pd.isna(value) else int(value)

    hours = row.get("hours_from_first_dose")
    low, high = whole("study_day_earliest"), whole("study_day_latest")
    partial = not pd.isna(row.get("collection_date_imputed", None))
    archival = row.get("archival")
    return _Case(
        label=None if pd.isna(row["visit"]) else str(row["visit"]),
        day=whole("study_day"),
        hours=None if hours is None or pd.isna(hours) else float(hours),
        span=(low, high) if partial and low is not None and high is not None else None,
        archival=None if archival is None or pd.isna(archival) else archival == "yes",
        after_cutoff=str(study.spec.data_cutoff) if row.get("after_cutoff") == "yes" else "",
    )


def _decided(case: _Case, decisions: Sequence[Mapping[str, str]], spec: StudySpec) -> _Assigned | None:
    """What reviewers decided about where a biopsy belongs; None: nothing."""
    for row in decisions:
        if row["action"] == "exclude":
            return _excluded("E-OVERRIDE-010", override_reason(row))
    for row in decisions:
        if row["action"] == "assign_visit":
            archival = row["visit"] == spec.visits[0].name and bool(case.archival)
            return _Assigned(row["visit"], "override", "ok", "E-OVERRIDE-012", override_reason(row), archival)
    return None


def _windows(visits: Sequence[Visit], last_dose: int | None) -> list[Visit]:
    """The visits with the windows of one participant: some count from the last dose."""
    out = []
    for visit in visits:
        if visit.after_last_dose is not None and last_dose is not None:
            aim, half = shifted(last_dose, visit.after_last_dose), visit.half or 0
            visit = dataclasses.replace(visit, low=shifted(aim, -half), high=shifted(aim, half), target=aim)  # noqa: PLW2901
        out.append(visit)
    return out


def _place(case: _Case, visits: Sequence[Visit], spec: StudySpec) -> _Assigned:
    """Place one biopsy; see :func:`assign_visits` for the rules."""
    if case.after_cutoff:
        return _excluded("E-PAIR-014", f"Taken after the data cut-off, {case.after_cutoff}.")
    if _is_archival(case, visits, spec):
        return _archival(case, visits, spec)
    if case.span is not None and case.span[0] != case.span[1]:
        return _partial(case, case.span, visits)
    found = _assign(case.label, case.day, case.hours, visits)
    base = visits[0]
    if found.code == "E-PAIR-002" and case.day is not None and base.low is not None and case.day < base.low:
        said = " It lies before the screening window, as archival tissue does."
        return dataclasses.replace(found, reason=found.reason + said, archival=True)
    return found


def _is_archival(case: _Case, visits: Sequence[Visit], spec: StudySpec) -> bool:
    if case.archival is not None:
        return case.archival
    base = visits[0]
    if spec.archival.as_baseline == "never" or base.low is None or case.label not in (None, base.name):
        return False
    latest = case.day if case.span is None else case.span[1]
    return latest is not None and latest < base.low


def _archival(case: _Case, visits: Sequence[Visit], spec: StudySpec) -> _Assigned:
    base = visits[0].name
    if case.label not in (None, base):
        return _excluded("E-PAIR-004", f"Archival, but labelled {case.label!r}.", archival=True)
    latest = case.day if case.span is None else case.span[1]
    if latest is not None and latest >= 1:
        said = f"Archival, but taken on study day {latest}, after the first dose."
        return _excluded("E-PAIR-004", said, archival=True)
    if spec.archival.as_baseline == "never":
        return _excluded("E-PAIR-010", "Archival tissue is no baseline in this study.", archival=True)
    earliest = case.day if case.span is None else case.span[0]
    oldest = spec.archival.oldest_days
    if oldest is not None and (earliest is None or -earliest > oldest):
        age = "of unknown age" if earliest is None else f"{-earliest} days before the first dose"
        said = f"Query: archival tissue {age}; the study wants at most {oldest} days."
        return _Assigned(base, "archival", "ok", "E-PAIR-011", said, archival=True)
    return _Assigned(base, "archival", archival=True)


def _partial(case: _Case, span: tuple[int, int], visits: Sequence[Visit]) -> _Assigned:
    """Place a biopsy by a partial date: only where every day that it allows gives the same visit."""
    days = [day for day in range(span[0], span[1] + 1) if day != 0]
    found = [_assign(case.label, day, None, visits) for day in days]
    places = {(one.visit, one.status) for one in found}
    if len(places) == 1 and (found[0].visit is not None or found[0].status == "quarantined"):
        return found[0]
    return _excluded(
        "E-PAIR-012",
        f"Query: the collection date is partial (study day {span[0]} to {span[1]}), and not every day that "
        f"it allows is {'in the window of ' + repr(case.label) if case.label else 'in one window'}.",
    )


def _covers(visit: Visit, day: int, before_dose: bool | None, visits: Sequence[Visit]) -> bool:
    """Whether the window of `visit` holds a study day.

    A day-1 biopsy timed before the first dose counts as before treatment, one timed after it never does.
    """
    if visit.low is None or visit.high is None:
        return False
    if day == 1 and is_baseline(visit, visits):
        return bool(before_dose) and visit.high >= -1
    if day == 1 and before_dose:
        return False
    return visit.low <= day <= visit.high


def _window_text(visit: Visit) -> str:
    return f"days {visit.low} to {visit.high}"


def _assign(label: str | None, day: int | None, hours: float | None, visits: Sequence[Visit]) -> _Assigned:
    """Assign one biopsy by its label and exact day."""
    by_name = {v.name: v for v in visits}
    named = by_name.get(label) if label is not None else None
    before_dose = None if hours is None else hours < 0
    on_treatment_label = named is not None and not is_baseline(named, visits)
    if on_treatment_label and (before_dose or (day is not None and day < 1)):
        when = f"study day {day}" if day is not None else f"{-(hours or 0):.1f} h before it"
        return _Assigned(
            None,
            "",
            "quarantined",
            "E-PAIR-001",
            f"Labelled {label!r} but taken before the first dose ({when}).",
        )
    if day is None:
        if named is None:
            return _excluded("E-PAIR-009", "No visit, no study day and no date.")
        return _Assigned(named.name, "label")
    if day == 1 and before_dose is None:
        if named is None:
            return _excluded(
                "E-PAIR-003",
                "Taken on day 1 and the time is not recorded: before or after the first dose is unknown.",
            )
        reason = f"Query: taken on day 1 without a time; counted as {named.name!r} on the sheet's word."
        return _Assigned(named.name, "label", "ok", "E-PAIR-003", reason)
    if named is not None and named.low is None:
        if is_baseline(named, visits) and day >= 1 and not before_dose:
            return _excluded(
                "E-PAIR-004", f"Labelled {label!r}, a visit before treatment, but taken on study day {day}."
            )
        return _Assigned(named.name, "label")
    within = [v for v in visits if _covers(v, day, before_dose, visits)]
    return _by_window(named, day, within, visits)


def _by_window(named: Visit | None, day: int, within: Sequence[Visit], visits: Sequence[Visit]) -> _Assigned:
    if named is None:
        if within:
            return _Assigned(within[0].name, "window")
        known = "; ".join(f"{v.name}: {_window_text(v)}" for v in visits if v.low is not None)
        return _excluded("E-PAIR-002", f"Study day {day} is in no visit window ({known}).")
    if any(v.name == named.name for v in within):
        return _Assigned(named.name, "both")
    if within:
        reason = f"Labelled {named.name!r} but study day {day} is in the window of {within[0].name!r}."
        return _excluded("E-PAIR-004", reason)
    reason = f"Labelled {named.name!r} but study day {day} is outside its window ({_window_text(named)})."
    return _excluded("E-PAIR-002", reason)
