"""How often the rules that were used say go, over what may be true; and what a biopsy's value varies by."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdbiomarker.decide import Review
from pdbiomarker.plot.decided import Drawn, drawn_of, each_row, noise_words
from pdbiomarker.plot.numbers import format_interval, format_number
from pdbiomarker.plot.select import Result
from pdbiomarker.plot.style import (
    GRID,
    INK,
    MUTED,
    despine,
    empty,
    new_axes,
    palette,
    plain,
    style,
    titles,
)

__all__ = ["operating_characteristics", "variance_components"]

_LEVEL_WORDS: Final = {
    "participant": "between participants",
    "visit": "between visits of a participant",
    "lesion": "between lesions",
    "biopsy": "between biopsies of a visit",
    "core": "between cores",
    "section": "between sections",
    "region": "between regions",
    "residual": "what is left",
}
_MOST: Final = 6


def operating_characteristics(
    result: Result, review: Review, feature: str, *, ax: Axes | None = None
) -> Axes:
    """Draw, for each rule as used, the probability of ``go`` over the true effect.

    Parameters
    ----------
    result : PDResult
    review : Review
        Made with curves (the default of ``review_of``).
    feature : str
        ``feature`` or ``assay:feature``.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        One curve a rule, named beside with its chance of go where there is no effect; the band is the 95 %
        interval of the effect that was observed. At
        no effect (left) a curve shows how often the rule says go by chance.

    Raises
    ------
    InputError
        E-RESULT-001: nothing was decided on the feature.
    """
    one = drawn_of(result, review, feature)
    with style():
        ax = new_axes(ax, 6.8, 4.2)
        title = f"{one.chosen.label}: how often would the rules say go?"
        told = review.verdicts(one.reference, "curves")
        if not len(told):
            return empty(ax, title, "No rule could be judged, so none has operating characteristics.")
        _draw_curves(ax, one, told)
        n = int(told["n"].iloc[0])
        seen = (
            " Dashed line and band: the effect observed, 95 % CI."
            if pd.notna(one.chosen.row["ci_low"])
            else ""
        )
        facts = f"{n} pairs, as in this study; caps left out; {noise_words(one.noise)}.{seen}"
        titles(ax, title, facts)
        return ax


def _draw_curves(ax: Axes, one: Drawn, told: pd.DataFrame) -> None:
    rules = list(dict.fromkeys(told["rule"]))
    down = {rule.name for rule in one.review.decisions.rules if rule.direction == "down"}
    sign = -1.0 if set(rules) <= down else 1.0
    ends = []
    every: list[float] = [0.0]
    for rule, color in zip(rules, palette(len(rules)), strict=True):
        rows = told[told["rule"] == rule].sort_values("truth", kind="stable")
        truth = rows["truth"].to_numpy(dtype=float)
        x = sign * (np.log2(truth) if one.ratio else truth)
        ax.plot(x, 100 * rows["p_go"], color=color, lw=2, zorder=3)
        chance = float(rows.loc[rows["inert"].astype(bool), "p_go"].iloc[0])
        reached = np.flatnonzero(rows["p_go"].to_numpy() >= 0.5)
        first = abs(float(x[reached[0]])) if len(reached) else np.inf
        ends.append(
            (
                first,
                -float(rows["p_go"].sum()),
                f"{rule}: {format_number(100 * chance, 2)} % by chance",
                color,
            )
        )
        every += x.tolist()
    row = one.chosen.row
    if pd.notna(row["ci_low"]):
        seen, low, high = (float(one.shown(row[c])) for c in ("estimate", "ci_low", "ci_high"))
        limits = (min(every), max(every))
        ax.axvspan(*np.clip([low, high], *limits), color=GRID, lw=0, zorder=0)
        ax.axvline(float(np.clip(seen, *limits)), color=INK, lw=1.1, ls=(0, (4, 3)), zorder=2)
    one.axis(ax, "x", min(every), max(every))
    if sign < 0:
        ax.invert_xaxis()
    # The rule that says go first stands on top, so that names and curves have one order.
    for k, (_, _, said, color) in enumerate(sorted(ends)):
        ax.annotate(
            said, (1.02, 0.97 - 0.075 * k), xycoords="axes fraction", fontsize=8.5, color=color, va="center"
        )
    ax.set_ylim(-1, 101)
    ax.set_ylabel("probability of go (%)")
    ax.set_xlabel(f"true {one.what}")
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    despine(ax)


def variance_components(result: Result, review: Review, *, ax: Axes | None = None) -> Axes:
    """Draw the variance of each feature taken apart: bars that continue each other, with intervals.

    Parameters
    ----------
    result : PDResult
    review : Review
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        One block a feature, at most six. Each bar starts where the one above it ends, so that together they
        make the whole variance; whiskers are 95 % limits of that component alone. Without replicates of the
        study's own the axes say so.
    """
    with style():
        held = review.noise_components
        own = [f for f in review.features if "variance" in held and (held["feature"] == f).any()][:_MOST]
        blocks = {f: held[held["feature"] == f] for f in own}
        lines = sum(len(rows) for rows in blocks.values())
        ax = new_axes(ax, 7.2, 0.36 * (lines + 1.2 * len(blocks)) + 1.5)
        title = "Variance components"
        if not blocks:
            return empty(
                ax, title, "No feature has replicate biopsies of its own to take its variance apart."
            )
        at = 0.0
        ticks: list[float] = []
        names: list[str] = []
        for feature, rows in blocks.items():
            at = _block(ax, drawn_of(result, review, feature), rows, at, ticks=ticks, names=names)
        ax.set_yticks(ticks, names)
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(at + 0.4, 0.7)
        ax.set_xlim(0, 1.0)
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25 %", "50 %", "75 %", "100 %"])
        ax.set_xlabel("share of the variance of one biopsy's value")
        despine(ax, left=True)
        titles(ax, title, "Whiskers: 95 % limits of the component. SD on the model scale (log2, or logit).")
        return ax


def _block(
    ax: Axes, one: Drawn, rows: pd.DataFrame, at: float, *, ticks: list[float], names: list[str]
) -> float:
    """The bars of one feature from `at` downwards; returns where the next block starts."""
    ax.text(0, at, plain(one.chosen.label, 50), fontsize=9, fontweight="bold", va="center")
    at -= 1.0
    variance = rows["variance"].to_numpy(dtype=float)
    total = float(np.nansum(variance)) or 1.0
    start = 0.0
    colors = palette(len(rows))
    for k, row in enumerate(each_row(rows)):
        share = float(np.nan_to_num(row.variance)) / total
        ax.barh(at, share, left=start, height=0.62, color=colors[k], zorder=2)
        low, high = (
            start + float(np.clip(v, 0, None)) / total for v in (row.variance_low, row.variance_high)
        )
        if np.isfinite([low, high]).all():
            ax.plot([min(low, 1.0), min(high, 1.0)], [at, at], color=INK, lw=1.3, zorder=3)
            for end in (low, high):
                if end <= 1.0:
                    ax.plot([end, end], [at - 0.16, at + 0.16], color=INK, lw=1.3, zorder=3)
        sd = [
            float(np.sqrt(max(np.nan_to_num(v), 0.0)))
            for v in (row.variance, row.variance_low, row.variance_high)
        ]
        known = (
            f" ({format_interval(sd[1], sd[2])})"
            if np.isfinite([row.variance_low, row.variance_high]).all()
            else ""
        )
        text = f"{share:.0%}, SD {format_number(sd[0], 2)}{known}"
        ax.annotate(
            text, (1.0, at), xytext=(6, 0), textcoords="offset points", fontsize=8, va="center", color=MUTED
        )
        ticks.append(at)
        names.append(_LEVEL_WORDS.get(str(row.component), str(row.component)))
        start += share
        at -= 1.0
    return at - 0.3
