"""Paired slopes: every participant's value before and on treatment, in natural units."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy import special, stats

from pdbiomarker.decide import Review
from pdbiomarker.plot.decided import Drawn, noise_of, noise_words
from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.numbers import format_interval, format_number, p_equals, p_name
from pdbiomarker.plot.select import LOG_KINDS, RATIO_KINDS, Result, Selection, select, unit_of
from pdbiomarker.plot.style import (
    ACCENT,
    FAINT,
    GRID,
    INK,
    MUTED,
    UP,
    Hue,
    despine,
    empty,
    hue_of,
    linear_axis,
    log_axis,
    new_axes,
    panels_of,
    plain,
    short_id,
    spread,
    style,
    titles,
)

__all__ = ["effect_words", "paired", "paired_by"]

Floats = npt.NDArray[np.float64]
_MAX_IDS: Final = 24
#: Fewer pairs get no interval around their mean: with two it would be wider than the figure.
_MIN_INTERVAL: Final = 3
#: Opacity of lines of participants whose change noise alone could make.
_PALE: Final = 0.32
#: So many times beyond the values a log axis makes room for the intervals of the diamonds.
_ROOM: Final = 3.0


@dataclasses.dataclass(frozen=True)
class _Centre:
    """The middle of the pairs at one visit, in natural units."""

    value: float
    low: float
    high: float


def effect_words(row: pd.Series) -> str:
    """The effect of a row of the result's table in one line, as figures and tables write it.

    Examples
    --------
    ``ratio 2.10 (95 % CI 1.40 to 3.20), Holm p = 0.0028``
    """
    kind = str(row["kind"])
    if str(row["status"]) not in {"ok", "singular"} or pd.isna(row["effect"]):
        note = str(row["note"]) if isinstance(row["note"], str) and row["note"] else "no estimate"
        return f"{str(row['status']).replace('_', ' ')}: {plain(note, 90)}"
    what = "odds ratio" if kind == "proportion" else ("ratio" if kind in RATIO_KINDS else "change")
    unit = "" if kind in RATIO_KINDS else f" {plain(row['effect_unit'], 20)}"
    adjusted = row["q"] if pd.notna(row["q"]) else row["p"]
    name = p_name(row["adjustment"]) if pd.notna(row["q"]) else "p"
    interval = format_interval(row["effect_low"], row["effect_high"])
    return f"{what} {format_number(row['effect'])}{unit} (95 % CI {interval}), {p_equals(name, adjusted)}"


def paired(
    result: Result,
    feature: str,
    *,
    contrast: str | None = None,
    set_: str | None = None,
    hue: str | None = None,
    review: Review | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one line per participant from baseline to on treatment.

    Parameters
    ----------
    result : PDResult
    feature : str
        ``feature`` or ``assay:feature``.
    contrast, set_ : str, optional
        Default: the feature's first contrast, and the primary analysis set.
    hue : str, optional
        A column of the study's participants that colours the lines, such as ``dose_mg``.
    review : Review, optional
        Adds the wedge within which a participant who starts at the middle ends by noise alone (95 %); lines
        of participants within noise are pale.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        Densities, counts and intensities on a log axis, proportions in per cent, scores and signatures as
        they are. Diamonds: geometric mean of the pairs with its 95 % interval (mean on the logit scale for
        proportions, arithmetic mean for scores and signatures; median without interval where a zero or a
        one makes that mean undefined). Open markers: participants with one of the two visits. Without
        evaluable pairs the axes say why. The heading's estimate is the model's, which also uses
        participants with one visit, so it need not be the ratio of the two diamonds.

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
    >>> ax = pb.plot.paired(result, "CYT", hue="dose_mg")
    >>> ax.figure.savefig("paired.png")
    """
    chosen = select(result, feature, contrast, set_)
    colors = hue_of(result.study.participants, hue) if hue is not None else None
    with style():
        ax = new_axes(ax, 6.4, 4.4)
        if chosen.changes.empty:
            return empty(ax, chosen.label, f"No evaluable pairs: {_why(chosen)}")
        unit = unit_of(result, str(chosen.row["assay"]), str(chosen.row["feature"]), chosen.kind)
        ax = _draw(ax, chosen, unit, colors, noise_of(result, review, chosen))
        _draw_limits(ax, result, chosen)
        return ax


def paired_by(
    result: Result,
    feature: str,
    by: str,
    *,
    contrast: str | None = None,
    set_: str | None = None,
    review: Review | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw paired slopes in one panel for each level of a column, such as the dose: readable for many.

    Parameters
    ----------
    result : PDResult
    feature : str
        ``feature`` or ``assay:feature``.
    by : str
        A column of the study's participants; numbers in their order.
    contrast, set_, review, ax
        As in :func:`paired`; here too lines of participants within noise are pale.

    Returns
    -------
    Axes
        Of the first panel. All panels share one scale. Lines, open markers and diamonds are those of
        :func:`paired`; above each panel stand its level and its number of pairs.

    Raises
    ------
    InputError
        The feature, contrast or set is not in the result, or `by` is not a column of the participants.
    """
    chosen = select(result, feature, contrast, set_)
    levels = hue_of(result.study.participants, by)
    noise = noise_of(result, review, chosen)
    with style():
        ax = new_axes(ax, 11.0, 4.4)
        people = [str(p) for p in chosen.changes["participant_id"]]
        present = [v for v in levels.levels if any(levels.level(p) == v for p in people)]
        if not present:
            return empty(ax, chosen.label, f"No evaluable pairs: {_why(chosen)}")
        unit = unit_of(result, str(chosen.row["assay"]), str(chosen.row["feature"]), chosen.kind)
        panels = panels_of(ax, len(present))
        of = [levels.level(p) for p in people]
        pairs = [
            _draw_level(panel, chosen, [v == level for v in of], levels.color_of_level(level), noise=noise)
            for panel, level in zip(panels, present, strict=True)
        ]
        name = "positive cells" if chosen.kind == "proportion" else _axis_word(chosen.kind)
        panels[0].set_ylabel(f"{name} ({plain(unit, 24)})")
        unit_of_level = " mg" if by.endswith("_mg") else ""
        for k, (panel, level, n) in enumerate(zip(panels, present, pairs, strict=True)):
            said = f"{plain(level, 16)}{unit_of_level if level != 'not recorded' else ''}\n{n} pairs"
            panel.annotate(
                said, (0.5, 1), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points",
                ha="center", va="bottom", fontsize=9, fontweight="bold", color=levels.color_of_level(level),
            )  # fmt: skip
            _draw_limits(panel, result, chosen, named=k == 0)
            if k:
                panel.tick_params(axis="y", labelleft=False)
        unpaired = len(people) - sum(pairs)
        open_ = f", {unpaired} with one visit only (open)" if unpaired else ""
        pale = f"\nPale lines: within 95 % of noise; {noise_words(noise.noise)}." if noise is not None else ""
        facts = f"{sum(pairs)} pairs{open_}; {chosen.set_name}. {_heading(chosen.row)}.{pale}"
        titles(panels[0], f"{chosen.label} by {plain(levels.name, 30)}", facts, lift=28.0, across=True)
        return panels[0]


def _draw_level(ax: Axes, chosen: Selection, own: list[bool], color: str, *, noise: Drawn | None) -> int:
    """Draw the participants of one level on the scale of all; returns the number of pairs."""
    factor = 100.0 if chosen.kind == "proportion" else 1.0
    every = chosen.changes[["baseline_value", "on_value"]].to_numpy(dtype=float) * factor
    zero_at = _set_axis(ax, chosen.kind, every.ravel())
    rows = np.asarray(own, dtype=bool)
    before, after = every[rows].T
    both = np.isfinite(before) & np.isfinite(after)
    people = [str(p) for p in chosen.changes["participant_id"][rows]]
    within = _within_noise(noise)
    shown_before, shown_after = (np.where(v <= 0, zero_at, v) if zero_at else v for v in (before, after))
    for person, one, x, y in zip(people, both, shown_before, shown_after, strict=True):
        if one:
            drawn = ax.plot([0, 1], [x, y], color=color, marker="o", ms=4.5, mec="white", mew=0.5,
                            alpha=_PALE if person in within else 0.9, zorder=3)  # fmt: skip
        else:
            at, value = (0, x) if np.isfinite(x) else (1, y)
            drawn = ax.plot([at], [value], ls="", marker="o", ms=5, mfc="white", mec=color, mew=1.2, zorder=3)
        mark(drawn, person)
    if both.any():
        _draw_centres(ax, chosen.kind, before[both], after[both], factor)
    ax.set_xlim(-0.75, 1.75)
    ax.set_xticks([0, 1], [plain(chosen.baseline, 10), plain(chosen.on, 10)])
    ax.tick_params(axis="x", length=0, pad=6)
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    despine(ax)
    return int(both.sum())


def _draw_limits(ax: Axes, result: Result, chosen: Selection, *, named: bool = True) -> None:
    """Draw the limits of quantification that the assay states for the feature, where they lie on the axis."""
    adata = getattr(result.study, "assays", {}).get(chosen.row["assay"])
    feature = str(chosen.row["feature"])
    if adata is None or feature not in adata.var.index:
        return
    low, high = ax.get_ylim()
    for column, word, end in (("lloq", "LLOQ", low), ("uloq", "ULOQ", high)):
        limit = adata.var[column].get(feature, np.nan) if column in adata.var.columns else np.nan
        if pd.isna(limit) or not low < float(limit) < high:
            continue
        ax.axhspan(min(end, float(limit)), max(end, float(limit)), facecolor="#eef1f3", lw=0, zorder=0)
        ax.axhline(float(limit), color=MUTED, lw=1.0, ls=(0, (4, 3)), zorder=1)
        if named:
            ax.annotate(
                f"{word} {float(limit):g}", (0, float(limit)), xycoords=ax.get_yaxis_transform(),
                xytext=(3, 2), textcoords="offset points", fontsize=7.5, color=MUTED, va="bottom",
            )  # fmt: skip


def _why(chosen: Selection) -> str:
    note = chosen.row["note"]
    return str(note) if isinstance(note, str) and note else "no participant has a value at either visit."


def _draw(ax: Axes, chosen: Selection, unit: str, colors: Hue | None, noise: Drawn | None) -> Axes:
    factor = 100.0 if chosen.kind == "proportion" else 1.0
    before = chosen.changes["baseline_value"].to_numpy(dtype=float) * factor
    after = chosen.changes["on_value"].to_numpy(dtype=float) * factor
    both = np.isfinite(before) & np.isfinite(after)
    whiskers = _whiskers(chosen.kind, before, after, factor)
    zero_at = _set_axis(ax, chosen.kind, np.concatenate([before, after, whiskers]))
    shown_before, shown_after = (np.where(v <= 0, zero_at, v) if zero_at else v for v in (before, after))
    people = [str(p) for p in chosen.changes["participant_id"]]
    within = _within_noise(noise)
    wedge = "" if noise is None else _draw_wedge(ax, noise, before[both], factor)
    for i, person in enumerate(people):
        color = colors.color(person) if colors else ACCENT
        marker = colors.marker(person) if colors else "o"
        if both[i]:
            drawn = ax.plot(
                [0, 1],
                [shown_before[i], shown_after[i]],
                color=color,
                marker=marker,
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.6,
                alpha=_PALE if person in within else 0.9,
                zorder=3,
            )
        else:
            x, y = (0, shown_before[i]) if np.isfinite(before[i]) else (1, shown_after[i])
            drawn = ax.plot(
                [x], [y], ls="", marker=marker, markersize=5.5, mfc="white", mec=color, mew=1.2, zorder=3
            )
        mark(drawn, person)
    centre_name = _draw_centres(ax, chosen.kind, before[both], after[both], factor)
    _label_people(ax, people, shown_after, colors)
    _legend(ax, people, colors, both=both, centre=centre_name)
    ax.set_xlim(-0.38, 1.68)
    ax.set_xticks([0, 1], [plain(chosen.baseline, 24), plain(chosen.on, 24)])
    ax.tick_params(axis="x", length=0, pad=6, labelsize=9.5)
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    name = "positive cells" if chosen.kind == "proportion" else _axis_word(chosen.kind)
    ax.set_ylabel(f"{name} ({plain(unit, 24)})")
    despine(ax)
    n_unpaired = int((~both).sum())
    unpaired = f", {n_unpaired} with one visit only (open)" if n_unpaired else ""
    facts = f"{int(both.sum())} pairs{unpaired}; {chosen.set_name}.\n"
    titles(ax, chosen.label, facts + _heading(chosen.row) + wedge)
    return ax


def _within_noise(noise: Drawn | None) -> frozenset[str]:
    """Participants whose change noise alone could make."""
    if noise is None or not np.isfinite(noise.limit):
        return frozenset()
    rows = noise.table("responders")
    return frozenset(rows.loc[rows["change"].notna() & ~rows["beyond_noise"].astype(bool), "participant_id"])


def _draw_wedge(ax: Axes, noise: Drawn, before: Floats, factor: float) -> str:
    """Draw where noise alone takes a participant who starts at the middle; returns the line that says so."""
    if not np.isfinite(noise.limit) or not before.size or noise.noise is None:
        return f"\n{noise_words(noise.noise).capitalize()}."
    kind, limit = noise.chosen.kind, float(noise.noise["rcv"])
    centre = _centre(kind, before, factor)[0].value
    if kind in LOG_KINDS:
        ends = [centre * 2.0**-limit, centre * 2.0**limit]
    elif kind == "proportion":
        ends = [factor * float(special.expit(special.logit(centre / factor) + v)) for v in (-limit, limit)]
    else:
        ends = [centre - limit, centre + limit]
    low, high = ax.get_ylim()
    ax.fill_between([0, 1], [centre, ends[0]], [centre, ends[1]], color=UP, alpha=0.10, lw=0, zorder=1)
    ax.set_ylim(min(low, ends[0]), max(high, ends[1]))
    return f"\nWedge and pale lines: within 95 % of noise; {noise_words(noise.noise)}."


def _heading(row: pd.Series) -> str:
    """The effect as the figure's heading tells it: an estimate is the model's, not that of the diamonds."""
    text = effect_words(row)
    return f"Model: {text}" if pd.notna(row["effect"]) else text[:1].upper() + text[1:]


def _axis_word(kind: str) -> str:
    words = {"count": "expression", "density": "density", "score": "score", "signature": "score"}
    return words.get(kind, "value")


def _set_axis(ax: Axes, kind: str, values: Floats) -> float:
    """Set the y axis; returns where zeros are drawn on a log axis (0: there are none)."""
    known = values[np.isfinite(values)]
    if kind not in LOG_KINDS or not (known > 0).any():
        low, high = float(known.min()), float(known.max())
        pad = 0.08 * (high - low) or max(abs(high) * 0.1, 0.5)
        bottom = max(low - pad, -0.02 * high) if kind in {"proportion", "score"} else low - pad
        ax.set_ylim(bottom, high + pad)
        linear_axis(ax, "y")
        return 0.0
    low, high = float(known[known > 0].min()), float(known.max())
    zero_at = low / 2.2 if (known <= 0).any() else 0.0
    floor = zero_at or low
    room = max((high / floor) ** 0.06, 1.1)
    log_axis(ax, "y", floor / room, high * room)
    if zero_at:
        ax.axhline(zero_at, color=GRID, lw=5, zorder=0)
        ax.annotate(
            "0",
            (0, zero_at),
            xycoords=("axes fraction", "data"),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8.5,
        )
        locations = [t for t in ax.yaxis.get_majorticklocs() if t > zero_at * 1.3]
        ax.set_yticks(locations, [f"{t:,.0f}" if t >= 1000 else f"{t:.4g}" for t in locations])
    return zero_at


def _centre(kind: str, values: Floats, factor: float) -> tuple[_Centre, str]:
    """The middle of values (natural units) and its name."""
    if kind in LOG_KINDS:
        if (values > 0).all():
            mean = _mean(np.log(values))
            return _Centre(*(float(np.exp(v)) for v in mean)), "geometric mean of the pairs, 95 % CI"
    elif kind == "proportion":
        if ((values > 0) & (values < factor)).all():
            mean = _mean(special.logit(values / factor))
            return _Centre(
                *(float(special.expit(v)) * factor for v in mean)
            ), "mean (logit) of the pairs, 95 % CI"
    else:
        return _Centre(*_mean(values)), "mean of the pairs, 95 % CI"
    return _Centre(float(np.median(values)), np.nan, np.nan), "median of the pairs"


def _mean(values: Floats) -> tuple[float, float, float]:
    n = values.size
    mean = float(values.mean())
    if n < _MIN_INTERVAL:
        return mean, np.nan, np.nan
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def _whiskers(kind: str, before: Floats, after: Floats, factor: float) -> Floats:
    """Ends of the intervals of the diamonds, as far as the axis makes room for them beyond the values.

    An interval of few pairs can be a hundred times as wide as they are: it is then cut by the axis.
    """
    both = np.isfinite(before) & np.isfinite(after)
    values = np.concatenate([before, after])
    values = values[np.isfinite(values)]
    if not both.any() or not values.size:
        return np.empty(0)
    centres = [_centre(kind, v[both], factor)[0] for v in (before, after)]
    ends = np.array([v for c in centres for v in (c.low, c.high)])
    low, high = float(values.min()), float(values.max())
    if kind in LOG_KINDS:
        low, high = (low / _ROOM, high * _ROOM) if low > 0 else (low, high * _ROOM)
    else:
        low, high = low - 0.5 * (high - low), high + 0.5 * (high - low)
    if kind == "proportion":
        low, high = max(low, 0.0), min(high, factor)
    return np.asarray(np.clip(ends[np.isfinite(ends)], low, high))


def _draw_centres(ax: Axes, kind: str, before: Floats, after: Floats, factor: float) -> str:
    if not before.size:
        return ""
    (first, name), (second, name_2) = _centre(kind, before, factor), _centre(kind, after, factor)
    if name != name_2:
        first, second = (_Centre(float(np.median(v)), np.nan, np.nan) for v in (before, after))
        name = "median of the pairs"
    if not np.isfinite(first.low):
        name = name.removesuffix(", 95 % CI")
    for x, centre, side in ((-0.13, first, -1), (1.42, second, 1)):
        if np.isfinite(centre.low):
            ax.plot([x, x], [centre.low, centre.high], color=INK, lw=1.6, solid_capstyle="butt", zorder=4)
        if np.isfinite(centre.value) and (kind not in LOG_KINDS or centre.value > 0):
            ax.plot([x], [centre.value], marker="D", ms=6, color=INK, mec="white", mew=0.8, zorder=5)
            ax.annotate(
                format_number(centre.value),
                (x, centre.value),
                xytext=(7 * side, 0),
                textcoords="offset points",
                ha="right" if side < 0 else "left",
                va="center",
                fontsize=8.5,
                fontweight="bold",
            )
    return name


def _label_people(ax: Axes, people: list[str], after: Floats, colors: Hue | None) -> None:
    """Write participant ids at the right end of the lines, apart from each other."""
    rows = [i for i in range(len(people)) if np.isfinite(after[i])]
    if not rows or len(people) > _MAX_IDS:
        return
    at = ax.transAxes.inverted().transform(ax.transData.transform([(1.0, after[i]) for i in rows]))[:, 1]
    placed = spread(np.asarray(at, dtype=float), 0.043, 0.0, 1.0)
    for i, y_to in zip(rows, placed, strict=True):
        color = colors.color(people[i]) if colors else MUTED
        y_data = ax.transData.inverted().transform(ax.transAxes.transform((0, y_to)))[1]
        thread = ax.plot([1.015, 1.07], [after[i], y_data], color=FAINT, lw=0.5, zorder=1)
        name = ax.text(1.08, y_data, short_id(people[i]), fontsize=7, va="center", color=color, zorder=4)
        mark([*thread, name], people[i])


def _legend(
    ax: Axes, people: list[str], colors: Hue | None, *, both: npt.NDArray[np.bool_], centre: str
) -> None:
    handles: list[Line2D] = []
    if colors is not None:
        present = {colors.level(p) for p in people}
        handles += [
            Line2D(
                [],
                [],
                color=colors.color_of_level(v),
                marker=colors.marker_of_level(v),
                label=v,
                mec="white",
                mew=0.6,
            )
            for v in colors.levels
            if v in present
        ]
    if not both.all():
        handles.append(
            Line2D([], [], ls="", marker="o", mfc="white", mec=MUTED, mew=1.2, label="one visit only")
        )
    if centre:
        handles.append(
            Line2D(
                [],
                [],
                ls="",
                marker="D",
                color=INK,
                mec="white",
                label=centre.replace(" of the pairs", "\nof the pairs"),
            )
        )
    if handles:
        title = plain(colors.name, 30) if colors is not None else None
        ax.legend(
            handles=handles,
            title=title,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0.0,
            alignment="left",
            handlelength=1.6,
        )
