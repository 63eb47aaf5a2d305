"""Safety: adverse events by dose, the path of an escalation, its decision table, antibody titres in time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch
from matplotlib.ticker import MaxNLocator

from pdbiomarker.clinical.ada import AdaSamples
from pdbiomarker.clinical.escalation import parse_outcomes
from pdbiomarker.clinical.safety import EscalationPath, SafetyData, by_kind
from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.style import GRID, INK, MUTED, despine, empty, new_axes, plain, short_id, style, titles

__all__ = ["ada_titres", "adverse_events", "decision_table", "escalation_path"]

#: From light to dark: one hue, so that the order is seen without colour.
_GRADE_COLORS: Final = ("#eef1f3", "#d9dfe3", "#f6d7a7", "#e8963c", "#b8460e", "#5e1a04")
_DECISION_COLORS: Final = {
    "escalate": "#9fd3c7",
    "stay": "#f3e3b3",
    "de-escalate": "#e9a07a",
    "eliminate": "#8e2f14",
}
_DECISION_LETTERS: Final = {"escalate": "E", "stay": "S", "de-escalate": "D", "eliminate": "DU"}
_CATEGORY_COLORS: Final = {
    "induced": "#D55E00",
    "boosted": "#CC79A7",
    "unaffected": "#0072B2",
    "negative": "#8b979e",
    "not evaluable": "#c3ccd1",
}
_CATEGORY_MARKERS: Final = {
    "induced": "o",
    "boosted": "^",
    "unaffected": "s",
    "negative": "v",
    "not evaluable": "D",
}
_DARK: Final = 4
_MOST_CELLS: Final = 30
_MOST_NAMED: Final = 8


def adverse_events(data: SafetyData, *, dlt: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Draw participants by their maximum grade, one bar for each dose level.

    Parameters
    ----------
    data : SafetyData
    dlt : DataFrame, optional
        As from :func:`pdbiomarker.clinical.safety.dlt_table`: dose-limiting toxicities stand beside the bars.
    ax : Axes, optional

    Returns
    -------
    Axes
        Horizontal bars in % of the treated, stacked from no event to grade 5, with the number of
        participants in each part; all doses at the top.
    """
    counts = by_kind(data)
    doses = [str(dose) for dose in dict.fromkeys(counts["dose"])]
    with style():
        ax = new_axes(ax, 7.6, 1.6 + 0.5 * len(doses))
        treated = counts.drop_duplicates("dose").set_index("dose")["n_treated"]
        if not len(data.treated):
            return empty(ax, "Adverse events by dose", "No participant was treated.")
        for y, dose in enumerate(doses):
            _grade_bar(ax, y, counts[counts["dose"] == dose], int(treated[dose]))
            _dlt_text(ax, y, dose, dlt)
        labels = [f"{'all doses' if d == 'all' else d}  (n = {int(treated[d])})" for d in doses]
        ax.set_yticks(range(len(doses)), labels)
        ax.set_ylim(-0.6, len(doses) - 0.4)
        ax.set_xlim(0, 100)
        ax.set_xlabel("participants treated (%)")
        ax.tick_params(axis="y", length=0)
        despine(ax, left=True)
        names = ["none", *(f"grade {g}" for g in range(1, 6))]
        handles = [
            Patch(facecolor=c, edgecolor="#8b979e", lw=0.5, label=n)
            for c, n in zip(_GRADE_COLORS, names, strict=True)
        ]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.16 - 0.24 / len(doses)), ncols=6,
                  handlelength=1.0, columnspacing=1.2)  # fmt: skip
        days, grade = data.options.days_after_last, data.options.missing_grade
        missing = (
            "missing grades count in no grade" if grade is None else f"a missing grade counts as {grade}"
        )
        titles(
            ax,
            "Treatment-emergent adverse events: maximum grade per participant",
            f"CTCAE grades; onset or worsening from the first dose to {days} days after the last; {missing}. "
            "Numbers in the bars are participants.",
        )
        return ax


def _grade_bar(ax: Axes, y: int, counts: pd.DataFrame, n: int) -> None:
    if n == 0:
        ax.text(1, y, "nobody treated", va="center", color=MUTED, fontsize=8)
        return
    worst = counts.set_index("kind")["n"]
    graded = [int(worst[f"maximum grade {g}"]) for g in range(1, 6)]
    parts = [n - sum(graded), *graded]
    left = 0.0
    for k, (part, color) in enumerate(zip(parts, _GRADE_COLORS, strict=True)):
        width = 100 * part / n
        ax.barh(y, width, left=left, color=color, edgecolor="#8b979e", lw=0.5, height=0.66, zorder=3)
        if part:
            ink = "white" if k >= _DARK else INK
            ax.text(
                left + width / 2, y, str(part), ha="center", va="center", color=ink, fontsize=8.5, zorder=4
            )
        left += width


def _dlt_text(ax: Axes, y: int, dose: str, dlt: pd.DataFrame | None) -> None:
    if dlt is None or dose not in set(dlt["dose"]):
        return
    row = dlt[dlt["dose"] == dose].iloc[0]
    ax.text(
        101.5,
        y,
        f"DLT {int(row['n_dlt'])} of {int(row['n_evaluable'])} evaluable",
        va="center",
        fontsize=8.5,
        fontweight="bold" if row["n_dlt"] else "normal",
        color=_GRADE_COLORS[_DARK] if row["n_dlt"] else MUTED,
    )


def escalation_path(
    path: EscalationPath | str,
    *,
    n_doses: int | None = None,
    recommended: tuple[int | None, bool] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the cohorts of an escalation in order of time, with dose-limiting toxicities marked.

    Parameters
    ----------
    path : EscalationPath or str
        From :func:`pdbiomarker.clinical.safety.outcomes_of`, or an outcome string.
    n_doses : int, optional
        Dose levels of the protocol; default: those of the path.
    recommended : (dose or None, go_on), optional
        As from :func:`pdbiomarker.clinical.escalation.next_dose`: drawn at the right.
    ax : Axes, optional

    Returns
    -------
    Axes
        One mark for each participant: filled with a cross where a dose-limiting toxicity occurred, open where
        none did, grey and small who is not evaluable or pending.
    """
    rows, labels = _path_rows(path, n_doses)
    with style():
        ax = new_axes(ax, 7.6, 1.9 + 0.42 * len(labels))
        if not rows:
            return empty(ax, "Dose escalation", "Nobody was treated yet.")
        _draw_cohorts(ax, rows)
        end = _draw_recommended(ax, rows, recommended)
        ax.set_yticks(range(1, len(labels) + 1), labels)
        ax.set_ylim(0.4, len(labels) + 0.75)
        ax.set_xlim(-0.7, end)
        ax.set_ylabel("dose level")
        ax.set_xlabel("participants in order of first dose (boxes: cohorts)")
        ax.set_xticks([])
        ax.grid(axis="y")
        ax.set_axisbelow(True)
        despine(ax)
        n_dlt = sum(row[2] == "T" for row in rows)
        n_ok = sum(row[2] == "N" for row in rows)
        other = sum(row[2] == "" for row in rows)
        ax.legend(
            handles=_outcome_handles(with_others=other > 0),
            loc="upper left",
            bbox_to_anchor=(0, -0.1 - 0.2 / len(labels)),
            ncols=3,
        )
        without = f"; {other} not evaluable or pending" if other else ""
        away = 0 if isinstance(path, str) else int((~path.table["used"]).sum()) - other
        without += f"; {away} participants are not of the escalation" if away else ""
        titles(
            ax,
            "Dose escalation: cohorts in order of time",
            f"{n_dlt + n_ok} participants evaluable for dose-limiting toxicities (DLT), {n_dlt} with one"
            f"{without}.",
        )
        return ax


def _outcome_handles(*, with_others: bool) -> list[Line2D]:
    marks = [
        ("X", 8, _GRADE_COLORS[_DARK], INK, "DLT"),
        ("o", 8, "white", INK, "no DLT"),
        ("o", 4, "#c3ccd1", "#8b979e", "not evaluable or pending"),
    ]
    return [
        Line2D([], [], marker=marker, ms=size, mfc=face, mec=edge, ls="", label=label)
        for marker, size, face, edge, label in marks[: 3 if with_others else 2]
    ]


_PathRow = tuple[int, int, str, str]


def _path_rows(path: EscalationPath | str, n_doses: int | None) -> tuple[list[_PathRow], list[str]]:
    """Cohort number, dose level, outcome and month of each participant; labels of the dose levels."""
    if isinstance(path, str):
        cohorts = parse_outcomes(path, n_doses or 100)
        n = n_doses or max((cohort.dose for cohort in cohorts), default=1)
        rows = [(i, c.dose, letter, "") for i, c in enumerate(cohorts, start=1) for letter in c.outcomes]
        return rows, [str(level) for level in range(1, n + 1)]
    rows, number = [], 0
    for record in path.table.to_dict("records"):
        if (
            pd.isna(record["level"])
            or not record["in_escalation"]
            or not isinstance(record["first_dose"], str)
        ):
            continue
        number = int(record["cohort_number"]) if record["used"] else number
        rows.append(
            (max(number, 1), int(record["level"]), str(record["outcome"]), str(record["first_dose"])[:7])
        )
    return rows, [f"{level}: {dose:g} mg" for level, dose in enumerate(path.doses, start=1)]


def _draw_cohorts(ax: Axes, rows: Sequence[_PathRow]) -> None:
    x, last = 0.0, (0, 0)
    months: list[str] = []
    tops: list[tuple[float, float, int]] = []
    for cohort, level, outcome, month in rows:
        if (cohort, level) != last:
            x += 0.7 if last != (0, 0) else 0.0
            last = (cohort, level)
            tops.append((x, x, level))
            months.append(month)
        tops[-1] = (tops[-1][0], x, level)
        if outcome == "T":
            ax.plot(x, level, "X", ms=11, mfc=_GRADE_COLORS[_DARK], mec=INK, mew=0.8, zorder=5)
        elif outcome == "N":
            ax.plot(x, level, "o", ms=9, mfc="white", mec=INK, mew=1.2, zorder=5)
        else:
            ax.plot(x, level, "o", ms=5, mfc="#c3ccd1", mec="#8b979e", zorder=5)
        x += 1.0
    centres = [((a + b) / 2, level) for a, b, level in tops]
    ax.plot([c for c, _ in centres], [level for _, level in centres], color="#8b979e", lw=1.0, zorder=1)
    for (a, b, level), month in zip(tops, months, strict=True):
        ax.add_patch(
            FancyBboxPatch(
                (a - 0.32, level - 0.23), b - a + 0.64, 0.46, boxstyle="round,pad=0,rounding_size=0.2",
                facecolor="#f5f7f8", edgecolor="#8b979e", lw=0.7, zorder=2,
            )
        )  # fmt: skip
        if month:
            ax.text((a + b) / 2, level + 0.27, month, ha="center", va="bottom", fontsize=7, color=MUTED)


def _draw_recommended(
    ax: Axes, rows: Sequence[_PathRow], recommended: tuple[int | None, bool] | None
) -> float:
    """Write the recommendation at the right; give where the axis ends."""
    changes = sum(a[:2] != b[:2] for a, b in itertools.pairwise(rows))
    end = len(rows) + 0.7 * changes
    if recommended is None:
        return end + 0.2
    dose, go_on = recommended
    text = (
        f"next: level {dose}" if go_on else "stop: no dose is safe" if dose is None else f"stop: level {dose}"
    )
    room = 0.055 * len(text) * max(end, 12) / 3
    level = dose or 1
    ax.plot(end + 0.1, level, marker=">" if go_on else "s", ms=9, color="#0b6477", zorder=5)
    ax.text(
        end + 0.1 + 0.02 * max(end, 12),
        level,
        " " + text,
        va="center",
        color="#0b6477",
        fontweight="bold",
        fontsize=9,
    )
    return end + room + 0.6


def decision_table(
    table: pd.DataFrame, *, title: str = "", at: tuple[int, int] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw a decision table: participants treated across, those with a toxicity upwards.

    Parameters
    ----------
    table : DataFrame
        As from :func:`pdbiomarker.clinical.escalation.decision_table`, for at most 30 participants.
    title : str
        Such as "BOIN, target 30 %".
    at : (n_treated, n_dlt), optional
        Counts at the current dose: framed.
    ax : Axes, optional

    Returns
    -------
    Axes
        E escalate, S stay, D de-escalate, DU de-escalate and never come back.
    """
    shown = table[table["n_treated"] <= _MOST_CELLS]
    numbers = sorted(set(shown["n_treated"]))
    top = int(shown.loc[shown["decision"] != "eliminate", "n_dlt"].max()) + 3 if len(shown) else 1
    top = min(top, int(shown["n_dlt"].max()) if len(shown) else 1)
    with style():
        ax = new_axes(ax, max(5.6, 1.6 + 0.36 * len(numbers)), 1.9 + 0.3 * (top + 1))
        for n, y, decision in shown.itertuples(index=False):
            if y > top:
                continue
            x = numbers.index(n)
            ax.add_patch(_cell(x, y, _DECISION_COLORS[decision]))
            ink = "white" if decision == "eliminate" else INK
            ax.text(x, y, _DECISION_LETTERS[decision], ha="center", va="center", fontsize=8, color=ink)
        if at is not None and at[0] in numbers and at[1] <= top:
            frame = _cell(numbers.index(at[0]), at[1], "none")
            frame.set(edgecolor=INK, linewidth=2.2, zorder=6)
            ax.add_patch(frame)
        ax.set_xlim(-0.6, len(numbers) - 0.4)
        ax.set_ylim(-0.6, top + 0.6)
        ax.set_xticks(range(len(numbers)), [str(n) for n in numbers])
        ax.set_yticks(range(top + 1))
        ax.tick_params(length=0)
        ax.set_xlabel("participants evaluable at the current dose")
        ax.set_ylabel("of these with a DLT")
        despine(ax, left=True)
        ax.spines["bottom"].set_visible(False)
        handles = [
            Patch(facecolor=color, label=f"{_DECISION_LETTERS[name]} {_SAID[name]}")
            for name, color in _DECISION_COLORS.items()
        ]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.13 - 0.5 / (top + 2)), ncols=2,
                  handlelength=1.0)  # fmt: skip
        framed = f" Framed: the current dose, {at[1]} of {at[0]}." if at is not None else ""
        cut = "" if top == int(shown["n_dlt"].max()) else f" More than {top}: DU."
        titles(ax, title or "Decision table", f"What the design decides after each cohort.{cut}{framed}")
        return ax


_SAID: Final = {
    "escalate": "escalate",
    "stay": "stay",
    "de-escalate": "de-escalate",
    "eliminate": "de-escalate, dose closed",
}


def _cell(x: float, y: float, color: str) -> FancyBboxPatch:
    return FancyBboxPatch(
        (x - 0.46, y - 0.44), 0.92, 0.88, boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=color, edgecolor="none",
    )  # fmt: skip


def ada_titres(samples: AdaSamples, status: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the titres of every participant in time, coloured by antibody status.

    Parameters
    ----------
    samples : AdaSamples
    status : DataFrame
        As from :func:`pdbiomarker.clinical.ada.classify`.
    ax : Axes, optional

    Returns
    -------
    Axes
        Weeks from the first dose across, titre upwards (log axis); negative samples lie in a band below,
        positive ones without a titre between. Open marks: the lowest titre stands in.
    """
    table = samples.table[samples.table["status"].isin(["positive", "negative"])]
    table = table[table["period"] != "unplaced"]
    category = dict(zip(map(str, status["participant_id"]), map(str, status["category"]), strict=True))
    with style():
        ax = new_axes(ax, 7.6, 4.3)
        if table.empty:
            return empty(ax, "Anti-drug antibodies in time", "No conclusive sample has a place in time.")
        known = table["titre_log10"].dropna()
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        span = max(high - low, 1.0)
        rows = (low - 0.30 * span, low - 0.15 * span)
        order = ["negative", "not evaluable", "unaffected", "boosted", "induced"]
        for name in order:
            for person, own in table.groupby("participant_id"):
                if category.get(str(person)) == name:
                    _titre_line(ax, own, name, rows)
        _titre_axis(
            ax, low, high, rows, bool(((table["status"] == "positive") & table["titre"].isna()).any())
        )
        _name_lines(ax, table, category, rows)
        ax.axvline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=1)
        ax.set_xlabel("weeks from the first dose")
        despine(ax)
        counts = status["category"].value_counts()
        handles = [
            Line2D(
                [],
                [],
                color=_CATEGORY_COLORS[n],
                marker=_CATEGORY_MARKERS[n],
                ms=5,
                label=f"{n} ({int(counts[n])})",
            )
            for n in reversed(order)
            if n in counts.index
        ]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
        fit = int(status["evaluable"].sum())
        emergent = int(status["category"].isin(["induced", "boosted"]).sum())
        stands = " Open marks: the lowest titre stands in." if bool(table["titre_assumed"].any()) else ""
        titles(
            ax,
            "Anti-drug antibodies in time, by participant",
            f"{len(table)} conclusive samples; treatment-emergent (induced or boosted): {emergent} of {fit} "
            f"evaluable.{stands}",
        )
        return ax


def _weeks(own: pd.DataFrame) -> np.ndarray:
    days = own["study_day"].to_numpy(dtype=float)
    return np.asarray(np.where(days > 0, days - 1, days) / 7)


def _heights(own: pd.DataFrame, rows: tuple[float, float]) -> np.ndarray:
    values = own["titre_log10"].to_numpy(dtype=float)
    values = np.where(np.isnan(values), rows[1], values)
    return np.where((own["status"] == "negative").to_numpy(), rows[0], values)


def _titre_line(ax: Axes, own: pd.DataFrame, name: str, rows: tuple[float, float]) -> None:
    color, quiet = _CATEGORY_COLORS[name], name in ("negative", "not evaluable")
    x, y = _weeks(own), _heights(own, rows)
    drawn = ax.plot(x, y, color=color, lw=0.8 if quiet else 1.3, alpha=0.8, zorder=2 if quiet else 3)
    stands = own["titre_assumed"].to_numpy(dtype=bool)
    for which, face in ((~stands, color), (stands, "white")):
        drawn += ax.plot(
            x[which], y[which], ls="", marker=_CATEGORY_MARKERS[name], ms=4.5, mfc=face, mec=color, zorder=4
        )
    mark(drawn, str(own["participant_id"].iloc[0]))


def _titre_axis(ax: Axes, low: float, high: float, rows: tuple[float, float], untitred: bool) -> None:
    bottom = rows[0] - 0.6 * (rows[1] - rows[0])
    ax.axhspan(bottom, rows[0] + 0.5 * (rows[1] - rows[0]), color="#f5f7f8", zorder=0)
    ticks = [math.log10(tick) for tick in _titre_ticks(10.0**low, 10.0**high)]
    labels = ["negative", *(["no titre"] if untitred else []), *(f"{10.0**t:,.4g}" for t in ticks)]
    ax.set_yticks([rows[0], *([rows[1]] if untitred else []), *ticks], labels)
    ax.set_ylim(bottom, high + 0.06 * max(high - low, 1.0))
    ax.set_ylabel("titre (log axis)")
    ax.grid(axis="y", color=GRID)
    ax.set_axisbelow(True)


def _titre_ticks(low: float, high: float) -> list[float]:
    """Round titres between two: decades, else 1-2-5, else as many as fit."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1,), (1, 2, 5)):
        ticks = [m * 10.0**d for d in decades for m in mantissas if low * 0.95 <= m * 10.0**d <= high * 1.2]
        if len(ticks) >= 3:
            return ticks
    return [
        float(t) for t in MaxNLocator(4).tick_values(low, high) if low * 0.95 <= t <= high * 1.05 and t > 0
    ]


def _name_lines(ax: Axes, table: pd.DataFrame, category: dict[str, str], rows: tuple[float, float]) -> None:
    """Write the ids of induced and boosted participants at their last sample, where there are few."""
    people = [p for p in dict.fromkeys(table["participant_id"]) if category.get(p) in ("induced", "boosted")]
    if len(people) > _MOST_NAMED:
        return
    ends: dict[tuple[float, float], list[str]] = {}
    for person in people:
        own = table[table["participant_id"] == person]
        end = (float(_weeks(own)[-1]), round(float(_heights(own, rows)[-1]), 6))
        ends.setdefault(end, []).append(person)
    for end, several in ends.items():  # lines that end in one point share a label
        person = several[0]
        ax.annotate(
            ", ".join(plain(short_id(one)) for one in several),
            end,
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=_CATEGORY_COLORS[category[person]],
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
            zorder=5,
        )
