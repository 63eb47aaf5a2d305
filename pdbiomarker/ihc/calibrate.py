r"""Calibration of DAB between scanners or batches.

Two scanners give one slide two optical densities: their sensors, light and colour processing differ, and a
cut-off of 0.2 means different cells. Over the range that matters the two scales are related by a line,

    reference = intercept + slope * other,

and because a line carries over to means, it is applied to the mean optical density of each cell. The line is
estimated once, from a slide (or a control) that both have measured, written into the panel file, and then
holds for every slide of that scanner or batch: the thresholds stay those of the reference.

The line is the reduced major axis, slope = sd(reference) / sd(other) over stained cells, because both
densities are measured with error; an ordinary regression would flatten it. Which cells are stained is
decided by the mean of both (on the reference's scale), so that neither scanner's error selects them. Cells
far from the line (another cell, a fold) have no say: their distance is cut at three times its robust spread.

Source for the line of organic correlation: Warton, Wright, Falster and Westoby 2006, Biol Rev 81:259.
"""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from pdbiomarker.errors import AssayError, Problems

__all__ = ["Calibration", "apply_calibration", "calibrate", "match_cells"]

Float = npt.NDArray[np.float64]

_STAINED: Final = 0.1  # mean of both, on the reference's scale
_MIN_MATCHED: Final = 100
_MIN_STAINED: Final = 30
_MIN_R: Final = 0.8
_SLOPES: Final = (0.2, 5.0)
_FAR: Final = 3.0
_ROUNDS: Final = 20
_QUANTILES: Final = np.linspace(0.01, 0.99, 197)
_PLACE: Final = ("x_um", "y_um")
_DENSITY: Final = ("dab_od_mean", "dab_od")


@dataclasses.dataclass(frozen=True, slots=True)
class Calibration:
    """How one scale of DAB is turned into another.

    Attributes
    ----------
    slope, intercept : float
        reference = intercept + slope * other.
    r : float
        Correlation of the stained cells (of the quantiles, without matched cells).
    n_cells, n_stained : int
        Cells that were matched (or the smaller number of cells), and those of them that are stained.
    offset_um : tuple of two floats
        By how much the other field lies right of and below the reference (0, 0 without matching).
    method : {"matched", "quantiles"}
    pct_reference, pct_before, pct_after : float
        Percent of these cells at or above `threshold`: in the reference, in the other before and after.
    threshold : float
    """

    slope: float
    intercept: float
    r: float
    n_cells: int
    n_stained: int
    offset_um: tuple[float, float]
    method: Literal["matched", "quantiles"]
    pct_reference: float
    pct_before: float
    pct_after: float
    threshold: float

    def apply(self, density: npt.ArrayLike) -> Float:
        """Densities on the reference's scale."""
        return self.intercept + self.slope * np.asarray(density, dtype=np.float64)


def calibrate(
    reference: pd.DataFrame,
    other: pd.DataFrame,
    *,
    method: Literal["matched", "quantiles"] = "matched",
    radius_um: float = 3.0,
    threshold: float = 0.2,
) -> Calibration:
    """Estimate how the DAB of one scanner or batch is turned into that of another.

    Parameters
    ----------
    reference, other : DataFrame
        Cells (columns x_um, y_um, dab_od_mean) of the same tissue: the same slide scanned twice, or a
        control.
    method : {"matched", "quantiles"}
        Cell by cell, for one slide on two scanners; or by the quantiles of both distributions, for sections
        of one control block stained in two batches (it takes the two to hold the same mixture of cells).
    radius_um : float
        Two cells are the same one when their centroids, once the fields are aligned by a shift, are nearest
        to each other and at most this far apart.
    threshold : float
        Cut-off by which the agreement is told.

    Returns
    -------
    Calibration

    Raises
    ------
    AssayError
        E-SLIDE-023: fewer than 100 cells are matched or 30 stained, they correlate below 0.8, or the slope is
        outside 0.2 to 5.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> line = pb.ihc.calibrate(cells_of_scanner_a, cells_of_scanner_b)  # doctest: +SKIP
    >>> line.slope  # doctest: +SKIP
    2.11
    """
    y, x = _density(reference, "reference"), _density(other, "other")
    offset = (0.0, 0.0)
    if method == "matched":
        pairs, offset = match_cells(reference, other, radius_um=radius_um)
        y, x = y[pairs[:, 0]], x[pairs[:, 1]]
        count = len(pairs)
        fit_x, fit_y = x, y
    else:
        count = min(len(x), len(y))
        fit_x, fit_y = (np.quantile(v, _QUANTILES) if len(v) else v for v in (x, y))
    if count < _MIN_MATCHED:
        raise _refused(
            f"{count} cells of both are {'matched' if method == 'matched' else 'there'}; "
            f"at least {_MIN_MATCHED} are needed.",
            "Give a larger field, or check that both show the same tissue.",
        )
    slope, intercept, stained = _line(fit_x, fit_y)
    varied = fit_x[stained].std() > 0 and fit_y[stained].std() > 0
    r = float(np.corrcoef(fit_x[stained], fit_y[stained])[0, 1]) if varied else 0.0
    n_stained = (
        int(stained.sum())
        if method == "matched"
        else int(min(np.sum(x * slope > _STAINED), np.sum(y > _STAINED)))
    )
    if n_stained < _MIN_STAINED or not r >= _MIN_R or not _SLOPES[0] <= slope <= _SLOPES[1]:
        raise _refused(
            f"The two do not follow one line: {n_stained} stained cells (at least {_MIN_STAINED}), "
            f"correlation {r:.2f} (at least {_MIN_R}), slope {slope:.2f} ({_SLOPES[0]} to {_SLOPES[1]}).",
            "Take tissue with more stained cells, and check that both are in focus.",
        )
    slope, intercept = round(slope, 4), round(intercept, 4)
    return Calibration(
        slope,
        intercept,
        round(r, 4),
        count,
        n_stained,
        (round(offset[0], 2), round(offset[1], 2)),
        method,
        _percent(y, threshold),
        _percent(x, threshold),
        _percent(intercept + slope * x, threshold),
        threshold,
    )


def match_cells(
    reference: pd.DataFrame, other: pd.DataFrame, *, radius_um: float = 3.0, max_offset_um: float = 30.0
) -> tuple[npt.NDArray[np.int64], tuple[float, float]]:
    """Find the cells that two scans of one slide both hold.

    Parameters
    ----------
    reference, other : DataFrame
        With x_um, y_um.
    radius_um : float
        Largest distance of two cells that are the same one.
    max_offset_um : float
        Largest shift between the two fields.

    Returns
    -------
    pairs : array of int64, shape (n, 2)
        Row numbers in `reference` and in `other`.
    offset_um : two floats
        Shift of `other` against `reference` in x and y.
    """
    a, b = (cells[["x_um", "y_um"]].to_numpy(dtype=np.float64) for cells in (reference, other))
    if not len(a) or not len(b):
        return np.zeros((0, 2), np.int64), (0.0, 0.0)
    offset = _shift(a, b, max_offset_um)
    for _ in range(3):
        distance, nearest = cKDTree(b - offset).query(a)
        near = distance <= radius_um
        if not near.any():
            break
        offset = offset + np.median(b[nearest[near]] - offset - a[near], axis=0)
    distance, nearest = cKDTree(b - offset).query(a)
    there, back = np.asarray(nearest), np.asarray(cKDTree(a).query(b - offset)[1])
    mutual = np.flatnonzero((distance <= radius_um) & (back[there] == np.arange(len(a))))
    return np.column_stack([mutual, there[mutual]]).astype(np.int64), (float(offset[0]), float(offset[1]))


def _shift(a: Float, b: Float, most: float) -> Float:
    """The shift that most pairs of cells agree on, to 2 um; 5,000 cells tell it."""
    a = a[:: max(1, len(a) // 5000)]
    tree = cKDTree(b)
    near = tree.query_ball_point(a, most)
    shifts = np.concatenate([b[found] - a[k] for k, found in enumerate(near) if found] or [np.zeros((1, 2))])
    edges = np.arange(-most, most + 2, 2.0)
    votes, _, _ = np.histogram2d(shifts[:, 0], shifts[:, 1], bins=(edges, edges))
    votes = votes[:-1, :-1] + votes[1:, :-1] + votes[:-1, 1:] + votes[1:, 1:]  # a peak may lie on an edge
    row, column = divmod(int(np.argmax(votes)), len(edges) - 2)
    return np.array([float(edges[row]) + 2.0, float(edges[column]) + 2.0])


def _line(x: Float, y: Float) -> tuple[float, float, npt.NDArray[np.bool_]]:
    """Slope and intercept over stained cells, and which were used; the choice is repeated until it stands."""
    slope, intercept = 1.0, 0.0
    if x.std() > 0:
        slope = float(y.std() / x.std())
        intercept = float(y.mean() - slope * x.mean())
    kept = np.ones(len(x), bool)
    for _ in range(_ROUNDS):
        there = intercept + slope * x
        stained = (there + y) / 2 > _STAINED
        away = y - there
        spread = 1.4826 * float(np.median(np.abs(away[stained]))) if stained.any() else 0.0
        chosen = stained & (np.abs(away) <= max(_FAR * spread, 1e-6))
        if chosen.sum() < 3 or not x[chosen].std() > 0 or np.array_equal(chosen, kept):
            break
        kept = chosen
        slope = float(y[kept].std() / x[kept].std())
        intercept = float(y[kept].mean() - slope * x[kept].mean())
    return slope, intercept, kept


def apply_calibration(cells: pd.DataFrame, *, slope: float, intercept: float) -> pd.DataFrame:
    """Put the densities of a slide's cells on the reference's scale.

    Every column whose name starts with ``dab_od`` is turned: means and quantiles, to which a rising line
    carries over. Calls stay: they were made with the panel's thresholds on the slide's own scale, which is
    the same.

    Parameters
    ----------
    cells : DataFrame
        As :meth:`pdbiomarker.ihc.CellFinder.find` gives it.
    slope, intercept : float

    Returns
    -------
    DataFrame
        A copy.
    """
    columns = [name for name in cells.columns if name.startswith("dab_od")]
    return cells.assign(**{name: intercept + slope * cells[name] for name in columns})


def _density(cells: pd.DataFrame, name: str) -> Float:
    """DAB of the cells, where the panel measures it."""
    columns = [column for column in _DENSITY if column in cells]
    absent = [column for column in _PLACE if column not in cells] or ([] if columns else [_DENSITY[0]])
    if absent:
        raise _refused(f"The {name} cells have no column {absent[0]!r}.", "Give cells.parquet tables.")
    return cells[columns[0]].to_numpy(dtype=np.float64)


def _percent(density: Float, threshold: float) -> float:
    return round(100 * float(np.mean(density >= threshold)), 2) if len(density) else float("nan")


def _refused(message: str, remedy: str) -> AssayError:
    problems = Problems()
    problems.add("E-SLIDE-023", message, remedy=remedy)
    return AssayError(problems)
