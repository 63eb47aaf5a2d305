"""Waterfall: every participant's own change, sorted, with a slot for those who gave none."""

from __future__ import annotations

from collections import Counter

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from pdbiomarker.decide import Review
from pdbiomarker.plot.decided import Drawn, noise_of, noise_words
from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import RATIO_KINDS, Result, Selection, not_evaluable, select
from pdbiomarker.plot.style import (
    ACCENT,
    GRID,
    INK,
    MUTED,
    UP,
    Hue,
    despine,
    empty,
    hue_of,
    linear_axis,
    name_size,
    new_axes,
    plain,
    ratio_axis,
    short_id,
    side_legend,
    style,
    titles,
)

__all__ = ["waterfall"]

#: Opacity of bars that noise alone could make.
_PALE = 0.38
#: Up to so many bars each has its number.
_MOST_NUMBERED = 24


def waterfall(
    result: Result,
    feature: str,
    *,
    contrast: str | None = None,
    set_: str | None = None,
    hue: str | None = None,
    review: Review | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one bar per participant: the fold change on a log2 axis, or the change in units.

    Parameters
    ----------
    result : PDResult
    feature : str
        ``feature`` or ``assay:feature``.
    contrast, set_ : str, optional
        Default: the feature's first contrast, and the primary analysis set.
    hue : str, optional
        A column of the study's participants that colours the bars.
    review : Review, optional
        Adds the 95 % prediction limits of noise and, for ratios, the 2-fold lines; bars within noise are
        pale.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        Bars from the largest rise to the largest fall. Every participant of the study has a place: those
        without a change stand at the right as ``NE`` with the reason in two words. With more than 20 of them
        they are counted by reason instead.

    Raises
    ------
    InputError
        The feature, contrast or set is not in the result, or `hue` is not a column of the participants.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> study = pb.read_study("trial")
    >>> counts = pb.expression.read_counts("trial/counts.csv.gz", study=study)
    >>> study = study.with_assay("rna", counts)
    >>> study = study.with_assay("rna_signatures", pb.expression.signature_scores(counts))
    >>> result = pb.pd_change(study, pb.Plan.read("trial/plan.yaml"))
    >>> ax = pb.plot.waterfall(result, "CYT")
    >>> ax.figure.savefig("waterfall.png")
    """
    chosen = select(result, feature, contrast, set_)
    noise = noise_of(result, review, chosen)
    lost = not_evaluable(result, chosen)
    colors = hue_of(result.study.participants, hue) if hue is not None else None
    with style():
        ax = new_axes(ax, 7.2, 3.9)
        if chosen.pairs.empty:
            why = "; ".join(f"{n} {word}" for word, n in Counter(w for _, w, _ in lost).most_common())
            return empty(
                ax, f"{chosen.label}: change per participant", f"No evaluable pairs: {why or 'none given.'}"
            )
        _draw(ax, chosen, lost, colors, noise)
        return ax


def _values(chosen: Selection) -> tuple[list[str], np.ndarray]:
    """Participants and their changes (log2 ratio, or units), largest first, ties by id."""
    pairs = chosen.pairs
    if chosen.kind in RATIO_KINDS:
        values = np.log2(pairs["ratio"].to_numpy(dtype=float))
    else:
        values = pairs["change"].to_numpy(dtype=float)
    people = [str(p) for p in pairs["participant_id"]]
    order = sorted(range(len(people)), key=lambda i: (-values[i], people[i]))
    return [people[i] for i in order], values[order]


def _draw(
    ax: Axes, chosen: Selection, lost: list[tuple[str, str, str]], colors: Hue | None, noise: Drawn | None
) -> None:
    people, values = _values(chosen)
    ratio = chosen.kind in RATIO_KINDS
    n = len(people)
    bars = [colors.color(p) if colors else ACCENT for p in people]
    drawn = ax.bar(np.arange(n), values, color=bars, width=0.78, zorder=3)
    mark(drawn, people)
    limit = np.nan if noise is None else noise.limit
    for bar, value in zip(drawn, values, strict=True):
        bar.set_alpha(_PALE if abs(value) <= limit else None)
    reach = [v for v in (limit, 1.0 if noise is not None and ratio else np.nan) if np.isfinite(v)]
    low, high = min(0.0, float(values.min()), *(-v for v in reach)), max(0.0, float(values.max()), *reach)
    pad = 0.16 * (high - low) or 0.5
    low, high = low - (pad if low < 0 else 0.35 * pad), high + (pad if high > 0 else 0.35 * pad)
    _change_axis(ax, chosen, low, high)
    ax.axhline(0, color=INK, lw=0.9, zorder=4)
    if n <= _MOST_NUMBERED:
        _number_bars(ax, people, values, ratio=ratio)
    shown = lost if len(lost) <= 20 and n + len(lost) <= 70 else []
    if shown:
        _draw_lost(ax, n, shown)
    elif lost:
        _draw_many_lost(ax, n, lost)
    labels = people + [p for p, _, _ in shown]
    at = [*range(n), *(n + 0.6 + i for i in range(len(shown)))]
    end = n + _block_width(n) if lost and not shown else at[-1]
    ax.set_xlim(-0.8, end + 0.8)
    turned = len(labels) > 12 or max(map(len, labels)) > 6
    ax.set_xticks(at, [short_id(p) for p in labels] if len(labels) <= 70 else [""] * len(labels))
    mark(ax.get_xticklabels(), labels)
    ax.tick_params(
        axis="x", length=0, labelsize=name_size(ax, len(labels)), labelrotation=90 if turned else 0
    )
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    despine(ax)
    ax.spines["bottom"].set_visible(False)
    _legend(ax, people, colors)
    told = "" if noise is None else _draw_limits(ax, noise, values)
    words = ", ".join(f"{k} {w}" for w, k in Counter(w for _, w, _ in lost).most_common())
    none = f"; {len(lost)} not evaluable (NE): {words}" if lost else ""
    up = int((values > 0).sum())
    facts = f"{n} pairs: {up} up, {int((values < 0).sum())} down{none}; {chosen.set_name}."
    titles(ax, f"{chosen.label}: change per participant", facts + told)


def _change_axis(ax: Axes, chosen: Selection, low: float, high: float) -> None:
    """Scale and name the axis of the changes: ratios are log2 here, and read as ratios."""
    if chosen.kind in RATIO_KINDS:
        ratio_axis(ax, "y", low, high)
        name = "odds ratio" if chosen.kind == "proportion" else "fold change"
        ax.set_ylabel(f"{name}, {plain(chosen.on, 16)} / {plain(chosen.baseline, 16)}\n(log axis)")
    else:
        ax.set_ylim(low, high)
        linear_axis(ax, "y")
        ax.set_ylabel(f"change ({plain(chosen.row['effect_unit'], 20)})")


def _number_bars(ax: Axes, people: list[str], values: np.ndarray, *, ratio: bool) -> None:
    """Write each change at the end of its bar."""
    for x, value in enumerate(values):
        text = f"{format_number(2.0**value, 2)}×" if ratio else format_number(float(value), 2)
        number = ax.annotate(
            text,
            (x, value),
            xytext=(0, 3 if value >= 0 else -3),
            textcoords="offset points",
            ha="center",
            va="bottom" if value >= 0 else "top",
            fontsize=7,
            zorder=6,
            bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.4, "lw": 0},
        )
        mark(number, people[x])


def _draw_limits(ax: Axes, noise: Drawn, values: np.ndarray) -> str:
    """Draw what noise alone reaches, and 2-fold; returns the line that says so."""
    limit = noise.limit
    # The words stand where the bars do not: at the left, on the side that fewer of them go to.
    side = -1.0 if (values > 0).sum() >= (values < 0).sum() else 1.0
    lines = []
    if noise.ratio:
        for fold in (1.0, -1.0):
            ax.axhline(fold, color=MUTED, lw=1.0, ls=(0, (1, 2)), zorder=2)
        lines.append((side, "2-fold", MUTED))
    if np.isfinite(limit):
        ax.axhspan(-limit, limit, color="#eef3f5", lw=0, zorder=0)
        for end in (limit, -limit):
            ax.axhline(end, color=UP, lw=1.2, ls=(0, (5, 3)), zorder=2)
        shown = f"×/÷ {format_number(2.0**limit, 2)}" if noise.ratio else f"± {format_number(limit, 2)}"
        lines.append((side * limit, f"95 % limit of noise alone, {shown}", UP))
    left = ax.get_xlim()[0]
    for k, (y, said, color) in enumerate(lines):
        # Labels of two lines close to each other stand side by side.
        close = k and abs(abs(y) - 1.0) < 0.08 * float(np.ptp(ax.get_ylim()))
        ax.annotate(
            said,
            (left, y),
            xytext=(44 if close else 4, 2),
            textcoords="offset points",
            fontsize=7.5,
            va="bottom",
            color=color,
            zorder=5,
        )
    if not np.isfinite(limit):
        return f"\n{noise_words(noise.noise).capitalize()}, so no limit is drawn."
    beyond = int((np.abs(values) > limit).sum())
    return f"\n{beyond} beyond the 95 % limits (dashed); {noise_words(noise.noise)}."


def _draw_lost(ax: Axes, n: int, lost: list[tuple[str, str, str]]) -> None:
    ax.axvspan(
        n - 0.2,
        n + 0.6 + len(lost) - 0.4,
        facecolor="#f4f6f7",
        edgecolor="#d5dce0",
        hatch="////",
        lw=0,
        zorder=0,
    )
    for i, (person, word, _) in enumerate(lost):
        x = n + 0.6 + i
        place = ax.text(
            x,
            0.5,
            f"NE · {plain(word, 16)}",
            transform=ax.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="center",
            fontsize=7.5,
            color=MUTED,
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": GRID, "pad": 1.6, "lw": 0.5},
        )
        mark(place, person)


def _block_width(n: int) -> float:
    """Width of the block that stands for many participants without a pair, in bars."""
    return max(4.0, 0.22 * n)


def _draw_many_lost(ax: Axes, n: int, lost: list[tuple[str, str, str]]) -> None:
    """One block for all participants without a change, with their number by reason."""
    end = n + _block_width(n)
    ax.axvspan(n - 0.2, end, facecolor="#f4f6f7", edgecolor="#d5dce0", hatch="////", lw=0, zorder=0)
    words = [f"{k} {w}" for w, k in Counter(w for _, w, _ in lost).most_common()]
    ax.text(
        (n - 0.2 + end) / 2,
        0.6,
        "\n".join([f"{len(lost)} NE", *words]),
        transform=ax.get_xaxis_transform(),
        ha="center",
        va="center",
        fontsize=8,
        color=MUTED,
        bbox={"facecolor": "white", "edgecolor": GRID, "pad": 3.0, "lw": 0.5},
        zorder=5,
    )


def _legend(ax: Axes, people: list[str], colors: Hue | None) -> None:
    if colors is None:
        return
    present = {colors.level(p) for p in people}
    handles = [Patch(color=colors.color_of_level(v), label=v) for v in colors.levels if v in present]
    side_legend(ax, handles, plain(colors.name, 30))
