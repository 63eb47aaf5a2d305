"""Forest: the effect of every feature of a family with its interval, and a grey line for each without one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdbiomarker.errors import InputError, Problem
from pdbiomarker.plot.clinic import shown_change
from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.numbers import format_interval, format_number, format_p, p_name
from pdbiomarker.plot.select import (
    RATIO_KINDS,
    Result,
    changes_of,
    effect_units,
    find_feature,
    primary_set,
    set_label,
    sets_of,
)
from pdbiomarker.plot.style import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    describe,
    despine,
    empty,
    linear_axis,
    new_axes,
    plain,
    ratio_axis,
    split,
    style,
    titles,
)

__all__ = ["forest"]

_OK: Final = frozenset({"ok", "singular"})
_MAX_SPAN: Final = 12.0


@dataclasses.dataclass(frozen=True)
class _Panel:
    """Rows that share an axis."""

    name: str
    ratio: bool
    rows: tuple[pd.Series, ...]


def forest(
    result: Result,
    features: Sequence[str] | None = None,
    *,
    family: str | None = None,
    contrast: str | None = None,
    sets: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw effects with 95 % intervals, one line per feature, contrast and analysis set.

    Parameters
    ----------
    result : PDResult
    features : sequence of str, optional
        ``feature`` or ``assay:feature``; default: all of `family`, or all of the result but counts.
    family : str, optional
        Only features of this family.
    contrast : str, optional
        Only this contrast; default: all.
    sets : sequence of str, optional
        Analysis sets; default: the primary set in colour and the others below it as sensitivity lines.
    ax : Axes, optional
        Where to draw; default: a new figure. Kinds whose effects have different units share a figure as
        panels one above the other, in the place of `ax`.

    Returns
    -------
    Axes
        The first panel. Ratios stand on a log axis. A feature that has no estimate keeps its line, in grey,
        with its status and the reason.

    Raises
    ------
    InputError
        A feature is not in the result, or more than 120 lines are asked for.
    """
    rows = _rows(result, features, family, contrast)
    wanted = list(sets) if sets is not None else sets_of(rows)
    rows = rows[rows["set"].isin(wanted)]
    rows = rows.assign(
        effect_unit=effect_units(result, rows),
        set_name=[set_label(str(s), result) for s in rows["set"]],
    )
    with style():
        name = f"Effects: {family}" if family else "Effects"
        if rows.empty:
            return empty(new_axes(ax, 8.6, 2.4), name, "No feature of this family was analysed.")
        if len(rows) > 120:
            raise InputError(
                [
                    Problem(
                        "E-RESULT-002",
                        f"{len(rows)} lines do not fit a forest plot.",
                        "Name fewer features, or use plot.volcano.",
                        "",
                        None,
                        "features",
                        str(len(rows)),
                    )
                ]
            )
        panels = _panels(rows)
        heights = [len(p.rows) + 1.2 for p in panels]
        host = new_axes(ax, 9.2, 0.31 * sum(heights) + 1.0 + 0.5 * (len(panels) - 1))
        axes = split(host, heights)
        names, ticked = _names(rows), False
        for panel, axis in zip(panels, axes, strict=True):
            _draw(axis, panel, names, primary_set(rows))
            ticked = _ticks(axis, panel, result, primary_set(rows)) or ticked
        methods = ", ".join(sorted({str(m) for m in rows["df_method"] if isinstance(m, str) and m}))
        facts = f"Squares: estimate; lines: 95 % CI; degrees of freedom: {methods}." if methods else ""
        if rows["q"].isna().any() and rows["p"].notna().any():
            facts += " In brackets: p not adjusted (sensitivity)."
        facts += "\nTicks below a line: participants' own changes within the axis." if ticked else ""
        titles(axes[0], name, facts)
        describe(axes[0], _seen(rows))
        return axes[0]


def _rows(
    result: Result, features: Sequence[str] | None, family: str | None, contrast: str | None
) -> pd.DataFrame:
    table = result.table
    if features is not None:
        keys = [find_feature(result, f) for f in features]
        index = pd.MultiIndex.from_frame(table[["assay", "feature"]])
        table = table[index.isin(keys)]
        rank = {key: i for i, key in enumerate(keys)}
        order = [rank[a, f] for a, f in zip(table["assay"], table["feature"], strict=True)]
        table = table.assign(_order=order).sort_values("_order", kind="stable").drop(columns="_order")
    if family is not None:
        table = table[table["family"] == family]
    elif features is None:
        table = table[table["kind"] != "count"]
    if contrast is not None:
        table = table[table["contrast"] == contrast]
    return table.iloc[_grouped(table)]


def _grouped(table: pd.DataFrame) -> list[int]:
    """Row positions that bring the sets of a feature together, otherwise in order of appearance."""
    keys = list(zip(table["assay"], table["feature"], table["contrast"], strict=True))
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    primary = primary_set(table)
    sets = [primary, *(s for s in sets_of(table) if s != primary)]
    rank = [sets.index(str(s)) for s in table["set"]]
    return sorted(range(len(keys)), key=lambda i: (first[keys[i]], rank[i]))


def _seen(rows: pd.DataFrame) -> str:
    """The effects of the primary set, at most four, in words."""
    main = rows[rows["set"] == primary_set(rows)]
    told = []
    for row in main.head(4).to_dict("records"):
        label = row["label"] if isinstance(row["label"], str) and row["label"] else row["feature"]
        limits = format_interval(row["effect_low"], row["effect_high"])
        told.append(
            f"{label}: {format_number(row['effect'])} ({limits})"
            if pd.notna(row["effect"])
            else f"{label}: none"
        )
    more = f"; and {len(main) - 4} more" if len(main) > 4 else ""
    return f"Estimates: {'; '.join(told)}{more}."


def _panels(rows: pd.DataFrame) -> list[_Panel]:
    """Group rows by the axis they can share: all ratios, then one panel per unit."""
    keys: dict[tuple[bool, str], list[pd.Series]] = {}
    for _, row in rows.iterrows():
        ratio = str(row["kind"]) in RATIO_KINDS
        unit = "" if ratio else str(row["effect_unit"] if pd.notna(row["effect_unit"]) else "units")
        keys.setdefault((ratio, unit), []).append(row)
    ordered = sorted(keys, key=lambda k: (not k[0], list(keys).index(k)))
    return [
        _Panel(
            "ratio on treatment / baseline (log axis)" if r else f"change ({unit})", r, tuple(keys[r, unit])
        )
        for r, unit in ordered
    ]


def _names(rows: pd.DataFrame) -> dict[str, bool]:
    """Which parts a row's label needs to be unique."""
    return {"contrast": rows["contrast"].nunique() > 1, "assay": rows["assay"].nunique() > 1}


def _label(row: pd.Series, parts: dict[str, bool], primary: str) -> str:
    if row["set"] != primary:
        return f"     {row['set_name']}"
    label = row["label"] if isinstance(row["label"], str) and row["label"] else row["feature"]
    return plain(label, 42) + (f" · {plain(row['contrast'], 16)}" if parts["contrast"] else "")


def _draw(ax: Axes, panel: _Panel, parts: dict[str, bool], primary: str) -> None:
    n = len(panel.rows)
    low, high = _limits(panel)
    if panel.ratio:
        ratio_axis(ax, "x", low, high)
    else:
        ax.set_xlim(low, high)
        linear_axis(ax, "x")
    ax.set_ylim(n - 0.4, -0.75)
    ax.axvline(0, color=INK, lw=0.8, ls=(0, (4, 3)), zorder=1)
    for y, row in enumerate(panel.rows):
        if row["set"] == primary and y % 2 == 0 and n > 3:
            ax.axhspan(y - 0.5, y + 0.5, color="#f6f8f9", lw=0, zorder=0)
        _draw_row(ax, y, row, panel.ratio, main=row["set"] == primary)
    ax.set_yticks(range(n), [_label(row, parts, primary) for row in panel.rows])
    for tick, row in zip(ax.get_yticklabels(), panel.rows, strict=True):
        main = row["set"] == primary
        tick.set_color(INK if main and str(row["status"]) in _OK else MUTED)
        tick.set_fontsize(9 if main else 8)
    ax.tick_params(axis="y", length=0)
    for x, head in zip(_COLUMNS, ("effect (95 % CI)", "pairs", _p_head(panel)), strict=True):
        _beside(ax, x, -0.66, head, MUTED)
    ax.set_xlabel(panel.name)
    despine(ax, left=True)


def _ticks(ax: Axes, panel: _Panel, result: Result, primary: str) -> bool:
    """Draw every participant's own change below the line of a primary effect; whether there were any."""
    drawn = False
    for y, row in enumerate(panel.rows):
        if row["set"] != primary or str(row["status"]) not in _OK:
            continue
        own = changes_of(result, row)
        own = own[own["change"].notna()]
        x = shown_change(own["change"], str(row["kind"])).to_numpy()
        # What lies outside would be left out of a vector file, and the marks of the others would shift.
        seen = (x >= ax.get_xlim()[0]) & (x <= ax.get_xlim()[1])
        if not seen.any():
            continue
        at = np.full(int(seen.sum()), y + 0.33)
        (line,) = ax.plot(x[seen], at, ls="", marker="|", ms=6, mew=1.2, color=FAINT, zorder=2)
        mark(line, own.loc[seen, "participant_id"].astype(str).tolist())
        drawn = True
    return drawn


#: Where the columns right of the axes start, in points.
_COLUMNS: Final = (10, 152, 184)


def _p_head(panel: _Panel) -> str:
    names = {p_name(row["adjustment"]) for row in panel.rows if pd.notna(row["q"])}
    return names.pop() if len(names) == 1 else "adjusted p"


def _values(row: pd.Series, ratio: bool) -> tuple[float, float, float]:
    numbers = [float(row[c]) for c in ("effect", "effect_low", "effect_high")]
    if ratio:
        with np.errstate(divide="ignore", invalid="ignore"):
            numbers = [float(np.log2(v)) for v in numbers]
    return numbers[0], numbers[1], numbers[2]


def _limits(panel: _Panel) -> tuple[float, float]:
    ends = [0.0]
    for row in panel.rows:
        if str(row["status"]) in _OK:
            ends += [v for v in _values(row, panel.ratio) if np.isfinite(v)]
    low, high = min(ends), max(ends)
    if panel.ratio:
        low, high = max(low, -_MAX_SPAN), min(high, _MAX_SPAN)
        low, high = min(low, -1.0), max(high, 1.0)
    pad = 0.06 * (high - low) or 1.0
    return low - pad, high + pad


def _draw_row(ax: Axes, y: int, row: pd.Series, ratio: bool, *, main: bool) -> None:
    across = ax.get_yaxis_transform()
    if str(row["status"]) not in _OK or pd.isna(row["effect"]):
        note = str(row["note"]) if isinstance(row["note"], str) and row["note"] else "no reason recorded"
        text = f"{str(row['status']).replace('_', ' ')}: {plain(note, 64)}"
        ax.text(
            0.02,
            y,
            text,
            transform=across,
            fontsize=8,
            color=MUTED,
            va="center",
            style="italic",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
            zorder=4,
        )
        _beside(ax, _COLUMNS[1], y, format_number(_count(row)), MUTED)
        return
    value, low, high = _values(row, ratio)
    color = ACCENT if main else FAINT
    left, right = ax.get_xlim()
    if np.isfinite(low) and np.isfinite(high):
        ax.plot(
            [max(low, left), min(high, right)],
            [y, y],
            color=color,
            lw=2.0 if main else 1.4,
            zorder=3,
            solid_capstyle="butt",
        )
        for end, limit, sign in ((low, left, "<"), (high, right, ">")):
            if (sign == "<" and end < limit) or (sign == ">" and end > limit):
                ax.plot([limit], [y], marker=sign, color=color, ms=5, zorder=3, clip_on=False)
    ax.plot(
        [value],
        [y],
        marker="s" if main else "o",
        ms=6.5 if main else 4.5,
        color=color,
        mec="white",
        mew=0.7,
        zorder=4,
    )
    interval = f"{format_number(row['effect'])} ({format_interval(row['effect_low'], row['effect_high'])})"
    adjusted = format_p(row["q"]) if pd.notna(row["q"]) else f"({format_p(row['p'])})"
    for x, text in zip(_COLUMNS, (interval, format_number(_count(row)), adjusted), strict=True):
        _beside(ax, x, y, text, INK if main else MUTED, bold=main and x == _COLUMNS[0])


def _beside(ax: Axes, points: float, y: float, text: str, color: str, *, bold: bool = False) -> None:
    """Write in a column right of the axes, `points` from their edge."""
    ax.annotate(
        text,
        (1, y),
        xycoords=ax.get_yaxis_transform(),
        xytext=(points, 0),
        textcoords="offset points",
        fontsize=8.5 if bold else 8,
        fontweight="bold" if bold else "normal",
        color=color,
        va="center",
        annotation_clip=False,
    )


def _count(row: pd.Series) -> int | None:
    return None if pd.isna(row["n_pairs"]) else int(row["n_pairs"])
