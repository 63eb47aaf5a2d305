"""Planted against estimated: how well a simulated truth was found again."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import RATIO_KINDS, Result, effect_units, primary_set
from pdbiomarker.plot.style import (
    ACCENT,
    FAINT,
    INK,
    UP,
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

__all__ = ["join_truth", "truth"]

_FEW: Final = 40


def join_truth(result: Result, assay: str | None = None) -> pd.DataFrame:
    """Put the planted effect beside the estimate.

    Parameters
    ----------
    result : PDResult
        With an attribute `truth`: ``assay, feature, contrast`` and ``true`` (effect on the model scale).
    assay : str, optional
        Only this assay.

    Returns
    -------
    DataFrame
        The rows of the result's table (primary set) that have a planted effect, with ``true`` and
        ``covered``: whether the 95 % interval holds it (missing where there is no interval). Empty without
        a truth.
    """
    planted = getattr(result, "truth", None)
    table = result.table
    if not isinstance(planted, pd.DataFrame) or planted.empty or table.empty:
        return table.iloc[:0].assign(true=pd.Series(dtype=float), covered=pd.Series(dtype="boolean"))
    name = next(c for c in ("true", "true_effect", "truth", "effect") if c in planted.columns)
    keys = [k for k in ("assay", "feature", "contrast") if k in planted.columns]
    own = planted[[*keys, name]].rename(columns={name: "true"})
    rows = table[table["set"] == primary_set(table)].merge(own, on=keys, how="inner", sort=False)
    if assay is not None:
        rows = rows[rows["assay"] == assay]
    inside = (rows["ci_low"] <= rows["true"]) & (rows["true"] <= rows["ci_high"])
    covered = inside.astype("boolean").mask(rows["ci_low"].isna() | rows["ci_high"].isna())
    return rows.assign(covered=covered, effect_unit=effect_units(result, rows))


def truth(result: Result, assay: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw what was planted beside what was estimated.

    Parameters
    ----------
    result : PDResult
        With an attribute `truth`, see :func:`join_truth`.
    assay : str, optional
        Only this assay.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        The first panel. With at most 40 features one line each: the planted effect as an open diamond, the
        estimate with its 95 % interval; ratios and each unit in a panel of their own. With more features a
        scatter with the line of identity. The subtitle counts the intervals that hold the planted effect.
    """
    rows = join_truth(result, assay)
    name = f"Planted and estimated{': ' + plain(assay) if assay else ''}"
    with style():
        known = rows[rows["estimate"].notna() & rows["true"].notna()]
        if known.empty:
            return empty(
                new_axes(ax, 6.4, 2.6), name, "Nothing was planted, or nothing of it could be estimated."
            )
        if len(known) > _FEW:
            first = new_axes(ax, 5.6, 4.8)
            _draw_cloud(first, known)
        else:
            first = _draw_lines(ax, known)
        titles(first, name, _facts(rows, known))
        return first


def _facts(rows: pd.DataFrame, known: pd.DataFrame) -> str:
    covered = known["covered"].dropna()
    cover = f"; {int(covered.sum()):,} of {len(covered):,} 95 % intervals hold the planted effect"
    left_out = len(rows) - len(known)
    lost = f"; {left_out:,} planted without estimate" if left_out else ""
    same = known["kind"].nunique() == 1
    error = (known["estimate"] - known["true"]).to_numpy(dtype=float)
    bias = f"; mean error {format_number(float(error.mean()), 2)}" if same and len(known) > 1 else ""
    noun = "feature" if len(known) == 1 else "features"
    return f"{len(known):,} {noun}{lost}{cover if len(covered) else ''}{bias}."


def _to_log2(kind: str) -> float:
    """From the model scale to log2 of the ratio: proportions are on the natural logit."""
    return 1.0 / float(np.log(2)) if kind == "proportion" else 1.0


def _draw_lines(ax: Axes | None, known: pd.DataFrame) -> Axes:
    groups: dict[tuple[bool, str], list[pd.Series]] = {}
    for _, row in known.iterrows():
        ratio = str(row["kind"]) in RATIO_KINDS
        groups.setdefault((not ratio, "" if ratio else str(row["effect_unit"])), []).append(row)
    panels = sorted(groups.items(), key=lambda item: item[0])
    heights = [len(rows) + 1.3 for _, rows in panels]
    host = new_axes(ax, 7.6, 0.36 * sum(heights) + 1.0)
    axes = split(host, heights)
    for panel, ((identity, unit), rows) in zip(axes, panels, strict=True):
        _draw_panel(panel, rows, identity=identity, unit=unit)
    handles = [
        Line2D([], [], ls="", marker="D", mfc="none", mec=UP, mew=1.6, ms=8, label="planted"),
        Line2D([], [], color=ACCENT, marker="o", mec="white", ms=7, label="estimate, 95 % CI"),
    ]
    axes[0].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    return axes[0]


def _draw_panel(ax: Axes, rows: list[pd.Series], *, identity: bool, unit: str) -> None:
    ends = [0.0]
    for y, row in enumerate(rows):
        factor = 1.0 if identity else _to_log2(str(row["kind"]))
        low, value, high, planted = (
            float(row[c]) * factor for c in ("ci_low", "estimate", "ci_high", "true")
        )
        if np.isfinite(low) and np.isfinite(high):
            ax.plot([low, high], [y, y], color=ACCENT, lw=2, solid_capstyle="butt", zorder=3)
        ax.plot([value], [y], marker="o", ms=7, color=ACCENT, mec="white", mew=0.8, zorder=4)
        ax.plot([planted], [y], marker="D", ms=9, mfc="none", mec=UP, mew=1.6, zorder=5)
        ends += [v for v in (low, value, high, planted) if np.isfinite(v)]
    pad = 0.08 * (max(ends) - min(ends)) or 1.0
    if identity:
        ax.set_xlim(min(ends) - pad, max(ends) + pad)
        linear_axis(ax, "x")
        ax.set_xlabel(f"change ({plain(unit, 20)})")
    else:
        ratio_axis(ax, "x", min(ends) - pad, max(ends) + pad)
        ax.set_xlabel("ratio on treatment / baseline (log axis)")
    ax.axvline(0, color=INK, lw=0.8, ls=(0, (4, 3)), zorder=1)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    labels = [
        row["label"] if isinstance(row["label"], str) and row["label"] else row["feature"] for row in rows
    ]
    ax.set_yticks(range(len(rows)), [plain(label, 42) for label in labels])
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    despine(ax, left=True)


def _draw_cloud(ax: Axes, known: pd.DataFrame) -> None:
    x, y = (known[c].to_numpy(dtype=float) for c in ("true", "estimate"))
    low, high = float(min(x.min(), y.min(), 0)), float(max(x.max(), y.max(), 0))
    pad = 0.07 * (high - low) or 0.5
    ax.plot([low - pad, high + pad], [low - pad, high + pad], color=INK, lw=0.9, ls=(0, (4, 3)), zorder=4)
    ax.axhline(0, color=FAINT, lw=0.6, zorder=1)
    ax.axvline(0, color=FAINT, lw=0.6, zorder=1)
    ax.scatter(x, y, s=6, c=ACCENT, alpha=0.35, lw=0, rasterized=True, zorder=3)
    ax.set_xlim(low - pad, high + pad)
    ax.set_ylim(low - pad, high + pad)
    linear_axis(ax, "x")
    linear_axis(ax, "y")
    scale = "log2 fold change" if str(known["kind"].iloc[0]) == "count" else "model scale"
    ax.set_xlabel(f"planted ({scale})")
    ax.set_ylabel(f"estimated ({scale})")
    despine(ax)
