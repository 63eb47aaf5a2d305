"""What is measured on each cell: one pass over the pixels, whole numbers throughout.

Compartments of a cell whose nucleus was grown by the panel's expansion:

- nucleus: the outlined nucleus;
- cytoplasm: the rest of the cell, a ring;
- membrane: the pixels of the cell, nucleus included, within a given width of its outer edge. Where two nuclei
  touch there is no ring, but there is a membrane.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.amounts import AMOUNT_UNITS
from pdbiomarker.ihc.compiled import kernel

__all__ = ["CellMeasures", "measure_cells"]

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

_COLUMNS: Final = 10  # nucleus: area, x, y, haematoxylin, DAB; ring: area, DAB; membrane: area, DAB, stained


@dataclasses.dataclass(frozen=True, slots=True)
class CellMeasures:
    """Measures by label, label 1 first; each of shape (n,).

    Attributes
    ----------
    area : array of int64
        Pixels of the nucleus; 0 where a label does not occur.
    x, y : arrays of float64
        Centroid of the nucleus (centres of pixels are whole numbers).
    hematoxylin, nucleus : arrays of float64
        Mean haematoxylin and DAB of the nucleus (OD).
    cytoplasm, cell : arrays of float64
        Mean DAB of the ring and of the whole cell. A ring without pixels is NaN.
    membrane, membrane_p90, membrane_stained : arrays of float64
        Mean DAB of the membrane, its 90th percentile (nearest rank), and the share of its pixels at or above
        the threshold. NaN where no membrane was asked for.
    """

    area: Int64
    x: Float
    y: Float
    hematoxylin: Float
    nucleus: Float
    cytoplasm: Float
    cell: Float
    membrane: Float
    membrane_p90: Float
    membrane_stained: Float


def measure_cells(
    nuclei: Int32,
    cells: Int32 | None,
    stains: tuple[Int32, Int32],
    *,
    origin: tuple[int, int] = (0, 0),
    width: int = 0,
    threshold: float = 0.2,
) -> CellMeasures:
    """Measure every cell.

    Parameters
    ----------
    nuclei : array of int32, shape (Y, X)
        Labels of the nuclei.
    cells : array of int32, shape (Y, X), or None
        The nuclei grown, under the same labels (:func:`pdbiomarker.ihc.labels.expand`). None: nuclei only.
    stains : two arrays of int32, shape (Y, X)
        Haematoxylin and DAB; see :func:`pdbiomarker.ihc.amounts.amounts`.
    origin : tuple of int
        Row and column of the image's first pixel, added to the centroids.
    width : int
        Width of the membrane in pixels; 0 for none.
    threshold : float
        DAB from which a pixel of the membrane is stained (OD).

    Returns
    -------
    CellMeasures
    """
    n = int(nuclei.max(initial=0))
    sums = np.zeros((n, _COLUMNS), np.int64)
    hematoxylin, dab = stains
    p90 = np.full(n, np.nan)
    if cells is None:
        _nucleus_sums(nuclei, hematoxylin, dab, sums)
    else:
        membrane = np.zeros(nuclei.shape if width else (0, 0), np.uint8)
        offsets = _disk(width)
        _cell_sums(
            (nuclei, cells, hematoxylin, dab), membrane, offsets, sums, round(threshold * AMOUNT_UNITS)
        )
        if width:
            p90 = _percentiles(cells, dab, membrane, sums[:, 7].copy()) / AMOUNT_UNITS
    area, ring, rim = sums[:, 0], sums[:, 5], sums[:, 7]
    return CellMeasures(
        area,
        _over(sums[:, 1] + origin[1] * area, area),
        _over(sums[:, 2] + origin[0] * area, area),
        _over(sums[:, 3], area) / AMOUNT_UNITS,
        _over(sums[:, 4], area) / AMOUNT_UNITS,
        _over(sums[:, 6], ring) / AMOUNT_UNITS,
        _over(sums[:, 4] + sums[:, 6], area + ring) / AMOUNT_UNITS,
        _over(sums[:, 8], rim) / AMOUNT_UNITS,
        p90,
        _over(sums[:, 9], rim),
    )


def _over(total: Int64, count: Int64) -> Float:
    """Means; NaN over nothing."""
    mean: Float = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean


def _disk(width: int) -> Int64:
    """Steps to all neighbours within a distance, the nearest first; shape (n, 2)."""
    around = np.arange(-width, width + 1)
    dy, dx = (a.ravel() for a in np.meshgrid(around, around, indexing="ij"))
    square = dy * dy + dx * dx
    order = np.argsort(square, kind="stable")
    inside = order[(square[order] > 0) & (square[order] <= width * width)]
    return np.column_stack([dy[inside], dx[inside]]).astype(np.int64)


@kernel
def _nucleus_sums(nuclei: Int32, hematoxylin: Int32, dab: Int32, sums: Int64) -> None:
    height, width = nuclei.shape
    for y in range(height):
        for x in range(width):
            label = nuclei[y, x]
            if label > 0:
                s = sums[label - 1]
                s[0] += 1
                s[1] += x
                s[2] += y
                s[3] += hematoxylin[y, x]
                s[4] += dab[y, x]


@kernel
def _cell_sums(
    images: tuple[Int32, Int32, Int32, Int32], membrane: Bytes, offsets: Int64, sums: Int64, threshold: int
) -> None:
    nuclei, cells, hematoxylin, dab = images
    height, width = nuclei.shape
    for y in range(height):
        for x in range(width):
            label = cells[y, x]
            if label == 0:
                continue
            s = sums[label - 1]
            brown = dab[y, x]
            if nuclei[y, x] == label:
                s[0] += 1
                s[1] += x
                s[2] += y
                s[3] += hematoxylin[y, x]
                s[4] += brown
            else:
                s[5] += 1
                s[6] += brown
            for i in range(len(offsets)):
                v, u = y + offsets[i, 0], x + offsets[i, 1]
                if 0 <= v < height and 0 <= u < width and cells[v, u] != label:
                    membrane[y, x] = 1
                    s[7] += 1
                    s[8] += brown
                    s[9] += brown >= threshold
                    break


@kernel
def _percentiles(cells: Int32, dab: Int32, membrane: Bytes, count: Int64) -> Float:
    """90th percentile of the membrane's DAB by nearest rank, by cell."""
    start = np.zeros(len(count) + 1, np.int64)
    for i in range(len(count)):
        start[i + 1] = start[i] + count[i]
    at = start[:-1].copy()
    values = np.empty(start[-1], np.int32)
    height, width = cells.shape
    for y in range(height):
        for x in range(width):
            if membrane[y, x]:
                i = cells[y, x] - 1
                values[at[i]] = dab[y, x]
                at[i] += 1
    found = np.full(len(count), np.nan)
    for i in range(len(count)):
        if count[i] > 0:
            own = values[start[i] : start[i + 1]]
            _sort(own)
            found[i] = own[(9 * count[i] + 9) // 10 - 1]
    return found


@kernel
def _sort(values: Int32) -> None:
    """Sort a short array by insertion."""
    for i in range(1, len(values)):
        value, at = values[i], i
        while at > 0 and values[at - 1] > value:
            values[at] = values[at - 1]
            at -= 1
        values[at] = value
