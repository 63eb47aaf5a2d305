"""What a contrast is once it is read: weighted cells, and the visits that have a part in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, NamedTuple

__all__ = ["VISIT", "Cell", "Contrast", "Part", "Setting", "as_contrast", "merged"]

#: The column of bare levels, and of a bare name after `at`.
VISIT: Final = "visit"
#: Weights of fractions, as floating-point numbers, agree up to this.
_ROUNDING: Final = 1e-12


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One column of a cell and the value it takes.

    Attributes
    ----------
    column, value : str
        As written, without quotes.
    position : int
        Where the value stands in the text, from 0.
    """

    column: str
    value: str
    position: int = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """A marginal mean with its weight.

    Attributes
    ----------
    weight : float
        Not zero.
    settings : tuple of Setting
        The columns that are named, the compared one first; the mean is over all others.
    """

    weight: float
    settings: tuple[Setting, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Contrast:
    """A linear combination of marginal means whose weights sum to zero.

    Attributes
    ----------
    minuend, subtrahend : str
        Of one level minus another, the levels: the estimate is positive when the first is higher. Empty
        for any other combination; see `is_difference`.
    at : tuple of (str, str)
        Of one level minus another, the columns held at a value, as written.
    text : str
        As it was written.
    factor : str
        Of one level minus another, the column of the levels.
    cells : tuple of Cell
        All cells, in the order in which they are first written; the minuend first.
    visits : tuple of str
        The visits that have a part in it, in the order of the study; all of them if a cell names none.
    """

    minuend: str
    subtrahend: str
    at: tuple[tuple[str, str], ...] = ()
    text: str = dataclasses.field(default="", compare=False)
    factor: str = VISIT
    cells: tuple[Cell, ...] = ()
    visits: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Derive the cells of one level minus another."""
        if not self.cells:
            held = tuple(Setting(column, value) for column, value in self.at)
            pair = ((1.0, self.minuend), (-1.0, self.subtrahend))
            cells = tuple(Cell(weight, (Setting(self.factor, level), *held)) for weight, level in pair)
            object.__setattr__(self, "cells", cells)
        if not self.visits:
            named = (s.value for cell in reversed(self.cells) for s in cell.settings if s.column == VISIT)
            object.__setattr__(self, "visits", tuple(dict.fromkeys(named)))

    @property
    def is_difference(self) -> bool:
        """Whether it is one level minus another, all else the same."""
        return bool(self.minuend)

    @property
    def visit_weights(self) -> dict[str, float] | None:
        """Weight of each visit in one participant; None where participants would differ in them.

        Of ``C2D1 - screening`` it is 1 and -1, also at a dose; of the difference of this change between two
        doses, too: a participant has one dose. Of ``cohort: B - A`` over two visits it is 1/2 each.
        """
        groups: dict[frozenset[tuple[str, str]], dict[str, float]] = {}
        for cell in self.cells:
            others = frozenset((s.column, s.value) for s in cell.settings if s.column != VISIT)
            own = groups.setdefault(others, dict.fromkeys(self.visits, 0.0))
            named = [s.value for s in cell.settings if s.column == VISIT] or list(self.visits)
            for visit in named:
                own[visit] += cell.weight / len(named)
        first, *rest = groups.values()
        largest = max(first, key=lambda visit: abs(first[visit]))
        if abs(first[largest]) <= _ROUNDING:
            return None
        for other in rest:
            ratio = other[largest] / first[largest]
            if any(abs(other[v] - ratio * first[v]) > _ROUNDING * max(1.0, abs(ratio)) for v in first):
                return None
        return first


class Part(NamedTuple):
    """A cell while it is read."""

    weight: Fraction
    settings: tuple[Setting, ...]


def merged(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Add up the weights of equal cells; cells that cancel go."""
    found: dict[frozenset[tuple[str, str]], Part] = {}
    for part in parts:
        key = frozenset((s.column, s.value) for s in part.settings)
        weight = part.weight + (found[key].weight if key in found else 0)
        found[key] = Part(weight, found[key].settings if key in found else part.settings)
    return tuple(part for part in found.values() if part.weight)


def as_contrast(parts: Sequence[Part], text: str, order: Sequence[str] | None) -> Contrast:
    """Make the contrast; `order` is that of the visits, if it is known."""
    cells = tuple(Cell(float(part.weight), part.settings) for part in parts)
    named = dict.fromkeys(s.value for part in parts for s in part.settings if s.column == VISIT)
    visits = tuple(named) if order is None else tuple(v for v in dict.fromkeys(order) if v in named)
    if order is not None and any(all(s.column != VISIT for s in part.settings) for part in parts):
        visits = tuple(dict.fromkeys(order))
    difference = _difference(parts)
    if difference is None:
        return Contrast("", "", (), text, "", cells, visits)
    first, second, at = difference
    ordered = tuple(sorted(cells, key=lambda cell: -cell.weight))
    return Contrast(first.value, second.value, at, text, first.column, ordered, visits)


def _difference(
    parts: Sequence[Part],
) -> tuple[Setting, Setting, tuple[tuple[str, str], ...]] | None:
    """The two levels and what is held, of one level minus another."""
    ordered = sorted(parts, key=lambda part: -part.weight)
    if [part.weight for part in ordered] != [1, -1]:
        return None
    first, second = ({s.column: s for s in part.settings} for part in ordered)
    if set(first) != set(second):
        return None
    differ = [name for name in first if first[name] != second[name]]
    if len(differ) != 1:
        return None
    at = tuple((name, s.value) for name, s in first.items() if name != differ[0])
    return first[differ[0]], second[differ[0]], at
