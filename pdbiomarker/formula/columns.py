"""The columns of a table as a formula sees them: numbers, or factors with labels.

Text and true/false columns are factors, numbers are numbers; a number becomes a factor by ``C(column)``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import Problem, Problems
from pdbiomarker.formula.grammar import KEY_ALIASES, nearest, plain, refusal, shown
from pdbiomarker.formula.terms import Formula

__all__ = ["Column", "number_text", "read_columns", "row_labels"]

type Kind = Literal["number", "truth", "text"]
_TRUTH = ("FALSE", "TRUE")
_MOST_SUGGESTIONS: Final = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One column.

    Attributes
    ----------
    name : str
        As the formula names it.
    kind : {"number", "truth", "text"}
        What it holds.
    numbers : ndarray of float, (n,)
        The values of a number or truth column, NaN where missing; all NaN for text.
    labels : ndarray of object, (n,)
        Every value as the label of a level, None where missing.
    order : tuple of str or None
        The order of the levels where the table itself gives one.
    """

    name: str
    kind: Kind
    numbers: npt.NDArray[np.float64]
    labels: npt.NDArray[np.object_]
    order: tuple[str, ...] | None = None

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Where there is no value, (n,)."""
        return np.array([label is None for label in self.labels], dtype=bool)

    def take(self, keep: npt.NDArray[np.bool_]) -> Column:
        """Return the rows of a mask."""
        return dataclasses.replace(self, numbers=self.numbers[keep], labels=self.labels[keep])

    def levels(self, given: Sequence[str] | None) -> tuple[str, ...]:
        """All levels in their order: as given, else as the table orders them, else sorted."""
        if given is not None:
            return tuple(dict.fromkeys(str(level) for level in given))
        if self.order is not None:
            return self.order
        present = {label for label in self.labels if label is not None}
        return tuple(sorted(present, key=float) if self.kind == "number" else sorted(present))


def number_text(value: float | np.number[Any]) -> str:
    """Write a number as the label of a level: a whole number in full, others with at most 15 digits."""
    if isinstance(value, int | np.integer):
        return str(int(value))
    return f"{value:.15g}" if value else "0"


def row_labels(data: pd.DataFrame) -> list[str]:
    """Labels of the rows, for messages."""
    return [plain(str(label)) for label in data.index]


def numeric_column(name: str, values: Sequence[float] | npt.NDArray[np.float64]) -> Column:
    """Make a column of numbers without missing values."""
    numbers = np.asarray(values, dtype=np.float64)
    return Column(name, "number", numbers, _objects([number_text(float(x)) for x in numbers]))


def factor_column(name: str, labels: Sequence[str]) -> Column:
    """Make a column of labels without missing values."""
    return Column(name, "text", np.full(len(labels), np.nan), _objects(list(labels)))


def read_columns(
    formula: Formula, data: pd.DataFrame, names: Sequence[str]
) -> tuple[dict[str, Column], Problems]:
    """Read the named columns of `data`; what is wrong with them comes back as problems."""
    problems = Problems()
    found: dict[str, Column] = {}
    reverse = {key: alias for alias, key in KEY_ALIASES.items()}
    for name in names:
        at = formula.positions.get(name, 0)
        held = name if name in data.columns else reverse.get(name, name)
        if held not in data.columns:
            existing = [str(column) for column in data.columns]
            error = refusal(
                formula.text,
                at,
                f"The table has no column {shown(name)}.",
                remedy=nearest(name, existing) if len(problems) < _MOST_SUGGESTIONS else "",
                value=name,
                code=3,
            )
            problems.extend(error.problems)
        elif int((data.columns == held).sum()) > 1:
            message = f"The table has several columns {shown(name)}."
            error = refusal(formula.text, at, message, remedy="Rename all but one.", value=name, code=3)
            problems.extend(error.problems)
        else:
            result = _read_column(formula, name, data[held], row_labels(data))
            if isinstance(result, Problem):
                problems.extend([result])
            else:
                found[name] = result
    return found, problems


def _read_column(formula: Formula, name: str, series: pd.Series[Any], rows: list[str]) -> Column | Problem:
    absent = series.isna().to_numpy(dtype=bool)
    if isinstance(series.dtype, pd.CategoricalDtype):
        order = tuple(_label(category) for category in series.dtype.categories)
        return _text_column(name, series.astype(object).tolist(), absent, order)
    kind = _kind(series)
    if kind is None:
        held = pd.api.types.infer_dtype(series, skipna=True)
        return _unfit(formula, name, f"Column {shown(name)} holds {held} values", None)
    if kind == "text":
        return _text_column(name, series.tolist(), absent, None)
    values = series.tolist()
    numbers = np.array([np.nan if gone else float(x) for x, gone in zip(values, absent, strict=True)])
    if kind == "truth":
        labels = [None if gone else _TRUTH[int(x)] for x, gone in zip(numbers, absent, strict=True)]
        return Column(name, "truth", numbers, _objects(labels), _TRUTH)
    infinite = np.flatnonzero(np.isinf(numbers))
    if infinite.size:
        where = f"Column {shown(name)} is infinite in row {rows[infinite[0]]!r}"
        return _unfit(formula, name, where, str(numbers[infinite[0]]))
    labels = [None if gone else number_text(x) for x, gone in zip(values, absent, strict=True)]
    return Column(name, "number", numbers, _objects(labels))


def _text_column(
    name: str, values: list[Any], absent: npt.NDArray[np.bool_], order: tuple[str, ...] | None
) -> Column:
    labels = [None if gone else _label(x) for x, gone in zip(values, absent, strict=True)]
    return Column(name, "text", np.full(len(values), np.nan), _objects(labels), order)


def _kind(series: pd.Series[Any]) -> Kind | None:
    held = pd.api.types.infer_dtype(series, skipna=True)
    if held == "boolean":
        return "truth"
    if held in {"integer", "floating", "mixed-integer-float"}:
        return "number"
    return "text" if held in {"string", "empty"} else None


def _label(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return _TRUTH[int(value)]
    if isinstance(value, int | float | np.integer | np.floating):
        return number_text(value)
    return str(value)


def _objects(labels: Sequence[str | None]) -> npt.NDArray[np.object_]:
    found = np.empty(len(labels), dtype=object)
    found[:] = labels
    return found


def _unfit(formula: Formula, name: str, message: str, value: str | None) -> Problem:
    error = refusal(
        formula.text,
        formula.positions.get(name, 0),
        f"{message}; a formula takes finite numbers, text, or true and false.",
        remedy="Mend the column of the table, or make another one.",
        value=value,
        code=5,
    )
    return error.problems[0]
