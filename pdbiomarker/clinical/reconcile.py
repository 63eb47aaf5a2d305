"""Our value beside theirs: what was computed here, held against what a sponsor or another program reports.

Two values agree when ``|ours - theirs| <= max(absolute, relative * |theirs|)``; texts and dates agree when
they are the same. Nothing is dropped: a record or a value that only one side has is a row with that verdict.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.tables import nearest

__all__ = ["VERDICTS", "Tolerance", "reconcile", "reconciliation_summary"]

#: What a row of a reconciliation says, from the best to the worst.
VERDICTS: Final = ("agree", "both missing", "only ours", "only theirs", "differ")


@dataclasses.dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two numbers may lie apart and still agree: the larger of the two allowances decides.

    Attributes
    ----------
    relative : float
        As a fraction of their value.
    absolute : float
        In the unit of the value.
    """

    relative: float = 1e-6
    absolute: float = 0.0

    def allows(self, ours: float, theirs: float) -> bool:
        """Tell whether two numbers agree."""
        return abs(ours - theirs) <= max(self.absolute, self.relative * abs(theirs))


def reconcile(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    *,
    keys: Sequence[str],
    values: Sequence[str],
    tolerance: Tolerance | Mapping[str, Tolerance] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Hold our table against theirs, value by value.

    Parameters
    ----------
    ours, theirs : DataFrame
        One row for each combination of the keys; both with the columns `keys` and `values`.
    keys : sequence of str
        Columns that name a record, such as participant_id.
    values : sequence of str
        Columns to compare: numbers, or texts and dates (compared as text).
    tolerance : Tolerance, or mapping of value column to Tolerance
        Default: 1e-6 of their value.
    reasons : mapping of value column to str
        Known causes of a difference (another rule, rounding), told where the values differ.

    Returns
    -------
    DataFrame
        The keys, then parameter, ours, theirs, difference (ours - theirs; NaN for texts), relative (of
        theirs), verdict (one of :data:`VERDICTS`), reason. Sorted by keys, parameters in the order of
        `values`.

    Raises
    ------
    InputError
        E-CLIN-020: a column is missing; E-CLIN-021: a record occurs twice on one side.

    Examples
    --------
    >>> a = pd.DataFrame({"participant_id": ["P1"], "cmax": [10.0]})
    >>> b = pd.DataFrame({"participant_id": ["P1"], "cmax": [10.4]})
    >>> reconcile(a, b, keys=["participant_id"], values=["cmax"])["verdict"].tolist()
    ['differ']
    """
    problems = Problems()
    sides = {"ours": ours, "theirs": theirs}
    for name, frame in sides.items():
        _check_side(name, frame, keys, values, problems)
    problems.raise_if_any()
    held = {name: _by_key(frame, keys) for name, frame in sides.items()}
    records = sorted({*held["ours"], *held["theirs"]})
    rows: list[dict[str, object]] = []
    for record in records:
        mine, other = held["ours"].get(record), held["theirs"].get(record)
        shown = mine[0] if mine is not None else (other[0] if other is not None else record)
        for value in values:
            row = _compared(
                None if mine is None else mine[1][value],
                None if other is None else other[1][value],
                _tolerance_of(value, tolerance),
            )
            if row["verdict"] == "differ" and reasons is not None:
                row["reason"] = "; ".join(filter(None, [str(row["reason"]), reasons.get(value, "")]))
            elif mine is None or other is None:
                row["reason"] = f"The record is not in {'ours' if mine is None else 'theirs'}."
            rows.append({**dict(zip(keys, shown, strict=True)), "parameter": value, **row})
    columns = [*keys, "parameter", "ours", "theirs", "difference", "relative", "verdict", "reason"]
    return pd.DataFrame(rows, columns=columns)


def _check_side(
    name: str, frame: pd.DataFrame, keys: Sequence[str], values: Sequence[str], problems: Problems
) -> None:
    known = list(map(str, frame.columns))
    missing = [column for column in (*keys, *values) if column not in frame]
    for column in missing:
        problems.add(
            "E-CLIN-020",
            f"The table {name} has no column {column!r}.",
            remedy=nearest(column, known),
            file=name,
            column=column,
        )
    if missing:
        return
    twice = frame[frame.duplicated(list(keys), keep=False)]
    for record in dict.fromkeys(map(tuple, twice[list(keys)].astype(str).to_numpy().tolist())):
        problems.add(
            "E-CLIN-021",
            f"The record {', '.join(map(str, record))} occurs more than once in {name}.",
            remedy="Remove repeated rows, or add the column that tells them apart to the keys.",
            file=name,
            column=", ".join(keys),
            value=", ".join(map(str, record)),
        )


def _by_key(
    frame: pd.DataFrame, keys: Sequence[str]
) -> dict[tuple[str, ...], tuple[tuple[object, ...], dict[str, object]]]:
    """Records by their keys as text: a number and its text name the same record."""
    found: dict[tuple[str, ...], tuple[tuple[object, ...], dict[str, object]]] = {}
    names = list(map(str, frame.columns))
    for row in frame.itertuples(index=False, name=None):
        record = dict(zip(names, row, strict=True))
        shown = tuple(record[key] for key in keys)
        found[tuple(map(str, shown))] = (shown, record)
    return found


def _tolerance_of(value: str, tolerance: Tolerance | Mapping[str, Tolerance] | None) -> Tolerance:
    if isinstance(tolerance, Tolerance):
        return tolerance
    return Tolerance() if tolerance is None else tolerance.get(value, Tolerance())


def _compared(mine: object, other: object, tolerance: Tolerance) -> dict[str, object]:
    row: dict[str, object] = {
        "ours": mine,
        "theirs": other,
        "difference": math.nan,
        "relative": math.nan,
        "verdict": "agree",
        "reason": "",
    }
    absent = (_is_missing(mine), _is_missing(other))
    if any(absent):
        verdicts = {(True, True): "both missing", (False, True): "only ours", (True, False): "only theirs"}
        return {**row, "verdict": verdicts[absent]}
    a, b = _number(mine), _number(other)
    if a is None or b is None:
        return {**row, "verdict": "agree" if _text(mine) == _text(other) else "differ"}
    row["difference"] = a - b
    row["relative"] = (a - b) / abs(b) if b != 0 else (0.0 if a == 0 else math.nan)
    if not tolerance.allows(a, b):
        row["verdict"] = "differ"
    return row


def _is_missing(value: object) -> bool:
    return (
        value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    return float(value)


def _text(value: object) -> str:
    text = value.isoformat() if isinstance(value, pd.Timestamp) else str(value)
    return text.strip().removesuffix("T00:00:00")


def reconciliation_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Count the verdicts of a reconciliation by parameter.

    Parameters
    ----------
    table : DataFrame
        As from :func:`reconcile`.

    Returns
    -------
    DataFrame
        parameter, n, one column for each verdict (spaces as underscores), largest_relative (the largest
        relative difference, NaN where nothing was comparable), reason (that of the rows that differ).
    """
    rows: list[dict[str, object]] = []
    for parameter in dict.fromkeys(table["parameter"].tolist()):
        part = table[table["parameter"] == parameter]
        counts = part["verdict"].value_counts()
        apart = part.loc[part["verdict"] == "differ", "reason"]
        rows.append(
            {
                "parameter": parameter,
                "n": len(part),
                **{verdict.replace(" ", "_"): int(counts.get(verdict, 0)) for verdict in VERDICTS},
                "largest_relative": float(part["relative"].abs().max()),
                "reason": "; ".join(dict.fromkeys(text for text in apart if text)),
            }
        )
    names = [verdict.replace(" ", "_") for verdict in VERDICTS]
    return pd.DataFrame(rows, columns=["parameter", "n", *names, "largest_relative", "reason"])
