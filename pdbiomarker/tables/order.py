"""An order of rows that does not depend on the order in which they were typed.

Sums of floating-point numbers, ties and the rows of results follow the order of what was read. Every sheet is
therefore brought into an order of its own, by ids, before anything is computed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import pandas as pd

_DIGITS: Final = re.compile(r"([0-9]+)")

type IdKey = tuple[tuple[tuple[int, int, str], ...], str]


def id_key(text: str) -> IdKey:
    """Return the key that sorts ids as a person would: P2 before P10; ids that look alike by their text.

    Examples
    --------
    >>> sorted(["P10", "P2", "P02"], key=id_key)
    ['P02', 'P2', 'P10']
    """
    parts = [part for part in _DIGITS.split(text) if part]
    return tuple((0, int(p), "") if _DIGITS.fullmatch(p) else (1, 0, p) for p in parts), text


def order_by_ids(frame: pd.DataFrame, *, first: Sequence[str] = ()) -> pd.DataFrame:
    """Sort a frame by its index of ids, or by columns and then its index.

    Parameters
    ----------
    frame : DataFrame
        Index of ids; None stays last.
    first : sequence of str
        Columns that come before the index; ids in them are sorted as ids, numbers as numbers, what is missing
        comes last.
    """

    def key(place: int) -> list[tuple[bool, object]]:
        cells = [frame[name].iloc[place] for name in first] + [frame.index[place]]
        return [
            (True, 0) if pd.isna(c) else (False, id_key(c) if isinstance(c, str) else float(c)) for c in cells
        ]

    return frame.iloc[sorted(range(len(frame)), key=key)]


def order_by_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort a frame by all of its columns as texts, from the first, but for the column that tells the line."""
    keys = [column for column in frame.columns if column != "line"]
    if not keys:
        return frame
    texts = frame[keys].map(lambda value: "" if pd.isna(value) else str(value))
    rows = list(texts.itertuples(index=False, name=None))
    return frame.iloc[sorted(range(len(frame)), key=rows.__getitem__)]
