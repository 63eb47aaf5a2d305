"""Figures and tables of the report, made from frames: what every section is built of."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from pdbiomarker.plot.style import figure, settle, style
from pdbiomarker.report.content import Cell, Column, Format, Table
from pdbiomarker.report.privacy import clean, shareable

__all__ = ["SLIDE", "cell_of", "drawn", "drawn_once", "key_of", "plain_table", "table_of"]

_OPEN_ROWS: Final = 14
#: Inches of a drawing for a slide, which it fills: so small that its words are large there.
SLIDE: Final = (8.4, 3.5)


def drawn(width: float, height: float, draw: Callable[[Axes], object]) -> Callable[[], Drawing]:
    """A figure of that size in inches, drawn once, when the first writer asks for it."""

    def make() -> Drawing:
        fig = figure(width, height)
        draw(fig.add_subplot())
        return fig

    return drawn_once(make)


def drawn_once(make: Callable[[], Drawing]) -> Callable[[], Drawing]:
    """What `make` draws, kept: all writers of a document share one drawing, laid out for good."""

    @functools.cache
    def once() -> Drawing:
        with style():
            return settle(make())

    return once


def key_of(*parts: object) -> str:
    """A key of a block, made of names."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", str(p).lower()).strip("-")[:40] or "x" for p in parts)


def cell_of(value: object) -> Cell:
    """A value of a frame as a cell holds it."""
    if type(value) is str:  # first, as most are
        return value
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    return str(value)


def table_of(
    key: str,
    caption: str,
    frame: pd.DataFrame,
    columns: Sequence[tuple[str, Column]],
    *,
    total: int | None = None,
    collapsed: bool = False,
) -> Table:
    """Take columns of a frame as they are; text other than ids loses dates and paths, empty columns go."""
    present = [
        (name, column)
        for name, column in columns
        if name in frame.columns
        and (column.numeric or any(cell_of(v) not in (None, "") for v in frame[name]))
    ]
    rows = []
    for values in zip(*(frame[name].tolist() for name, _ in present), strict=True):
        cells = [cell_of(v) for v in values]
        rows.append(
            tuple(
                clean(c) if isinstance(c, str) and column.format == "text" else c
                for c, (_, column) in zip(cells, present, strict=True)
            )
        )
    heads = tuple(column for _, column in present)
    return Table(key, caption, heads, tuple(rows), collapsed or len(rows) > _OPEN_ROWS, total)


def plain_table(key: str, caption: str, frame: pd.DataFrame) -> Table:
    """Show a frame whose columns are not known beforehand, without what is private."""
    frame = shareable(frame.reset_index() if frame.index.name else frame).copy()
    for name in frame.select_dtypes("float"):
        if bool((frame[name].dropna() % 1 == 0).all()):
            frame[name] = frame[name].astype("Int64")
    columns: list[tuple[str, Column]] = []
    for name in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name])
        kind: Format = "number" if numeric else ("id" if str(name).endswith("_id") else "text")
        columns.append((name, Column(str(name).replace("_", " "), kind)))
    return table_of(key, caption, frame, columns)
