"""The design matrix of a formula on a table, as R's `model.matrix` makes it.

Rows that miss a value of any column of the formula, random terms included, are left out first; factor
levels that no remaining row has are dropped, and the parameters of center() and scale() are taken from
the remaining rows. All of it is kept in the :class:`Design`, so that new rows are coded the same way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import FormulaError, Problems
from pdbiomarker.formula.coding import MAX_POLY_LEVELS, contrast_columns, contrast_matrix
from pdbiomarker.formula.columns import Column, number_text, read_columns, row_labels
from pdbiomarker.formula.grammar import Variable, nearest, refusal, shown
from pdbiomarker.formula.terms import Formula, RandomTerm

__all__ = ["MAX_COLUMNS", "Coding", "Design", "MissingValue", "design_matrix"]

#: The most columns of a design matrix.
MAX_COLUMNS: Final = 2_000

type Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True)
class MissingValue:
    """A value that is missing, for which its row is left out."""

    row: str
    column: str


@dataclasses.dataclass(frozen=True, eq=False)
class Coding:
    """What turns columns into the design matrix: levels and parameters, frozen.

    Attributes
    ----------
    formula : Formula
        The formula.
    levels : mapping of str to tuple of str
        For each column that is a factor anywhere in the formula, its levels; the first is the reference.
    numeric : frozenset of str
        Columns of numbers; one of them with levels is there as ``C(column)``.
    full : tuple of tuple of bool
        For each term and variable, whether a factor has one column per level.
    transforms : mapping
        For each transformed variable, by its label, the parameters that were taken from the data.
    """

    formula: Formula
    levels: Mapping[str, tuple[str, ...]]
    numeric: frozenset[str]
    full: tuple[tuple[bool, ...], ...] = ()
    transforms: Mapping[str, Mapping[str, float | str]] = dataclasses.field(default_factory=dict)

    def is_factor(self, variable: Variable) -> bool:
        """Whether a variable is coded by levels."""
        return variable.scheme is not None or variable.column not in self.numeric

    def scheme(self, variable: Variable, *, full: bool) -> tuple[str, int]:
        """Scheme of a factor in one term, and the position of its reference level."""
        base = self.levels[variable.column].index(variable.base) if variable.base is not None else 0
        return ("full" if full else variable.scheme or "treatment"), base

    def width(self, variable: Variable, *, full: bool) -> int:
        """Number of columns of a variable in one term."""
        return len(self.levels[variable.column]) - (not full) if self.is_factor(variable) else 1

    def columns_of(self, variable: Variable, *, full: bool) -> list[str]:
        """Names of the columns of a variable in one term."""
        if not self.is_factor(variable):
            return [variable.label]
        scheme, base = self.scheme(variable, full=full)
        names = contrast_columns(scheme, self.levels[variable.column], base)
        return [variable.label + name for name in names]

    def block(self, variable: Variable, column: Column, rows: Sequence[str], *, full: bool) -> Floats:
        """Code one variable: (n, width)."""
        if not self.is_factor(variable):
            return self.numbers(variable, column, rows)[:, None]
        scheme, base = self.scheme(variable, full=full)
        levels = self.levels[variable.column]
        place = {level: i for i, level in enumerate(levels)}
        codes = np.array([place[label] for label in column.labels], dtype=np.intp)
        return contrast_matrix(scheme, len(levels), base)[codes]

    def numbers(self, variable: Variable, column: Column, rows: Sequence[str]) -> Floats:
        """Values of a numeric variable, with its frozen parameters: (n,)."""
        values = column.numbers
        inner: tuple[str, ...] = ()
        for function in reversed(variable.functions):
            inner = (function, *inner)
            values = self._apply(dataclasses.replace(variable, functions=inner), values, rows)
        return values

    def _apply(self, variable: Variable, values: Floats, rows: Sequence[str]) -> Floats:
        function = variable.functions[0]
        if function in {"center", "scale"}:
            kept = self.transforms[variable.label]
            return np.asarray(
                (values - float(kept["center"])) / float(kept.get("scale", 1.0)), dtype=np.float64
            )
        lowest_allowed = values >= 0 if function == "sqrt" else values > 0
        bad = np.flatnonzero(~lowest_allowed)
        if bad.size:
            message = f"{shown(variable.label)} cannot be taken in row {rows[bad[0]]!r}"
            more = f" (and {bad.size - 1} more)" if bad.size > 1 else ""
            self.refuse(variable.column, f"{message}{more}.", number_text(float(values[bad[0]])))
        functions = {"log": np.log, "log2": np.log2, "log10": np.log10, "sqrt": np.sqrt}
        return np.asarray(functions[function](values), dtype=np.float64)

    def refuse(self, column: str, message: str, value: str | None = None, remedy: str = "") -> NoReturn:
        """Refuse what a column does not allow."""
        at = self.formula.positions.get(column, 0)
        raise refusal(self.formula.text, at, message, remedy=remedy, value=value, code=5)

    def names(self) -> tuple[list[str], list[str]]:
        """Names of the columns of the design matrix, and the label of the term of each."""
        names = ["(Intercept)"] if self.formula.intercept else []
        terms = list(names)
        for term, full in zip(self.formula.fixed, self.full, strict=True):
            found = [""]
            for variable, whole in zip(term.variables, full, strict=True):
                right = self.columns_of(variable, full=whole)
                found = [f"{a}:{b}" if a else b for b in right for a in found]
            names += found
            terms += [term.label] * len(found)
        return names, terms

    def matrix(self, columns: Mapping[str, Column], rows: Sequence[str]) -> Floats:
        """Code rows: (n, p)."""
        blocks = [np.ones((len(rows), 1))] if self.formula.intercept else []
        for term, full in zip(self.formula.fixed, self.full, strict=True):
            found = np.ones((len(rows), 1))
            for variable, whole in zip(term.variables, full, strict=True):
                right = self.block(variable, columns[variable.column], rows, full=whole)
                found = (right[:, :, None] * found[:, None, :]).reshape(len(rows), -1)
            blocks.append(found)
        return np.ascontiguousarray(np.hstack(blocks))


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """The design matrix of a formula on a table.

    Attributes
    ----------
    formula : Formula
        The formula.
    matrix : ndarray of float, (n_used, p)
        One row for each row of the table that is used; not writeable.
    names : tuple of str, length p
        Names of the coefficients, as R's `model.matrix` gives them.
    term_of_column : tuple of str, length p
        Label of the term of each column; ``"(Intercept)"`` for the intercept.
    levels : mapping of str to tuple of str
        Levels of each factor of the fixed part; the first is the reference.
    dropped_levels : mapping of str to tuple of str
        Levels that were given, or that the table knows, and that no used row has.
    transforms : mapping of str to mapping
        Parameters taken from the used rows, by label: ``{"scale(age)": {"center": 61.2, "scale": 9.7}}``.
    rows_used : ndarray of bool, (n,)
        Which rows of the table are used.
    missing : tuple of MissingValue
        Every missing value for which a row is left out.
    groups : mapping of str to ndarray of object, (n_used,)
        For each grouping of the random terms, such as ``"participant"`` or ``"participant:visit"``, the
        label of each row's group.
    coding : Coding
        What is needed to code other rows.
    """

    formula: Formula
    matrix: Floats
    names: tuple[str, ...]
    term_of_column: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    dropped_levels: Mapping[str, tuple[str, ...]]
    transforms: Mapping[str, Mapping[str, float | str]]
    rows_used: npt.NDArray[np.bool_]
    missing: tuple[MissingValue, ...]
    groups: Mapping[str, npt.NDArray[np.object_]]
    coding: Coding = dataclasses.field(repr=False)

    def rows(self, newdata: pd.DataFrame) -> Floats:
        """Code other rows in the same way.

        Parameters
        ----------
        newdata : DataFrame, m rows
            With every column of the fixed part; no value may be missing.

        Returns
        -------
        ndarray of float, (m, p)

        Raises
        ------
        FormulaError
            For a missing column or value, a level that the design does not have, or a value that a
            function cannot take, with the row.
        """
        needed = tuple(dict.fromkeys(v.column for t in self.formula.fixed for v in t.variables))
        columns, problems = read_columns(self.formula, newdata, needed)
        problems.raise_if_any(FormulaError)
        rows = row_labels(newdata)
        for name, column in columns.items():
            gone = np.flatnonzero(column.missing)
            if gone.size:
                self.coding.refuse(name, f"Column {shown(name)} has no value in row {rows[gone[0]]!r}.")
            if (name in self.coding.numeric) != (column.kind == "number"):
                wanted = "numbers" if name in self.coding.numeric else "labels"
                self.coding.refuse(name, f"Column {shown(name)} must hold {wanted}, as in the design.")
            if name in self.levels:
                _check_labels(self.coding, column, self.levels[name], rows)
        return self.coding.matrix(columns, rows)


def design_matrix(
    formula: Formula, data: pd.DataFrame, *, levels: Mapping[str, Sequence[str]] | None = None
) -> Design:
    """Make the design matrix of a formula.

    Parameters
    ----------
    formula : Formula
        From :func:`parse`.
    data : DataFrame, n rows
        With the columns that the formula names; the labels of its index name the rows in messages.
    levels : mapping of str to sequence of str, optional
        Levels of a factor in their order, the reference first (for visits: the order of study.yaml).
        Otherwise the order of a categorical column, else sorted text; numbers under C() in their order.

    Returns
    -------
    Design
        The matrix equals R's `model.matrix(formula, droplevels(na.omit(data)))` with the same levels.

    Raises
    ------
    FormulaError
        E-FORMULA-003 for columns that do not exist (all of them at once), -004 for more than 2,000 columns,
        -005 for a column that does not fit: a factor with one level, an unknown level, the logarithm of
        a number that is not positive, no variation to scale by, no row left.

    Examples
    --------
    >>> from pdbiomarker.formula import parse
    >>> table = pd.DataFrame({"visit": ["pre", "on"], "participant": ["P1", "P1"]})
    >>> design_matrix(parse("~ visit + (1|participant)"), table, levels={"visit": ["pre", "on"]}).names
    ('(Intercept)', 'visiton')
    """
    columns, problems = read_columns(formula, data, formula.columns)
    problems.raise_if_any(FormulaError)
    rows = np.array(row_labels(data), dtype=object)
    used, missing = _complete_rows(formula, columns, rows)
    columns = {name: column.take(used) for name, column in columns.items()}
    kept = list(rows[used])
    coding, dropped = _fit_coding(formula, columns, kept, levels or {})
    matrix = coding.matrix(columns, kept)
    matrix.setflags(write=False)
    names, terms = coding.names()
    return Design(
        formula=formula,
        matrix=matrix,
        names=tuple(names),
        term_of_column=tuple(terms),
        levels=coding.levels,
        dropped_levels=MappingProxyType(dropped),
        transforms=coding.transforms,
        rows_used=used,
        missing=missing,
        groups=MappingProxyType({term.group: _group_labels(term, columns) for term in formula.random}),
        coding=coding,
    )


def _complete_rows(
    formula: Formula, columns: Mapping[str, Column], rows: npt.NDArray[np.object_]
) -> tuple[npt.NDArray[np.bool_], tuple[MissingValue, ...]]:
    """Rows with a value in every column, and the values that the others miss."""
    used = np.ones(len(rows), dtype=bool)
    holes: list[tuple[int, str]] = []
    for name, column in columns.items():
        absent = column.missing
        used &= ~absent
        holes += [(int(i), name) for i in np.flatnonzero(absent)]
    if not used.any():
        counts = {name: int(column.missing.sum()) for name, column in columns.items()}
        told = ", ".join(f"{shown(name)} misses {count}" for name, count in counts.items() if count)
        raise refusal(
            formula.text,
            0,
            f"No row of {len(rows)} has a value in every column of the formula"
            + (f": {told}." if told else "."),
            remedy="Leave the column with the missing values out of the formula.",
            code=5,
        )
    return used, tuple(
        MissingValue(str(rows[i]), name) for i, name in sorted(holes, key=lambda hole: hole[0])
    )


def _fit_coding(
    formula: Formula, columns: Mapping[str, Column], rows: Sequence[str], given: Mapping[str, Sequence[str]]
) -> tuple[Coding, dict[str, tuple[str, ...]]]:
    """Find levels and parameters on the rows used."""
    numeric = frozenset(name for name, column in columns.items() if column.kind == "number")
    coding = Coding(formula, {}, numeric)
    members = dict.fromkeys(v for term in formula.fixed for v in term.variables)
    levels: dict[str, tuple[str, ...]] = {}
    dropped: dict[str, tuple[str, ...]] = {}
    for variable in members:
        if coding.is_factor(variable) and variable.functions:
            message = (
                f"{variable.functions[-1]}() takes numbers; column {shown(variable.column)} holds labels."
            )
            coding.refuse(variable.column, message, remedy="Leave the function out, or mend the column.")
        if coding.is_factor(variable) and variable.column not in levels:
            column = columns[variable.column]
            possible = column.levels(given.get(variable.column))
            _check_labels(coding, column, possible, rows)
            present = set(column.labels)
            levels[variable.column] = tuple(level for level in possible if level in present)
            unused = tuple(level for level in possible if level not in present)
            dropped |= {variable.column: unused} if unused else {}
    coding = dataclasses.replace(coding, levels=MappingProxyType(levels))
    _check_factors(coding, list(members))
    coding = dataclasses.replace(coding, full=_full_coding(coding))
    _check_size(coding)
    transforms = _fit_transforms(coding, list(members), columns, rows)
    return dataclasses.replace(coding, transforms=MappingProxyType(transforms)), dropped


def _check_labels(coding: Coding, column: Column, levels: Sequence[str], rows: Sequence[str]) -> None:
    known = set(levels)
    for row, label in zip(rows, column.labels, strict=True):
        if label not in known:
            message = f"Column {shown(column.name)} has a value in row {row!r} that is not one of its levels."
            coding.refuse(column.name, message, str(label), nearest(str(label), levels))


def _check_factors(coding: Coding, members: Sequence[Variable]) -> None:
    """Refuse factors that cannot be coded; all of them at once."""
    problems = Problems()
    for variable in members:
        if not coding.is_factor(variable):
            continue
        name, levels = shown(variable.column), coding.levels[variable.column]
        message, value, remedy = "", None, ""
        if len(levels) < 2:
            message = f"Column {name} has only the level {shown(levels[0])} in the rows used."
            remedy = "A factor needs two levels or more: leave it out of the formula."
        elif variable.base is not None and variable.base not in levels:
            message, value = (
                f"Column {name} has no such level to be the base of {shown(variable.label)}.",
                variable.base,
            )
            remedy = nearest(variable.base, levels)
        elif variable.scheme == "poly" and len(levels) > MAX_POLY_LEVELS:
            message = f"Polynomials take at most {MAX_POLY_LEVELS} levels; column {name} has {len(levels)}."
            remedy = "Use the column as a number, or another coding."
        if message:
            at = coding.formula.positions.get(variable.column, 0)
            error = refusal(coding.formula.text, at, message, remedy=remedy, value=value, code=5)
            problems.extend(error.problems)
    problems.raise_if_any(FormulaError)


def _full_coding(coding: Coding) -> tuple[tuple[bool, ...], ...]:
    """Decide which factors have one column per level.

    Without an intercept the first factor of the first term that has one is coded in full, as in R.
    """
    full = [list(term.full) for term in coding.formula.fixed]
    if not coding.formula.intercept:
        places = (
            (i, j)
            for i, term in enumerate(coding.formula.fixed)
            for j, variable in enumerate(term.variables)
            if coding.is_factor(variable)
        )
        first = next(places, None)
        if first is not None:
            full[first[0]][first[1]] = True
    return tuple(tuple(flags) for flags in full)


def _check_size(coding: Coding) -> None:
    """Refuse a matrix of too many columns before it is made."""
    total = int(coding.formula.intercept)
    for term, full in zip(coding.formula.fixed, coding.full, strict=True):
        width = 1
        for variable, whole in zip(term.variables, full, strict=True):
            width *= coding.width(variable, full=whole)
        total += width
        if total > MAX_COLUMNS:
            at = coding.formula.positions.get(term.variables[0].column, 0)
            raise refusal(
                coding.formula.text,
                at,
                f"The design would have over {MAX_COLUMNS:,} columns: {shown(term.label)} gives {width:,}.",
                remedy="Leave out interactions of factors with many levels.",
                code=4,
            )


def _fit_transforms(
    coding: Coding, members: Sequence[Variable], columns: Mapping[str, Column], rows: Sequence[str]
) -> dict[str, Mapping[str, float | str]]:
    """Take the parameters of center(), scale() and C() from the rows used, innermost first."""
    found: dict[str, Mapping[str, float | str]] = {}
    for variable in members:
        if variable.scheme is not None:
            base = variable.base if variable.base is not None else coding.levels[variable.column][0]
            kept = {"scheme": variable.scheme}
            found[variable.label] = kept | ({"base": base} if variable.scheme == "treatment" else {})
            continue
        for start in range(len(variable.functions) - 1, -1, -1):
            part = dataclasses.replace(variable, functions=variable.functions[start:])
            if part.functions[0] not in {"center", "scale"}:
                continue
            inner = dataclasses.replace(variable, functions=variable.functions[start + 1 :])
            sofar = dataclasses.replace(coding, transforms=found)
            values = sofar.numbers(inner, columns[variable.column], rows)
            center = float(values.mean())
            found[part.label] = {"center": center}
            if part.functions[0] == "scale":
                spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
                if not spread > 1e-12 * abs(center):
                    coding.refuse(
                        variable.column, f"{shown(part.label)} has no variation to scale by in the rows used."
                    )
                found[part.label] = {"center": center, "scale": spread}
    return found


def _group_labels(term: RandomTerm, columns: Mapping[str, Column]) -> npt.NDArray[np.object_]:
    """Label each row's group; columns are joined so that no two groups share a label."""
    parts = [columns[name].labels for name in term.groups]
    if len(parts) == 1:
        return parts[0].copy()
    joined = np.empty(len(parts[0]), dtype=object)
    joined[:] = [
        ":".join(str(label).replace("\\", "\\\\").replace(":", "\\:") for label in row)
        for row in zip(*parts, strict=True)
    ]
    return joined
