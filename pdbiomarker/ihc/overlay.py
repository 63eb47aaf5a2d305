"""Pictures for the reviewer: the whole slide with its tissue, and one field with its cells.

Positive nuclei are outlined in vermilion-magenta, negative ones in bluish green: told apart with every
kind of colour vision, and neither a colour of haematoxylin or DAB.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.ihc.cells import CellFinder
from pdbiomarker.ihc.tissue import Tissue

__all__ = ["FIELD_SCALE", "NEGATIVE_RGB", "POSITIVE_RGB", "draw_field", "draw_overview"]

Pixels = npt.NDArray[np.uint8]

POSITIVE_RGB: Final = (213, 0, 142)
NEGATIVE_RGB: Final = (0, 158, 115)
_TISSUE_RGB: Final = (0, 90, 181)
_FIELD_UM: Final = 256.0
#: Pixels of a field for each pixel at the working resolution.
FIELD_SCALE: Final = 2
_OVERVIEW_SIDE: Final = 1200
_BARS_UM: Final = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


def draw_overview(thumbnail: Pixels, tissue: Tissue, cells: pd.DataFrame) -> Pixels:
    """The slide at low resolution: outline of the evaluable tissue, positive cells as dots, scale bar.

    Parameters
    ----------
    thumbnail : array of uint8, shape (Y, X, 3)
        What `tissue` was found on.
    tissue : Tissue
    cells : DataFrame
        Columns x_um, y_um, positive.

    Returns
    -------
    array of uint8, shape (Y', X', 3)
        At most 1,200 pixels at its longer side, or the thumbnail's size where that is smaller than 600.
    """
    side = max(thumbnail.shape[:2])
    scale = min(_OVERVIEW_SIDE / side, max(1.0, _OVERVIEW_SIDE / 2 / side))
    size = (max(1, round(thumbnail.shape[1] * scale)), max(1, round(thumbnail.shape[0] * scale)))
    image = cv2.resize(thumbnail, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    mask = cv2.resize(tissue.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, lines, -1, _TISSUE_RGB, 1, cv2.LINE_AA)
    positive = cells[cells["positive"].to_numpy(dtype=bool)]
    radius = 1 if len(positive) > 2000 else 2
    step = scale / tissue.mpp
    for x, y in positive[["x_um", "y_um"]].to_numpy(dtype=np.float64):
        cv2.circle(image, (round(x * step), round(y * step)), radius, POSITIVE_RGB, -1, cv2.LINE_AA)
    return _scale_bar(np.asarray(image, dtype=np.uint8), tissue.mpp / scale)


def draw_field(finder: CellFinder, grid: tuple[int, int], cells: pd.DataFrame) -> Pixels:
    """The field richest in cells at working resolution, enlarged twice: every nucleus outlined by its call.

    Parameters
    ----------
    finder : CellFinder
    grid : tuple of int
        Height and width of the slide at the working resolution.
    cells : DataFrame
        Columns x_um, y_um.

    Returns
    -------
    array of uint8, shape (Y, X, 3)
    """
    side = int(_FIELD_UM / finder.pixel_um)
    h, w = min(side, grid[0]), min(side, grid[1])
    y, x = _densest(cells, finder.pixel_um, grid, (h, w))
    rgb, labels, positive = finder.labels(y, x, h, w)
    size = (w * FIELD_SCALE, h * FIELD_SCALE)
    image = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
    large = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    values = large.astype(np.float32)
    rim = (cv2.erode(values, np.ones((3, 3), np.uint8)) != values) & (large > 0)
    colours = np.where(positive[large][..., None], POSITIVE_RGB, NEGATIVE_RGB).astype(np.uint8)
    image[rim] = colours[rim]
    return _scale_bar(np.asarray(image, dtype=np.uint8), finder.pixel_um / FIELD_SCALE)


def _densest(
    cells: pd.DataFrame, pixel_um: float, grid: tuple[int, int], field: tuple[int, int]
) -> tuple[int, int]:
    """Upper left corner of the field with most cells, on a grid of half fields (of equals the first)."""
    if cells.empty:
        return (grid[0] - field[0]) // 2, (grid[1] - field[1]) // 2
    half = (max(field[0] // 2, 1), max(field[1] // 2, 1))
    rows = (cells["y_um"].to_numpy(dtype=np.float64) / pixel_um).astype(np.int64) // half[0]
    columns = (cells["x_um"].to_numpy(dtype=np.float64) / pixel_um).astype(np.int64) // half[1]
    counts = np.zeros((grid[0] // half[0] + 3, grid[1] // half[1] + 3), np.int64)
    np.add.at(counts, (rows, columns), 1)
    sums = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    return min(int(row) * half[0], grid[0] - field[0]), min(int(column) * half[1], grid[1] - field[1])


def _scale_bar(image: Pixels, mpp: float) -> Pixels:
    """A bar of round length, at most a quarter of the width, in the lower left corner."""
    height, width = image.shape[:2]
    fitting = [um for um in _BARS_UM if um / mpp <= width / 4]
    if not fitting or height < 60 or width < 80:
        return image
    length = round(fitting[-1] / mpp)
    text = f"{fitting[-1]} um" if fitting[-1] < 1000 else f"{fitting[-1] // 1000} mm"
    left, bottom = 12, height - 12
    cv2.rectangle(
        image, (left - 6, bottom - 32), (left + max(length, 62) + 6, bottom + 6), (255, 255, 255), -1
    )
    cv2.rectangle(image, (left, bottom - 5), (left + length, bottom), (0, 0, 0), -1)
    cv2.putText(image, text, (left, bottom - 13), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return image
