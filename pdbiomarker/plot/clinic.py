"""Change on treatment beside dose and exposure, one point a participant; nothing is fitted."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.select import RATIO_KINDS, refuse
from pdbiomarker.plot.style import (
    INK,
    MUTED,
    despine,
    empty,
    hue_of,
    linear_axis,
    log_axis,
    new_axes,
    plain,
    ratio_axis,
    short_id,
    side_legend,
    style,
    titles,
)

__all__ = ["change_by_dose", "change_by_exposure", "shown_change"]

_LOG_FROM: Final = 8.0
_MOST_NAMED: Final = 12


def shown_change(change: pd.Series, kind: str) -> pd.Series:
    """Give changes of the model scale as they are drawn: log2 of ratios, logits as log2 of the odds ratio."""
    return change.astype(float) / np.log(2) if kind == "proportion" else change.astype(float)


def change_by_dose(
    joined: pd.DataFrame, column: str, *, kind: str, label: str = "", ax: Axes | None = None
) -> Axes:
    """Draw each participant's change by dose level, with the median of each level.

    Parameters
    ----------
    joined : DataFrame
        As from :func:`pdbiomarker.clinical_join`: ``participant_id, dose_mg`` and `column`.
    column : str
        A change.
    kind : str
        Kind of the feature: changes of ratios are labelled as folds.
    label : str, optional
        The feature's name.
    ax : Axes, optional

    Returns
    -------
    Axes
        Doses in order, at equal distances. Numbers below: participants with a change, of those at the dose.

    Raises
    ------
    InputError
        E-RESULT-001: a column is missing.
    """
    rows = _rows(joined, column, ["dose_mg"], kind)
    name = f"{label or column} by dose"
    with style():
        ax = new_axes(ax, 5.9, 4.2)
        known = rows[rows["dose_mg"].notna()]
        used = known[known["y"].notna()]
        if used.empty:
            return empty(ax, name, "No participant with a dose level has a change.")
        hue = hue_of(known.set_index("participant_id"), "dose_mg")
        levels = sorted(set(known["dose_mg"]))
        for place, dose in enumerate(levels):
            own = used[used["dose_mg"] == dose].sort_values(["y", "participant_id"], kind="stable")
            spots = place + 0.09 * _fan(len(own))
            for x, (person, y) in zip(spots, zip(own["participant_id"], own["y"], strict=True), strict=True):
                color, marker = hue.color(str(person)), hue.marker(str(person))
                point = ax.plot(x, y, marker, color=color, ms=6.5, alpha=0.85, mec="white", mew=0.6, zorder=3)
                mark(point, str(person))
            if len(own):
                middle = float(own["y"].median())
                ax.plot([place - 0.32, place + 0.32], [middle, middle], color=INK, lw=2.2, zorder=4)
        n_used, n_known = (t["dose_mg"].value_counts().to_dict() for t in (used, known))
        counts = [f"{d:g}\nn = {n_used.get(d, 0)} of {n_known[d]}" for d in levels]
        ax.set_xticks(range(len(levels)), counts)
        ax.set_xlim(-0.6, len(levels) - 0.4)
        ax.set_xlabel("dose (mg)")
        _change_axis(ax, used["y"], kind)
        despine(ax)
        titles(ax, name, f"One point a participant; line: median. n = {len(used)} of {len(rows)}.")
    return ax


def change_by_exposure(
    joined: pd.DataFrame,
    column: str,
    exposure: str,
    *,
    kind: str,
    label: str = "",
    exposure_label: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw each participant's change against an exposure at the on-treatment biopsy, coloured by dose.

    Parameters
    ----------
    joined : DataFrame
        As from :func:`pdbiomarker.clinical_join`.
    column, exposure : str
        A change, and a column such as ``auc_to_biopsy``.
    kind : str
        Kind of the feature: changes of ratios are labelled as folds.
    label, exposure_label : str, optional
        As the figure names them.
    ax : Axes, optional

    Returns
    -------
    Axes
        The exposure on a log axis where it spans eightfold or more. No line is fitted.

    Raises
    ------
    InputError
        E-RESULT-001: a column is missing.
    """
    rows = _rows(joined, column, [exposure], kind)
    name = f"{label or column} by exposure"
    with style():
        ax = new_axes(ax, 5.9, 4.2)
        rows["x"] = pd.to_numeric(rows[exposure], errors="coerce").astype(float)
        used = rows[rows["x"].notna() & rows["y"].notna()]
        if used.empty:
            return empty(ax, name, "No participant has both a change and this exposure.")
        has_dose = "dose_mg" in used and used["dose_mg"].notna().any()
        hue = hue_of(used.set_index("participant_id"), "dose_mg" if has_dose else exposure)
        few = len(used) <= _MOST_NAMED
        zero_at = _exposure_axis(ax, used["x"])
        places = used["x"].where(used["x"] > 0, zero_at) if zero_at else used["x"]
        for person, x, y in zip(used["participant_id"], places, used["y"], strict=True):
            color, marker = hue.color(str(person)), hue.marker(str(person))
            drawn: list[Artist] = [
                *ax.plot(x, y, marker, color=color, ms=7, alpha=0.9, mec="white", mew=0.6, zorder=3)
            ]
            if few:
                name_ = ax.annotate(
                    short_id(person),
                    (x, y),
                    xytext=(5, 3),
                    textcoords="offset points",
                    fontsize=7,
                    color=MUTED,
                )
                drawn.append(name_)
            mark(drawn, str(person))
        ax.set_xlabel(plain(exposure_label or exposure.replace("_", " "), 70))
        _change_axis(ax, used["y"], kind)
        despine(ax)
        if has_dose:
            handles = [
                Line2D(
                    [],
                    [],
                    ls="",
                    marker=hue.marker_of_level(level),
                    color=hue.color_of_level(level),
                    ms=6.5,
                    label=level,
                )
                for level in hue.levels
            ]
            side_legend(ax, handles, "dose (mg)")
        titles(
            ax, name, f"One point a participant; nothing is fitted. n = {len(used)} of {len(rows)} with both."
        )
    return ax


def _exposure_axis(ax: Axes, values: pd.Series) -> float:
    """Set the x axis; returns where zeros (below the limit) stand on a log axis (0: there are none)."""
    above = values[values > 0]
    low, high = float(values.min()), float(values.max())
    if len(above) and low >= 0 and high / float(above.min()) >= _LOG_FROM:
        least = float(above.min())
        zero_at = least / 3.0 if low == 0 else 0.0
        log_axis(ax, "x", (zero_at or least) / 1.35, high * 1.8)
        if zero_at:
            ax.axvline(zero_at, color="#e4e9ec", lw=9, zorder=0)
            ticks = [t for t in ax.get_xticks() if t > 1.5 * zero_at]
            ax.set_xticks(
                [zero_at, *ticks], ["0", *(f"{t:,.0f}" if t >= 1000 else f"{t:.4g}" for t in ticks)]
            )
        return zero_at
    room = 0.08 * (high - low or abs(high) or 1.0)
    ax.set_xlim(low - room, high + 2 * room)
    linear_axis(ax, "x")
    return 0.0


def _rows(joined: pd.DataFrame, column: str, more: list[str], kind: str) -> pd.DataFrame:
    for name in ("participant_id", column, *more):
        if name not in joined.columns:
            raise refuse(f"The joined table has no column {name!r}.", name, list(joined.columns), "column")
    return joined.assign(y=shown_change(joined[column], kind))


def _fan(n: int) -> np.ndarray:
    """Places of n points side by side, the middle at 0: neighbours in value stand apart."""
    return np.asarray([(0.0, 1.0, -1.0, 2.0, -2.0)[k % 5] for k in range(n)])


def _change_axis(ax: Axes, values: pd.Series, kind: str) -> None:
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    room = 0.12 * max(high - low, 0.5)
    ax.axhline(0, color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=1)
    if kind in RATIO_KINDS:
        ratio_axis(ax, "y", low - room, high + room)
        ax.set_ylabel("odds ratio, on treatment / before" if kind == "proportion" else "fold change")
    else:
        ax.set_ylim(low - room, high + room)
        linear_axis(ax, "y")
        ax.set_ylabel("change")
    ax.grid(axis="y")
    ax.set_axisbelow(True)
