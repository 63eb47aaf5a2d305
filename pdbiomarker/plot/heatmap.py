"""Heat map of change: participants by features, with the reason where there is nothing to show."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from pdbiomarker.decide import Review
from pdbiomarker.plot.decided import noise_of
from pdbiomarker.plot.marks import mark, mark_band
from pdbiomarker.plot.select import (
    RATIO_KINDS,
    Result,
    Selection,
    changes_of,
    contrast_visits,
    effect_unit,
    find_feature,
    not_evaluable,
    primary_set,
    rows_of,
    set_label,
)
from pdbiomarker.plot.style import (
    DOWN,
    GRID,
    INK,
    MUTED,
    UP,
    empty,
    hue_of,
    new_axes,
    plain,
    short_id,
    style,
    titles,
)

__all__ = ["change_heatmap", "heatmap_features"]

Floats = npt.NDArray[np.float64]
#: Assays with more features (genes) are left out unless their features are named.
_PANEL: Final = 200
_MOST: Final = 40
#: One hatching for each reason; rarer reasons share the last.
_HATCHES: Final = ("////", "\\\\\\\\", "xxxx", "....", "||||")
_LEVEL: Final = 0.95


@dataclasses.dataclass(frozen=True, eq=False)
class _Row:
    """One feature: its changes as drawn, the limit of noise on that scale, and who has none, why."""

    name: str
    values: dict[str, float]
    limit: float
    lost: dict[str, str]


def heatmap_features(result: Result, contrast: str | None = None) -> list[str]:
    """The features a heat map shows by default: ``assay:feature``, the primary family first, then as listed.

    Those of assays with at most 200 features that have a change of somebody; at most 40.
    """
    table = _rows(result, contrast)
    sizes = table.groupby("assay")["feature"].nunique()
    table = table[table["assay"].map(sizes) <= _PANEL]
    first = table["family"].ne("primary").to_numpy()
    ordered = table.iloc[np.argsort(first, kind="stable")]
    have = result.changes[result.changes["assay"].isin(set(table["assay"]))]
    have = have[have["change"].notna()]
    known = set(zip(have["assay"], have["feature"], strict=True))
    names = list(dict.fromkeys(zip(ordered["assay"], ordered["feature"], strict=True)))
    return [f"{a}:{f}" for a, f in names if (a, f) in known][:_MOST]


def _rows(result: Result, contrast: str | None, set_: str | None = None) -> pd.DataFrame:
    table = result.table
    table = table[table["set"] == (set_ or primary_set(table))]
    wanted = contrast if contrast is not None else (table["contrast"].iloc[0] if len(table) else None)
    return table[table["contrast"] == wanted]


def change_heatmap(
    result: Result,
    features: Sequence[str] | None = None,
    *,
    contrast: str | None = None,
    set_: str | None = None,
    hue: str | None = "dose_mg",
    review: Review | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw every participant's change of every feature: orange rises, blue falls, hatched is missing.

    Parameters
    ----------
    result : PDResult
    features : sequence of str, optional
        ``feature`` or ``assay:feature``; default: those of :func:`heatmap_features`.
    contrast, set_ : str, optional
        Default: the first contrast, and the primary analysis set.
    hue : str or None
        A column of the participants that groups them, such as ``dose_mg``; None, or a column that is not
        there: one group.
    review : Review, optional
        Adds a dot to each change beyond the 95 % limits of noise, for features whose noise is known.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        Participants across, by `hue`, then by the change of the first feature, largest first; those
        without it last. Features down. Log2 of ratios (of odds ratios for proportions) where every feature
        has such a scale or a unit of log2; else each change is divided by the standard deviation of the
        feature's changes, not centred, so that white is no change. Each reason for a missing change has
        its own hatching, named and counted in the legend. The colour scale ends at the 95th percentile of
        the absolute changes; beyond it the colour does not grow.

    Raises
    ------
    InputError
        A feature is not in the result.
    """
    names = heatmap_features(result, contrast) if features is None else list(features)
    found = [find_feature(result, name) for name in names]
    table = _rows(result, contrast, set_)
    with style():
        title = "Change of each participant"
        if not found or table.empty or not len(result.study.participants):
            return empty(new_axes(ax, 7.6, 2.6), title, "No participant has a change of a feature.")
        logs = all(_is_log(result, table, a, f) for a, f in found)
        read = [_row(result, table, ref, review=review, logs=logs) for ref in found]
        rows = [row for row in read if row is not None]
        people, groups = _order(result, rows, hue)
        ax = new_axes(ax, min(13.0, 3.6 + 0.17 * len(people)), 2.4 + 0.26 * len(rows))
        if not any(np.isfinite(list(row.values.values())).any() for row in rows):
            return empty(ax, title, "No participant has a change of a feature.")
        _draw(ax, rows, people, logs)
        _groups(ax, groups, hue)
        titles(ax, title, _facts(result, table, rows, people, review=review), lift=16.0 if groups else 0.0)
        return ax


def _is_log(result: Result, table: pd.DataFrame, assay: str, feature: str) -> bool:
    row = rows_of(table, assay, feature).head(1)
    if row.empty or row["kind"].iloc[0] in RATIO_KINDS:
        return True
    return effect_unit(result, row.iloc[0]).startswith("log2")


def _row(
    result: Result,
    table: pd.DataFrame,
    ref: tuple[str, str],
    *,
    review: Review | None,
    logs: bool,
) -> _Row | None:
    """Read one feature."""
    assay, feature = ref
    rows = rows_of(table, assay, feature)
    if rows.empty:
        return None
    row = rows.iloc[0]
    own = changes_of(result, row)
    chosen = Selection(
        row, own, *contrast_visits(result, str(row["contrast"])), set_label(str(row["set"]), result)
    )
    pairs = chosen.pairs
    values = pairs["change"].to_numpy(dtype=float)
    shown = values / np.log(2.0) if chosen.kind == "proportion" else values
    noise = noise_of(result, review, chosen)
    limit = np.nan if noise is None else noise.limit
    if not logs:
        spread = float(shown.std(ddof=1)) if shown.size > 1 else np.nan
        shown, limit = (
            (shown / spread, limit / spread) if spread > 0 else (np.full(shown.size, np.nan), np.nan)
        )
    lost = {person: word for person, word, _ in not_evaluable(result, chosen)}
    people = [str(p) for p in pairs["participant_id"]]
    return _Row(chosen.label, dict(zip(people, shown.tolist(), strict=True)), limit, lost)


def _order(result: Result, rows: Sequence[_Row], hue: str | None) -> tuple[list[str], list[tuple[str, int]]]:
    """Participants in their order, and the groups they stand in: (level, how many)."""
    people = sorted(str(p) for p in result.study.participants.index)
    first = rows[0].values if rows else {}

    def rank(person: str) -> tuple[int, float, str]:
        value = first.get(person, np.nan)
        place = levels.index(of.level(person)) if of is not None else 0
        return (place, -value if np.isfinite(value) else np.inf, person)

    known = hue is not None and hue in result.study.participants.columns
    of = hue_of(result.study.participants, str(hue)) if known else None
    levels = list(of.levels) if of is not None else []
    people = sorted(people, key=rank)
    if of is None:
        return people, []
    counts = Counter(of.level(p) for p in people)
    return people, [(level, counts[level]) for level in levels if counts[level]]


def _draw(ax: Axes, rows: Sequence[_Row], people: Sequence[str], logs: bool) -> None:
    grid = np.array([[row.values.get(p, np.nan) for p in people] for row in rows], dtype=float)
    known = np.abs(grid[np.isfinite(grid)])
    top = max(1.0, float(np.ceil(np.quantile(known, _LEVEL))))
    colors = mpl.colors.LinearSegmentedColormap.from_list("change", [DOWN, "#f7f7f7", UP])
    ax.set_xlim(-0.5, len(people) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    mesh = ax.pcolormesh(
        np.arange(len(people) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5, np.ma.masked_invalid(grid),
        cmap=colors, vmin=-top, vmax=top, edgecolors="white", linewidth=0.8, zorder=2,
    )  # fmt: skip
    handles: list[Artist] = [*_missing(ax, rows, people, grid)]
    for x, person in enumerate(people):
        mark_band(ax, (x - 0.5, -0.5), (1, len(rows)), person, lw=1.6)
    beyond = np.abs(grid) > np.array([row.limit for row in rows])[:, None]
    if beyond.any():
        at_y, at_x = np.nonzero(beyond)
        strong = np.abs(grid[at_y, at_x]) > 0.7 * top
        ax.scatter(at_x, at_y, s=11, c=["white" if s else INK for s in strong], lw=0, zorder=4, gid="beyond")
        handles = [
            mpl.lines.Line2D([], [], ls="", marker="o", ms=3.5, color=INK, label="beyond noise"),
            *handles,
        ]
    ax.set_yticks(range(len(rows)), [plain(row.name, 34) for row in rows])
    size = min(8.0, max(5.0, 60.0 * 8.0 / max(len(people), 1)))
    ax.set_xticks(range(len(people)), [short_id(p) for p in people], rotation=90)
    ax.tick_params(axis="x", length=0, labelsize=size)
    mark(ax.get_xticklabels(), list(people))
    ax.tick_params(axis="y", length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    fig = ax.get_figure(root=True)
    if fig is not None:
        bar = fig.colorbar(mesh, ax=ax, shrink=0.9, aspect=14, pad=0.015, extend="both")
        step = top / 2 if top % 2 == 0 else (1.0 if top <= 3 else top)
        ticks = np.arange(-top, top + step / 2, step).tolist()
        bar.set_ticks(ticks, labels=[_tick(v, logs) for v in ticks])
        bar.set_label("log2 ratio (fold change)" if logs else "change / SD of changes")
        bar.outline.set_visible(False)
    if handles:
        ax.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.0, -0.02), bbox_transform=_below(ax),
            ncols=min(len(handles), 4), borderaxespad=0.0, handlelength=1.6, columnspacing=1.4,
        )  # fmt: skip


def _below(ax: Axes) -> Any:
    """Axes coordinates whose lower edge lies under the names of the participants."""
    longest = max((len(t.get_text()) for t in ax.get_xticklabels()), default=0)
    drop = 0.62 * longest * float(ax.get_xticklabels()[0].get_fontsize()) + 8 if longest else 0.0
    fig = ax.get_figure(root=True)
    shift = mpl.transforms.ScaledTranslation(0, -drop / 72, fig.dpi_scale_trans) if fig is not None else None
    return ax.transAxes + shift if shift is not None else ax.transAxes


def _tick(value: float, logs: bool) -> str:
    number = f"{value:+g}".replace("-", "−") if value else "0"
    if not logs:
        return number
    return f"{number} ({2.0**value:.3g}×)" if value >= 0 else f"{number} (1/{2.0**-value:.3g})"


def _missing(ax: Axes, rows: Sequence[_Row], people: Sequence[str], grid: Floats) -> list[Artist]:
    """Hatch what is missing, one hatching a reason; returns the legend, the most frequent reason first."""
    empty_cells = [(y, x) for y, x in zip(*np.nonzero(~np.isfinite(grid)), strict=True)]
    words = {(y, x): rows[y].lost.get(people[x], "no value") for y, x in empty_cells}
    counts = Counter(words.values())
    order = sorted(counts, key=lambda word: (-counts[word], word))
    hatch = {word: _HATCHES[min(k, len(_HATCHES) - 1)] for k, word in enumerate(order)}
    for (y, x), word in words.items():
        ax.add_artist(  # inside the cells: no patch, whose limits would be looked for
            Rectangle(
                (x - 0.5, y - 0.5), 1, 1, facecolor="#f4f6f7", edgecolor="#9aa7ae", hatch=hatch[word], lw=0.0,
                zorder=1, gid="missing",
            )
        )  # fmt: skip
    return [
        Patch(
            facecolor="#f4f6f7",
            edgecolor="#9aa7ae",
            hatch=hatch[w],
            lw=0,
            label=f"{plain(w, 24)} ({counts[w]})",
        )
        for w in order
    ]


def _groups(ax: Axes, groups: Sequence[tuple[str, int]], hue: str | None) -> None:
    """Name the groups above the cells and part them by a white line."""
    unit = " mg" if hue is not None and hue.endswith("_mg") else ""
    start = 0
    for level, n in groups:
        name = level if level == "not recorded" else f"{plain(level, 14)}{unit}"
        middle = start + n / 2 - 0.5
        ax.plot(
            [start - 0.4, start + n - 0.6], [1.012, 1.012], transform=ax.get_xaxis_transform(), color=MUTED,
            lw=1.6, clip_on=False, solid_capstyle="butt",
        )  # fmt: skip
        ax.annotate(
            name, (middle, 1.012), xycoords=ax.get_xaxis_transform(), xytext=(0, 2.5),
            textcoords="offset points", ha="center", va="bottom", fontsize=8.5, fontweight="bold", color=INK,
        )  # fmt: skip
        if start:
            ax.axvline(start - 0.5, color=GRID, lw=2.4, zorder=3)
        start += n


def _s(n: int) -> str:
    return f"{n} feature{'' if n == 1 else 's'}"


def _facts(
    result: Result, table: pd.DataFrame, rows: Sequence[_Row], people: Sequence[str], *, review: Review | None
) -> str:
    values = np.concatenate([np.array(list(row.values.values()), dtype=float) for row in rows])
    known = values[np.isfinite(values)]
    set_name = set_label(str(table["set"].iloc[0]), result)
    up, down = int((known > 0).sum()), int((known < 0).sum())
    facts = (
        f"{len(people)} participants, {_s(len(rows))}; {known.size} changes: {up} up, {down} down; "
        f"{len(people) * len(rows) - known.size} missing (hatched); {set_name}."
    )
    held = [row for row in rows if np.isfinite(row.limit)]
    if review is None or not held:
        return facts
    n = sum(abs(v) > row.limit for row in held for v in row.values.values())
    known_for = f"known for {len(held)} of {_s(len(rows))}"
    return f"{facts}\nDots: {n} changes beyond the 95 % limits of noise, {known_for}."
