"""Figures of the trial around the biopsies: waterfall and spider of tumour size, swimmer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.select import refuse
from pdbiomarker.plot.style import (
    ACCENT,
    FAINT,
    GRID,
    INK,
    MUTED,
    despine,
    empty,
    hue_of,
    linear_axis,
    name_size,
    new_axes,
    palette,
    panels_of,
    plain,
    short_id,
    side_legend,
    spread,
    style,
    titles,
)

__all__ = ["size_waterfall", "spider", "swimmer"]

#: Blue is better, orange is worse, grey is in between or unknown: told apart by the colour-blind too.
_RESPONSE_COLORS: Final[Mapping[str, str]] = {
    "CR": "#005a8c",
    "PR": "#56B4E9",
    "SD": "#a9b4ba",
    "NON-CR/NON-PD": "#a9b4ba",
    "PD": "#D55E00",
    "NE": "#d9dfe2",
}
_MARKS: Final[Mapping[str, tuple[str, str, str]]] = {  # kind -> marker, colour, words
    "CR": ("*", "#005a8c", "CR (first)"),
    "PR": ("P", "#0072B2", "PR (first)"),
    "PD": ("X", "#D55E00", "progression"),
    "new therapy": ("s", "#8C7A00", "new therapy"),
    "death": ("D", INK, "death"),
}
_CAP_PCT: Final = 100.0
_MOST_LABELS: Final = 40
_YES: Final = frozenset({"true", "yes", "1", "1.0"})


def _need(table: pd.DataFrame, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in table.columns:
            raise refuse(
                f"The table has no column {column!r}.", column, [str(c) for c in table.columns], "column"
            )


class _Colors:
    """Colours of participants by a column of a table: a ramp for numbers, distinct ones for text."""

    def __init__(self, table: pd.DataFrame, column: str | None, *, ordered: bool = True) -> None:
        self.name = "" if column is None else plain(column.replace("_mg", " (mg)").replace("_", " "), 40)
        self.note = ""
        self.ramp: mpl.cm.ScalarMappable | None = None
        self._of: dict[str, str] = {}
        self.levels: dict[str, str] = {}
        if column is None:
            return
        _need(table, [column])
        first = table.drop_duplicates("participant_id").set_index("participant_id")[column]
        numbers = pd.to_numeric(first, errors="coerce")
        if bool((numbers.notna() | first.isna()).all()) and ordered and numbers.nunique() > 4:
            self._of_numbers(numbers.astype(float))
            return
        hue = hue_of(first.to_frame(), column)
        self._of = {str(person): hue.color(str(person)) for person in first.index}
        self.levels = {level: hue.color_of_level(level) for level in hue.levels}
        known = [level for level in self.levels if level in _RESPONSE_COLORS]
        if known and len(known) == len([level for level in self.levels if level != "not recorded"]):
            self.levels = {
                level: _RESPONSE_COLORS.get(level, FAINT) for level in _RESPONSE_COLORS if level in known
            }
            self._of = {str(p): self.levels.get(hue.level(str(p)), FAINT) for p in first.index}

    def _of_numbers(self, numbers: pd.Series) -> None:
        low, high = float(numbers.min()), float(numbers.max())
        if low < 0 < high:
            top = max(-low, high)
            norm: Any = mpl.colors.Normalize(-top, top)
            colors = mpl.colors.LinearSegmentedColormap.from_list("change", ["#8C510A", "#c9c9c9", "#01665E"])
        else:
            norm = mpl.colors.Normalize(low, high)
            ramp = mpl.colormaps["viridis"](np.linspace(0.85, 0.05, 64))
            colors = mpl.colors.LinearSegmentedColormap.from_list("ramp", ramp)
        self.ramp = mpl.cm.ScalarMappable(norm=norm, cmap=colors)
        if numbers.isna().any():
            self.note = f" Grey: {self.name} not recorded."
        for person, value in numbers.items():
            color = colors(norm(value)) if np.isfinite(value) else FAINT
            self._of[str(person)] = mpl.colors.to_hex(color)

    def of(self, person: str, default: str = ACCENT) -> str:
        """The colour of a participant."""
        return self._of.get(str(person), FAINT if self._of else default)

    def rank(self, person: str) -> int:
        """The place of a participant's level among the levels."""
        return list(self.levels.values()).index(self._of[person]) if self.levels else 0

    def legend(self, ax: Axes) -> None:
        """Explain the colours at the right of the axes."""
        fig = ax.get_figure()
        if self.ramp is not None and fig is not None:
            bar = fig.colorbar(self.ramp, ax=ax, shrink=0.7, aspect=24, pad=0.02)
            bar.set_label(self.name)
            bar.outline.set_visible(False)
        elif self.levels:
            handles = [Patch(color=color, label=plain(level, 28)) for level, color in self.levels.items()]
            side_legend(ax, handles, self.name)


def size_waterfall(
    table: pd.DataFrame, *, hue: str | None = "best_response", title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw the best change of tumour size, one bar a participant.

    Parameters
    ----------
    table : DataFrame
        From :func:`pdbiomarker.clinical.response.waterfall_data`: ``participant_id, best_size_change_pct,
        best_response, responder, why_not``, and the column named by `hue`.
    hue : str, optional
        A column that colours the bars: a response, or a number such as a pharmacodynamic change.
    title : str, optional
    ax : Axes, optional

    Returns
    -------
    Axes
        Largest growth at the left; growth beyond 100 % is cut and its number written. The confirmed best
        response stands at each bar; who has no change is named in hatched places with the reason.

    Raises
    ------
    InputError
        E-RESULT-002: a column is missing.
    """
    _need(table, ["participant_id", "best_size_change_pct", "best_response"])
    if hue is not None:
        _need(table, [hue])
    colors = _Colors(table[table["best_size_change_pct"].notna()], hue)
    with style():
        ax = new_axes(ax, 7.6, 4.0)
        have = table[table["best_size_change_pct"].notna()]
        have = have.sort_values(["best_size_change_pct", "participant_id"], ascending=[False, True])
        lost = table[table["best_size_change_pct"].isna()].sort_values("participant_id")
        name = title or "Best change of tumour size"
        if have.empty:
            return empty(ax, name, "Nobody has a sum of diameters after baseline.")
        _bars(ax, have, lost, colors)
        n, responders = (
            len(have),
            int(table.get("responder", pd.Series(dtype=bool)).fillna(value=False).sum()),
        )
        none = f"; {len(lost)} without a change" if len(lost) else ""
        facts = (
            "Lowest change of the sum of target diameters from baseline, up to progression or new therapy. "
            f"n = {n}{none}; {responders} with confirmed CR or PR. Letters: confirmed best response. "
            f"Dashed: −30 and +20\u00a0%.{colors.note}"
        )
        titles(ax, name, facts)
        colors.legend(ax)
        return ax


def _bars(ax: Axes, have: pd.DataFrame, lost: pd.DataFrame, colors: _Colors) -> None:
    people = [str(p) for p in have["participant_id"]]
    values = have["best_size_change_pct"].to_numpy(dtype=float)
    shown = np.minimum(values, _CAP_PCT)
    bars = ax.bar(np.arange(len(people)), shown, width=0.78, color=[colors.of(p) for p in people], zorder=3)
    mark(bars, people)
    few = len(people) + len(lost) <= _MOST_LABELS
    for x, (value, top, response) in enumerate(zip(values, shown, have["best_response"], strict=True)):
        text = {"NON-CR/NON-PD": "NN", "MISSING": "–"}.get(str(response), str(response)) if few else ""
        if value > _CAP_PCT:
            text = f"{value:.0f} %\n{text}".strip()
        up = top >= 0
        ax.annotate(
            text,
            (x, top),
            xytext=(0, 2 if up else -2),
            textcoords="offset points",
            ha="center",
            va="bottom" if up else "top",
            fontsize=7.5,
        )
    for level in (-30.0, 20.0):
        ax.axhline(level, color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=2)
    ax.axhline(0, color=INK, lw=0.9, zorder=4)
    places = [len(people) + 0.6 + i for i in range(len(lost))]
    if len(lost):
        ax.axvspan(
            len(people) - 0.2,
            places[-1] + 0.6,
            facecolor="#f4f6f7",
            edgecolor="#d5dce0",
            hatch="////",
            lw=0,
            zorder=0,
        )
    for at, why in zip(places, lost.get("why_not", pd.Series([""] * len(lost))), strict=True):
        _reason(ax, at, f"NE · {plain(why, 36)}" if few else "NE")
    ids = [*people, *(str(p) for p in lost["participant_id"])]
    ax.set_xticks(
        [*range(len(people)), *places], [short_id(p) for p in ids] if len(ids) <= 70 else [""] * len(ids)
    )
    mark(ax.get_xticklabels(), ids)
    turned = len(ids) > 12 or max(map(len, ids)) > 6
    ax.tick_params(axis="x", length=0, labelsize=name_size(ax, len(ids)), labelrotation=90 if turned else 0)
    ax.set_ylim(min(-40.0, float(shown.min()) - 12), max(30.0, float(shown.max()) + 14))
    linear_axis(ax, "y")
    ax.set_ylabel("best change from baseline (%)")
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    despine(ax)
    ax.spines["bottom"].set_visible(False)


def _reason(ax: Axes, x: float, text: str) -> None:
    ax.text(
        x,
        0.5,
        text,
        transform=ax.get_xaxis_transform(),
        rotation=90,
        ha="center",
        va="center",
        fontsize=6.5,
        color=MUTED,
        zorder=5,
        bbox={"facecolor": "white", "edgecolor": GRID, "pad": 1.2, "lw": 0.5},
    )


def spider(
    table: pd.DataFrame, *, hue: str | None = "best_response", title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw the change of tumour size by study day, one line a participant.

    Parameters
    ----------
    table : DataFrame
        From :func:`pdbiomarker.clinical.response.spider_data`: ``participant_id, study_day, change_pct``
        and, if given, ``response, counted`` and the column named by `hue`.
    hue : str, optional
        A column that colours the lines: the best response, or a number such as a pharmacodynamic change.
        None: a colour for each participant.
    title : str, optional
    ax : Axes, optional

    Returns
    -------
    Axes
        Each line ends with its participant. Crosses are progression; open points and thin dotted lines lie
        after progression or a new therapy.

    Raises
    ------
    InputError
        E-RESULT-002: a column is missing.
    """
    _need(table, ["participant_id", "study_day", "change_pct"])
    colors = _Colors(table, None if hue == "best_response" and hue not in table.columns else hue)
    with style():
        ax = new_axes(ax, 7.6, 4.2)
        rows = table[table["change_pct"].notna() & table["study_day"].notna()]
        name = title or "Change of tumour size over time"
        if rows.empty:
            return empty(ax, name, "No sum of diameters with a study day.")
        ends = []
        for i, (person, own) in enumerate(rows.groupby("participant_id", sort=True)):
            line = own.sort_values("study_day")
            color = colors.of(str(person), palette(7)[i % 7])
            _thread(ax, line, color)
            ends.append(
                (str(person), float(line["study_day"].iloc[-1]), float(line["change_pct"].iloc[-1]), color)
            )
        top = min(max(30.0, float(rows["change_pct"].max()) + 8), 2.5 * _CAP_PCT)
        bottom = min(-40.0, float(rows["change_pct"].min()) - 8)
        ax.set_ylim(bottom, top)
        _end_labels(ax, ends, bottom, top)
        for level in (-30.0, 20.0):
            ax.axhline(level, color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=1)
        ax.axhline(0, color=INK, lw=0.8, zorder=1)
        ax.grid(axis="y")
        linear_axis(ax, "y")
        linear_axis(ax, "x")
        ax.set_xlabel("study day (day 1 = first dose)")
        ax.set_ylabel("change of the sum from baseline (%)")
        despine(ax)
        facts = (
            f"Sum of target diameters; n = {rows['participant_id'].nunique()}. Cross: progression; dotted, "
            "open: after progression or a new therapy. Dashed: −30 and +20\u00a0%." + colors.note
        )
        titles(ax, name, facts)
        colors.legend(ax)
        return ax


def _thread(ax: Axes, line: pd.DataFrame, color: str) -> None:
    days, change = line["study_day"].to_numpy(dtype=float), line["change_pct"].to_numpy(dtype=float)
    counted = line["counted"].astype(bool).to_numpy() if "counted" in line else np.ones(len(line), dtype=bool)
    stop = int(counted.sum())
    drawn = ax.plot(days[:stop], change[:stop], color=color, lw=1.5, marker="o", ms=4, zorder=3)
    if stop < len(days):
        start = max(stop - 1, 0)
        drawn += ax.plot(days[start:], change[start:], color=color, lw=1.0, ls=":", zorder=2)
        drawn += ax.plot(
            days[stop:], change[stop:], color=color, lw=0, marker="o", mfc="white", ms=4, zorder=3
        )
    if "response" in line:
        worse = counted & (line["response"] == "PD").to_numpy()
        drawn += ax.plot(days[worse], change[worse], color="#D55E00", lw=0, marker="x", ms=8, mew=2, zorder=4)
    mark(drawn, str(line["participant_id"].iloc[0]))


def _end_labels(ax: Axes, ends: Sequence[tuple[str, float, float, str]], low: float, high: float) -> None:
    """Write each participant at the end of its line, apart from the others."""
    if len(ends) > _MOST_LABELS:
        return
    right = max(day for _, day, _, _ in ends)
    left = min(0.0, float(ax.get_xlim()[0]))
    longest = max(len(short_id(person)) for person, *_ in ends)
    ax.set_xlim(left, right + (0.04 + 0.014 * longest) * (right - left))
    wanted = np.array([min(y, high) for _, _, y, _ in ends])
    placed = spread(wanted, 0.042 * (high - low), low, high)
    at = right + 0.02 * (right - left)
    for (person, day, y, _), label_y in zip(ends, placed, strict=True):
        thread = ax.plot([day, at], [min(y, high), label_y], color=GRID, lw=0.7, zorder=0)
        mark([*thread, ax.text(at, label_y, short_id(person), fontsize=7.5, va="center", color=INK)], person)


def swimmer(
    treatment: pd.DataFrame,
    events: pd.DataFrame | None = None,
    biopsies: pd.DataFrame | None = None,
    *,
    doses: pd.DataFrame | None = None,
    hue: str | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw each participant's time on study: treatment, doses, biopsies, response, progression, death.

    Parameters
    ----------
    treatment : DataFrame
        ``participant_id, end_day`` (study day of the end of treatment, or when last seen), ``ongoing`` (true,
        false) and the column named by `hue`: :func:`pdbiomarker.clinical.efficacy.swimmer_data`.
    events : DataFrame, optional
        ``participant_id, study_day, kind``: CR, PR, PD, new therapy, death.
    biopsies : DataFrame, optional
        ``participant_id, study_day, adequate`` (true, false, or missing: not assessed).
    doses : DataFrame, optional
        ``participant_id, study_day``.
    hue : str, optional
        A column of `treatment` that colours the bars, such as ``dose_mg``.
    title : str, optional
    ax : Axes, optional

    Returns
    -------
    Axes
        By `hue`, then longest first. An arrow: treatment goes on.

    Raises
    ------
    InputError
        E-RESULT-002: a column is missing.
    """
    _need(treatment, ["participant_id", "end_day"])
    colors = _Colors(treatment, hue, ordered=False)
    with style():
        rows = treatment[treatment["end_day"].notna()].copy()
        ax = new_axes(ax, 8.2, max(2.6, 1.3 + 0.24 * len(rows)))
        name = title or "Time on study"
        if rows.empty:
            return empty(ax, name, "Nobody was treated.")
        rows["_place"] = [colors.rank(str(p)) for p in rows["participant_id"]]
        keys = ["_place", "end_day", "participant_id"]
        rows = rows.sort_values(keys, ascending=[False, True, False], kind="stable")
        many = len(rows) > _MOST_LABELS
        half = (len(rows) + 1) // 2
        parts = [rows.iloc[len(rows) - half :], rows.iloc[: len(rows) - half]] if many else [rows]
        panels = panels_of(ax, len(parts))
        parts = parts if len(set(panels)) == len(parts) else [rows]
        seen: dict[str, Line2D] = {}
        for panel, part in zip(panels, parts, strict=False):
            for handle in _swim(panel, part, colors, (doses, biopsies, events)):
                seen.setdefault(str(handle.get_label()), handle)
            panel.set_xlim(panel.get_xlim()[0], max(panel.get_xlim()[1], float(rows["end_day"].max()) * 1.03))
        limits = [panel.get_xlim() for panel in panels]
        for panel in panels:
            panel.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))
        unit = " mg" if hue is not None and hue.endswith("_mg") else ""
        bars = [
            Patch(color=_pale(color), label=f"{level}{unit if level != 'not recorded' else ''}")
            for level, color in colors.levels.items()
        ]
        side_legend(panels[-1], [*bars, *seen.values()])
        if colors.ramp is not None:
            colors.legend(panels[-1])
        bar = "Bar: first dose to end of treatment, or to when last seen."
        titles(panels[0], name, f"n = {len(rows)} treated. {bar}{_biopsied(biopsies)}", across=many)
        return panels[0]


def _biopsied(biopsies: pd.DataFrame | None) -> str:
    """How many biopsies are shown, and how many of them are adequate."""
    if biopsies is None or not len(biopsies):
        return ""
    said = [str(v).casefold() in _YES for v in biopsies["adequate"]]
    return f" {len(said)} biopsies, {sum(said)} adequate."


def _swim(
    ax: Axes,
    rows: pd.DataFrame,
    colors: _Colors,
    tables: tuple[pd.DataFrame | None, pd.DataFrame | None, pd.DataFrame | None],
) -> list[Line2D]:
    """Draw the bars of some participants and their marks; returns what the legend needs."""
    doses, biopsies, events = tables
    people = [str(p) for p in rows["participant_id"]]
    ends = rows["end_day"].to_numpy(dtype=float)
    shades = [_pale(colors.of(p)) for p in people]
    mark(ax.barh(range(len(people)), ends - 1, left=1, height=0.62, color=shades, zorder=2), people)
    going = rows["ongoing"].fillna(value=False).astype(bool) if "ongoing" in rows else [False] * len(rows)
    for y, (end, on) in enumerate(zip(ends, going, strict=True)):
        if on:
            mark(ax.plot([end], [y], marker=">", ms=7, color=INK, clip_on=False, zorder=5), people[y])
    handles = [Line2D([], [], marker=">", ls="", color=INK, label="ongoing")] if any(going) else []
    handles += _marks(ax, {person: y for y, person in enumerate(people)}, doses, biopsies, events)
    ax.axvline(1, color=INK, lw=0.8)
    ax.set_yticks(range(len(people)), [short_id(p) for p in people])
    mark(ax.get_yticklabels(), people)
    ax.tick_params(axis="y", length=0, labelsize=8)
    ax.set_ylim(-0.7, len(people) - 0.3)
    linear_axis(ax, "x")
    ax.set_xlabel("study day (day 1 = first dose)")
    despine(ax, left=True)
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    return handles


def _pale(color: str) -> str:
    """Mix a colour with white, so that marks on it can be seen."""
    rgb = np.asarray(mpl.colors.to_rgb(color))
    mixed = rgb + (1 - rgb) * 0.45
    return mpl.colors.to_hex((float(mixed[0]), float(mixed[1]), float(mixed[2])))


def _marks(
    ax: Axes,
    place: Mapping[str, int],
    doses: pd.DataFrame | None,
    biopsies: pd.DataFrame | None,
    events: pd.DataFrame | None,
) -> list[Line2D]:
    handles: list[Line2D] = []

    def draw(table: pd.DataFrame, label: str, shift: float, **look: Any) -> None:
        own = table[table["participant_id"].astype(str).isin(list(place)) & table["study_day"].notna()]
        if len(own):
            y = [place[str(p)] + shift for p in own["participant_id"]]
            points = ax.plot(own["study_day"].to_numpy(dtype=float), y, ls="", **look)
            mark(points[0], own["participant_id"].tolist())
            handles.append(Line2D([], [], ls="", label=label, **look))

    if doses is not None:
        _need(doses, ["participant_id", "study_day"])
        draw(doses, "dose", 0.0, marker="|", color=INK, ms=6, mew=0.9, zorder=3)
    if biopsies is not None:
        _need(biopsies, ["participant_id", "study_day", "adequate"])
        said = [str(v).casefold() for v in biopsies["adequate"]]
        for label, known, fill in (
            ("biopsy, adequate", _YES, "#CC79A7"),
            ("biopsy, inadequate", {"false", "no", "0", "0.0"}, "white"),
        ):
            chosen = biopsies[[text in known for text in said]]
            draw(chosen, label, 0.0, marker="v", color="#8a3f69", mfc=fill, ms=7, zorder=6)
        rest = {*_YES, "false", "no", "0", "0.0"}
        other = biopsies[[text not in rest for text in said]]
        draw(other, "biopsy, not assessed", 0.0, marker="v", color="#8a3f69", mfc=FAINT, ms=7, zorder=6)
    if events is not None:
        _need(events, ["participant_id", "study_day", "kind"])
        for kind, (marker, color, label) in _MARKS.items():
            chosen = events[events["kind"] == kind]
            size = 9 if marker == "*" else 6.5
            draw(chosen, label, 0.0, marker=marker, color=color, mec="white", mew=0.6, ms=size, zorder=7)
    return handles
