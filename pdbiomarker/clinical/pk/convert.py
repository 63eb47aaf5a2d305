"""Bringing the rows of a table to one unit."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.errors import Problems
from pdbiomarker.study.units import Unit, amount_of, conversion, parse_unit

__all__ = ["common_unit", "lines_of", "text_of", "unit_factors"]


def lines_of(frame: pd.DataFrame) -> list[int]:
    """Where each row stands: its line of the file where the table knows it, else its position from 0."""
    return [int(x) for x in frame["line"]] if "line" in frame else list(range(len(frame)))


def text_of(value: object) -> str | None:
    """Give a cell as text; None where it is missing or empty."""
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and math.isnan(value)):
        return None
    return str(value).strip() or None


def common_unit(units: pd.Series) -> Unit | None:
    """Give the unit that most rows have (of equally frequent ones, the first by name)."""
    known = [unit for text in units.dropna().tolist() if (unit := parse_unit(str(text))) is not None]
    counts = pd.Series([unit.text for unit in known], dtype=object).value_counts()
    if counts.empty:
        return None
    return parse_unit(sorted(counts.index, key=lambda text: (-int(counts[text]), text))[0])


def unit_factors(table: pd.DataFrame, name: str, target: Unit, problems: Problems) -> NDArray[np.float64]:
    """Give the factor of each row, NaN (and E-PK-005, -006 or -007) where its unit does not allow one.

    Parameters
    ----------
    table : DataFrame
        With the column unit; weight_kg for doses per body weight.
    name : {"concentrations", "doses"}
    target : Unit
        That of the concentrations; amounts become that times L.
    problems : Problems
        Each unit at fault is told once, at its first row.
    """
    wanted = target if name == "concentrations" else amount_of(target)
    weights = table["weight_kg"].tolist() if "weight_kg" in table else [math.nan] * len(table)
    told: set[tuple[str, str]] = set()
    factors = []
    for row, (text, weight) in enumerate(zip(table["unit"].tolist(), weights, strict=True)):
        factor, code, said = _factor(text, wanted, weight)
        factors.append(factor)
        if code is not None and (code, str(text)) not in told:
            told.add((code, str(text)))
            problems.add(
                code,
                said,
                remedy="Write a unit such as mg or ng/mL; a dose per kg needs weight_kg.",
                file=name,
                row=lines_of(table)[row],
                column="unit",
                value=None if text_of(text) is None else text,
            )
    return np.array(factors, dtype=float)


def _factor(text: object, wanted: Unit, weight: object) -> tuple[float, str | None, str]:
    if text_of(text) is None:
        return math.nan, "E-PK-005", "A unit is missing."
    unit = parse_unit(str(text))
    if unit is None:
        return math.nan, "E-PK-006", "The unit is not known."
    factor = conversion(unit, wanted)
    if factor is not None:
        return factor, None, ""
    if unit.power("body weight") == -1:
        bare = Unit(unit.text, unit.size, tuple(p for p in unit.powers if p[0] != "body weight"))
        per_kg = conversion(bare, wanted)
        if per_kg is not None and isinstance(weight, int | float) and weight > 0:
            return per_kg * float(weight), None, ""
        if per_kg is not None:
            return math.nan, "E-PK-007", "The dose is per body weight, and the weight is not known."
    return math.nan, "E-PK-006", f"The unit cannot be converted into {wanted.text}."
