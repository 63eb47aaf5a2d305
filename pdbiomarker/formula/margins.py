"""Marginal means over a reference grid, as rows of coefficients.

A cell names columns and a value for each. Its marginal mean is the mean of the fixed part over a reference
grid in which the named columns have these values and every number that is not named is at the mean of its
column over the rows used (of the column itself: `log2(dose_mg)` is taken at the mean dose). The factors that
are not named

* take each of their levels with equal weight (``"equal"``): the columns of the grid are crossed, so a mean
  over the grid is the product of means over its columns, and no grid is laid out;
* or take their combinations as often as the rows used hold them (``"proportional"``): every cell is
  standardised to the same rows, all rows used, whatever the cell names.

Reference: S. R. Searle, F. M. Speed and G. A. Milliken, Population marginal means in the linear model,
The American Statistician 34 (1980) 216-221, doi:10.1080/00031305.1980.10483031.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import FormulaError
from pdbiomarker.formula.cells import VISIT
from pdbiomarker.formula.columns import Column, factor_column, number_text, numeric_column, read_columns
from pdbiomarker.formula.contrast_grammar import NUMBER
from pdbiomarker.formula.design import Design
from pdbiomarker.formula.grammar import nearest, plain, refusal, shown

__all__ = [
    "MAX_MEANS",
    "WEIGHTS",
    "MarginalMeans",
    "MeanContrasts",
    "ReferenceGrid",
    "is_within",
    "marginal_means",
]

#: The most marginal means, and the most comparisons of them, that are made at once.
MAX_MEANS: Final = 10_000
#: How factors that are not named are averaged.
WEIGHTS: Final = ("equal", "proportional")
METHODS: Final = ("pairwise", "revpairwise", "trt.vs.ctrl")
#: A contrast is zero at a column below this share of its largest coefficient.
_ZERO: Final = 1e-12

type Floats = npt.NDArray[np.float64]
type Weights = Literal["equal", "proportional"]
type Method = Literal["pairwise", "revpairwise", "trt.vs.ctrl"]
type Value = str | float
type Held = Mapping[str, Value | Sequence[Value]]


class ReferenceGrid:
    """The reference grid of a design.

    Parameters
    ----------
    design : Design
        From :func:`pdbiomarker.formula.design_matrix`.
    data : DataFrame, n rows
        The table that the design was made of.
    weights : {"equal", "proportional"}
        How factors that are not named are averaged.

    Raises
    ------
    FormulaError
        For another table, and unknown weights.
    """

    def __init__(self, design: Design, data: pd.DataFrame, weights: Weights = "equal") -> None:
        text = design.formula.text
        if weights not in WEIGHTS:
            remedy = nearest(str(weights), WEIGHTS)
            raise refusal(text, 0, "There are no such weights.", remedy=remedy, value=str(weights), code=5)
        if len(data) != len(design.rows_used):
            raise refusal(
                text,
                0,
                f"The design was made of {len(design.rows_used)} rows, this table has {len(data)}.",
                remedy="Give the table that the design was made of.",
                code=5,
            )
        self.design = design
        self.weights = weights
        self.names = tuple(dict.fromkeys(v.column for term in design.formula.fixed for v in term.variables))
        columns, problems = read_columns(design.formula, data, self.names)
        problems.raise_if_any(FormulaError)
        self._used = {name: column.take(design.rows_used) for name, column in columns.items()}
        self._default = {
            name: level_column(design, name, design.levels[name])
            if name in design.levels
            else numeric_column(name, [float(self._used[name].numbers.mean())])
            for name in self.names
        }

    def default(self, name: str) -> tuple[str, ...]:
        """What a column takes when nothing else is said: the levels of a factor, the mean of a number."""
        return tuple(str(label) for label in self._default[name].labels)

    def mean(self, named: Mapping[str, Column]) -> Floats:
        """Coefficients of a marginal mean.

        Parameters
        ----------
        named : mapping of str to Column
            The columns that are named, each with one value.

        Returns
        -------
        ndarray of float, (p,)
        """
        if self.weights == "proportional":
            return self._proportional(named)
        return _grid_mean(self.design, self._default | dict(named))

    def _proportional(self, named: Mapping[str, Column]) -> Floats:
        free = [name for name in self.names if name in self.design.levels and name not in named]
        codes = np.zeros((int(self.design.rows_used.sum()), len(free)), dtype=np.intp)
        for j, name in enumerate(free):
            place = {level: i for i, level in enumerate(self.design.levels[name])}
            codes[:, j] = [place[str(label)] for label in self._used[name].labels]
        combinations, counts = np.unique(codes, axis=0, return_counts=True)
        columns = {
            name: _repeated(column, len(counts))
            for name, column in (self._default | dict(named)).items()
            if name not in free
        }
        for j, name in enumerate(free):
            levels = [self.design.levels[name][i] for i in combinations[:, j]]
            columns[name] = level_column(self.design, name, levels)
        rows = self.design.coding.matrix(columns, ["of the reference grid"] * len(counts))
        return np.asarray(counts @ rows / counts.sum(), dtype=np.float64)


def _repeated(column: Column, times: int) -> Column:
    return dataclasses.replace(
        column, numbers=np.repeat(column.numbers, times), labels=np.repeat(column.labels, times)
    )


def level_column(design: Design, name: str, levels: Sequence[str]) -> Column:
    """Levels as a column; of a number under C(), with their values."""
    labels = factor_column(name, levels)
    if name in design.coding.numeric:
        return dataclasses.replace(numeric_column(name, [float(x) for x in levels]), labels=labels.labels)
    return labels


def held_column(design: Design, name: str, value: str, text: str, at: int) -> Column:
    """Make a column that is held at one value; what does not fit is refused at position `at` of `text`."""
    number = float(value) if NUMBER.fullmatch(value) else math.nan
    levels = design.levels.get(name)
    if levels is not None:
        if name in design.coding.numeric:
            value = next((x for x in levels if float(x) == number), value)
        if value in design.dropped_levels.get(name, ()):
            message = f"No row used has {shown(value)} as {plain(name)}."
            raise refusal(text, at, message, remedy=nearest(value, levels), value=value, code=5)
        if value not in levels:
            message = f"Column {shown(name)} has no such level in the rows used."
            raise refusal(text, at, message, remedy=nearest(value, levels), value=value, code=5)
        return level_column(design, name, [value])
    if not math.isfinite(number):
        message = f"Column {shown(name)} is held at a finite number."
        raise refusal(text, at, message, remedy=f"For example: at {name} = 1.", value=value, code=5)
    return numeric_column(name, [number])


def _grid_mean(design: Design, grid: Mapping[str, Column]) -> Floats:
    """Mean of each column of the design matrix over the crossed grid: (p,)."""
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


@dataclasses.dataclass(frozen=True, eq=False)
class MeanContrasts:
    """Comparisons of marginal means.

    Attributes
    ----------
    weights : ndarray of float, (c, k)
        One comparison a row, one mean a column.
    rows : ndarray of float, (c, p)
        Their coefficients: ``rows @ coefficients`` are the comparisons.
    labels : tuple of str, length c
        ``"C2D1 - screening"``; for means of several columns ``"C2D1 F - screening F"``.
    by : tuple of str, length c
        The levels of the `by` columns, joined by spaces; empty texts without `by`.
    """

    weights: Floats
    rows: Floats
    labels: tuple[str, ...]
    by: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class MarginalMeans:
    """Marginal means of the combinations of some columns.

    Attributes
    ----------
    rows : ndarray of float, (k, p)
        ``rows @ coefficients`` are the means. Not writeable.
    names : tuple of str
        The columns.
    levels : tuple of tuple of str, length k
        The value of each column in each mean; the first column varies fastest, as in emmeans.
    """

    rows: Floats
    names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of each mean, joined by spaces."""
        return tuple(" ".join(values) for values in self.levels)

    def contrasts(
        self, method: Method = "pairwise", *, by: Sequence[str] = (), reference: str | None = None
    ) -> MeanContrasts:
        """Compare the means, as the contrast methods of emmeans do.

        Parameters
        ----------
        method : {"pairwise", "revpairwise", "trt.vs.ctrl"}
            Each mean minus each later one; each minus each earlier one; each minus the reference.
        by : sequence of str
            Columns within whose levels alone means are compared.
        reference : str, optional
            For ``"trt.vs.ctrl"``, the label of the reference (without the `by` columns); default: the first.

        Returns
        -------
        MeanContrasts

        Raises
        ------
        FormulaError
            For a method, column or reference that does not exist, and when nothing is left to compare.
        """
        if method not in METHODS:
            raise _no_such("method", method, METHODS)
        for name in by:
            if name not in self.names:
                raise _no_such("column of the means", name, self.names)
        inside = [j for j, name in enumerate(self.names) if name not in by]
        outside = [j for j, name in enumerate(self.names) if name in by]
        groups: dict[str, list[int]] = {}
        for i, values in enumerate(self.levels):
            groups.setdefault(" ".join(values[j] for j in outside), []).append(i)
        labels = [" ".join(values[j] for j in inside) for values in self.levels]
        total = sum(len(members) * (len(members) - 1) // 2 for members in groups.values())
        if method != "trt.vs.ctrl" and total > MAX_MEANS:
            message = f"There would be {total:,} comparisons, more than {MAX_MEANS:,}."
            raise refusal("", 0, message, remedy="Compare with a reference, or within 'by'.", code=4)
        found: list[tuple[int, int, str]] = []
        for group, members in groups.items():
            pairs = _compared(method, [labels[i] for i in members], reference)
            found += [(members[plus], members[minus], group) for plus, minus in pairs]
        if not found:
            remedy = "Name a column of several levels that is not in 'by'."
            raise refusal("", 0, "There is nothing to compare.", remedy=remedy, code=5)
        weights = np.zeros((len(found), len(self.levels)))
        for row, (plus, minus, _) in zip(weights, found, strict=True):
            row[plus], row[minus] = 1.0, -1.0
        return MeanContrasts(
            weights,
            np.array([self.rows[plus] - self.rows[minus] for plus, minus, _ in found]),
            tuple(f"{labels[plus]} - {labels[minus]}" for plus, minus, _ in found),
            tuple(group for _, _, group in found),
        )


def _compared(method: str, labels: Sequence[str], reference: str | None) -> list[tuple[int, int]]:
    """Positions that are compared: the first minus the second of each pair."""
    if method == "trt.vs.ctrl":
        if reference is not None and reference not in labels:
            raise _no_such("mean", reference, labels)
        base = 0 if reference is None else labels.index(reference)
        return [(i, base) for i in range(len(labels)) if i != base]
    if method == "revpairwise":
        return [(i, j) for i in range(len(labels)) for j in range(i)]
    return list(itertools.combinations(range(len(labels)), 2))


def _no_such(what: str, name: str, known: Sequence[str]) -> FormulaError:
    message = f"There is no such {what}."
    return refusal(str(name), 0, message, remedy=nearest(str(name), known), value=str(name), code=5)


def marginal_means(
    design: Design,
    data: pd.DataFrame,
    names: Sequence[str],
    *,
    at: Held | None = None,
    weights: Weights = "equal",
) -> MarginalMeans:
    """Marginal means of the combinations of columns, as emmeans gives them.

    Parameters
    ----------
    design : Design
        From :func:`pdbiomarker.formula.design_matrix`.
    data : DataFrame, n rows
        The table that the design was made of.
    names : sequence of str
        Columns of the fixed part; each combination of their values has a mean. Factors take all their
        levels, numbers their mean, unless `at` gives values.
    at : mapping of str to value or sequence of values, optional
        Values of named columns, and one value at which any other column is held.
    weights : {"equal", "proportional"}
        How factors that are not named are averaged: each level with equal weight, or by the frequencies of
        their combinations in the rows used.

    Returns
    -------
    MarginalMeans

    Raises
    ------
    FormulaError
        For columns and values that the design does not have.

    Notes
    -----
    As emmeans with ``cov.keep = character(0)``: a number with two distinct values is held at its mean.
    Proportional weights count all rows used, as in ``emmeans(fit, ~ named, weights = "proportional")``.

    Examples
    --------
    >>> from pdbiomarker.formula import design_matrix, parse
    >>> table = pd.DataFrame({"visit": ["pre", "on"] * 2, "dose": [1.0, 1.0, 3.0, 3.0]})
    >>> design = design_matrix(parse("~ visit * dose"), table, levels={"visit": ["pre", "on"]})
    >>> means = marginal_means(design, table, ["visit", "dose"], at={"dose": [1, 3]})
    >>> means.labels
    ('pre 1', 'on 1', 'pre 3', 'on 3')
    >>> means.contrasts("revpairwise", by=["dose"]).labels
    ('on - pre', 'on - pre')
    """
    grid = ReferenceGrid(design, data, weights)
    held = {name: _values(values) for name, values in (at or {}).items()}
    _check_names(grid, names, held)
    chosen = [
        held.get(name) or (list(grid.default(name)) if name in design.levels else [""])
        for name in dict.fromkeys(names)
    ]
    if math.prod(map(len, chosen)) > MAX_MEANS:
        message = f"There would be {math.prod(map(len, chosen)):,} means, more than {MAX_MEANS:,}."
        raise refusal(design.formula.text, 0, message, remedy="Name fewer columns.", code=4)
    unique = tuple(dict.fromkeys(names))
    fixed = {name: _held(design, name, values[0]) for name, values in held.items() if name not in unique}
    rows: list[Floats] = []
    levels: list[tuple[str, ...]] = []
    for reverse in itertools.product(*reversed(chosen)):
        pairs = list(zip(unique, reversed(reverse), strict=True))
        rows.append(grid.mean(fixed | {name: _held(design, name, value) for name, value in pairs if value}))
        levels.append(tuple(value or grid.default(name)[0] for name, value in pairs))
    matrix = np.array(rows)
    matrix.setflags(write=False)
    return MarginalMeans(matrix, unique, tuple(levels))


def _check_names(grid: ReferenceGrid, names: Sequence[str], held: Mapping[str, Sequence[str]]) -> None:
    """Refuse columns that the grid does not have, and several values for a column without means."""
    formula = grid.design.formula
    for name in (*names, *held):
        if name not in grid.names:
            message = f"Column {shown(name)} is not in the fixed part of the formula."
            text, where = formula.text, formula.positions.get(name, 0)
            raise refusal(text, where, message, remedy=nearest(name, grid.names), value=name, code=5)
    for name, values in held.items():
        if not values or (len(values) > 1 and name not in names):
            message = f"Column {shown(name)} is held at {len(values)} values."
            raise refusal(formula.text, 0, message, remedy="Name the column, or give one value.", code=5)


def _held(design: Design, name: str, value: str) -> Column:
    return held_column(design, name, value, f"{name} = {value}", len(name) + 3)


def _values(values: Value | Sequence[Value]) -> list[str]:
    """Values as text."""
    several = [values] if isinstance(values, str | int | float | np.number) else list(values)
    return [x if isinstance(x, str) else _number(float(x)) for x in several]


def _number(value: float) -> str:
    """A number as text that reads back as the same number."""
    short = number_text(value)
    return short if float(short) == value else repr(value)


def is_within(design: Design, vector: npt.ArrayLike, *, factor: str = VISIT) -> bool:
    """Whether a contrast only compares visits of the same participant.

    It does when it gives zero for every effect that all visits share: then what participants have in common
    at all their visits (their own level, dose, arm, sex) cancels, and complete pairs alone determine it.
    On the coefficients: it is zero on every column whose term does not hold `factor`, and where a term has
    one column per level of `factor`, its coefficients over these levels sum to zero. The answer does not
    depend on how factors are coded.

    Parameters
    ----------
    design : Design
    vector : array of float, (p,)
        Coefficients of a contrast, from :func:`contrast_vector`.
    factor : str
        The column that varies within participants.

    Returns
    -------
    bool
        ``C2D1 - screening``, also at a dose, and differences of such changes between doses or cohorts: True.
        ``dose_mg: 10 - 3 at C2D1``: False.

    Raises
    ------
    FormulaError
        For a vector that does not have one finite coefficient per column.
    """
    values = np.asarray(vector, dtype=np.float64)
    if values.shape != (len(design.names),) or not np.isfinite(values).all():
        message = f"A contrast of this design has {len(design.names)} finite coefficients."
        raise refusal(design.formula.text, 0, message, value=str(values.shape), code=5)
    limit = _ZERO * float(np.abs(values).max(initial=0.0))
    at = int(design.formula.intercept)
    shared = [values[:at]]
    for term, full in zip(design.formula.fixed, design.coding.full, strict=True):
        widths = [design.coding.width(v, full=w) for v, w in zip(term.variables, full, strict=True)]
        block = values[at : at + math.prod(widths)].reshape(widths[::-1])
        at += math.prod(widths)
        moving = [
            i for i, v in enumerate(term.variables) if v.column == factor and design.coding.is_factor(v)
        ]
        if not moving:
            shared.append(block.ravel())
        elif all(full[i] for i in moving):
            shared.append(block.sum(axis=tuple(len(widths) - 1 - i for i in moving)).ravel())
    return bool(limit > 0) and bool(np.all(np.abs(np.concatenate(shared)) <= limit))
