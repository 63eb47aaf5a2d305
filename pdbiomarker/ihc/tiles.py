"""Tiles of a section: how uncertain a score is within the section, and where its hot-spot lies.

Resampling tiles of one section says how much the score would move had another part of *this section* been
looked at. It says nothing about the other sections, cores or lesions of the participant, and never enters a
test of change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.ihc.definitions import value_of
from pdbiomarker.ihc.panel import HotSpot

__all__ = ["LEAST_TILES", "TILE_UM", "Tiles", "find_hotspot", "resample"]

Float = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

TILE_UM: Final = 250.0
#: Fewer tiles with tissue say nothing about the variation between them.
LEAST_TILES: Final = 5
_DRAWS: Final = 400
_SEED: Final = 20
_DIGITS: Final = 6  # of what is drawn at random: more would differ with the order of a sum


@dataclasses.dataclass(frozen=True, slots=True)
class Tiles:
    """A square grid over a slide, with the evaluable area in every square.

    Attributes
    ----------
    side_um : float
    columns : int
        Squares in a row; square (row, column) has the number ``row * columns + column``.
    areas_mm2 : mapping of str to array, shape (n,)
        By compartment, ``tissue`` among them.
    """

    side_um: float
    columns: int
    areas_mm2: Mapping[str, Float]

    def of(self, x_um: Float, y_um: Float) -> npt.NDArray[np.int64]:
        """Number of the square that holds each position."""
        rows = np.maximum(np.floor(np.asarray(y_um) / self.side_um), 0).astype(np.int64)
        columns = np.clip(np.floor(np.asarray(x_um) / self.side_um), 0, self.columns - 1).astype(np.int64)
        last = len(self.areas_mm2["tissue"]) - 1
        found: npt.NDArray[np.int64] = np.minimum(rows * self.columns + columns, last)
        return found


def resample(score: str, parts: Float, occupied: Mask) -> tuple[float, float, float, int]:
    """Bootstrap a score over tiles.

    Parameters
    ----------
    score : str
    parts : array, shape (tiles, 6)
        Numerator, denominator and cells by intensity of every tile.
    occupied : array of bool, shape (tiles,)
        Tiles with tissue: these are drawn, with replacement.

    Returns
    -------
    tuple of float and int
        Standard deviation, 2.5 % and 97.5 % points of 400 draws, and the number of tiles; NaN with fewer
        than :data:`LEAST_TILES` tiles, or where a draw has no value.
    """
    own = parts[occupied]
    n = len(own)
    if n < LEAST_TILES:
        return np.nan, np.nan, np.nan, n
    drawn = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), size=_DRAWS)
    sums = drawn.astype(np.float64) @ own
    values = value_of(score, sums[:, 0], sums[:, 1], sums[:, 2:])
    if np.isnan(values).any():
        return np.nan, np.nan, np.nan, n
    low, high = np.quantile(values, [0.025, 0.975])
    spread, low, high = (float(f"{v:.{_DIGITS}g}") for v in (values.std(ddof=1), low, high))
    return spread, low, high, n


def find_hotspot(cells: pd.DataFrame, inside: Mask, rule: HotSpot) -> tuple[float, float, str]:
    """Positive and all cells of the hottest field.

    The candidates are chosen by how many cells they hold, not by their staining, and their number is fixed:
    the largest of more fields is larger by chance alone.

    Parameters
    ----------
    cells : DataFrame
        x_um, y_um, class.
    inside : array of bool, shape (n,)
        Cells of the compartment.
    rule : HotSpot

    Returns
    -------
    tuple
        Positive cells, cells, and the reason where there are too few candidates (then both are 0).
    """
    if not {"x_um", "y_um"} <= set(cells.columns):
        return 0.0, 0.0, "the positions of the cells are not known"
    x, y = (cells[name].to_numpy(dtype=np.float64)[inside] for name in ("x_um", "y_um"))
    positive = cells["class"].to_numpy()[inside] > 0
    fields = np.column_stack([np.floor(y / rule.side_um), np.floor(x / rule.side_um)]).astype(np.int64)
    keys, which = np.unique(fields, axis=0, return_inverse=True)
    which = which.ravel()
    n = np.bincount(which, minlength=len(keys)).astype(np.float64)
    k = np.bincount(which, weights=positive, minlength=len(keys))
    able = np.flatnonzero(n >= rule.min_cells)
    if len(able) < rule.candidates:
        found = f"{len(able)} field{'' if len(able) == 1 else 's'} of {rule.side_um:g} um"
        return 0.0, 0.0, f"{found} with {rule.min_cells} cells, fewer than {rule.candidates}"
    chosen = able[np.argsort(-n[able], kind="stable")][: rule.candidates]
    hottest = chosen[np.argsort(-(k[chosen] / n[chosen]), kind="stable")][: rule.fields]
    return float(k[hottest].sum()), float(n[hottest].sum()), ""
