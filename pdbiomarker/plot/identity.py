"""The matrix of likeness: every library against every other one, so that a swap is seen at a glance."""

from __future__ import annotations

from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from pdbiomarker.plot.marks import mark, mark_band
from pdbiomarker.plot.select import Result
from pdbiomarker.plot.style import ACCENT, INK, UP, empty, new_axes, short_id, style, titles
from pdbiomarker.tables import id_key

__all__ = ["likeness_matrix"]

#: With more participants their names would run into each other; those in doubt are named all the same.
_NAMED: Final = 44
_TITLE: Final = "Whose sample: every library against every other"


def likeness_matrix(
    source: Result | pd.DataFrame,
    identity: pd.DataFrame | None = None,
    *,
    assay: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how alike every library is to every other one.

    Parameters
    ----------
    source : PDResult or DataFrame
        A result with the quality tables ``likeness`` and ``identity``; or pairs of libraries: library_a,
        library_b, participant_a, participant_b, similarity (and assay).
    identity : DataFrame, optional
        Beside pairs, the table of the identity check (library_id, verdict, other_library): its suspects are
        framed.
    assay : str, optional
        Which count assay; default the first.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        Libraries by participant, both ways; dark: alike. A framed block on the diagonal holds the libraries
        of one participant and should be dark; a dark cell elsewhere is a library that looks like another
        participant's. Orange frames: a suspect and the library that it resembles most.
    """
    pairs = source if isinstance(source, pd.DataFrame) else source.qc.get("likeness", pd.DataFrame())
    if identity is None and not isinstance(source, pd.DataFrame):
        identity = source.qc.get("identity")
    with style():
        ax = new_axes(ax, 7.6, 6.6)
        if len(pairs) and "assay" in pairs.columns:
            pairs = pairs[pairs["assay"] == (assay or pairs["assay"].iloc[0])]
        if not len(pairs):
            return empty(ax, _TITLE, "Too few libraries, or too few genes, to compare persons.")
        owner = dict(zip(pairs["library_b"], pairs["participant_b"], strict=True))
        owner |= dict(zip(pairs["library_a"], pairs["participant_a"], strict=True))
        names = sorted(owner, key=lambda name: (id_key(owner[name]), id_key(name)))
        suspects = _suspects(identity, names)
        _draw(ax, _grid(pairs, names), [str(owner[name]) for name in names], suspects)
        n = len({name for name, _ in suspects})
        doubt = f"{n or 'no'} suspect{'' if n == 1 else 's'}"
        facts = f"{len(names)} libraries of {len(set(owner.values()))} participants; {doubt}"
        titles(ax, _TITLE, f"{facts}. Framed blocks: one participant.")
        return ax


def _grid(pairs: pd.DataFrame, names: list[Any]) -> npt.NDArray[np.float64]:
    place = {name: k for k, name in enumerate(names)}
    grid = np.full((len(names), len(names)), np.nan)
    a, b = (pairs[c].map(place).to_numpy(dtype=int) for c in ("library_a", "library_b"))
    grid[a, b] = grid[b, a] = pairs["similarity"].to_numpy(dtype=float)
    return grid


def _suspects(identity: pd.DataFrame | None, names: list[Any]) -> list[tuple[int, int]]:
    """Places of each suspect, and of the library of another participant that it resembles most."""
    if identity is None or "other_library" not in identity.columns:
        return []
    own = identity[identity["verdict"] == "suspect"]
    place = {name: k for k, name in enumerate(names)}
    found = [
        (place.get(a), place.get(b)) for a, b in zip(own["library_id"], own["other_library"], strict=True)
    ]
    return [(a, b) for a, b in found if a is not None and b is not None]


def _draw(
    ax: Axes, grid: npt.NDArray[np.float64], people: list[str], suspects: list[tuple[int, int]]
) -> None:
    n = len(people)
    shades = mpl.colors.LinearSegmentedColormap.from_list(
        "alike", ["#f7f9fa", ACCENT, "#03252e"]
    ).with_extremes(bad="#d9dfe2")
    image = ax.imshow(np.ma.masked_invalid(grid), cmap=shades, vmin=0, vmax=1, interpolation="nearest")
    ticks: dict[str, float] = {}
    for person in dict.fromkeys(people):
        first, size = people.index(person), people.count(person)
        ticks[person] = first + (size - 1) / 2
        if size > 1:
            ax.add_artist(Rectangle((first - 0.5, first - 0.5), size, size, fc="none", ec=INK, lw=0.8))
        mark_band(ax, (first - 0.5, -0.5), (size, n), person, lw=1.4)
        mark_band(ax, (-0.5, first - 0.5), (n, size), person, lw=1.4)
    for a, b in suspects:
        for x, y in ((a, b), (b, a)):
            ax.add_artist(Rectangle((x - 0.5, y - 0.5), 1, 1, fc="none", ec=UP, lw=1.6, zorder=4))
    doubted = {people[a] for a, _ in suspects}
    shown = [p for p in ticks if len(ticks) <= _NAMED or p in doubted]
    middles = [ticks[p] for p in shown]
    ax.set_yticks(middles, [short_id(p) for p in shown], fontsize=7)
    ax.set_xticks(middles, [short_id(p) for p in shown], fontsize=7, rotation=90)
    for labels in (ax.get_yticklabels(), ax.get_xticklabels()):
        mark(labels, shown)
        for label, person in zip(labels, shown, strict=True):
            label.set_color(UP if person in doubted else INK)
    ax.tick_params(length=0)
    fig = ax.get_figure(root=True)
    if fig is not None:
        bar = fig.colorbar(image, ax=ax, shrink=0.6, aspect=18, pad=0.02)
        bar.set_label("correlation over genes that differ between persons")
        bar.outline.set_visible(False)
