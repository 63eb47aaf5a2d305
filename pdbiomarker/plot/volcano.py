"""Volcano: estimate against evidence for every feature of an assay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from pdbiomarker.plot.numbers import p_name
from pdbiomarker.plot.select import (
    RATIO_KINDS,
    Result,
    contrast_visits,
    effect_unit,
    primary_set,
    refuse,
    set_label,
    sets_of,
)
from pdbiomarker.plot.style import (
    DOWN,
    FAINT,
    INK,
    MUTED,
    UP,
    despine,
    empty,
    linear_axis,
    new_axes,
    plain,
    style,
    titles,
)

__all__ = ["volcano"]

Floats = npt.NDArray[np.float64]
#: Where the axis of -log10 p ends.
MAX_LOG_P: Final = 300.0
_OFFSETS: Final = (
    (6, 4),
    (-6, 4),
    (6, -5),
    (-6, -5),
    (0, 9),
    (0, -10),
    (14, 9),
    (-14, 9),
    (18, -12),
    (-18, -12),
    (26, 14),
    (-26, 14),
    (30, 0),
    (-30, 0),
    (0, 18),
)


def volcano(
    result: Result,
    assay: str | None = None,
    *,
    contrast: str | None = None,
    set_: str | None = None,
    level: float = 0.05,
    labels: int = 15,
    ax: Axes | None = None,
) -> Axes:
    """Draw the estimate of every feature against its p-value.

    Parameters
    ----------
    result : PDResult
    assay : str, optional
        Default: the assay with the most features.
    contrast, set_ : str, optional
        Default: the first contrast and the primary analysis set of the assay.
    level : float
        Features whose adjusted p lies below it are coloured.
    labels : int
        How many features with the smallest p to name, at most; a name that would cover another is left out.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        The subtitle counts features tested, coloured, and not tested. Points are drawn as an image, so a
        figure of 20,000 features stays small.

    Raises
    ------
    InputError
        The assay, contrast or set is not in the result.
    """
    table = result.table
    sizes = table["assay"].value_counts()
    if assay is not None and assay not in sizes.index:
        known = sorted(map(str, sizes.index))
        raise refuse(f"The result has no assay {assay!r}.", assay, known, "assay")
    with style():
        ax = new_axes(ax, 7.2, 5.2)
        if table.empty:
            return empty(ax, "Volcano", "The result has no features.")
        chosen = assay if assay is not None else str(sizes.index[0])
        rows = _chosen(table[table["assay"] == chosen], contrast, set_)
        rows = rows.assign(set_name=set_label(str(rows["set"].iloc[0]), result))
        tested = rows[rows["p"].notna() & rows["estimate"].notna()]
        if tested.empty:
            return empty(
                ax, f"{plain(chosen)}: all features", f"None of {len(rows):,} features could be tested."
            )
        baseline, on = contrast_visits(result, str(rows["contrast"].iloc[0]))
        title = f"{plain(chosen, 24)}, every feature: {plain(on, 20)} against {plain(baseline, 20)}"
        _draw(ax, rows, tested, level, title)
        if str(rows["kind"].iloc[0]) not in RATIO_KINDS:
            ax.set_xlabel(f"change ({plain(effect_unit(result, rows.iloc[0]), 20)})")
        if labels > 0:
            _label(ax, tested, level, labels)
        return ax


def _chosen(rows: pd.DataFrame, contrast: str | None, set_: str | None) -> pd.DataFrame:
    """Rows of one contrast and one set, by default the first contrast and the primary set."""
    contrasts = [str(c) for c in dict.fromkeys(rows["contrast"].tolist())]
    if contrast is not None and contrast not in contrasts:
        raise refuse(f"The assay has no contrast {contrast!r}.", contrast, contrasts, "contrast")
    rows = rows[rows["contrast"] == (contrast if contrast is not None else contrasts[0])]
    sets = sets_of(rows)
    if set_ is not None and set_ not in sets:
        raise refuse(f"The assay has no analysis set {set_!r}.", set_, sets, "set")
    return rows[rows["set"] == (set_ if set_ is not None else primary_set(rows))]


def _draw(ax: Axes, rows: pd.DataFrame, tested: pd.DataFrame, level: float, title: str) -> None:
    x = tested["estimate"].to_numpy(dtype=float)
    p = tested["p"].to_numpy(dtype=float)
    y = np.minimum(-np.log10(np.maximum(p, 10.0**-MAX_LOG_P)), MAX_LOG_P)
    q = tested["q"].to_numpy(dtype=float)
    called = np.isfinite(q) & (q < level)
    many = len(tested) > 3000
    size = 5 if many else 16
    groups = ((~called, FAINT, 0.55), (called & (x > 0), UP, 0.85), (called & (x <= 0), DOWN, 0.85))
    for mask, color, alpha in groups:
        ax.scatter(
            x[mask],
            y[mask],
            s=size if color == FAINT else size * 2,
            c=color,
            alpha=alpha,
            lw=0,
            rasterized=len(tested) > 500,
            zorder=2 if color == FAINT else 3,
        )
    reach = float(np.abs(x).max()) * 1.12 or 1.0
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-0.02 * y.max(), y.max() * 1.1 + 0.2)
    linear_axis(ax, "x")
    linear_axis(ax, "y")
    ax.axvline(0, color=FAINT, lw=0.8, zorder=1)
    ax.set_xlabel("log2 fold change")
    ax.set_ylabel("−log10 p")
    despine(ax)
    name = p_name(next((a for a in tested["adjustment"] if isinstance(a, str) and a), None))
    up, down = int((called & (x > 0)).sum()), int((called & (x <= 0)).sum())
    limit = float(p[called].max()) if called.any() else None
    if limit is not None:
        ax.axhline(-np.log10(max(limit, 1e-300)), color=MUTED, lw=0.7, ls=(0, (4, 3)), zorder=1)
        ax.annotate(
            f"{name} < {level:g}",
            (1, -np.log10(max(limit, 1e-300))),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=7.5,
            color=MUTED,
        )
    left_out = len(rows) - len(tested)
    why = f", {left_out:,} not tested (listed with the reason)" if left_out else ""
    pairs = rows["n_pairs"].dropna()
    n = f"; {int(pairs.max())} pairs" if len(pairs) else ""
    facts = (
        f"{len(tested):,} features tested{why}{n}; {rows['set_name'].iloc[0]}. "
        f"{name} < {level:g}: {up:,} up, {down:,} down."
    )
    titles(ax, title, facts)


def _label(ax: Axes, tested: pd.DataFrame, level: float, labels: int) -> None:
    """Name the features with the smallest p."""
    x, p, q = (tested[c].to_numpy(dtype=float) for c in ("estimate", "p", "q"))
    y = np.minimum(-np.log10(np.maximum(p, 10.0**-MAX_LOG_P)), MAX_LOG_P)
    called = np.isfinite(q) & (q < level)
    order = np.lexsort((tested["feature"].to_numpy(dtype=str), p))[:labels]
    names = [
        plain(lab if isinstance(lab, str) and lab else f, 18)
        for lab, f in zip(tested["label"].iloc[order], tested["feature"].iloc[order], strict=True)
    ]
    crowd = np.column_stack([x[called], y[called]])[:400]
    _name_points(ax, x[order], y[order], names, crowd)


def _name_points(ax: Axes, x: Floats, y: Floats, names: Sequence[str], crowd: Floats) -> None:
    """Name points one after the other, each at the first place beside it that covers nothing.

    A name that finds no place is left out: the table has it.
    """
    fig = ax.get_figure(root=True)
    if fig is None or not names:
        return
    renderer = FigureCanvasAgg(fig).get_renderer()  # type: ignore[no-untyped-call]
    frame = ax.get_window_extent(renderer)
    scale = fig.dpi / 72.0
    points = ax.transData.transform(np.vstack([np.column_stack([x, y]), crowd]))
    taken: list[Bbox] = []
    for i, name in enumerate(names):
        text = ax.annotate(
            name,
            (x[i], y[i]),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=7.5,
            color=INK,
            zorder=6,
            annotation_clip=False,
        )
        box = text.get_window_extent(renderer)
        place = _free_place(points, i, (box.width, box.height), taken, (frame, scale))
        if place is None:
            text.remove()
            continue
        (dx, dy), where = place
        taken.append(where)
        text.set(ha="left" if dx > 0 else ("right" if dx < 0 else "center"), va="center")
        text.xyann = (dx, dy)
        if abs(dx) > 10 or abs(dy) > 12:
            ax.annotate(
                "",
                (x[i], y[i]),
                xytext=(dx, dy),
                textcoords="offset points",
                zorder=5,
                arrowprops={"arrowstyle": "-", "color": FAINT, "lw": 0.6, "shrinkA": 1, "shrinkB": 2},
            )


def _free_place(
    points: Floats, i: int, size: tuple[float, float], taken: Sequence[Bbox], canvas: tuple[Bbox, float]
) -> tuple[tuple[float, float], Bbox] | None:
    frame, scale = canvas
    width, height = size
    others = np.delete(points, i, axis=0)
    for dx, dy in _OFFSETS:
        cx, cy = points[i, 0] + dx * scale, points[i, 1] + dy * scale
        left = cx if dx > 0 else (cx - width if dx < 0 else cx - width / 2)
        box = Bbox.from_bounds(left, cy - height / 2, width, height)
        if (
            box.x0 < frame.x0
            or box.x1 > frame.x1
            or box.y1 > frame.y1 + 4
            or any(box.overlaps(t) for t in taken)
        ):
            continue
        grown = box.padded(1.0)
        inside = (
            (others[:, 0] > grown.x0)
            & (others[:, 0] < grown.x1)
            & (others[:, 1] > grown.y0)
            & (others[:, 1] < grown.y1)
        )
        if not inside.any():
            return (dx, dy), box
    return None
