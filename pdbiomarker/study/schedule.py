"""The schedule of a study: cycles and their nominal days, and the windows that visits have by default.

Study days have no day 0: the day of the first dose is day 1, the day before is day -1. Day d of cycle n is
the nominal study day ``cycle_days * (n - 1) + d``, so C2D1 is day 29 of 28-day cycles.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pdbiomarker.errors import Problems
from pdbiomarker.reference import reference_names, reference_path
from pdbiomarker.tables import nearest, read_yaml

__all__ = ["Schedule", "ScheduleKeys", "complete_visits", "days_between", "schedules", "shifted"]

_CYCLE_DAY = re.compile(
    r"c(?:ycle)?[ _]*([0-9]{1,3})[ _]*d(?:ay)?[ _]*([0-9]{1,3})", re.IGNORECASE | re.ASCII
)
_SCREENING: Final = frozenset({"screening", "scr", "baseline", "pre", "pretreatment"})
_FOLLOW_UP: Final = frozenset({"followup", "safetyfollowup", "sfu", "fu"})
_FOLLOW_UP_WINDOW: Final = 7
_DEFAULT: Final = "default"
_FOLDER: Final = "windows"


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """Lengths of the parts of a study, in days.

    Attributes
    ----------
    cycle_days : int
        Length of a treatment cycle.
    screening_days : int
        Days before the first dose in which a screening biopsy is fresh.
    follow_up_days : int
        Days from the last dose to the safety follow-up.
    window : int
        How far from its nominal day a visit CnDd may lie by default.
    """

    cycle_days: int = 28
    screening_days: int = 28
    follow_up_days: int = 90
    window: int = 3

    def nominal_day(self, name: str) -> int | None:
        """Give the nominal study day of a visit named CnDd; None of another name.

        Examples
        --------
        >>> Schedule().nominal_day("C1D15"), Schedule().nominal_day("C2D1"), Schedule(21).nominal_day("C3D8")
        (15, 29, 50)
        >>> Schedule().nominal_day("EOT") is None
        True
        """
        found = _CYCLE_DAY.fullmatch(name.strip())
        if found is None:
            return None
        cycle, day = int(found[1]), int(found[2])
        return None if cycle < 1 or day < 1 else self.cycle_days * (cycle - 1) + day


class ScheduleKeys(BaseModel):
    """The key `schedule` of study.yaml: these keys, or the name of a file of ``reference/windows``."""

    model_config = ConfigDict(extra="forbid", strict=True)
    cycle_days: int = Field(default=28, ge=1, le=365)
    screening_days: int = Field(default=28, ge=1, le=365)
    follow_up_days: int = Field(default=90, ge=1, le=1_000)
    window: int = Field(default=3, ge=0, le=180)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in schedules():
            raise ValueError(f"There is no schedule of that name. Remedy: {nearest(value, schedules())}")
        content = read_yaml(reference_path(f"{_FOLDER}/{value}.yaml"), Problems()) or {}
        return {key: number for key, number in content.items() if key in cls.model_fields}

    def schedule(self) -> Schedule:
        """Give the schedule."""
        return Schedule(**self.model_dump())


def schedules() -> list[str]:
    """Names of the schedules that travel with the package.

    Examples
    --------
    >>> schedules()
    ['q3w', 'q4w']
    """
    return reference_names(_FOLDER)


def shifted(day: int, days: int) -> int:
    """Move a study day; there is no day 0.

    Examples
    --------
    >>> shifted(-1, 1), shifted(1, -1), shifted(29, 7)
    (1, -1, 36)
    """
    linear = (day if day < 0 else day - 1) + days
    return linear if linear < 0 else linear + 1


def days_between(first: int, last: int) -> int:
    """Give the days from one study day to another; there is no day 0.

    Examples
    --------
    >>> days_between(-1, 1), days_between(1, 29), days_between(-5, 28)
    (1, 28, 32)
    """
    return (last if last < 0 else last - 1) - (first if first < 0 else first - 1)


def complete_visits(visits: Mapping[str, Any], schedule: Schedule) -> dict[str, Any]:
    """Write out the windows that a name or the word ``default`` stands for.

    Parameters
    ----------
    visits : mapping of name to what study.yaml says of it
    schedule : Schedule

    Returns
    -------
    dict
        ``CnDd: {window: 3}`` gets its nominal day; ``default`` becomes the window of a screening, cycle or
        follow-up visit. Whatever else is left as it is, to be checked.
    """
    out: dict[str, Any] = {}
    for name, value in visits.items():
        day = schedule.nominal_day(name)
        plain = re.sub(r"[^a-z]", "", name.casefold())
        if value == _DEFAULT and day is not None:
            out[name] = {"day": day, "window": schedule.window}
        elif value == _DEFAULT and plain in _SCREENING:
            out[name] = [-schedule.screening_days, -1]
        elif value == _DEFAULT and plain in _FOLLOW_UP:
            out[name] = {"after_last_dose": schedule.follow_up_days, "window": _FOLLOW_UP_WINDOW}
        elif isinstance(value, dict) and set(value) == {"window"} and day is not None:
            out[name] = {"day": day, **value}
        else:
            out[name] = value
    return out
