"""Contrasts of a factor's levels as differences of marginal means.

The marginal mean of a level is the mean of the fixed part over a reference grid in which the factor has
this level, every other factor takes each of its levels with equal weight, and every number is at the
mean of its column over the rows used (of the column itself: `log2(dose_mg)` is taken at the mean dose).
`at` holds a column at a value instead. The columns of the grid are crossed, so a mean over the grid is
the product of means over its columns, and no grid is ever laid out.

Reference: S. R. Searle, F. M. Speed and G. A. Milliken, Population marginal means in the linear model,
The American Statistician 34 (1980) 216-221, doi:10.1080/00031305.1980.10483031.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import FormulaError
from pdbiomarker.formula.columns import (
    Column,
    factor_column,
    numeric_column,
    read_columns,
)
from pdbiomarker.formula.design import Design
from pdbiomarker.formula.grammar import check_characters, check_text, nearest, plain, refusal, shown

__all__ = ["Contrast", "contrast_vector", "parse_contrast"]

type Floats = npt.NDArray[np.float64]

_QUOTED = re.compile(r"`(?:[^`]|``)*`|\"[^\"]*\"|'[^']*'")
_AT = re.compile(r"\s+at(?:\s+|$)")
_MINUS = re.compile(r"\s*-\s*")
_NAME = re.compile(r"`(?:[^`]|``)*`|[^=,`]+")
_BARE = re.compile(r"[^,=`\"']+")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_SHAPE: Final = "A contrast is written LEVEL - LEVEL, or LEVEL - LEVEL at COLUMN = VALUE."


@dataclasses.dataclass(frozen=True, slots=True)
class Contrast:
    """One level minus another.

    Attributes
    ----------
    minuend, subtrahend : str
        The levels; the estimate is positive when the first is higher.
    at : tuple of (str, str)
        Columns held at a value, as written.
    text : str
        As it was written.
    """

    minuend: str
    subtrahend: str
    at: tuple[tuple[str, str], ...] = ()
    text: str = dataclasses.field(default="", compare=False)


def parse_contrast(text: str, levels: Sequence[str]) -> Contrast:
    """Read a contrast such as ``"C2D1 - screening"``.

    Parameters
    ----------
    text : str
        ``LEVEL - LEVEL [at COLUMN = VALUE, ...]``. A level is one of `levels`, as it is or in backticks or
        quotes; levels may hold spaces and operators (``pre-dose``, ``Cycle 2 Day 1``).
    levels : sequence of str
        The levels that exist.

    Returns
    -------
    Contrast

    Raises
    ------
    FormulaError
        With the position, for a level that does not exist (naming the nearest), a text that can be read
        in two ways, or one that is no contrast.

    Examples
    --------
    >>> parse_contrast("C2D1 - screening at dose_mg = 100", ["screening", "C2D1"]).at
    (('dose_mg', '100'),)
    """
    check_text(text, "contrast")
    check_characters(text, text.replace("\t", " ").replace("\n", " ").replace("\r", " "), 0)
    known = [str(level) for level in levels]
    found = list(_readings(text, known))
    readings = list(dict.fromkeys(reading for reading in found if isinstance(reading, Contrast)))
    if not readings:
        raise next((error for error in found if isinstance(error, FormulaError)), None) or _unreadable(
            text, known
        )
    if len(readings) > 1:
        raise refusal(
            text,
            0,
            "The contrast can be read in more than one way.",
            remedy="Put the levels in backticks.",
            code=1,
        )
    contrast = readings[0]
    if contrast.minuend == contrast.subtrahend:
        raise refusal(
            text, 0, "A level minus itself is nothing.", remedy="Name two levels.", value=contrast.minuend
        )
    return contrast


def _readings(text: str, known: Sequence[str]) -> Iterator[Contrast | FormulaError]:
    """Every way to read `text` as a contrast of known levels, or why what follows two levels is refused."""
    start = len(text) - len(text.lstrip())
    for minuend, end in _level_at(text, start, known):
        minus = _MINUS.match(text, end)
        if minus is None:
            continue
        for subtrahend, stop in _level_at(text, minus.end(), known):
            if not text[stop:].strip():
                yield Contrast(minuend, subtrahend, (), text)
            elif clause := _AT.match(text, stop):
                try:
                    yield Contrast(minuend, subtrahend, _at_clause(text, clause.end()), text)
                except FormulaError as error:
                    yield error


def _level_at(text: str, at: int, known: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Levels that stand at a position, the longest first, and where each ends."""
    quoted = _QUOTED.match(text, at)
    if quoted is not None and _unquote(quoted.group()) in known:
        yield _unquote(quoted.group()), quoted.end()
    for level in sorted(known, key=len, reverse=True):
        if level and text.startswith(level, at):
            yield level, at + len(level)


def _unquote(text: str) -> str:
    inside = text[1:-1]
    return inside.replace("``", "`") if text[0] == "`" else inside


def _at_clause(text: str, start: int) -> tuple[tuple[str, str], ...]:
    """Read ``COLUMN = VALUE, ...`` up to the end."""
    found: dict[str, str] = {}
    at = start
    while True:
        name = _NAME.match(text, at)
        if name is None or not name.group().strip():
            raise refusal(text, at, "Expected the name of a column after 'at'.", remedy=_SHAPE)
        equals = re.compile(r"\s*=\s*").match(text, name.end())
        if equals is None:
            raise refusal(text, name.end(), "Expected '=' after the column.", remedy=_SHAPE)
        value = _QUOTED.match(text, equals.end()) or _BARE.match(text, equals.end())
        if value is None or not value.group().strip():
            raise refusal(text, equals.end(), "Expected a value after '='.", remedy=_SHAPE)
        column = name.group().strip()
        column = _unquote(column) if column[0] == "`" else column
        if column in found:
            raise refusal(text, at, f"Column {shown(column)} is held twice.", remedy="Keep one value.")
        raw = value.group().strip()
        found[column] = _unquote(raw) if raw[0] in "`\"'" else raw
        after = re.compile(r"\s*(,\s*|$)").match(text, value.end())
        if after is None:
            raise refusal(text, value.end(), "Expected ',' or the end after a value.", remedy=_SHAPE)
        if after.end() == len(text) and not after.group(1):
            return tuple(found.items())
        at = after.end()


def _unreadable(text: str, known: Sequence[str]) -> FormulaError:
    """Say which part of an unreadable contrast is at fault."""
    start = len(text) - len(text.lstrip())
    first = list(_level_at(text, start, known))
    for _, end in first:
        minus = _MINUS.match(text, end)
        if minus is not None:
            rest = re.split(_AT, text[minus.end() :])[0].strip()
            return _unknown(text, minus.end(), rest, known)
    if first and not text[first[0][1] :].strip():
        return refusal(text, first[0][1], "Expected '-' and a second level.", remedy=_SHAPE)
    pieces = re.split(r"\s-\s|-", text, maxsplit=1)
    if len(pieces) < 2:
        return refusal(text, start, "There is no ' - ' between two levels.", remedy=_SHAPE, value=text)
    name = (
        re.split(r"\s+-\s+", text, maxsplit=1)[0].strip() if re.search(r"\s-\s", text) else pieces[0].strip()
    )
    return _unknown(text, start, name, known)


def _unknown(text: str, at: int, name: str, known: Sequence[str]) -> FormulaError:
    if not name:
        return refusal(text, at, "Expected a level.", remedy=_SHAPE)
    name = _unquote(name) if _QUOTED.fullmatch(name) else name
    return refusal(text, at, "There is no such level.", remedy=nearest(name, known), value=name, code=5)


def contrast_vector(design: Design, data: pd.DataFrame, text: str, *, factor: str = "visit") -> Floats:
    """Coefficients of a contrast: the difference of two marginal means.

    Parameters
    ----------
    design : Design
        From :func:`design_matrix`.
    data : DataFrame, n rows
        The table that the design was made of; numbers are held at their mean over its used rows.
    text : str
        ``LEVEL - LEVEL [at COLUMN = VALUE, ...]``; see :func:`parse_contrast`.
    factor : str
        The column whose levels are compared.

    Returns
    -------
    ndarray of float, (p,)
        ``vector @ coefficients`` is the contrast.

    Raises
    ------
    FormulaError
        For levels or columns that the design does not have, and values that do not fit.

    Notes
    -----
    These are the defaults of R's emmeans, with one exception: a number with two distinct values is held
    at its mean too, where emmeans would give both values equal weight.
    """
    if factor not in design.levels:
        why = (
            "is a number; write C() around it" if factor in design.coding.numeric else "is not in the formula"
        )
        remedy = nearest(factor, design.levels)
        raise refusal(text, 0, f"{shown(factor)} {why}.", remedy=remedy, value=factor, code=5)
    contrast = parse_contrast(text, [*design.levels[factor], *design.dropped_levels.get(factor, ())])
    for level in (contrast.minuend, contrast.subtrahend):
        if level not in design.levels[factor]:
            raise refusal(text, 0, f"No row used has {shown(level)} as {plain(factor)}.", value=level, code=5)
    grid = _reference_grid(design, data, contrast, factor)
    means = [
        _grid_mean(design, {**grid, factor: _level_column(design, factor, [level])})
        for level in (contrast.minuend, contrast.subtrahend)
    ]
    return means[0] - means[1]


def _reference_grid(design: Design, data: pd.DataFrame, contrast: Contrast, factor: str) -> dict[str, Column]:
    """For each column of the fixed part, the values it takes in the grid."""
    names = tuple(dict.fromkeys(v.column for term in design.formula.fixed for v in term.variables))
    held = dict(contrast.at)
    for name in held:
        if name not in names or name == factor:
            why = "is the factor compared" if name == factor else "is not in the fixed part of the formula"
            others = [n for n in names if n != factor]
            raise refusal(
                contrast.text,
                max(0, contrast.text.find(name)),
                f"Column {shown(name)} {why}.",
                remedy=nearest(name, others),
                value=name,
                code=5,
            )
    grid: dict[str, Column] = {}
    numbers = [name for name in names if name not in design.levels and name not in held]
    means = _means(design, data, numbers)
    for name in names:
        if name in held:
            grid[name] = _held_column(design, contrast, name, held[name])
        elif name in design.levels:
            grid[name] = _level_column(design, name, design.levels[name])
        else:
            grid[name] = numeric_column(name, [means[name]])
    return grid


def _means(design: Design, data: pd.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Means of number columns over the rows used."""
    if len(data) != len(design.rows_used):
        raise refusal(
            design.formula.text,
            0,
            f"The design was made of {len(design.rows_used)} rows, this table has {len(data)}.",
            remedy="Give the table that the design was made of.",
            code=5,
        )
    columns, problems = read_columns(design.formula, data, names)
    problems.raise_if_any(FormulaError)
    return {name: float(column.take(design.rows_used).numbers.mean()) for name, column in columns.items()}


def _level_column(design: Design, name: str, levels: Sequence[str]) -> Column:
    """Levels as a column; of a number under C(), with their values."""
    if name in design.coding.numeric:
        return dataclasses.replace(numeric_column(name, [float(x) for x in levels]), labels=_labels(levels))
    return factor_column(name, levels)


def _labels(levels: Sequence[str]) -> npt.NDArray[np.object_]:
    return factor_column("", levels).labels


def _held_column(design: Design, contrast: Contrast, name: str, value: str) -> Column:
    """Make a column that is held at one value."""
    number = float(value) if _NUMBER.fullmatch(value) else math.nan
    at = max(0, contrast.text.rfind(value))
    levels = design.levels.get(name)
    if levels is not None:
        if name in design.coding.numeric:
            value = next((x for x in levels if float(x) == number), value)
        if value not in levels:
            message = f"Column {shown(name)} has no such level in the rows used."
            raise refusal(contrast.text, at, message, remedy=nearest(value, levels), value=value, code=5)
        return _level_column(design, name, [value])
    if not math.isfinite(number):
        message = f"Column {shown(name)} is held at a finite number."
        raise refusal(contrast.text, at, message, remedy=f"For example: at {name} = 1.", value=value, code=5)
    return numeric_column(name, [number])


def _grid_mean(design: Design, grid: Mapping[str, Column]) -> Floats:
    """Mean of each column of the design matrix over the grid: (p,)."""
    coding = design.coding
    found = [1.0] if design.formula.intercept else []
    for term, full in zip(design.formula.fixed, coding.full, strict=True):
        blocks = [
            (
                v.column,
                coding.block(
                    v, grid[v.column], ["of the reference grid"] * len(grid[v.column].labels), full=w
                ),
            )
            for v, w in zip(term.variables, full, strict=True)
        ]
        widths = [range(block.shape[1]) for _, block in blocks]
        for reverse in itertools.product(*reversed(widths)):
            by_column: dict[str, Floats] = {}
            for (name, block), j in zip(blocks, reversed(reverse), strict=True):
                by_column[name] = by_column.get(name, np.ones(len(block))) * block[:, j]
            found.append(math.prod(float(values.mean()) for values in by_column.values()))
    return np.array(found)
