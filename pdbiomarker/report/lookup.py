"""Every row behind a table of the smallest p: so that a reader can look up any gene, tested or not."""

from __future__ import annotations

import json
import os.path
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from pdbiomarker.plot.volcano import MAX_LOG_P
from pdbiomarker.report.blocks import cell_of
from pdbiomarker.report.content import Cell, Column, Every
from pdbiomarker.report.privacy import clean

__all__ = ["axes_of", "every_row", "packed", "text_of"]

_ENDS: Final = ";"
#: Columns of text with at most so many different values are written as numbers into a list of them.
_FEW: Final = 2_000
#: What nobody looks a gene up for; the file of results has it.
_LEFT_OUT: Final = frozenset({"df"})


def every_row(rows: pd.DataFrame, columns: Sequence[tuple[str, Column]], figure: str) -> Every:
    """Collect all rows of an assay and contrast.

    Parameters
    ----------
    rows : DataFrame
        Of the result's table.
    columns : sequence of (name, Column)
        What is told of each beside its label and its feature id.
    figure : str
        The key of the volcano that shows them.
    """
    told = [(name, column) for name, column in columns if name not in _LEFT_OUT]
    named = [("label", Column("gene", "name")), ("feature", Column("id", "id")), *told]
    named = [
        (name, column)
        for name, column in named
        if name in rows.columns
        and (column.numeric or any(cell_of(v) not in (None, "") for v in rows[name].tolist()))
    ]
    values = tuple(_cells(rows[name], column) for name, column in named)
    x, p = rows["estimate"].to_numpy(dtype=float), rows["p"].to_numpy(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.minimum(-np.log10(np.maximum(p, 10.0**-MAX_LOG_P)), MAX_LOG_P)
    seen = np.isfinite(x) & np.isfinite(y)
    places = (
        tuple(float(v) if ok else None for v, ok in zip(x, seen, strict=True)),
        tuple(float(v) if ok else None for v, ok in zip(y, seen, strict=True)),
    )
    return Every(tuple(column for _, column in named), values, places, figure)


def _cells(values: pd.Series, column: Column) -> tuple[Cell, ...]:
    """The values of a column as cells; a text that many rows have is cleaned once."""
    cells = [cell_of(value) for value in values.tolist()]
    if column.format != "text":
        return tuple(cells)
    cleaned = {text: clean(text) for text in set(cells) if isinstance(text, str)}
    return tuple(cleaned[cell] if isinstance(cell, str) else cell for cell in cells)


def axes_of(drawing: Drawing) -> dict[str, list[float]]:
    """Where the first axes of a drawn figure stand, in shares of it from the upper left, and their limits."""
    ax = drawing.axes[0]
    box = ax.get_position()
    return {
        "box": [round(v, 5) for v in (box.x0, 1 - box.y1, box.width, box.height)],
        "x": [round(float(v), 5) for v in ax.get_xlim()],
        "y": [round(float(v), 5) for v in ax.get_ylim()],
    }


def packed(every: Every) -> dict[str, Any]:
    """The rows as compact JSON holds them: every value as tables write it, column by column.

    A column of one value holds it once, and what all texts of a column start with stands once. Numbers are
    joined to one text, text with few different values is a list of these and a joined text of their numbers;
    places in the figure are rounded to hundredths, as a
    screen shows no more.
    """
    columns = [_column(column, values) for column, values in zip(every.columns, every.values, strict=True)]
    points = [_ENDS.join("" if v is None else str(round(100 * v)) for v in place) for place in every.places]
    return {"columns": columns, "points": points, "n": len(every.places[0]), "figure": every.figure}


def _column(column: Column, values: Sequence[Cell]) -> Mapping[str, Any]:
    texts = [column.write(value) for value in values]
    head = {"label": column.label, "format": column.format}
    known = list(dict.fromkeys(texts))
    if len(known) == 1 and len(texts) > 1:
        return {**head, "all": known[0]}
    if column.numeric:
        return {**head, "joined": _ENDS.join(texts)}
    if len(known) <= _FEW and len(known) * 4 < len(texts):
        at = {text: str(i) for i, text in enumerate(known)}
        return {**head, "known": known, "joined": _ENDS.join(at[text] for text in texts)}
    start = os.path.commonprefix(texts)  # noqa: RUF071  (letter by letter is what is meant)
    return {**head, "start": start, "texts": [text[len(start) :] for text in texts]}


def text_of(content: object) -> str:
    """JSON that can stand in a page: nothing in it ends the element or starts another."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
