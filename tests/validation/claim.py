"""A claim of the validation dossier: what is computed, against which oracle, how far off it may be and is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

TESTS = Path(__file__).resolve().parents[1]

#: How a difference is told; digits are the least number of correct ones, all others the largest difference.
Unit = Literal["relative", "absolute", "standard errors", "log10 p", "digits", "cases", "share", "points"]


class NotHere(Exception):  # noqa: N818 - a condition, told as such
    """Third-party data that a claim reads are not at hand."""


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where reference numbers lie: those kept here, and third-party data that are not."""

    shared: Path = dataclasses.field(
        default_factory=lambda: Path(os.environ.get("PDBIOMARKER_SHARED", TESTS.parents[1] / "shared"))
    )

    def golden(self, name: str) -> Path:
        """A file of `tests/golden`."""
        return TESTS / "golden" / name

    def outside(self, name: str) -> Path:
        """A file of the shared folder, below `data/` or `golden/`."""
        path = self.shared / name
        if not path.exists():
            raise NotHere(name)
        return path


@dataclasses.dataclass(frozen=True)
class Claim:
    """One row of the dossier.

    Attributes
    ----------
    name : str
        Unique; the test of the claim bears it.
    area, what, oracle : str
        Chapter, what is claimed, what it is held against.
    unit : Unit
    tolerance : float
        Largest difference allowed; of digits the fewest, of "cases" those that may differ.
    measure : callable
        From the sources to the difference.
    tests : str
        Where the tests go further than this row.
    data : bool
        It reads third-party data that are not kept here.
    """

    name: str
    area: str
    what: str
    oracle: str
    unit: Unit
    tolerance: float
    measure: Callable[[Sources], float]
    tests: str
    data: bool = False

    def holds(self, measured: float) -> bool:
        """Whether a measured difference is within the tolerance."""
        return measured >= self.tolerance if self.unit == "digits" else measured <= self.tolerance

    def shown(self, measured: float) -> str:
        """The measured difference as the page prints it: rounded to the unfavourable side."""
        if self.unit == "digits":
            return f"{np.floor(measured * 2) / 2:.1f}"
        if self.unit == "cases":
            return f"{measured:.0f}"
        if self.unit in ("share", "points"):
            return f"{measured:.3g}"
        if measured < 1e-13:
            return "< 1e-13"
        power = int(np.floor(np.log10(measured)))
        lead = int(np.ceil(measured / 10.0**power * (1 - 1e-9)))
        return f"{lead}e{power}" if lead < 10 else f"1e{power + 1}"

    def as_printed(self, printed: str, measured: float) -> bool:
        """Whether what is measured here is what the page says, but for the rounding of another processor."""
        if self.unit == "digits":
            return measured >= float(printed) - 0.5
        if self.unit == "cases":
            return f"{measured:.0f}" == printed
        return measured <= max(3 * float(printed.removeprefix("< ")), self.tolerance / 1000)


def relative(found: ArrayLike, expected: ArrayLike) -> float:
    """Largest relative difference; both must be missing in the same places, and may be 0 only together."""
    f, e = (np.asarray(v, dtype=float).ravel() for v in np.broadcast_arrays(found, expected))
    if not np.array_equal(np.isnan(f), np.isnan(e)):
        return np.inf
    known = ~np.isnan(e) & (f != e)
    return float(np.max(np.abs(f[known] - e[known]) / np.abs(e[known]), initial=0.0))


def absolute(found: ArrayLike, expected: ArrayLike) -> float:
    """Largest absolute difference; both must be missing in the same places."""
    f, e = (np.asarray(v, dtype=float).ravel() for v in np.broadcast_arrays(found, expected))
    if not np.array_equal(np.isnan(f), np.isnan(e)):
        return np.inf
    return float(np.max(np.abs(f - e)[~np.isnan(e) & (f != e)], initial=0.0))


def digits(found: ArrayLike, expected: ArrayLike) -> float:
    """Fewest correct significant digits (log relative error), at most 16."""
    off = relative(found, expected)
    return 16.0 if off == 0 else float(min(16.0, -np.log10(off)))


def differing(found: object, expected: object) -> float:
    """How many items of two sequences are not equal; all of them where the lengths differ."""
    f, e = list(found), list(expected)  # type: ignore[call-overload]
    return (
        float(max(len(f), len(e)))
        if len(f) != len(e)
        else float(sum(a != b for a, b in zip(f, e, strict=True)))
    )
