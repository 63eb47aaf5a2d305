"""What each score is: its formula on counts of cells, its unit, its range and its source.

Cells of a compartment are counted by intensity: n0 (negative), n1 (1+), n2 (2+), n3 (3+); n is their sum and
P = n1 + n2 + n3 the positive ones. Every score is a function of such sums, so that slides, cores and regions
pool by adding counts and areas, never by averaging scores.

========== ============================== ============================================================
score      formula                        source
========== ============================== ============================================================
density    P / mm2                        annotated area less what is excluded, artefact or not scanned
pct        P / n                          percent positive, stored 0 to 1
hscore     100 (n1 + 2 n2 + 3 n3) / n     McCarty et al. 1985, Arch Pathol Lab Med 109:716; 0 to 300
bin0..bin3 nk / n                         share of each intensity, stored 0 to 1
allred     proportion + intensity score   Allred et al. 1998, Mod Pathol 11:155; limits as the CAP gives them
receptor   0, 1, 2                        ASCO/CAP 2020 (Allison et al., J Clin Oncol 38:1346)
tps        tumour P / tumour n            PD-L1 tumour proportion score; any intensity, stored 0 to 1
cps        100 (tumour P + immune P) /    PD-L1 combined positive score; capped at 100, needs 100 viable
           tumour n                       tumour cells
hotspot    P / n in the hottest field     Ki-67; of a fixed number of candidate fields
distance   sum of um / P                  mean distance of positive cells to the border of the tumour
========== ============================== ============================================================

The proportion score of Allred: 0 none; 1 below 1 %; 2 from 1 to 10 %; 3 up to a third; 4 up to two thirds; 5
above. Exactly 10.0 % is 2 (CAP); QuPath gives 3 there. The intensity score is the mean intensity of the
positive cells on thirds of the range from 1 to 3: up to 5/3 weak, up to 7/3 intermediate, above strong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "CPS_LEAST_TUMOUR_CELLS",
    "DEFINITIONS",
    "Definition",
    "allred_intensity",
    "allred_proportion",
    "log2_ratio",
    "receptor_class",
    "value_of",
]

Float = npt.NDArray[np.float64]

#: Fewer viable tumour cells make the combined positive score not evaluable.
CPS_LEAST_TUMOUR_CELLS: Final = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Definition:
    """One score.

    Attributes
    ----------
    kind : str
        One of the kinds of :mod:`pdbiomarker.normalize`.
    unit : str
    low, high : float
        Its range.
    scope : {"compartment", "tumour", "border"}
        Made in every compartment; once a slide, of tumour cells; or in compartments that have a distance to
        the border of the tumour.
    graded : bool
        Whether it needs 1+, 2+ and 3+ apart.
    """

    kind: str
    unit: str
    low: float
    high: float
    scope: Literal["compartment", "tumour", "border"] = "compartment"
    graded: bool = False


_SHARE: Final = ("proportion", "share", 0.0, 1.0)

#: Every score by name.
DEFINITIONS: Final[Mapping[str, Definition]] = {
    "density": Definition("density", "cells/mm2", 0.0, np.inf),
    "pct": Definition(*_SHARE),
    "hscore": Definition("score", "points", 0.0, 300.0, graded=True),
    "bin0": Definition(*_SHARE),
    "bin1": Definition(*_SHARE, graded=True),
    "bin2": Definition(*_SHARE, graded=True),
    "bin3": Definition(*_SHARE, graded=True),
    "allred": Definition("score", "points", 0.0, 8.0, graded=True),
    "receptor": Definition("score", "class", 0.0, 2.0),
    "hotspot": Definition(*_SHARE),
    "tps": Definition(*_SHARE, scope="tumour"),
    "cps": Definition("score", "points", 0.0, 100.0, scope="tumour"),
    "distance": Definition("score", "um", 0.0, np.inf, scope="border"),
}


def value_of(score: str, numerator: Float, denominator: Float, bins: Float) -> Float:
    """A score from sums; arrays of any shape, so that resampled sums go through the same formula.

    Parameters
    ----------
    score : str
        A key of :data:`DEFINITIONS`.
    numerator, denominator : array, shape (...)
    bins : array, shape (..., 4)
        Cells by intensity, for the scores that need them.

    Returns
    -------
    array, shape (...)
        NaN where the denominator is 0.
    """
    if score == "allred":
        return _allred(bins)
    if score == "receptor":
        return receptor_class(numerator, denominator)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(denominator > 0, numerator / denominator, np.nan)
    return np.minimum(ratio, 100.0) if score == "cps" else ratio


def allred_proportion(positive: Float, cells: Float) -> Float:
    """Proportion score 0 to 5; products of whole numbers, so that 10.0 % is exactly 10.0 %."""
    p, n = np.asarray(positive, dtype=np.float64), np.asarray(cells, dtype=np.float64)
    conditions = [n <= 0, p <= 0, 100 * p < n, 10 * p <= n, 3 * p <= n, 3 * p <= 2 * n]
    return np.select(conditions, [np.nan, 0.0, 1.0, 2.0, 3.0, 4.0], 5.0)


def allred_intensity(bins: Float) -> Float:
    """Intensity score 0 to 3 from cells by intensity, shape (..., 4)."""
    counts = np.asarray(bins, dtype=np.float64)
    positive = counts[..., 1:].sum(axis=-1)
    weight = counts[..., 1] + 2 * counts[..., 2] + 3 * counts[..., 3]
    conditions = [positive <= 0, 3 * weight <= 5 * positive, 3 * weight <= 7 * positive]
    return np.select(conditions, [0.0, 1.0, 2.0], 3.0)


def _allred(bins: Float) -> Float:
    counts = np.asarray(bins, dtype=np.float64)
    proportion = allred_proportion(counts[..., 1:].sum(axis=-1), counts.sum(axis=-1))
    total: Float = proportion + allred_intensity(counts)
    return total


def receptor_class(positive: Float, cells: Float) -> Float:
    """Class of a hormone receptor: 0 negative (below 1 %), 1 from 1 to 10 %, 2 above 10 %.

    For the oestrogen receptor class 1 is "low positive"; for the progesterone receptor both 1 and 2 are
    positive.
    """
    p, n = np.asarray(positive, dtype=np.float64), np.asarray(cells, dtype=np.float64)
    return np.select([n <= 0, 100 * p < n, 10 * p <= n], [np.nan, 0.0, 1.0], 2.0)


def log2_ratio(
    first: Float, second: Float, *, first_mm2: Float | None = None, second_mm2: Float | None = None
) -> Float:
    """Log2 of a ratio of counts, half a cell added to each: log2((a + 1/2) / (b + 1/2)).

    Parameters
    ----------
    first, second : array
        Cells of each marker.
    first_mm2, second_mm2 : array, optional
        The areas on which they were counted; where these differ, the ratio of areas is taken out.

    Returns
    -------
    array
        Finite where both counts are known, zero counts included; NaN where an area is 0.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    ratio: Float = np.log2(a + 0.5) - np.log2(b + 0.5)
    if first_mm2 is None or second_mm2 is None:
        return ratio
    with np.errstate(divide="ignore", invalid="ignore"):
        areas = np.log2(np.asarray(first_mm2, dtype=np.float64)) - np.log2(np.asarray(second_mm2, float))
    return np.where(np.isfinite(areas), ratio - areas, np.nan)
