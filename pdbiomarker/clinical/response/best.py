"""Best overall response, confirmed and unconfirmed.

Each assessment offers what it may be called; the best offer wins (CR, PR, SD, NON-CR/NON-PD, PD, NE), the
earliest on ties. Confirmed: CR needs a CR, PR needs a CR or PR, at least 28 days later. The first such
assessment decides: between the two only CR or NE (for CR), or CR, PR and NE (for PR) may stand, NE at most
once, and no PR after a CR. CR, PR and SD offer SD when they are late enough, else NE. Data after progression
or after a new anticancer therapy do not count.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Final

import pandas as pd

from pdbiomarker.clinical.outcomes import read_outcomes
from pdbiomarker.clinical.people import first_dose_days
from pdbiomarker.clinical.response.assessments import (
    Assessment,
    assessments_of,
    assessments_table,
    day_of,
)
from pdbiomarker.clinical.response.inputs import day_text
from pdbiomarker.clinical.response.rules import EVALUABLE, RANK, ResponseRules
from pdbiomarker.errors import Problem, Problems
from pdbiomarker.tables import PartialDate

__all__ = ["BEST_COLUMNS", "BestResponse", "best_overall_response"]

#: The columns of ``BestResponse.table``, in order.
BEST_COLUMNS: Final = (
    "participant_id",
    "reader",
    "best_response",
    "best_response_date",
    "date_imputed",
    "confirmation_date",
    "responder",
    "first_response_date",
    "first_response_date_latest",
    "best_response_unconfirmed",
    "best_response_unconfirmed_date",
    "responder_unconfirmed",
    "n_assessments",
    "n_used",
    "n_evaluable",
    "rule",
    "note",
)
_RESPONSE: Final = frozenset({"CR", "PR"})


@dataclasses.dataclass(frozen=True, eq=False)
class BestResponse:
    """The best response of every participant, and what became of each assessment.

    Attributes
    ----------
    table : DataFrame
        :data:`BEST_COLUMNS`, one row a participant. ``best_response`` is the confirmed one. A responder is
        one whose CR or PR was confirmed; ``first_response_date`` is the day of the first CR or PR that was
        confirmed, not of the confirmation, and not of a later CR. Dates are ISO text; of a partial date the
        earliest day, and ``date_imputed`` says what was not known.
    assessments : DataFrame
        Every assessment of the reader with ``used`` and ``why_not``.
    rules : ResponseRules
    cutoff : date or None
        The data cut-off.
    problems : tuple of Problem
        Warnings: responses before the first dose or after the cut-off, PR after CR, uncertain order.
    """

    table: pd.DataFrame
    assessments: pd.DataFrame
    rules: ResponseRules
    cutoff: dt.date | None
    problems: tuple[Problem, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Offer:
    response: str
    days: PartialDate | None
    rule: str
    confirmed_on: PartialDate | None = None


def best_overall_response(
    timepoints: pd.DataFrame,
    participants: pd.DataFrame,
    outcomes: pd.DataFrame | None = None,
    *,
    reader: str | None = None,
    rules: ResponseRules | None = None,
    cutoff: dt.date | str | None = None,
) -> BestResponse:
    """Derive confirmed and unconfirmed best overall response.

    Parameters
    ----------
    timepoints : DataFrame
        ``participant_id, date, response`` (``reader``): the sheet responses.csv, or what
        :func:`timepoint_response` gives.
    participants : DataFrame
        ``participant_id, first_dose_datetime``. Everyone has a row in the result.
    outcomes : DataFrame, optional
        ``new_therapy_date``: assessments after that day do not count.
    reader : str, optional
        Needed where there are several.
    rules : ResponseRules, optional
    cutoff : date or ISO text, optional
        The data cut-off.

    Returns
    -------
    BestResponse

    Raises
    ------
    InputError
        E-RESP-001, -002, -004, -005, -009, E-SURV-003, -009, E-SHEET-012.

    Notes
    -----
    The 18 cases of the tests of admiralonco (Apache-2.0) are reproduced. Where an interval rests on a partial
    date, the shortest that it can be is used.

    Examples
    --------
    >>> import pandas as pd
    >>> people = pd.DataFrame({"participant_id": ["01"], "first_dose_datetime": ["2024-01-01"]})
    >>> days = ["2024-02-26", "2024-04-22"]
    >>> scans = pd.DataFrame({"participant_id": "01", "date": days, "response": "PR"})
    >>> best_overall_response(scans, people).table["best_response"].tolist()
    ['PR']
    """
    rules = rules or ResponseRules()
    problems = Problems()
    starts = first_dose_days(participants, problems)
    limit = day_of(cutoff)
    known = read_outcomes(outcomes, starts, cutoff=limit, problems=problems)
    problems.raise_if_any()
    found = assessments_of(timepoints, starts, reader=reader, cutoff=limit, problems=problems)
    rows, used = [], []
    for person, own in found.items():
        therapy = known[person].new_therapy
        judged = counted(own, None if therapy is None else therapy.earliest)
        used += judged
        rows.append(_row(person, judged, starts, rules, problems))
    table = pd.DataFrame(rows, columns=list(BEST_COLUMNS))
    return BestResponse(table, assessments_table(used, starts), rules, limit, tuple(problems))


def counted(own: list[Assessment], therapy: dt.date | None) -> list[tuple[Assessment, str]]:
    """Say of every assessment why it does not count: what lies after a new therapy or after progression."""
    judged, progressed = [], False
    for one in own:
        why = one.why_not
        if not why and therapy is not None and one.days.earliest > therapy:
            why = "after new anticancer therapy"
        if not why and progressed:
            why = "after progression"
        progressed = progressed or (not why and one.response == "PD")
        judged.append((one, why))
    return judged


def _row(
    person: str,
    judged: list[tuple[Assessment, str]],
    starts: Mapping[str, dt.date | None],
    rules: ResponseRules,
    problems: Problems,
) -> tuple[object, ...]:
    own = [one for one, why in judged if not why]
    start = starts[person]
    _tell_pr_after_cr(person, own, problems)
    confirmed, plain = _confirmed_offers(own, start, rules), _plain_offers(own, start, rules)
    best, loose = _best(confirmed, rules), _best(plain, rules)
    responses = [offer for offer in confirmed if offer.response in _RESPONSE]
    first = min((o.days for o in responses if o.days is not None), default=None)
    note = "" if start is not None else "no first dose"
    if not own and start is not None:
        note = "; ".join(sorted({why for _, why in judged if why != "baseline"})) or "no assessment"
    if loose.response in _RESPONSE and best.response != loose.response:
        note = f"{loose.response} on {day_text(loose.days.earliest if loose.days else None)} not confirmed"
    return (
        person,
        judged[0][0].reader if judged else "",
        best.response,
        day_text(best.days.earliest if best.days else None),
        best.days.missing if best.days else "",
        day_text(best.confirmed_on.earliest if best.confirmed_on else None),
        best.response in _RESPONSE,
        day_text(first.earliest if first else None),
        day_text(first.latest if first else None),
        loose.response,
        day_text(loose.days.earliest if loose.days else None),
        loose.response in _RESPONSE,
        len(judged),
        len(own),
        sum(one.response in EVALUABLE for one in own),
        best.rule,
        note,
    )


def _best(offers: list[_Offer], rules: ResponseRules) -> _Offer:
    if not offers:
        return _Offer("NE" if rules.missing_as_ne else "MISSING", None, "no assessment counts")
    return min(offers, key=lambda offer: (RANK[offer.response], offer.days or PartialDate.of(dt.date.max)))


def _plain_offers(own: list[Assessment], start: dt.date | None, rules: ResponseRules) -> list[_Offer]:
    offers = []
    for one in own:
        if one.response in _RESPONSE:
            offers.append(_Offer(one.response, one.days, "confirmation not asked for"))
        offers += _other_offers(one, start, rules)
    return offers


def _confirmed_offers(own: list[Assessment], start: dt.date | None, rules: ResponseRules) -> list[_Offer]:
    offers = []
    for place, one in enumerate(own):
        if one.response in _RESPONSE:
            by = _confirmed_by(own, place, rules)
            if by is not None:
                days = (by.days.earliest - one.days.latest).days
                rule = f"confirmed by {by.response} after {days} days"
                offers.append(_Offer(one.response, one.days, rule, by.days))
        offers += _other_offers(one, start, rules)
    return offers


def _other_offers(one: Assessment, start: dt.date | None, rules: ResponseRules) -> list[_Offer]:
    """What an assessment may be called apart from a response."""
    if one.response in {"PD", "NE", "ND"}:
        return [_Offer(one.response, one.days, f"{one.response} recorded")]
    if one.response == "MISSING" or start is None:
        return []
    after = (one.days.earliest - start).days
    if after < rules.min_sd_days:
        rule = f"{one.response} on day {after + 1}: too early for stable disease ({rules.min_sd_days} days)"
        return [_Offer("NE", one.days, rule)]
    response = "NON-CR/NON-PD" if one.response == "NON-CR/NON-PD" else "SD"
    return [_Offer(response, one.days, f"{one.response}, {after} days after the first dose")]


def _confirmed_by(own: list[Assessment], place: int, rules: ResponseRules) -> Assessment | None:
    """Find the assessment that confirms a CR or PR; the first that is late enough decides."""
    one = own[place]
    wanted = {"CR"} if one.response == "CR" else _RESPONSE
    for later in range(place + 1, len(own)):
        late = (own[later].days.earliest - one.days.latest).days >= rules.confirmation_days
        if late and own[later].response in wanted:
            between = [other.response for other in own[place + 1 : later]]
            return own[later] if _allowed(one.response, between, own[later].response, rules) else None
    return None


def _allowed(response: str, between: list[str], by: str, rules: ResponseRules) -> bool:
    if between.count("NE") > rules.max_ne_between:
        return False
    if response == "CR":
        return set(between) <= {"CR", "NE"}
    if not set(between) <= {"CR", "PR", "SD", "NE"}:
        return False
    if between.count("SD") > int(rules.accept_sd_between):
        return False
    course = [*between, by]
    return "CR" not in course or "PR" not in course[course.index("CR") :]


def _tell_pr_after_cr(person: str, own: list[Assessment], problems: Problems) -> None:
    complete = [one for one in own if one.response == "CR"]
    after = [one for one in own if complete and one.response == "PR" and one.days > complete[0].days]
    if after:
        problems.add(
            "E-RESP-007",
            f"{person!r} has PR on {after[0].days.earliest} after CR on {complete[0].days.earliest}.",
            remedy="After a complete response, disease that is seen again is progression: check the records.",
            file="responses.csv",
            row=after[0].row,
            column="response",
            value="PR",
            severity="warning",
        )
