"""Outcome strings such as ``1NNT 2NTN``: cohorts in order of time, a dose level and a letter for each."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from numbers import Integral
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pdbiomarker.errors import InputError, Problem, Problems

__all__ = ["Cohort", "Tally", "parse_outcomes", "tally"]

_COHORT: Final = re.compile(r"([0-9]+)([NT]+)", re.ASCII)
_MAX_DOSES: Final = 100
_MAX_PARTICIPANTS: Final = 10_000


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Participants treated together.

    Attributes
    ----------
    dose : int
        Dose level, from 1.
    outcomes : str
        One letter for each participant: ``T`` a dose-limiting toxicity, ``N`` none.
    position : int
        Where the cohort starts in the text, from 1; 0 when it was not read from a text.
    """

    dose: int
    outcomes: str
    position: int = 0

    @property
    def n(self) -> int:
        """Participants."""
        return len(self.outcomes)

    @property
    def n_dlt(self) -> int:
        """Participants with a dose-limiting toxicity."""
        return self.outcomes.count("T")


@dataclasses.dataclass(frozen=True)
class Tally:
    """Counts at every dose level.

    Attributes
    ----------
    n, n_dlt : array of int64, shape (n_doses,)
        Participants treated, and those with a dose-limiting toxicity.
    current : int
        Dose level of the last cohort; 0 when nobody was treated.
    """

    n: NDArray[np.int64]
    n_dlt: NDArray[np.int64]
    current: int

    @property
    def n_doses(self) -> int:
        """Dose levels."""
        return self.n.size


def parse_outcomes(outcomes: str | float | None, n_doses: int) -> tuple[Cohort, ...]:
    """Read an outcome string.

    Parameters
    ----------
    outcomes : str
        Cohorts parted by spaces, each a dose level and one letter for each participant: ``T`` a dose-limiting
        toxicity, ``N`` none. Empty: nobody was treated yet; so does the empty cell of a table (None, NaN).
    n_doses : int
        Dose levels of the trial, 1 to 100.

    Returns
    -------
    tuple of Cohort

    Raises
    ------
    InputError
        E-DOSE-001 for each cohort that cannot be read, with its position (from 1); E-DOSE-002 for each dose
        level that the trial does not have; E-DOSE-003 for a number of doses that is out of range.

    Examples
    --------
    >>> [(c.dose, c.outcomes) for c in parse_outcomes("1NNN 2NTN", 5)]
    [(1, 'NNN'), (2, 'NTN')]
    """
    problems = Problems()
    check_doses(n_doses, problems)
    problems.raise_if_any()
    cohorts = []
    for word in re.finditer(r"\S+", _text(outcomes)):
        text, start = word[0], word.start() + 1
        match = _COHORT.fullmatch(text)
        if match is None:
            offset, why, remedy = _fault(text)
            problems.add(
                "E-DOSE-001",
                why,
                remedy=remedy,
                column=f"outcomes, position {start + offset}",
                value=text[:40],
            )
            continue
        dose = int(match[1][:9])
        if not 1 <= dose <= n_doses:
            problems.add(
                "E-DOSE-002",
                f"The cohort names dose level {dose}; the trial has the levels 1 to {n_doses}.",
                remedy="Correct the dose level, or the number of doses.",
                column=f"outcomes, position {start}",
                value=text[:40],
            )
            continue
        cohorts.append(Cohort(dose, match[2], start))
    if sum(cohort.n for cohort in cohorts) > _MAX_PARTICIPANTS:
        problems.add(
            "E-DOSE-001",
            f"The text holds more than {_MAX_PARTICIPANTS} participants.",
            remedy="Check the text.",
            column="outcomes",
        )
    problems.raise_if_any()
    return tuple(cohorts)


def _text(outcomes: str | float | None) -> str:
    if isinstance(outcomes, str):
        return outcomes
    if outcomes is None or (isinstance(outcomes, float) and math.isnan(outcomes)):
        return ""
    raise InputError(
        [
            Problem(
                "E-DOSE-001",
                "The outcomes are not a text.",
                "Write cohorts such as '1NNN 2NTN'; an empty text where nobody was treated.",
                column="outcomes",
                value=str(outcomes)[:40],
            )
        ]
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_doses(n_doses: int, problems: Problems) -> None:
    """Report a number of dose levels that is out of range."""
    if not _is_whole(n_doses) or not 1 <= n_doses <= _MAX_DOSES:
        problems.add(
            "E-DOSE-003",
            f"The number of dose levels must be a whole number from 1 to {_MAX_DOSES}.",
            remedy="Give the number of dose levels of the protocol.",
            column="n_doses",
            value=n_doses,
        )


def _fault(text: str) -> tuple[int, str, str]:
    """Where a cohort breaks (from 0), why, and what to do."""
    digits = len(text) - len(text.lstrip("0123456789"))
    example = "Write a dose level and one letter for each participant, such as 2NTN."
    if digits == 0:
        if not text[0].isalpha():
            return 0, f"The character {text[0]!r} has no meaning.", example
        return 0, "The cohort has no dose level.", example
    if digits == len(text):
        return digits, "The cohort has a dose level and no outcome.", example
    offset, letter = next((i, c) for i, c in enumerate(text) if i >= digits and c not in "NT")
    if letter in "nt":
        return offset, f"The letter {letter!r} is lower case.", "Write N (no toxicity) and T (toxicity)."
    if letter.isdigit():
        return offset, "A second dose level starts inside the cohort.", "Part cohorts by a space."
    return (
        offset,
        f"The character {letter!r} is neither N nor T.",
        "Write N (no dose-limiting toxicity) or T (one); leave out who is not evaluable for it.",
    )


def tally(cohorts: Iterable[Cohort], n_doses: int) -> Tally:
    """Count participants and toxicities at every dose level."""
    n = np.zeros(n_doses, dtype=np.int64)
    n_dlt = np.zeros(n_doses, dtype=np.int64)
    current = 0
    for cohort in cohorts:
        n[cohort.dose - 1] += cohort.n
        n_dlt[cohort.dose - 1] += cohort.n_dlt
        current = cohort.dose
    return Tally(n, n_dlt, current)


def refuse(message: str, remedy: str, column: str, value: object = None) -> InputError:
    """Make the error for a design or an option that cannot be used (E-DOSE-003)."""
    text = None if value is None else str(value)
    return InputError([Problem("E-DOSE-003", message, remedy, column=column, value=text)])
