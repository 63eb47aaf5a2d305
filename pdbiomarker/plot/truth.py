"""Planted against estimated: how well a simulated truth was found again."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import Result, primary_set
from pdbiomarker.plot.style import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    despine,
    empty,
    linear_axis,
    new_axes,
    plain,
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
    return rows.assign(covered=covered)


def truth(result: Result, assay: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the estimate of every feature against the planted effect, with the line of identity.

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
        With at most 40 features each carries its 95 % interval and name. The subtitle states the mean error
        and how many intervals hold the planted effect.
    """
    rows = join_truth(result, assay)
    name = f"Planted and estimated{': ' + plain(assay) if assay else ''}"
    with style():
        ax = new_axes(ax, 5.6, 4.8)
        known = rows[rows["estimate"].notna() & rows["true"].notna()]
        if known.empty:
            return empty(ax, name, "Nothing was planted, or nothing of it could be estimated.")
        _draw(ax, known)
        error = (known["estimate"] - known["true"]).to_numpy(dtype=float)
        covered = known["covered"].dropna()
        cover = (
            f"; {int(covered.sum()):,} of {len(covered):,} intervals hold the planted effect"
            if len(covered)
            else ""
        )
        left_out = len(rows) - len(known)
        lost = f"; {left_out:,} planted features without estimate" if left_out else ""
        facts = f"{len(known):,} features{lost}; mean error {format_number(float(error.mean()), 2)}{cover}."
        titles(ax, name, facts, width=80)
        return ax


def _draw(ax: Axes, known: pd.DataFrame) -> None:
    x = known["true"].to_numpy(dtype=float)
    y = known["estimate"].to_numpy(dtype=float)
    few = len(known) <= _FEW
    ends = known[["ci_low", "ci_high"]].to_numpy(dtype=float) if few else y[:, None]
    every = np.concatenate([x, y, ends.ravel()])
    every = every[np.isfinite(every)]
    low, high = float(min(every.min(), 0)), float(max(every.max(), 0))
    pad = 0.07 * (high - low) or 0.5
    ax.plot([low - pad, high + pad], [low - pad, high + pad], color=INK, lw=0.9, ls=(0, (4, 3)), zorder=2)
    ax.axhline(0, color=FAINT, lw=0.6, zorder=1)
    ax.axvline(0, color=FAINT, lw=0.6, zorder=1)
    if few:
        for i in range(len(known)):
            ax.plot([x[i], x[i]], ends[i], color=ACCENT, lw=1.3, alpha=0.75, zorder=3)
        ax.scatter(x, y, s=30, c=ACCENT, edgecolors="white", linewidths=0.8, zorder=4)
        if len(known) <= 12:
            for i, row in enumerate(known.itertuples()):
                label = row.label if isinstance(row.label, str) and row.label else row.feature
                ax.annotate(
                    plain(label, 26),
                    (x[i], y[i]),
                    xytext=(7, 0),
                    textcoords="offset points",
                    fontsize=7.5,
                    color=MUTED,
                    va="center",
                )
    else:
        ax.scatter(x, y, s=6, c=ACCENT, alpha=0.35, lw=0, rasterized=True, zorder=3)
    ax.set_xlim(low - pad, high + pad)
    ax.set_ylim(low - pad, high + pad)
    linear_axis(ax, "x")
    linear_axis(ax, "y")
    ax.set_xlabel("planted effect (model scale)")
    ax.set_ylabel("estimate (model scale)")
    despine(ax)
