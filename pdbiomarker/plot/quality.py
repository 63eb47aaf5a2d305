"""Figures of the quality of transcripts: sex and likeness of libraries, and where biopsies lie."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pdbiomarker.plot.marks import mark
from pdbiomarker.plot.select import Result
from pdbiomarker.plot.style import (
    FAINT,
    INK,
    MARKERS,
    MUTED,
    UP,
    despine,
    empty,
    new_axes,
    palette,
    plain,
    short_id,
    spread,
    style,
    titles,
)

__all__ = ["components", "likeness", "sexes"]

_NAMED: Final = 8
_MISSING: Final = "not recorded"


def sexes(source: Result | pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the sex that transcripts tell beside the recorded one.

    Parameters
    ----------
    source : PDResult or DataFrame
        A result with the quality table ``identity``, or the table of an identity check.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        XIST against the Y genes (mean), one point for each library; contradictions are ringed and named.
    """
    with style():
        ax = new_axes(ax, 5.6, 4.2)
        table = _identity(source)
        title = "Sex: transcripts against the record"
        seen = table[table["y_log2_cpm"].notna()] if len(table) else table
        if seen.empty:
            return empty(ax, title, "The matrix holds no gene of the Y chromosome.")
        without = bool(seen["xist_log2_cpm"].isna().all())
        heights = np.zeros(len(seen)) if without else seen["xist_log2_cpm"].to_numpy(dtype=float)
        recorded = [str(s).strip().upper()[:1] if isinstance(s, str) else "" for s in seen["sex"]]
        colours = dict(zip(("F", "M", ""), (*palette(2), FAINT), strict=True))
        for key, name in (("F", "recorded female"), ("M", "recorded male"), ("", "sex not recorded")):
            own = [k for k, r in enumerate(recorded) if (r if r in colours else "") == key]
            if own:
                points = ax.plot(
                    seen["y_log2_cpm"].to_numpy(dtype=float)[own],
                    heights[own],
                    "o" if key == "F" else "s" if key == "M" else "^",
                    color=colours[key],
                    markersize=5,
                    alpha=0.75,
                    markeredgewidth=0,
                    label=f"{name} ({len(own)})",
                )
                mark(points[0], seen["participant_id"].iloc[own].tolist())
        wrong = (seen["sex_check"] == "contradicts").to_numpy()
        _ring(ax, seen["y_log2_cpm"].to_numpy(dtype=float), heights, wrong, seen["library_id"].tolist())
        agrees = int((seen["sex_check"] == "agrees").sum())
        titles(ax, title, f"{agrees} of {len(seen)} libraries agree, {int(wrong.sum())} contradict")
        ax.set_xlabel("Y genes, mean log2 CPM")
        ax.set_ylabel("XIST is not in the matrix" if without else "XIST, log2 CPM")
        if without:
            ax.set_yticks([])
        _legend(ax)
        despine(ax)
        return ax


def likeness(source: Result | pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how alike each library is to its own participant's, and to the nearest other participant's.

    Parameters
    ----------
    source : PDResult or DataFrame
        As for :func:`sexes`.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        Below the diagonal a library is more like its own. Suspects are ringed and named. Libraries without
        another one of their participant stand on the left edge.
    """
    with style():
        ax = new_axes(ax, 5.6, 4.2)
        table = _identity(source)
        title = "Whose sample: likeness of libraries"
        seen = table[table["other_similarity"].notna()] if len(table) else table
        if seen.empty:
            return empty(ax, title, "Too few libraries, or too few genes, to compare persons.")
        own = seen["own_similarity"].to_numpy(dtype=float)
        other = seen["other_similarity"].to_numpy(dtype=float)
        low = float(min(np.nanmin(own), other.min(), 0.0)) if np.isfinite(own).any() else 0.0
        edge = low - 0.12
        at = np.where(np.isfinite(own), own, edge)
        ax.plot([low, 1], [low, 1], color=FAINT, linewidth=1.0, zorder=0)
        kinds = (
            ("consistent", "o", palette(1)[0]),
            ("unconfirmed", "D", MUTED),
            ("single", "^", FAINT),
            ("suspect", "X", UP),
            ("not evaluable", "v", FAINT),
        )
        for verdict, marker, colour in kinds:
            chosen = (seen["verdict"] == verdict).to_numpy()
            if chosen.any():
                name = "only library of its participant" if verdict == "single" else verdict
                points = ax.plot(
                    at[chosen],
                    other[chosen],
                    marker,
                    color=colour,
                    markersize=5,
                    alpha=0.8,
                    markeredgewidth=0,
                    label=f"{name} ({int(chosen.sum())})",
                )
                mark(points[0], seen.loc[chosen, "participant_id"].tolist())
        suspect = (seen["verdict"] == "suspect").to_numpy()
        ax.set_xlim(edge - 0.06, 1.04)
        ax.set_ylim(min(low, float(other.min())) - 0.06, 1.04)
        _ring(ax, at, other, suspect, seen["library_id"].tolist())
        n = int(suspect.sum())
        titles(ax, title, f"{len(seen)} libraries; {n or 'no'} suspect{'' if n == 1 else 's'}")
        ax.set_xlabel("correlation with the participant's own nearest library")
        ax.set_ylabel("with the nearest library of another one")
        _legend(ax)
        despine(ax)
        return ax


def components(
    source: Result | pd.DataFrame, assay: str | None = None, *, hue: str = "visit", ax: Axes | None = None
) -> Axes:
    """Draw the first two components of log expression.

    Parameters
    ----------
    source : PDResult or DataFrame
        A result with the quality table ``rna``, or that table.
    assay : str, optional
        Which count assay; default the first.
    hue : {"visit", "batch", "site"}
        What colours show.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        One point for each biopsy; flagged ones are ringed and named.
    """
    with style():
        ax = new_axes(ax, 5.6, 4.2)
        table = source if isinstance(source, pd.DataFrame) else source.qc.get("rna", pd.DataFrame())
        title = "Where the biopsies lie"
        if len(table):
            table = table[table["assay"] == (assay or table["assay"].iloc[0])]
        seen = table[table["pc1"].notna() & table["pc2"].notna()] if len(table) else table
        if seen.empty:
            return empty(ax, title, "Too few biopsies with counts for components.")
        owners = _owners(source, seen["biopsy_id"])
        levels = [str(v) if isinstance(v, str) and v else _MISSING for v in seen[hue]]
        known = sorted(set(levels) - {_MISSING}, key=lambda v: (-levels.count(v), v))
        shown = known[:7] + ([_MISSING] if _MISSING in levels else [])
        colours = [*palette(len(known[:7])), FAINT]
        x, y = seen["pc1"].to_numpy(dtype=float), seen["pc2"].to_numpy(dtype=float)
        for k, level in enumerate(shown):
            chosen = np.array([v == level for v in levels])
            points = ax.plot(
                x[chosen],
                y[chosen],
                MARKERS[k % len(MARKERS)],
                color=colours[k] if level != _MISSING else FAINT,
                markersize=5,
                alpha=0.8,
                markeredgewidth=0,
            )
            mark(points[0], owners[chosen].tolist())
        rest = np.array([v not in shown for v in levels])
        if rest.any():
            mark(ax.plot(x[rest], y[rest], ".", color=FAINT)[0], owners[rest].tolist())
        flagged = seen["flags"].fillna("").astype(str).ne("").to_numpy()
        _ring(ax, x, y, flagged, seen["biopsy_id"].tolist())
        name = str(seen["assay"].iloc[0])
        n_flagged = int(flagged.sum())
        titles(
            ax,
            title,
            f"{name}, {len(seen)} biopsies; colour: {hue}; {n_flagged or 'none'} flagged (ringed)",
        )
        ax.set_xlabel("first component of log2 CPM")
        ax.set_ylabel("second component")
        _legend(ax, _handles(shown, colours, levels))
        despine(ax)
        return ax


def _owners(source: Result | pd.DataFrame, biopsies: pd.Series) -> np.ndarray:
    """Whose each biopsy is; nobody's where only the table is known."""
    of = {} if isinstance(source, pd.DataFrame) else source.study.biopsies["participant_id"].to_dict()
    return np.array([str(of.get(b, "")) for b in biopsies], dtype=object)


def _handles(shown: list[str], colours: list[str], levels: list[str]) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=MARKERS[k % len(MARKERS)],
            color=colours[k] if level != _MISSING else FAINT,
            markersize=5,
            markeredgewidth=0,
            label=f"{plain(level, 24)} ({levels.count(level)})",
        )
        for k, level in enumerate(shown)
    ]


def _ring(ax: Axes, x: np.ndarray, y: np.ndarray, chosen: np.ndarray, ids: list[object]) -> None:
    """Ring points and name the first of them, the farthest to the right first."""
    at = np.flatnonzero(chosen)
    if at.size == 0:
        return
    ax.plot(x[at], y[at], "o", markersize=10, markerfacecolor="none", markeredgecolor=INK, linewidth=0)
    low, high = ax.get_xlim()
    bottom, top = ax.get_ylim()
    middle = (low + high) / 2
    far = sorted(at.tolist(), key=lambda k: -abs(float(x[k]) - float(np.median(x))))[:_NAMED]
    for left in (False, True):
        own = [k for k in far if (x[k] > middle) == left]
        wanted = np.array([(float(y[k]) - bottom) / (top - bottom) for k in own])
        heights = spread(wanted + 0.02, 0.055, 0.02, 0.98)
        edge = (
            min((float(x[k]) for k in own), default=0.0)
            if left
            else max((float(x[k]) for k in own), default=0.0)
        )
        at_x = (edge - low) / (high - low) + (-0.06 if left else 0.06)
        for k, height in zip(own, heights.tolist(), strict=True):
            ax.annotate(
                short_id(ids[k], 20),
                (x[k], y[k]),
                xytext=(at_x, height),
                textcoords="axes fraction",
                fontsize=7.5,
                color=INK,
                ha="right" if left else "left",
                va="center",
                arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.7, "shrinkB": 5},
            )


def _legend(ax: Axes, handles: list[Line2D] | None = None) -> None:
    """Write the legend below the axes, where it hides nothing."""
    drawn = ax.get_legend_handles_labels()[0] if handles is None else handles
    ax.legend(handles=drawn, loc="upper left", bbox_to_anchor=(-0.02, -0.15), ncols=2, handletextpad=0.3)


def _identity(source: Result | pd.DataFrame) -> pd.DataFrame:
    return source if isinstance(source, pd.DataFrame) else source.qc.get("identity", pd.DataFrame())
