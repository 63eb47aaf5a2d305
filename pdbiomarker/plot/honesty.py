"""What could fool us, in pictures: regression to the mean, other choices, missing biopsies, thresholds."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from scipy import special, stats

from pdbiomarker.decide import Review
from pdbiomarker.plot.decided import Drawn, drawn_of, each_row, noise_words
from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.numbers import format_number, format_words
from pdbiomarker.plot.select import LOG_KINDS, Result
from pdbiomarker.plot.style import (
    ACCENT,
    FAINT,
    GRID,
    INK,
    MUTED,
    UP,
    describe,
    despine,
    empty,
    linear_axis,
    log_axis,
    new_axes,
    plain,
    style,
    titles,
)
from pdbiomarker.shares import clopper_pearson

__all__ = ["regression_to_the_mean", "sensitivity", "thresholds", "tipping_point"]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_SET_WORDS: Final = {
    "strict": "strict (primary)",
    "strict_pairs": "complete pairs only",
    "all_biopsied": "all biopsied",
    "strict_stable_genes": "scaled by stable genes",
    "strict_tumor_content": "adjusted for tumour content",
    "immune_evaluable": "regression beds count",
    "same_lesion_pairs": "pairs of one lesion, no nodes",
    "node_pairs": "pairs of lymph nodes",
}
_LEFT_OUT: Final = "Leave one out"
_WITHOUT: Final = "without "
_ASSUMED: Final = {
    "no effect in the missing": "missing: no effect",
    "worst change seen": "missing: the worst seen",
}
_BAND: Final = "#e6edf0"


def regression_to_the_mean(result: Result, review: Review, feature: str, *, ax: Axes | None = None) -> Axes:
    """Draw every participant's change against baseline, with what noise alone makes of that relation.

    Parameters
    ----------
    result : PDResult
    review : Review
    feature : str
        ``feature`` or ``assay:feature``.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        The band holds 95 of 100 participants where the drug moves all by the mean change and the rest is
        noise: its slope is -(1 - reliability). Without noise the axes say why there is no band.

    Raises
    ------
    InputError
        E-RESULT-001: nothing was decided on the feature.
    """
    one = drawn_of(result, review, feature)
    with style():
        ax = new_axes(ax, 5.6, 4.2)
        title = f"{one.chosen.label}: change against baseline"
        rows = one.table("responders")
        rows = rows[rows["change"].notna() & rows["baseline"].notna()] if len(rows) else rows
        reliability = np.nan if one.noise is None else float(one.noise["reliability"])
        if len(rows) < 3 or np.isnan(reliability):
            return empty(ax, title, _verdict(one, "regression to the mean"))
        _draw_regression(ax, one, rows, reliability)
        null = -np.sqrt((1 - reliability) / 2)
        r = float(np.corrcoef(rows["baseline"], rows["change"])[0, 1])
        facts = f"{len(rows)} pairs; correlation {r:.2f}, by noise alone {null:.2f}."
        titles(ax, title, f"{format_words(facts)}\n{noise_words(one.noise).capitalize()}.")
        return ax


def _draw_regression(ax: Axes, one: Drawn, rows: pd.DataFrame, reliability: float) -> None:
    b, d = (rows[c].to_numpy(dtype=float) for c in ("baseline", "change"))
    span = float(np.ptp(b)) or 1.0
    grid = np.linspace(b.min() - 0.08 * span, b.max() + 0.08 * span, 80)
    slope, variance = -(1 - reliability), float(b.var(ddof=1))
    line = d.mean() + slope * (grid - b.mean())
    half = float(stats.norm.isf(0.025) * np.sqrt(variance * (1 - reliability**2)))
    x = _natural(one, grid)
    ax.fill_between(x, one.shown(line - half), one.shown(line + half), color=_BAND, lw=0, zorder=1)
    ax.plot(x, one.shown(line), color=MUTED, lw=1.2, ls=(0, (5, 3)), zorder=2)
    fit = np.polyfit(b, d, 1)
    ax.plot(_natural(one, np.sort(b)), one.shown(np.polyval(fit, np.sort(b))), color=ACCENT, lw=1.8, zorder=3)
    points = ax.plot(
        _natural(one, b), one.shown(d), ls="", marker="o", ms=6, color=ACCENT, mec="white", mew=0.7, zorder=4
    )
    mark(points[0], rows["participant_id"].tolist())
    ax.axhline(0, color=INK, lw=0.8, zorder=2)
    shown = np.concatenate([one.shown(d), one.shown(line - half), one.shown(line + half), [0.0]])
    room = 0.05 * float(np.ptp(shown))
    one.axis(ax, "y", float(shown.min()) - room, float(shown.max()) + room)
    if one.chosen.kind in LOG_KINDS:
        log_axis(ax, "x", float(x[0]), float(x[-1]))
    else:
        ax.set_xlim(float(x[0]), float(x[-1]))
        linear_axis(ax, "x")
    ax.set_xlabel(
        f"{plain(one.chosen.baseline, 24)} value{' (%)' if one.chosen.kind == 'proportion' else ''}"
    )
    ax.set_ylabel(one.what)
    marks = {"95 % by noise alone": _BAND, "noise alone, mean": MUTED, "as observed": ACCENT}
    handles = [
        ax.plot(
            [],
            [],
            color=color,
            lw=7 if color == _BAND else 1.8,
            ls=(0, (5, 3)) if color == MUTED else "-",
            label=name,
        )[0]
        for name, color in marks.items()
    ]
    ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, -0.17),
        ncols=3,
        borderaxespad=0,
        columnspacing=1.2,
    )
    despine(ax)


def _natural(one: Drawn, values: Floats) -> Floats:
    """Values on the model scale as an axis shows them."""
    if one.chosen.kind in LOG_KINDS:
        return np.asarray(np.exp2(values))
    return np.asarray(100 * special.expit(values)) if one.chosen.kind == "proportion" else values


def sensitivity(result: Result, review: Review, feature: str, *, ax: Axes | None = None) -> Axes:
    """Draw the effect under other choices: sets, one participant left out, offsets, missing biopsies.

    Parameters and errors as for :func:`regression_to_the_mean`.

    Returns
    -------
    Axes
        A line with its 95 % interval for each choice, in groups; the band is the interval of the primary
        analysis. Of the participants the two who move the estimate most, either way, are drawn.
    """
    one = drawn_of(result, review, feature)
    with style():
        lines = _sensitivity_lines(one)
        ax = new_axes(ax, 6.6, 0.32 * (len(lines) + 4) + 1.4)
        title = f"{one.chosen.label}: under other choices"
        told = [line for line in lines if np.isfinite(line[2])]
        if not told:
            return empty(ax, title, "There is no estimate.")
        group, at, ticks, names = "", 0.0, [], []
        for kind, name, value, low, high in told:
            if kind != group:
                at -= 0.55 if group else 0.0
                ax.text(
                    -0.005,
                    at,
                    kind,
                    transform=ax.get_yaxis_transform(),
                    ha="right",
                    va="center",
                    fontsize=8.5,
                    fontweight="bold",
                )
                group, at = kind, at - 1.0
            color = ACCENT if name == _SET_WORDS["strict"] else MUTED
            parts = ax.plot([low, high], [at, at], color=color, lw=2.0, solid_capstyle="butt", zorder=3)
            parts += ax.plot([value], [at], marker="o", ms=6, color=color, mec="white", mew=0.7, zorder=4)
            if kind == _LEFT_OUT:
                mark(parts, name.removeprefix(_WITHOUT))
            ticks.append(at)
            names.append(name)
            at -= 1.0
        ax.set_yticks(ticks, [plain(n, 34) for n in names])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(at + 0.3, 0.6)
        first = next((line for line in told if line[1] == _SET_WORDS["strict"]), told[0])
        ax.axvspan(first[3], first[4], color=_BAND, lw=0, zorder=0)
        ax.axvline(0, color=INK, lw=0.9, zorder=1)
        every = np.array([v for line in told for v in line[2:] if np.isfinite(v)] + [0.0])
        room = 0.06 * float(np.ptp(every)) or 0.5
        one.axis(ax, "x", float(every.min()) - room, float(every.max()) + room)
        ax.set_xlabel(one.what)
        despine(ax, left=True)
        n = int(one.table("analysis sets")["n_pairs"].iloc[0]) if len(one.table("analysis sets")) else 0
        titles(ax, title, f"95 % intervals; {n} pairs in the primary set; band: the primary analysis.")
        ends = [_said(one, v) for v in (min(v[2] for v in told), max(v[2] for v in told))]
        describe(ax, f"{len(told)} estimates from {' to '.join(ends)}; primary {_said(one, first[2])}.")
        return ax


def _said(one: Drawn, value: float) -> str:
    """A value as drawn, in words."""
    return f"{format_number(2.0**value)}-fold" if one.ratio else format_number(value)


def _sensitivity_lines(one: Drawn) -> list[tuple[str, str, float, float, float]]:
    """Group, name, value, low, high of every line, as drawn."""
    lines: list[tuple[str, str, float, float, float]] = []

    def add(group: str, name: str, values: tuple[float, ...]) -> None:
        value, low, high = (float(v) for v in one.shown(np.array(values, dtype=float)))
        lines.append((group, name, value, low, high))

    for row in each_row(one.table("analysis sets")):
        add(
            "Analysis sets",
            _SET_WORDS.get(str(row.set), str(row.set)),
            (row.estimate, row.ci_low, row.ci_high),
        )
    left = one.table("leave one out")
    others = left[left["left_out"] != "nobody"] if len(left) else left
    if len(others) > 2:
        change = others["change"].to_numpy(dtype=float)
        for at in dict.fromkeys((int(change.argmin()), int(change.argmax()))):
            row = others.iloc[at]
            add(
                _LEFT_OUT,
                f"{_WITHOUT}{row['left_out']}",
                (row["change"], row["low"], row["high"]),
            )
    for row in each_row(one.table("offset")):
        values = tuple(float(np.log2(v)) for v in (row.gmr, row.gmr_low, row.gmr_high))
        add("Cells added (offset)", f"{row.offset_cells:g}", values)
    missing = one.table("missing second biopsy")
    for row in each_row(missing):
        if str(row.assumption) in _ASSUMED:
            add("No second biopsy", _ASSUMED[str(row.assumption)], (row.change, row.low, row.high))
    return lines


def tipping_point(result: Result, review: Review, feature: str, *, ax: Axes | None = None) -> Axes:
    """Draw the mean change of all against how the participants without a second biopsy may have changed.

    Parameters and errors as for :func:`regression_to_the_mean`.

    Returns
    -------
    Axes
        The line and its 95 % band for all participants with a baseline; the tipping point is where the band
        reaches no effect. Where there is nothing to lose or nobody missing, the axes say so.
    """
    one = drawn_of(result, review, feature)
    with style():
        ax = new_axes(ax, 5.6, 4.0)
        title = f"{one.chosen.label}: no second biopsy"
        rows = one.table("missing second biopsy")
        if len(rows) < 3 or np.ptp(rows["delta"]) == 0 or np.ptp(rows["change"]) == 0:
            return empty(ax, title, _verdict(one, "missing second biopsy"))
        mean = float(rows["change"].iloc[0])
        rows = rows.drop_duplicates("delta").sort_values("delta", kind="stable")
        x, y, low, high = (
            one.shown(rows[c] + (mean if c == "delta" else 0.0)) for c in ("delta", "change", "low", "high")
        )
        ax.fill_between(x, low, high, color="#d3e3e7", lw=0, zorder=1)
        ax.plot(x, y, color=ACCENT, lw=2, zorder=3)
        ax.axhline(0, color=INK, lw=0.9, zorder=2)
        ends = np.concatenate([low, high, [0.0]])
        room = 0.07 * float(np.ptp(ends))
        one.axis(ax, "y", float(ends.min()) - room, float(ends.max()) + 2.2 * room)
        one.axis(
            ax,
            "x",
            min(float(x.min()), 0.0) - 0.04 * float(np.ptp(x)),
            float(x.max()) + 0.04 * float(np.ptp(x)),
        )
        marks = [("like the others", mean, ACCENT), ("no effect", 0.0, INK)]
        tip = rows.loc[rows["assumption"] == "tipping point", "delta"]
        marks += [("tipping point", float(tip.iloc[0]) + mean, UP)] if len(tip) else []
        for k, (name, value, color) in enumerate(sorted(marks, key=lambda mark: mark[1])):
            at = float(one.shown(value))
            ax.axvline(at, color=color, lw=1.1, ls=(0, (4, 3)), zorder=2)
            ax.annotate(
                name,
                (at, 1.0 - 0.06 * k),
                xycoords=("data", "axes fraction"),
                xytext=(3, -3),
                textcoords="offset points",
                color=color,
                fontsize=8.5,
                va="top",
            )
        ax.set_xlabel(f"assumed {one.what} of those without a second biopsy")
        ax.set_ylabel(f"{one.what} of all\nwith a baseline")
        despine(ax)
        titles(ax, title, _verdict(one, "missing second biopsy"))
        return ax


def thresholds(result: Result, review: Review, feature: str, *, ax: Axes | None = None) -> Axes:
    """Draw the share of upward responders at several fold changes beside what noise alone gives.

    Parameters and errors as for :func:`regression_to_the_mean`.

    Returns
    -------
    Axes
        Points with Clopper-Pearson intervals; the grey marks are the chance of one such call by noise alone.
    """
    one = drawn_of(result, review, feature)
    with style():
        ax = new_axes(ax, 5.6, 3.8)
        title = f"{one.chosen.label}: responders by threshold"
        rows = one.table("threshold")
        if not len(rows):
            return empty(ax, title, _verdict(one, "threshold"))
        k, n = rows["n_up"].to_numpy(dtype=int), rows["n_evaluable"].to_numpy(dtype=int)
        _draw_shares(ax, k, n, chance=rows["chance_by_noise"].to_numpy(dtype=float))
        ax.set_xticks(np.arange(len(rows)), [f"≥ {fold:g}-fold" for fold in rows["fold"]])
        ax.set_xlim(-0.75, len(rows) - 0.25)
        ax.set_ylim(0, 104)
        ax.set_ylabel("participants with such a rise (%)")
        ax.legend(loc="upper right")
        despine(ax)
        titles(ax, title, f"{n[0]} pairs; {noise_words(one.noise)}.")
        seen = [f"{k[i]} of {n[i]} at {fold:g}-fold or more" for i, fold in enumerate(rows["fold"])]
        describe(ax, f"Observed: {'; '.join(seen)}.")
        return ax


def _draw_shares(ax: Axes, k: Counts, n: Counts, *, chance: npt.NDArray[np.float64]) -> None:
    """Draw k of n at each threshold with their limits, beside what noise alone gives."""
    at, (low, high) = np.arange(len(k)), clopper_pearson(k, n)
    ax.bar(
        at,
        100 * chance,
        width=0.56,
        color=GRID,
        edgecolor=FAINT,
        lw=0.8,
        zorder=1,
        label="by noise alone",
    )
    ax.vlines(at, 100 * low, 100 * high, color=ACCENT, lw=1.8, zorder=2)
    ax.plot(
        at,
        100 * k / n,
        ls="",
        marker="o",
        ms=7,
        color=ACCENT,
        mec="white",
        zorder=3,
        label="observed, 95 % CI",
    )
    for i in range(len(k)):
        ax.annotate(
            f"{k[i]} of {n[i]}",
            (at[i], 100 * k[i] / n[i]),
            xytext=(8, 0),
            textcoords="offset points",
            fontsize=8,
            va="center",
            color=ACCENT,
        )
        ax.annotate(
            f"{format_number(100 * chance[i], 2)} %",
            (at[i] - 0.3, 100 * chance[i]),
            xytext=(-2, 0),
            textcoords="offset points",
            fontsize=7.5,
            va="center",
            ha="right",
            color=MUTED,
        )


def _verdict(one: Drawn, check: str) -> str:
    rows = one.table("honesty_checks")
    said = rows.loc[rows["check"] == check, "verdict"]
    return format_words(said.iloc[0]) if len(said) else "The check was not made."
