"""Signatures at a glance: effect, interval and adjusted p of each, the largest rise first."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation, Transform

from pdbiomarker.plot.decided import each_row
from pdbiomarker.plot.numbers import format_interval, format_number, format_p, p_name
from pdbiomarker.plot.select import Result, contrast_visits, effect_units, primary_set, refuse, set_label
from pdbiomarker.plot.style import (
    DOWN,
    INK,
    MUTED,
    UP,
    despine,
    empty,
    linear_axis,
    new_axes,
    plain,
    style,
    titles,
)

__all__ = ["signatures"]

_CALL: Final = 0.05
#: Columns of numbers at the right, in points from the axes.
_COLUMNS: Final = (10.0, 156.0, 218.0)
_USABLE: Final = frozenset({"ok", "singular"})


def signatures(
    result: Result,
    assay: str | None = None,
    *,
    contrast: str | None = None,
    set_: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the change of every signature: a dot with its 95 % interval; filled where the adjusted p is < .05.

    Parameters
    ----------
    result : PDResult
    assay : str, optional
        Default: the first assay of signatures.
    contrast, set_ : str, optional
        Default: the first contrast of the assay, and the primary analysis set.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        One line a signature, the largest rise on top; numbers at the right. A signature without an estimate
        stands last, with the reason.

    Raises
    ------
    InputError
        E-RESULT-001: the result has no such assay, contrast or set.
    """
    table = result.table[result.table["kind"] == "signature"]
    for column, value in (("assay", assay), ("contrast", contrast), ("set", set_)):
        known = [str(v) for v in dict.fromkeys(table[column])]
        if value is not None and value not in known:
            raise refuse(f"No signature has the {column} {value!r}.", value, known, column)
        default = primary_set(table) if column == "set" else (known[0] if known else "")
        table = table[table[column] == (value if value is not None else default)]
    with style():
        ax = new_axes(ax, 8.6, 1.7 + 0.3 * len(table))
        title = "Change of signatures"
        if table.empty:
            return empty(ax, title, "The result has no signature.")
        ok = table["status"].isin(_USABLE) & table["effect"].notna()
        rows = pd.concat(
            [table[ok].sort_values(["effect", "feature"], ascending=[False, True], kind="stable"), table[~ok]]
        ).reset_index(drop=True)
        units = list(dict.fromkeys(effect_units(result, rows)))
        _draw(ax, rows)
        ax.set_xlabel(f"change ({plain(units[0], 24)})" if len(units) == 1 else "change (units of each)")
        titles(ax, f"{title}: {plain(rows['assay'].iloc[0], 40)}", _facts(result, rows))
        return ax


def _draw(ax: Axes, rows: pd.DataFrame) -> None:
    for y, row in enumerate(each_row(rows)):
        if not (row.status in _USABLE and np.isfinite(row.effect)):
            why = row.note if isinstance(row.note, str) and row.note else str(row.status).replace("_", " ")
            ax.annotate(
                plain(why, 70), (0.02, y), xycoords=ax.get_yaxis_transform(), va="center", fontsize=8,
                color=MUTED, fontstyle="italic",
            )  # fmt: skip
            continue
        q = row.q if pd.notna(row.q) else row.p
        color = MUTED if not q < _CALL else UP if row.effect > 0 else DOWN
        ax.plot(
            [row.effect_low, row.effect_high], [y, y], color=color, lw=1.8, solid_capstyle="butt", zorder=2
        )
        fill = color if q < _CALL else "white"
        ax.plot([row.effect], [y], "o", ms=7.5, mfc=fill, mec=color, mew=1.4, zorder=3)
        text = f"{format_number(row.effect)} ({format_interval(row.effect_low, row.effect_high)})"
        pairs = "–" if pd.isna(row.n_pairs) else f"{int(row.n_pairs)}"
        for place, said in zip(_COLUMNS, (text, format_p(q), pairs), strict=True):
            _cell(ax, said, y, place, bold=bool(q < _CALL))
    names = {p_name(a) for a, q in zip(rows["adjustment"], rows["q"], strict=True) if pd.notna(q)}
    heads = ("change (95 % CI)", names.pop() if len(names) == 1 else "adjusted p", "pairs")
    for place, head in zip(_COLUMNS, heads, strict=True):
        _cell(ax, head, -0.85, place, color=MUTED)
    labels = [
        v if isinstance(v, str) and v else f for v, f in zip(rows["label"], rows["feature"], strict=True)
    ]
    ax.set_yticks(range(len(rows)), [plain(text, 38) for text in labels])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(rows) - 0.4, -1.2)
    ax.axvline(0, color=INK, lw=0.9, ls=(0, (4, 3)), zorder=1)
    linear_axis(ax, "x")
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    despine(ax, left=True)
    handles = [
        Line2D([], [], marker="o", color=UP, label="rise, adjusted p < 0.05"),
        Line2D([], [], marker="o", color=DOWN, label="fall, adjusted p < 0.05"),
        Line2D([], [], marker="o", mfc="white", color=MUTED, label="not called"),
    ]
    ax.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, -0.02), bbox_transform=_under(ax), ncols=3,
        borderaxespad=0.0,
    )  # fmt: skip


def _cell(ax: Axes, text: str, y: float, place: float, *, bold: bool = False, color: str = INK) -> None:
    """Write a number at the right of the axes, `place` points from them."""
    ax.annotate(
        text, (1, y), xycoords=ax.get_yaxis_transform(), xytext=(place, 0), textcoords="offset points",
        va="center", fontsize=8.5, color=color, annotation_clip=False,
        fontweight="bold" if bold else "normal",
    )  # fmt: skip


def _under(ax: Axes) -> Transform:
    """Axes coordinates, moved below the label of the x axis."""
    fig = ax.get_figure(root=True)
    return ax.transAxes if fig is None else ax.transAxes + ScaledTranslation(0, -36 / 72, fig.dpi_scale_trans)


def _facts(result: Result, rows: pd.DataFrame) -> str:
    ok = rows["status"].isin(_USABLE)
    q = rows["q"].where(rows["q"].notna(), rows["p"])
    up, down = (int((ok & (q < _CALL) & (rows["effect"] * sign > 0)).sum()) for sign in (1, -1))
    n = rows.loc[ok, "n_pairs"].dropna()
    span = (
        ""
        if n.empty
        else f"{int(n.min())} pairs"
        if n.min() == n.max()
        else f"{int(n.min())} to {int(n.max())} pairs"
    )
    baseline, on = contrast_visits(result, str(rows["contrast"].iloc[0]))
    first = rows.iloc[0]
    largest = ""
    if bool(ok.iloc[0]):
        label = first["label"] if isinstance(first["label"], str) and first["label"] else first["feature"]
        largest = f" Largest: {plain(label, 40)}, {format_number(first['effect'])}."
    none = f", {int((~ok).sum())} without an estimate" if (~ok).any() else ""
    counted = f"{len(rows)} signature{'' if len(rows) == 1 else 's'}"
    return (
        f"{counted}: {up} rise, {down} fall{none}; {on} against {baseline}; {span}; "
        f"{set_label(str(first['set']), result)}.{largest}"
    )
