"""Accountability: how participants become evaluable pairs, and where the others were lost."""

from __future__ import annotations

import re
import textwrap
from typing import Any, Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from pdbiomarker.plot.marks import mark_band
from pdbiomarker.plot.select import Result, flow_of, set_label, sets_of
from pdbiomarker.plot.style import (
    ACCENT,
    GRID,
    INK,
    MUTED,
    UP,
    describe,
    empty,
    new_axes,
    plain,
    style,
    titles,
)

__all__ = ["accountability"]

_WRAP: Final = 76
_LINES: Final = 3
#: Where the boxes begin, how wide they are, and the colour of their edges, but for the first and the last.
_LEFT: Final = 0.1
_WIDTH: Final = 4.1
#: Where the words on a loss begin.
_LOSS: Final = 4.65
_EDGE: Final = "#b5c0c6"
_NO_BIOPSY: Final = re.compile(r" \(no [^()]* biopsy\)")
_COMMA: Final = re.compile(r"no biopsy, ")
_MORE: Final = re.compile(r"(and \d+ more), (?:listed|all) in .*$")


def accountability(
    result: Result,
    assay: str | None = None,
    *,
    contrast: str | None = None,
    set_: str | None = None,
    losses_only: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw the flow from enrolment to an evaluable pair for one assay, one contrast and one analysis set.

    Parameters
    ----------
    result : PDResult
    assay, contrast, set_ : str, optional
        Default: the first assay and contrast of the accountability table, and the primary set.
    losses_only : bool
        Leave out the steps at which nobody was lost, but for the first and the last: what a projector shows.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        Boxes from top to bottom hold the participants (and biopsies) that remain; a box to the right names
        how many were lost at that step and why.
    """
    rows = flow_of(result)
    with style():
        if rows.empty:
            return empty(new_axes(ax, 7.6, 2.4), "Biopsy accountability", "No biopsy was analysed.")
        rows = _choose(rows, assay, contrast, set_)
        steps = len(rows)
        rows = _lossy(rows) if losses_only else rows
        ax = new_axes(ax, 8.6, 0.62 * len(rows) + 0.9)
        if rows.empty:
            return empty(ax, "Biopsy accountability", "The table has no such assay, contrast or set.")
        left = f" {steps - len(rows)} steps without a loss are left out." if len(rows) < steps else ""
        _draw(ax, rows, set_label(str(rows["set"].iloc[0]), result), left)
        _where(ax, rows, getattr(result, "dispositions", None))
        return ax


def _where(ax: Axes, rows: pd.DataFrame, dispositions: object) -> None:
    """Lay unseen strips, one a participant, over where each one's way ends: a loss, or the last box."""
    if not isinstance(dispositions, pd.DataFrame) or dispositions.empty:
        return
    own, first = dispositions.sort_values("participant_id", kind="stable"), rows.iloc[0]
    for column in ("set", "assay", "contrast"):
        if column in rows.columns and column in own.columns:
            own = own[own[column] == first[column]]
    for i, step in enumerate(rows["step"]):
        last = i == len(rows) - 1
        lost = own.loc[(own["outcome"] == "lost") & (own["step"] == step), "participant_id"]
        kept = own.loc[own["outcome"] == ("evaluable" if last else None), "participant_id"]
        for people, left, width in ((lost, _LOSS, 10.0 - _LOSS), (kept, _LEFT, _WIDTH)):
            strip = width / max(len(people), 1)
            for k, person in enumerate(people):
                mark_band(ax, (left + k * strip, i - 0.31), (strip, 0.62), str(person), lw=2.0)


def _lossy(rows: pd.DataFrame) -> pd.DataFrame:
    """The first step, those at which somebody was lost, and the last one."""
    last = len(rows) - 1
    kept = [i for i in range(len(rows)) if i in {0, last} or _lost(rows, i) > 0]
    return rows.iloc[kept].reset_index(drop=True)


def _choose(rows: pd.DataFrame, assay: str | None, contrast: str | None, set_: str | None) -> pd.DataFrame:
    sets = sets_of(rows)
    wanted = {"set": set_ or ("strict" if "strict" in sets else sets[0]), "assay": assay}
    if "contrast" in rows.columns:
        wanted["contrast"] = contrast
    for column, value in wanted.items():
        rows = (
            rows[rows[column] == (value if value is not None else rows[column].iloc[0])]
            if len(rows)
            else rows
        )
    return rows.reset_index(drop=True)


def _lost(rows: pd.DataFrame, i: int) -> int:
    """Participants lost at a step: the table's own number, else the fall from the step before."""
    if "n_lost" in rows.columns and pd.notna(rows["n_lost"].iloc[i]):
        return int(rows["n_lost"].iloc[i])
    return (
        0 if i == 0 else max(0, int(rows["n_participants"].iloc[i - 1]) - int(rows["n_participants"].iloc[i]))
    )


def _draw(ax: Axes, rows: pd.DataFrame, set_name: str, left: str = "") -> None:
    n = len(rows)
    ax.set_xlim(0, 10)
    ax.set_ylim(n - 0.45, -0.5)
    ax.set_axis_off()
    total = max(int(rows["n_participants"].iloc[0]), 1)
    for i in range(n):
        row, last = rows.iloc[i], i == n - 1
        _draw_box(ax, i, filled=last, edge=ACCENT if last or i == 0 else _EDGE)
        _draw_count(ax, i, row, last=last)
        if not last:
            _draw_share(ax, i, int(row["n_participants"]) / total)
            _draw_arrow(ax, i)
        _draw_loss(ax, i, _lost(rows, i), row)
    first = rows.iloc[0]
    contrast = f", {plain(first['contrast'], 30)}" if "contrast" in rows.columns else ""
    title = f"From enrolment to evaluable pairs: {plain(first['assay'], 24) or 'all assays'}{contrast}"
    titles(ax, title, f"Participants (bold) and biopsies; analysis set: {set_name}.{left}")
    steps = zip(rows["step"], rows["n_participants"], strict=True)
    describe(ax, "Participants: " + ", ".join(f"{step} {int(n)}" for step, n in steps))


def _draw_box(ax: Axes, i: int, *, filled: bool, edge: str) -> None:
    """Draw the box of step `i`."""
    box = FancyBboxPatch(
        (_LEFT, i - 0.31),
        _WIDTH,
        0.62,
        boxstyle="round,pad=0,rounding_size=0.1",
        lw=1.0,
        mutation_aspect=0.3,
        facecolor=ACCENT if filled else "white",
        edgecolor=edge,
        zorder=2,
    )
    ax.add_patch(box)


def _draw_share(ax: Axes, i: int, share: float) -> None:
    """Draw the share of everybody enrolled who is left at step `i`, along the foot of its box."""
    bar = FancyBboxPatch(
        (_LEFT, i + 0.25),
        _WIDTH * share,
        0.06,
        lw=0,
        facecolor=ACCENT,
        alpha=0.55,
        boxstyle="square,pad=0",
        zorder=3,
    )
    ax.add_patch(bar)


def _draw_count(ax: Axes, i: int, row: pd.Series, *, last: bool) -> None:
    """Write what step `i` is, and how many participants and biopsies are left."""
    count, biopsies = int(row["n_participants"]), int(row["n_biopsies"])
    ink, weight = ("white", "bold") if last else (INK, "normal")
    shared: dict[str, Any] = {"va": "center", "zorder": 4}
    y = i - 0.02
    ax.text(0.3, y, plain(row["step"], 34), fontsize=9, color=ink, fontweight=weight, **shared)
    ax.text(4.05, y, f"{count}", fontsize=11, fontweight="bold", color=ink, ha="right", **shared)
    told = f"{biopsies} biops{'y' if biopsies == 1 else 'ies'}"
    ax.text(3.45, y, told, fontsize=7.5, ha="right", color=ink if last else MUTED, **shared)


def _draw_arrow(ax: Axes, i: int) -> None:
    """Draw the arrow from step `i` to the next."""
    arrow = FancyArrowPatch(
        (1.0, i + 0.33),
        (1.0, i + 0.67),
        arrowstyle="-|>",
        mutation_scale=9,
        color="#93a1a8",
        lw=1.0,
        shrinkA=0,
        shrinkB=0,
        zorder=1,
    )
    ax.add_patch(arrow)


def _draw_loss(ax: Axes, i: int, lost: int, row: pd.Series) -> None:
    """Draw how many were lost at a step: the reasons counted, then who."""
    if lost <= 0:
        return
    reason, counted = row["reason"], row.get("reasons")
    why = plain(reason, 2000) if isinstance(reason, str) and reason else "no reason recorded"
    why = _MORE.sub(r"\1 (all in dispositions.csv)", why)
    head, first, lines = f"−{lost}: ", [], _LINES
    if isinstance(counted, str) and counted:
        words = plain(counted, 200)
        head, why = "", _NO_BIOPSY.sub("", why)  # the count has said it
        several = "," in _COMMA.sub("", words)
        said = f"−{lost}: {words}" if several else f"−{words}"
        first = textwrap.wrap(said, _WRAP, max_lines=2, placeholder=" …")
        lines = max(_LINES - len(first), 1)
    told = textwrap.wrap(f"{head}{why}", _WRAP, max_lines=lines, placeholder=" … (all in dispositions.csv)")
    lines_shown = [*first, *told]
    ax.plot([4.2, 4.55], [i, i], color=UP, lw=0.9, zorder=1)
    ax.text(
        _LOSS,
        i,
        "\n".join(lines_shown),
        fontsize=7.5,
        va="center",
        color=INK,
        zorder=4,
        linespacing=1.25,
        bbox={"facecolor": "#fdf3ec", "edgecolor": GRID, "pad": 3.0, "lw": 0.6},
    )
