"""What a link leaves: one frozen object with a tidy table, and the points behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from pdbiomarker.link.association import Association

__all__ = ["LINK_COLUMNS", "Link", "LinkKind", "link_row", "link_table"]

LinkKind = Literal["exposure", "response", "concordance", "blood"]

#: Columns of :attr:`Link.table` and their types, in order.
LINK_COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "feature": "str",
        "other": "str",
        "contrast": "str",
        "analysis": "str",
        "quantity": "str",
        "group": "str",
        "estimate": "float64",
        "low": "float64",
        "high": "float64",
        "unit": "str",
        "p": "float64",
        "p_method": "str",
        "n": "Int64",
        "status": "str",
        "note": "str",
    }
)


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """How a change goes with something else. Exploratory: no p is adjusted.

    Attributes
    ----------
    kind : {"exposure", "response", "concordance", "blood"}
    feature, other : str
        ``assay:feature``, and what it is related to: an exposure, a second feature, ``response``.
    label, other_label : str
        The same for people.
    contrast : str
    table : DataFrame
        One row per analysis, quantity and group; columns :data:`LINK_COLUMNS`. Limits are at 95 %, p
        two-sided, both on the scale of `unit`. `status` is ``ok``, ``too_few`` or ``not_asked``: what could
        not be told has its row, and `note` says why.
    points : DataFrame
        What the analyses rest on: one row per participant (and visit); ``used`` and, where not, ``why``.
    note : str
        What must be said with any of it.
    curve : DataFrame
        Exposure only: ``exposure, mean, low, high`` of the averaged curve; empty where none is allowed.
    facts : mapping
        Such as the landmark day, the limit of disagreement, the scale of the change.
    """

    kind: LinkKind
    feature: str
    other: str
    label: str
    other_label: str
    contrast: str
    table: pd.DataFrame
    points: pd.DataFrame
    note: str
    curve: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def row(self, quantity: str, group: str = "") -> pd.Series:
        """Give the row of a quantity.

        Raises
        ------
        KeyError
            There is none.
        """
        found = self.table[(self.table["quantity"] == quantity) & (self.table["group"] == group)]
        if found.empty:
            raise KeyError(f"no quantity {quantity!r} of group {group!r}")
        return found.iloc[0]

    def __repr__(self) -> str:
        """Say in a line what is linked."""
        used = int(self.points["used"].sum()) if len(self.points) else 0
        return f"Link ({self.kind}): {self.feature} and {self.other}, {self.contrast}; {used} rows used"

    def _repr_html_(self) -> str:
        shown = self.table[
            ["analysis", "quantity", "group", "estimate", "low", "high", "unit", "p", "n", "note"]
        ]
        return str(shown.to_html(index=False, float_format=lambda v: f"{v:.3g}"))


def link_row(
    analysis: str,
    quantity: str,
    found: Association | None = None,
    *,
    group: str = "",
    unit: str = "",
    status: str = "",
    note: str = "",
) -> dict[str, Any]:
    """Make one row of a table; without an :class:`Association` a row that says why there is none."""
    own = found or Association(np.nan, np.nan, np.nan, np.nan, "", -1)
    told = "; ".join(part for part in (own.note, note) if part)
    return {
        "analysis": analysis,
        "quantity": quantity,
        "group": group,
        "estimate": own.value,
        "low": own.low,
        "high": own.high,
        "unit": unit,
        "p": own.p,
        "p_method": own.p_method,
        "n": pd.NA if own.n < 0 else own.n,
        "status": status or ("ok" if np.isfinite(own.value) else "too_few"),
        "note": told,
    }


def link_table(rows: list[dict[str, Any]], feature: str, other: str, *, contrast: str) -> pd.DataFrame:
    """Give rows their columns and types."""
    frame = pd.DataFrame(rows, columns=list(LINK_COLUMNS))
    frame["feature"], frame["other"], frame["contrast"] = feature, other, contrast
    return frame.astype({c: (object if t == "str" else t) for c, t in LINK_COLUMNS.items()})
