"""Units of doses and concentrations, from one declared table, converted exactly.

A unit is a product of the symbols below, written with ``/`` and ``*``: ``mg/kg``, ``ug/mL``, ``h*ng/mL``.
Case is free where no two symbols differ by it alone. ``kg`` below the line is body weight, ``m2`` is body
surface: neither cancels against a mass or an area, so ``mg/kg`` becomes ``mg`` only with the participant's
weight.
"""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from typing import Final

__all__ = ["Unit", "amount_of", "conversion", "parse_unit"]

_MICRO: Final = str.maketrans({"µ": "u", "μ": "u", "·": "*", "×": "*"})
_BODY: Final = "body weight"

#: Symbol -> dimension and size, in mg, mmol, IU, L, h.
_SYMBOLS: Final[dict[str, tuple[str, Fraction]]] = {
    **{
        f"{prefix}g": ("mass", Fraction(10) ** (power + 3))
        for prefix, power in {"k": 3, "": 0, "m": -3, "u": -6, "mc": -6, "n": -9, "p": -12, "f": -15}.items()
    },
    **{
        f"{prefix}mol": ("substance", Fraction(10) ** (power + 3))
        for prefix, power in {"": 0, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15}.items()
    },
    **{
        f"{prefix}L": ("volume", Fraction(10) ** power)
        for prefix, power in {"": 0, "d": -1, "m": -3, "u": -6}.items()
    },
    "IU": ("activity", Fraction(1)),
    "kIU": ("activity", Fraction(1000)),
    "MIU": ("activity", Fraction(1_000_000)),
    "m2": ("body surface", Fraction(1)),
    "h": ("time", Fraction(1)),
    "hr": ("time", Fraction(1)),
    "hour": ("time", Fraction(1)),
    "day": ("time", Fraction(24)),
    "d": ("time", Fraction(24)),
    "week": ("time", Fraction(168)),
    "min": ("time", Fraction(1, 60)),
    "s": ("time", Fraction(1, 3600)),
}
#: One symbol for two: a molar concentration.
_MOLAR: Final = {"M": "mol/L", "mM": "mmol/L", "uM": "umol/L", "nM": "nmol/L", "pM": "pmol/L"}
_FOLDED: Final = {symbol.casefold(): symbol for symbol in _SYMBOLS if symbol not in {"MIU", "d", "h", "s"}}
_PART = re.compile(r"([*/]?)([^*/]+)")


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """A unit that is known.

    Attributes
    ----------
    text : str
        As typed, with ``u`` for micro.
    size : Fraction
        In the base units (mg, mmol, IU, L, h, kg of body weight, m2 of body surface).
    powers : tuple of (dimension, power)
        Sorted; what cancels is left out.
    """

    text: str
    size: Fraction
    powers: tuple[tuple[str, int], ...]

    def power(self, dimension: str) -> int:
        """Give the power of a dimension; 0 where it does not occur."""
        return dict(self.powers).get(dimension, 0)

    @property
    def is_concentration(self) -> bool:
        """Tell whether it is an amount per volume."""
        return self._amount_with((("volume", -1),))

    @property
    def is_amount(self) -> bool:
        """Tell whether it is a mass, substance or activity, as it stands or per body weight or surface."""
        return any(self._amount_with(per) for per in ((), ((_BODY, -1),), (("body surface", -1),)))

    def _amount_with(self, rest: tuple[tuple[str, int], ...]) -> bool:
        amounts = [(d, p) for d, p in self.powers if d in {"mass", "substance", "activity"}]
        return [p for _, p in amounts] == [1] and tuple(x for x in self.powers if x not in amounts) == rest


def parse_unit(text: str) -> Unit | None:
    """Read a unit.

    Returns
    -------
    Unit or None
        None where a symbol is not in the table.

    Examples
    --------
    >>> parse_unit("ug/ml").size, parse_unit("ug/ml").is_concentration
    (Fraction(1, 1), True)
    >>> parse_unit("furlong") is None
    True
    """
    plain = "".join(text.translate(_MICRO).split())
    plain = _MOLAR.get(plain, plain)
    parts = _PART.findall(plain)
    if not parts or "".join(sign + symbol for sign, symbol in parts) != plain or parts[0][0]:
        return None
    size, powers = Fraction(1), dict[str, int]()
    for sign, symbol in parts:
        known = symbol if symbol in _SYMBOLS else _FOLDED.get(symbol.casefold())
        if known is None:
            return None
        dimension, factor = _SYMBOLS[known]
        power = -1 if sign == "/" else 1
        if known == "kg" and power == -1:
            dimension, factor = _BODY, Fraction(1)
        size *= factor**power
        powers[dimension] = powers.get(dimension, 0) + power
    return Unit(plain, size, tuple(sorted((d, p) for d, p in powers.items() if p)))


def amount_of(concentration: Unit) -> Unit:
    """Give the unit of an amount that, divided by a concentration of that unit, is in L.

    Examples
    --------
    >>> amount_of(parse_unit("ng/mL")).text
    'ug'
    """
    powers = tuple((dimension, power) for dimension, power in concentration.powers if dimension != "volume")
    wanted = (powers[0][0], concentration.size) if len(powers) == 1 else None
    symbol = next((s for s, known in _SYMBOLS.items() if known == wanted), f"{concentration.text}*L")
    return Unit(symbol, concentration.size, powers)


def conversion(source: Unit, target: Unit) -> float | None:
    """Give the factor by which a value in `source` is multiplied to be in `target`.

    Returns
    -------
    float or None
        None where the two do not measure the same.

    Examples
    --------
    >>> conversion(parse_unit("ng/mL"), parse_unit("ug/mL"))
    0.001
    """
    return float(source.size / target.size) if source.powers == target.powers else None
