"""How numbers are written for people: one set of functions for every figure, table and sentence.

Three significant digits, p-values with a floor at 0.0001, no stars. A figure, a table and a sentence that
show the same number use the same function, so they cannot disagree.
"""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = [
    "MISSING",
    "P_FLOOR",
    "format_interval",
    "format_number",
    "format_p",
    "format_unit",
    "format_words",
    "p_equals",
    "p_name",
    "smallest_exact_p",
]

#: What stands for a number that does not exist.
MISSING: Final = "–"
#: Smaller p-values are written as "< 0.0001".
P_FLOOR: Final = 1e-4

_MINUS: Final = "−"


def format_number(value: float | int | None, digits: int = 3) -> str:
    """Write a number with `digits` significant digits, never dropping a digit before the point.

    Parameters
    ----------
    value : float, int or None
        None and NaN give an en dash, infinities the sign of infinity.
    digits : int
        Significant digits of a number that is not a whole number.

    Examples
    --------
    >>> format_number(2.0951), format_number(1234.5), format_number(0.000123), format_number(12)
    ('2.10', '1,234', '0.000123', '12')
    """
    if value is None:
        return MISSING
    number = float(value)
    if math.isnan(number):
        return MISSING
    sign = _MINUS if number < 0 else ""
    size = abs(number)
    if math.isinf(size):
        return f"{sign}∞"
    if size == 0:
        return "0"
    if isinstance(value, int) or (size >= 1000 and size < 1e15):
        return f"{sign}{size:,.0f}"
    if size >= 1e15 or size < 1e-4:
        mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
        return f"{sign}{mantissa}e{_MINUS if int(exponent) < 0 else ''}{abs(int(exponent))}"
    rounded = float(f"{size:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(rounded)))
    return f"{sign}{rounded:,.{decimals}f}"


def format_interval(low: float | None, high: float | None) -> str:
    """Write an interval as ``1.40 to 3.20``; an en dash when an end does not exist."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return MISSING
    return f"{format_number(low)} to {format_number(high)}"


def format_p(p: float | None) -> str:
    """Write a p-value: two significant digits, three near .05, ``< 0.0001`` below the floor.

    Examples
    --------
    >>> format_p(0.0028328), format_p(0.04962), format_p(0.3), format_p(3e-9), format_p(0.9991)
    ('0.0028', '0.0496', '0.30', '< 0.0001', '> 0.99')
    """
    if p is None or math.isnan(p):
        return MISSING
    if p < P_FLOOR:
        return "< 0.0001"
    if p > 0.99:
        return "> 0.99"
    if 0.045 <= p < 0.055:
        return f"{p:.4f}"
    return format_number(float(p), 2)


def format_unit(unit: str) -> str:
    """Write a unit as it is read: the micro sign for u, a point for times.

    Examples
    --------
    >>> format_unit("ug/mL"), format_unit("h*ug/mL"), format_unit("mL/min"), format_unit("units")
    ('µg/mL', 'h·µg/mL', 'mL/min', 'units')
    """
    return re.sub(r"(?<![A-Za-z])u(?=(?:g|l|L|m|M|mol)(?![A-Za-z]))", "µ", unit).replace("*", "·")


def format_words(text: object) -> str:
    """Write a sentence with numbers in it as every number is written: a minus sign, no hyphen, before one.

    Only a hyphen after a space or a bracket is one, so that ids and ranges stay as they are. At most and at
    least have their signs, and per cent stands apart from its number.

    Examples
    --------
    >>> format_words("rank correlation -0.52 (-3.2 to -0.20), without 101-005")
    'rank correlation −0.52 (−3.2 to −0.20), without 101-005'
    >>> format_words("more than 2.50% (p <= 0.05)")
    'more than 2.50 % (p ≤ 0.05)'
    """
    signed = re.sub(r"(^|[\s(\[])-(?=\.?\d)", rf"\1{_MINUS}", str(text))
    return re.sub(r"(?<=\d)%", " %", signed.replace("<=", "≤").replace(">=", "≥"))


def p_equals(name: str, p: float | None) -> str:
    """Write ``Holm p = 0.0028`` or ``Holm p < 0.0001``."""
    text = format_p(p)
    return f"{name} {text}" if text[:1] in "<>" else f"{name} = {text}"


def p_name(adjustment: str | None) -> str:
    """Name the adjusted p by its method: ``Holm p``, ``BH q``, or ``p`` where nothing was adjusted."""
    known = {
        "holm": "Holm p",
        "bh": "BH q",
        "fdr_bh": "BH q",
        "by": "BY q",
        "bonferroni": "Bonferroni p",
        "fixed-sequence": "fixed-sequence p",
    }
    key = str(adjustment or "").strip().lower()
    if key in {"", "none", "nan"}:
        return "p"
    return known.get(key, f"{adjustment} p")


def smallest_exact_p(n_pairs: int) -> float:
    """Smallest two-sided p that an exact sign-flip test can give: 2 / 2**n, at most 1."""
    return min(1.0, 2.0 ** (1 - n_pairs))
