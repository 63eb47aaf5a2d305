"""Rules for events and censoring, as a table that a user can switch."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Final, Literal, get_args

import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.tables import nearest

__all__ = ["PRIMARY", "SENSITIVITY", "AssessmentSchedule", "CensoringRules"]

NewTherapy = Literal["censor", "event", "ignore"]
Missed = Literal["censor", "ignore"]
Withdrawal = Literal["censor", "event"]

#: (situation, option, value) -> what is done and which date is taken.
_MEANING: Final = {
    ("new_therapy", "censor"): ("censored", "last adequate assessment up to the new therapy"),
    ("new_therapy", "event"): ("event", "start of the new therapy"),
    ("new_therapy", "ignore"): ("not looked at", "progression or death afterwards counts"),
    ("missed_assessments", "censor"): ("censored", "last adequate assessment before the gap"),
    ("missed_assessments", "ignore"): ("event", "progression or death counts on its day"),
    ("no_baseline", "censor"): ("censored", "day 1"),
    ("no_baseline", "ignore"): ("not looked at", "progression or death counts on its day"),
    ("withdrawal", "censor"): ("censored", "last adequate assessment"),
    ("withdrawal", "event"): ("event", "day of withdrawal"),
}
_SITUATIONS: Final = {
    "new_therapy": "new anticancer therapy before progression or death",
    "missed_assessments": "progression or death after {n} or more missed assessments in a row",
    "no_baseline": "no assessment at baseline",
    "withdrawal": "withdrawal or loss to follow-up before progression or death",
}
_CHOICES: Final = {
    "new_therapy": get_args(NewTherapy),
    "missed_assessments": get_args(Missed),
    "no_baseline": get_args(Missed),
    "withdrawal": get_args(Withdrawal),
}


@dataclasses.dataclass(frozen=True, slots=True)
class CensoringRules:
    """What counts as an event, and when observation ends without one.

    Attributes
    ----------
    name : str
    new_therapy : {"censor", "event", "ignore"}
        A new anticancer therapy before progression or death.
    missed_assessments : {"censor", "ignore"}
        Progression or death after `max_missed` or more scheduled assessments in a row that are missing or not
        adequate. Needs an :class:`AssessmentSchedule`.
    max_missed : int
    no_baseline : {"censor", "ignore"}
        Lesions are recorded and none of them up to the first dose.
    withdrawal : {"censor", "event"}
    count_first_day : bool
        Whether the first day counts: days = end - start + 1.

    Notes
    -----
    The defaults are a usual primary analysis; whether they follow a guidance is the protocol's to say.
    """

    name: str = "primary"
    new_therapy: NewTherapy = "censor"
    missed_assessments: Missed = "censor"
    max_missed: int = 2
    no_baseline: Missed = "censor"
    withdrawal: Withdrawal = "censor"
    count_first_day: bool = True

    def __post_init__(self) -> None:
        """Refuse options that there are not (E-SURV-002)."""
        problems = Problems()
        for option, known in _CHOICES.items():
            value = str(getattr(self, option))
            if value not in known:
                remedy = f"{nearest(value, known)} Choose one of: {', '.join(known)}."
                problems.add("E-SURV-002", "No such rule.", remedy=remedy, column=option, value=value)
        if not 1 <= self.max_missed <= 100:
            problems.add(
                "E-SURV-002",
                "A number of missed assessments is 1 or more.",
                column="max_missed",
                value=self.max_missed,
            )
        problems.raise_if_any()

    def table(self) -> pd.DataFrame:
        """Give the rules as a table: ``rules, situation, outcome, date, option, value``."""
        rows: list[tuple[object, ...]] = [
            (self.name, "progression", "event", "day of the first progression", "", ""),
            (self.name, "death before progression", "event", "day of death", "", ""),
        ]
        for option, text in _SITUATIONS.items():
            value = str(getattr(self, option))
            outcome, date = _MEANING[option, value]
            rows.append((self.name, text.format(n=self.max_missed), outcome, date, option, value))
        rows += [
            (self.name, "no assessment after baseline, alive", "censored", "day 1", "", ""),
            (
                self.name,
                "none of these up to the data cut-off",
                "censored",
                "last adequate assessment",
                "",
                "",
            ),
        ]
        return pd.DataFrame(rows, columns=["rules", "situation", "outcome", "date", "option", "value"])


PRIMARY: Final = CensoringRules()
#: Nothing is censored for what happened before an event.
SENSITIVITY: Final = CensoringRules(
    name="sensitivity",
    new_therapy="event",
    missed_assessments="ignore",
    no_baseline="ignore",
    withdrawal="censor",
)


@dataclasses.dataclass(frozen=True, slots=True)
class AssessmentSchedule:
    """When the tumour was to be assessed, counted from the first dose.

    Attributes
    ----------
    every_days : int
        Between assessments, after those of `days`.
    window_days : int
        An assessment may be this much early or late.
    days : tuple of int
        Days after the first dose of the first assessments, where they do not follow `every_days`.

    Examples
    --------
    >>> AssessmentSchedule(84, days=(56, 112)).nominal_days(400)
    [56, 112, 196, 280, 364]
    """

    every_days: int = 56
    window_days: int = 7
    days: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a schedule that does not go on (E-SURV-002)."""
        problems = Problems()
        rising = all(a < b for a, b in zip((0, *self.days), self.days, strict=False))
        if self.every_days < 1 or not 0 <= self.window_days < self.every_days or not rising:
            problems.add(
                "E-SURV-002",
                "A schedule has a positive interval, a window below it, and rising days.",
                column="schedule",
                value=f"every {self.every_days}, window {self.window_days}, days {list(self.days)}",
            )
        problems.raise_if_any()

    def nominal_days(self, until: int) -> list[int]:
        """Give the days after the first dose up to `until` on which an assessment was due."""
        due = list(self.days)
        while (due[-1] if due else 0) + self.every_days <= until:
            due.append((due[-1] if due else 0) + self.every_days)
        return [day for day in due if day <= until]

    def missed(self, last: dt.date, event: dt.date, start: dt.date) -> int:
        """Count the assessments that were due, and whose window lies whole between two days.

        Parameters
        ----------
        last : date
            The last adequate assessment, or the first dose.
        event : date
            Progression or death.
        start : date
            The first dose.
        """
        seen, end = (last - start).days, (event - start).days
        due = self.nominal_days(end)
        return sum(seen < day - self.window_days and day + self.window_days < end for day in due)
