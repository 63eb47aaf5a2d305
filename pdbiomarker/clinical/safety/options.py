"""Options of the safety tables."""

from __future__ import annotations

import dataclasses

from pdbiomarker.errors import Problems

__all__ = ["SafetyOptions"]


@dataclasses.dataclass(frozen=True)
class SafetyOptions:
    """Rules of the safety tables.

    Attributes
    ----------
    days_after_last : int
        Events up to this many days after the last dose are treatment-emergent.
    missing_grade : int or None
        Grade that stands in for a missing one, flagged: 3, the conservative choice, or another of 1 to 5.
        None: the event has no grade, and counts neither as grade 3 nor as a maximum.
    dlt_window_days : int
        Length of the window for dose-limiting toxicities, from the day of the first dose (day 1).
    least_dose_pct : float
        A participant without a dose-limiting toxicity is evaluable with at least this share of the planned
        dose of the window.
    planned_doses : int or None
        Doses that the protocol plans within the window. A participant with fewer rows missed the others.
        None: only the rows of the table are known.
    cutoff : str or None
        Data cut-off, ISO date: doses after it are left out, and events that start after it do not count. A
        window that it cuts is pending.
    """

    days_after_last: int = 90
    missing_grade: int | None = 3
    dlt_window_days: int = 28
    least_dose_pct: float = 75.0
    planned_doses: int | None = None
    cutoff: str | None = None

    def __post_init__(self) -> None:
        problems = Problems()
        for name, fine, remedy in (
            ("days_after_last", 0 <= self.days_after_last <= 3650, "Give days, such as 90."),
            (
                "missing_grade",
                self.missing_grade in {None, 1, 2, 3, 4, 5},
                "Give a grade from 1 to 5, or None.",
            ),
            ("dlt_window_days", 1 <= self.dlt_window_days <= 365, "Give days, such as 28."),
            (
                "planned_doses",
                self.planned_doses is None or self.planned_doses >= 1,
                "Give a number, such as 4.",
            ),
            ("least_dose_pct", 0 <= self.least_dose_pct <= 100, "Give a percentage, such as 75."),
        ):
            if not fine:
                problems.add(
                    "E-AE-003",
                    f"The option {name!r} is out of its range.",
                    remedy=remedy,
                    column=name,
                    value=getattr(self, name),
                )
        problems.raise_if_any()
