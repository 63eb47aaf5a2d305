"""Which assessments count: every one is kept, those that do not count with the reason."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Mapping
from typing import Final

import pandas as pd

from pdbiomarker.clinical.columns import line_of, read_dates, text_of
from pdbiomarker.clinical.people import with_ids
from pdbiomarker.clinical.response.inputs import choose_reader, day_text, refuse_missing_columns
from pdbiomarker.clinical.response.rules import EVALUABLE, RESPONSES
from pdbiomarker.errors import Problems
from pdbiomarker.tables import PartialDate, nearest, parse_partial_date

__all__ = ["ASSESSMENT_COLUMNS", "Assessment", "assessments_of", "assessments_table", "day_of"]

#: The columns of :func:`assessments_table`, in order.
ASSESSMENT_COLUMNS: Final = (
    "participant_id",
    "reader",
    "date",
    "date_latest",
    "date_imputed",
    "study_day",
    "response",
    "used",
    "why_not",
)
_SPELLINGS: Final = {
    "NN": "NON-CR/NON-PD",
    "NON CR/NON PD": "NON-CR/NON-PD",
    "NONCR/NONPD": "NON-CR/NON-PD",
    "NON-PD/NON-CR": "NON-CR/NON-PD",
    "": "MISSING",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Assessment:
    """One overall response of one participant.

    Attributes
    ----------
    participant, reader : str
    days : PartialDate
        Never before the first dose, where the date is partial and leaves a choice.
    response : str
        One of ``RESPONSES``; ``""`` at baseline.
    is_baseline : bool
    row : int or None
        The line of the sheet.
    why_not : str
        Why it does not count, whatever rules for censoring say: baseline, before the first dose, after the
        data cut-off; ``""`` when it counts.
    """

    participant: str
    reader: str
    days: PartialDate
    response: str
    is_baseline: bool = False
    row: int | None = None
    why_not: str = ""

    @property
    def adequate(self) -> bool:
        """Whether it counts and tells how the tumour is."""
        return not self.why_not and self.response in EVALUABLE


def day_of(value: dt.date | str | None) -> dt.date | None:
    """Read one day given as an option: a date or ISO text.

    Raises
    ------
    ValueError
        The text is no complete date.
    """
    if value is None or not isinstance(value, str):
        return value
    found = parse_partial_date(value.strip())
    if found is None or found.missing:
        raise ValueError(f"{value!r} is not a complete date")
    return found.earliest


def assessments_of(
    timepoints: pd.DataFrame,
    starts: Mapping[str, dt.date | None],
    *,
    reader: str | None,
    cutoff: dt.date | None,
    problems: Problems,
) -> dict[str, list[Assessment]]:
    """Read overall responses, in time, for every participant.

    Parameters
    ----------
    timepoints : DataFrame
        ``participant_id, date, response`` and, optional, ``reader, is_baseline, date_latest``: the sheet
        responses.csv, or what :func:`timepoint_response` gives.
    starts : mapping
        First dose of every participant; those without any assessment keep an empty list.
    reader : str, optional
    cutoff : date, optional
        The data cut-off.
    problems : Problems
        Errors are raised here; warnings are left in it.

    Raises
    ------
    InputError
        E-RESP-001, -002, -004, -005, -009, E-SHEET-012.
    """
    file = "responses.csv"
    frame = with_ids(timepoints)
    refuse_missing_columns(
        frame, ("participant_id", "date", "response"), code="E-RESP-001", file=file, problems=problems
    )
    frame, chosen = choose_reader(frame, reader, file=file, problems=problems)
    spans = read_dates(frame, "date", file=file, problems=problems)
    latest = read_dates(frame, "date_latest", file=file, problems=problems)
    base = frame["is_baseline"].tolist() if "is_baseline" in frame.columns else [False] * len(frame)
    found: list[Assessment] = []
    for place, label in enumerate(frame.index):
        span, end = spans[place], latest[place]
        if span is not None and end is not None and end.earliest > span.latest:
            imputed = text_of(frame["date_imputed"].iloc[place]) if "date_imputed" in frame else "day"
            span = PartialDate(span.earliest, end.earliest, imputed or "day")
        person = text_of(frame["participant_id"].iloc[place])
        text = text_of(frame["response"].iloc[place])
        is_base = text_of(base[place]).casefold() in {"true", "1", "1.0", "yes"}
        response = "" if is_base and not text else _response(text, line_of(label), problems)
        if span is None and not text_of(frame["date"].iloc[place]):
            problems.add(
                "E-SHEET-017",
                "An assessment has no date.",
                remedy="Give its date as YYYY-MM-DD.",
                file=file,
                row=line_of(label),
                column="date",
            )
        if span is None or response is None:
            continue
        if person not in starts:
            problems.add(
                "E-RESP-009",
                f"Participant {person!r} has an assessment and is not among the participants.",
                remedy=nearest(person, list(starts)),
                file=file,
                row=line_of(label),
                column="participant_id",
                value=person,
            )
            continue
        found.append(Assessment(person, chosen, span, response, is_base, line_of(label)))
    found = [_judged(one, starts[one.participant], cutoff, problems) for one in found]
    found.sort(key=lambda one: (one.participant, one.days, one.response))
    found = _once(found, problems)
    _check_order(found, problems)
    problems.raise_if_any()
    by_person: dict[str, list[Assessment]] = {person: [] for person in starts}
    for one in found:
        by_person[one.participant].append(one)
    return by_person


def _response(text: str, row: int | None, problems: Problems) -> str | None:
    plain = " ".join(text.upper().split())
    response = _SPELLINGS.get(plain, plain)
    if response in RESPONSES:
        return response
    problems.add(
        "E-RESP-002",
        "The response is none of RECIST 1.1.",
        remedy=f"Write one of: {', '.join(RESPONSES)}.",
        file="responses.csv",
        row=row,
        column="response",
        value=text,
    )
    return None


def _judged(one: Assessment, start: dt.date | None, cutoff: dt.date | None, problems: Problems) -> Assessment:
    days = one.days if one.is_baseline else one.days.not_before(start)
    one = dataclasses.replace(one, days=days)
    if one.is_baseline:
        return dataclasses.replace(one, why_not="baseline")
    if start is None:
        return dataclasses.replace(one, why_not="no first dose")
    if days.earliest < start:
        if one.response in EVALUABLE:
            problems.add(
                "E-RESP-006",
                f"{one.response} of {one.participant!r} on {days.earliest} lies before the first dose "
                f"({start}); it is not counted.",
                remedy="Correct the date of the assessment or of the first dose.",
                file="responses.csv",
                row=one.row,
                column="date",
                value=days.earliest,
                severity="warning",
            )
        return dataclasses.replace(one, why_not="before the first dose")
    if cutoff is not None and days.earliest > cutoff:
        problems.add(
            "E-RESP-013",
            f"An assessment of {one.participant!r} lies after the cut-off ({cutoff}): not counted.",
            remedy="Correct the date, or move the cut-off.",
            file="responses.csv",
            row=one.row,
            column="date",
            value=days.earliest,
            severity="warning",
        )
        return dataclasses.replace(one, why_not="after the data cut-off")
    return one


def _once(found: list[Assessment], problems: Problems) -> list[Assessment]:
    """Of two records of one day keep one when they agree; refuse them when they do not."""
    kept: list[Assessment] = []
    for _, group in itertools.groupby(found, key=lambda one: (one.participant, one.days, one.is_baseline)):
        own = list(group)
        kept.append(own[0])
        for one in own[1:]:
            same = one.response == own[0].response
            both = one.response if same else f"{own[0].response} and {one.response}"
            problems.add(
                "E-RESP-005",
                f"{one.participant!r} has two assessments on {one.days.earliest}: {both}"
                + ("; one is used." if same else "."),
                remedy="Keep one, or choose one reader.",
                file="responses.csv",
                row=one.row,
                column="response",
                value=one.response,
                severity="warning" if same else "error",
            )
    return kept


def _check_order(found: list[Assessment], problems: Problems) -> None:
    for before, after in itertools.pairwise(found):
        same = before.participant == after.participant and not before.why_not and not after.why_not
        if same and before.days.latest >= after.days.earliest and before.response != after.response:
            problems.add(
                "E-RESP-012",
                f"{before.participant!r}: {before.response} ({before.days.earliest} to {before.days.latest}) "
                f"may come before or after {after.response} ({after.days.earliest}); it is taken as before.",
                remedy="Complete the date.",
                file="responses.csv",
                row=before.row,
                column="date",
                severity="warning",
            )


def assessments_table(
    rows: list[tuple[Assessment, str]], starts: Mapping[str, dt.date | None]
) -> pd.DataFrame:
    """Write assessments as a table: each with the reason why it does not count, empty when it does."""
    cells = []
    for one, why in rows:
        start = starts.get(one.participant)
        between = float("nan") if start is None else float((one.days.earliest - start).days)
        cells.append(
            (
                one.participant,
                one.reader,
                day_text(one.days.earliest),
                day_text(one.days.latest),
                one.days.missing,
                between + 1 if between >= 0 else between,
                one.response,
                not why,
                why,
            )
        )
    return pd.DataFrame(cells, columns=list(ASSESSMENT_COLUMNS))
