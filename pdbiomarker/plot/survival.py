"""Kaplan-Meier curves with their limits and the numbers at risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pdbiomarker.clinical.survival import DAYS_PER_MONTH, KaplanMeier
from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.select import refuse
from pdbiomarker.plot.style import (
    ACCENT,
    GRID,
    MUTED,
    describe,
    despine,
    empty,
    new_axes,
    palette,
    plain,
    side_legend,
    split,
    style,
    titles,
)

__all__ = ["survival_curve"]


def survival_curve(
    curves: KaplanMeier,
    *,
    title: str = "",
    unit: str = "months",
    ylabel: str = "probability",
    people: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw Kaplan-Meier curves with their limits and the numbers at risk.

    Parameters
    ----------
    curves : KaplanMeier
    title : str, optional
    unit : {"months", "days"}
        Of the time axis; a month is 30.4375 days.
    ylabel : str
    people : DataFrame, optional
        ``participant_id, days, event`` of those behind a single curve: each event gets a dot of its own.
    ax : Axes, optional

    Returns
    -------
    Axes
        Of the curves; the numbers at risk are in axes below. Ticks on a curve: censored. Bands: limits of
        each time point, not of the whole curve.

    Raises
    ------
    InputError
        E-RESULT-002: an unknown unit.
    """
    if unit not in {"months", "days"}:
        raise refuse(f"There is no unit {unit!r}.", unit, ["months", "days"], "unit")
    scale = DAYS_PER_MONTH if unit == "months" else 1.0
    with style():
        groups = curves.medians["group"].tolist() if len(curves.table) else []
        host = new_axes(ax, 7.0 if len(groups) < 2 else 9.0, 3.9 + 0.2 * max(len(groups), 1))
        name = title or "Kaplan-Meier estimate"
        if not groups:
            return empty(host, name, "Nobody has a time.")
        main, below = split(host, [6.0, 0.25 + 0.5 * len(groups)])
        colors = _group_colors(groups)
        longest = float(curves.table["days"].max()) / scale
        for group, color in zip(groups, colors, strict=True):
            _stairs(main, curves.table[curves.table["group"] == group], scale, color)
        if people is not None and len(groups) == 1:
            _people(main, people, curves.table, scale)
        step = _step(longest)
        ticks = np.arange(0, longest + step * 0.5, step)
        main.set_xlim(-0.02 * longest, longest * 1.03)
        main.set_ylim(0, 1.04)
        main.axhline(0.5, color=GRID, lw=0.8, zorder=0)
        main.set_xticks(ticks)
        main.set_ylabel(ylabel)
        despine(main)
        level = f"{100 * curves.level:g} %"
        words = [_median_words(row, scale, level) for row in curves.medians.to_dict("records")]
        handles = [
            Line2D([], [], color=c, lw=1.8, label=w if len(groups) == 1 else f"{plain(g, 20)}\n{w}")
            for g, c, w in zip(groups, colors, words, strict=True)
        ]
        if len(groups) == 1:
            # A curve starts at the upper left: below it there is room for longest.
            main.legend(handles=handles, loc="lower left", handlelength=1.4)
        else:
            by = (curves.by or "").replace("_mg", " (mg)").replace("_", " ")
            side_legend(main, handles, plain(by, 30))
        _at_risk(below, main, curves, ticks, scale, colors)
        below.set_xlabel(f"{unit} since the start")
        titles(
            main,
            name,
            f"Medians in {unit} with {level} limits (log-log); band: {level} at each time; tick: censored.",
        )
        seen = [f"{plain(g, 20)}: {' '.join(w.split())}" for g, w in zip(groups, words, strict=True)]
        describe(main, "; ".join(seen))
        return main


def _group_colors(groups: Sequence[str]) -> list[str]:
    if len(groups) == 1:
        return [ACCENT]
    try:
        [float(group) for group in groups]
    except ValueError:
        return palette(len(groups))
    return [mpl.colors.to_hex(c) for c in mpl.colormaps["viridis"](np.linspace(0.8, 0.05, len(groups)))]


def _stairs(ax: Axes, curve: pd.DataFrame, scale: float, color: str) -> None:
    times = np.concatenate([[0.0], curve["days"].to_numpy(dtype=float) / scale])
    survival = np.concatenate([[1.0], curve["survival"].to_numpy(dtype=float)])
    ax.step(times, survival, where="post", color=color, lw=1.8, zorder=3)
    low = np.concatenate([[1.0], curve["ci_low"].to_numpy(dtype=float)])
    high = np.concatenate([[1.0], curve["ci_high"].to_numpy(dtype=float)])
    ax.fill_between(times, low, high, step="post", color=color, alpha=0.13, lw=0, zorder=1)
    left = curve["n_censored"].to_numpy() > 0
    ax.plot(times[1:][left], survival[1:][left], ls="", marker="|", ms=7, mew=1.1, color=color, zorder=4)


def _people(ax: Axes, people: pd.DataFrame, curve: pd.DataFrame, scale: float) -> None:
    """Draw where each participant stands on the curve: a dot for an event, the tick of the curve else."""
    own = people[people["days"].notna()]
    if "in_analysis" in own.columns:
        own = own[own["in_analysis"].fillna(value=False).astype(bool)]
    times = own["days"].to_numpy(dtype=float)
    known = curve["days"].to_numpy(dtype=float)
    survival = np.concatenate([[1.0], curve["survival"].to_numpy(dtype=float)])
    heights = survival[np.searchsorted(known, times, side="right")]
    event = own["event"].fillna(value=False).astype(bool).to_numpy()
    for chosen, marker in ((event, "o"), (~event, "|")):
        if chosen.any():
            drawn = ax.plot(times[chosen] / scale, heights[chosen], ls="", marker=marker, color=ACCENT,
                            ms=5 if marker == "o" else 7, mew=1.1, mec=ACCENT, zorder=5)  # fmt: skip
            mark(drawn[0], own.loc[chosen, "participant_id"].astype(str).tolist())


def _step(longest: float) -> float:
    for step in (1, 2, 3, 6, 12, 24, 30, 60, 90, 180, 360, 720):
        if longest / step <= 8:
            return float(step)
    return longest / 6


def _median_words(row: Mapping[Any, Any], scale: float, level: str) -> str:
    def words(value: float) -> str:
        return "not reached" if np.isnan(value) else f"{value / scale:.1f}"

    limits = f"{level}: {words(row['ci_low'])} to {words(row['ci_high'])}"
    if np.isnan(row["ci_low"]) and np.isnan(row["ci_high"]):
        limits = f"{level} limits not reached"
    noun = "event" if row["n_events"] == 1 else "events"
    return f"{row['n_events']} {noun} of {row['n']}, median {words(row['median_days'])}\n({limits})"


def _at_risk(
    ax: Axes, main: Axes, curves: KaplanMeier, ticks: np.ndarray, scale: float, colors: Sequence[str]
) -> None:
    numbers = curves.at([float(t) * scale for t in ticks])
    groups = list(dict.fromkeys(numbers["group"]))
    ax.set_xlim(*main.get_xlim())
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.text(0, 1.0, "at risk", transform=ax.transAxes, fontsize=8, color=MUTED, va="bottom", ha="left")
    for y, (group, color) in enumerate(zip(groups, colors, strict=True)):
        own = numbers[numbers["group"] == group]
        for tick, n in zip(ticks, own["n_risk"], strict=True):
            ax.text(float(tick), y, str(int(n)), ha="center", va="center", fontsize=8, color=color)
    ax.set_yticks(range(len(groups)), [plain(g, 14) if len(groups) > 1 else "" for g in groups])
    ax.tick_params(axis="both", length=0)
    ax.set_xticks(ticks, [""] * len(ticks))
    for side in ax.spines.values():
        side.set_visible(False)
