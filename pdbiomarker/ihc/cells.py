"""Cells of a slide, tile by tile.

A cell belongs to the tile that holds its centroid; tiles overlap by the reach of the segmenter, all
thresholds are locked, and all sums run over integers or in reading order: the table is the same for every
tile size.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.ihc.nuclei import REACH_UM, segment
from pdbiomarker.ihc.panel import Panel
from pdbiomarker.ihc.slide import Slide
from pdbiomarker.ihc.stain import White, optical_density, stain_matrix, unmix
from pdbiomarker.ihc.tissue import Tissue

__all__ = ["CELL_COLUMNS", "DEFAULT_TILE", "CellFinder", "Focus", "Segmenter", "expand"]

#: A segmenter: optical density (Y, X, 3) float32 and pixel size in micrometres -> labels (Y, X) int32.
Segmenter = Callable[[npt.NDArray[np.float32], float], npt.NDArray[np.int32]]

CELL_COLUMNS: Final = (
    "cell",
    "x_um",
    "y_um",
    "area_um2",
    "dab_od",
    "hematoxylin_od",
    "positive",
    "class",
    "compartment",
)
DEFAULT_TILE: Final = 1024
_FOCUS_UM: Final = (0.5, 1.0, 2.0)

Labels = npt.NDArray[np.int32]
Float = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclasses.dataclass(slots=True)
class Focus:
    """How sharp the green channel is over tissue, as sums of integers: their order does not matter.

    Attributes
    ----------
    laplacian : int
        Sum of the squared Laplacian.
    fine, coarse : int
        Sums of squares of the detail between Gaussians of 0.5 and 1 um, and of 1 and 2 um (units: 1/256 grey
        level).
    pixels : int
    """

    laplacian: int = 0
    fine: int = 0
    coarse: int = 0
    pixels: int = 0

    @property
    def value(self) -> float:
        """Root mean square of the Laplacian (grey levels); NaN without tissue."""
        return float(np.sqrt(self.laplacian / self.pixels)) if self.pixels else float("nan")

    @property
    def ratio(self) -> float:
        """Fine detail over coarse detail (root mean squares), whatever the contrast; NaN without any."""
        return float(np.sqrt(self.fine / self.coarse)) if self.coarse else float("nan")

    def add(
        self, green: npt.NDArray[np.uint8], pixel_um: float, own: tuple[slice, slice], mask: Mask
    ) -> None:
        """Add the pixels of `mask` in the part `own` of an image."""
        edges = cv2.Laplacian(green, cv2.CV_16S, ksize=1, borderType=cv2.BORDER_REFLECT_101)
        smooth = [_smoothed(green, sigma / pixel_um) for sigma in _FOCUS_UM]
        bands = [np.rint((a - b) / 256)[own][mask].astype(np.int64) for a, b in itertools.pairwise(smooth)]
        self.laplacian += int((edges[own][mask].astype(np.int64) ** 2).sum())
        self.fine += int((bands[0] ** 2).sum())
        self.coarse += int((bands[1] ** 2).sum())
        self.pixels += int(mask.sum())


def _smoothed(image: npt.NDArray[np.uint8], sigma: float) -> Float:
    """65,536 times the image under a Gaussian of whole numbers: exact, so no value depends on the tile."""
    taps = np.arange(-int(np.ceil(3 * sigma)), int(np.ceil(3 * sigma)) + 1)
    weights = np.exp(-0.5 * (taps / sigma) ** 2)
    kernel = np.rint(256 * weights / weights.sum())
    kernel[len(taps) // 2] += 256 - kernel.sum()
    border = cv2.BORDER_REFLECT_101
    return np.asarray(
        cv2.sepFilter2D(image.astype(np.float64), cv2.CV_64F, kernel, kernel, borderType=border)
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Box:
    """A tile's core, and the part read around it, in pixels of the working grid."""

    top: int
    left: int
    bottom: int
    right: int
    y: int
    x: int
    h: int
    w: int


class CellFinder:
    """Finds and measures the cells of one slide under one panel.

    Parameters
    ----------
    slide : Slide
    tissue : Tissue
    panel : Panel
    white : White
        The white of the slide's glass.
    segmenter : callable, optional
        Default: the classical segmenter with the panel's parameters.

    Attributes
    ----------
    pixel_um : float
        The working resolution: the panel's, never finer than the slide's.
    focus : Focus
        Filled while cells are found.
    """

    def __init__(
        self, slide: Slide, tissue: Tissue, panel: Panel, *, white: White, segmenter: Segmenter | None = None
    ) -> None:
        self._slide = slide
        self._tissue = tissue
        self._panel = panel
        self._white = white
        self._segmenter = segmenter
        self._matrix = stain_matrix(panel.stains.hematoxylin, panel.stains.dab)
        self.pixel_um = max(panel.detection.pixel_um, slide.mpp)
        self.focus = Focus()

    def find(self, *, tile: int = DEFAULT_TILE) -> pd.DataFrame:
        """All cells whose centroid lies in evaluable tissue.

        Parameters
        ----------
        tile : int
            Side of a tile in pixels of the working resolution; it does not change the result.

        Returns
        -------
        DataFrame
            One row per cell, from top to bottom: cell (1..n), x_um, y_um (slide coordinates), area_um2
            (nucleus), dab_od (mean where the panel measures), hematoxylin_od (mean in the nucleus),
            positive, class (0-3), compartment ("tissue").
        """
        self.focus = Focus()
        parts = [self._tile(box) for box in self._boxes(tile)]
        columns = np.concatenate(parts, axis=1) if parts else np.zeros((5, 0))
        order = np.lexsort((columns[0], columns[1]))
        x_um, y_um, area, dab, hematoxylin = columns[:, order]
        inside = self._tissue.at(self._tissue.mask, x_um, y_um)
        values = (x_um[inside], y_um[inside], area[inside], dab[inside], hematoxylin[inside])
        return _table(values, self._panel)

    def labels(
        self, y: int, x: int, h: int, w: int
    ) -> tuple[npt.NDArray[np.uint8], Labels, npt.NDArray[np.bool_]]:
        """A field at the working resolution: pixels, nuclei, and which of them are positive (by label)."""
        box = self._box(y, x, y + h, x + w)
        rgb, labels, means = self._measured(box)
        view = (slice(y - box.y, y - box.y + h), slice(x - box.x, x - box.x + w))
        positive = np.r_[False, means[3] >= self._panel.thresholds[0]]
        return rgb[view], labels[view], positive

    def _boxes(self, tile: int) -> Iterator[_Box]:
        if tile < 64:
            problems = Problems()
            problems.add("E-PANEL-001", "A tile must have at least 64 pixels.", column="tile", value=tile)
            raise AssayError(problems)
        height, width = self._slide.grid(self.pixel_um)
        scale = self.pixel_um / self._tissue.mpp
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                bottom, right = min(top + tile, height), min(left + tile, width)
                rows = slice(int(top * scale), int(np.ceil(bottom * scale)) + 1)
                columns = slice(int(left * scale), int(np.ceil(right * scale)) + 1)
                if self._tissue.mask[rows, columns].any():
                    yield self._box(top, left, bottom, right)

    def _box(self, top: int, left: int, bottom: int, right: int) -> _Box:
        height, width = self._slide.grid(self.pixel_um)
        reach = int(np.ceil((REACH_UM + self._panel.expansion_um) / self.pixel_um))
        y, x = max(top - reach, 0), max(left - reach, 0)
        return _Box(
            top, left, bottom, right, y, x, min(bottom + reach, height) - y, min(right + reach, width) - x
        )

    def _measured(self, box: _Box) -> tuple[npt.NDArray[np.uint8], Labels, Float]:
        """Pixels, nuclei, and per nucleus: sum of x, sum of y, area (pixels), DAB, haematoxylin."""
        rgb, missing = self._slide.resample(box.y, box.x, box.h, box.w, self.pixel_um)
        gone = self._nodata(box)
        if missing is not None:
            gone = missing if gone is None else gone | missing
        if gone is not None:
            rgb[gone] = np.rint(self._white.rgb).astype(np.uint8)
        density = optical_density(rgb, self._white.rgb)
        if gone is not None:
            density[gone] = 0
        if self._segmenter is None:
            labels = segment(density, self.pixel_um, self._panel.options)
        else:
            labels = self._segmenter(density, self.pixel_um)
        return rgb, labels, self._measure(density, labels, box)

    def _nodata(self, box: _Box) -> npt.NDArray[np.bool_] | None:
        """Which pixels of a box have no data by the tissue's mask; None: all have."""
        if not self._tissue.nodata.any():
            return None
        rows, columns = self._places(box.y, box.h, 0), self._places(box.x, box.w, 1)
        gone: npt.NDArray[np.bool_] = self._tissue.nodata[np.ix_(rows, columns)]
        return gone if gone.any() else None

    def _places(self, start: int, count: int, axis: int) -> npt.NDArray[np.int64]:
        """Rows or columns of the tissue's masks for pixels of the working grid."""
        places = ((np.arange(start, start + count) + 0.5) * self.pixel_um / self._tissue.mpp).astype(np.int64)
        found: npt.NDArray[np.int64] = np.minimum(places, self._tissue.mask.shape[axis] - 1)
        return found

    def _measure(self, density: npt.NDArray[np.float32], labels: Labels, box: _Box) -> Float:
        hematoxylin, dab = unmix(density, self._matrix, (0, 1))
        ys, xs = np.nonzero(labels)
        which = labels[ys, xs]
        n = int(labels.max()) + 1 if labels.size else 1
        area = np.bincount(which, minlength=n)[1:].astype(np.float64)
        sx = np.bincount(which, xs + box.x, n)[1:]
        sy = np.bincount(which, ys + box.y, n)[1:]
        blue = np.bincount(which, hematoxylin[ys, xs], n)[1:]
        reach = round(self._panel.expansion_um / self.pixel_um)
        if self._panel.measure == "nucleus" or reach == 0:
            brown, over = np.bincount(which, dab[ys, xs], n)[1:], area
        else:
            grown = expand(labels, reach)
            if self._panel.measure == "ring":
                grown = np.where(labels > 0, 0, grown)
            ys, xs = np.nonzero(grown)
            which = grown[ys, xs]
            over = np.bincount(which, minlength=n)[1:].astype(np.float64)
            brown = np.bincount(which, dab[ys, xs], n)[1:]
        one = np.maximum(area, 1)
        return np.vstack([sx, sy, area, brown / np.maximum(over, 1), blue / one])

    def _tile(self, box: _Box) -> Float:
        """Cells that belong to a tile: x_um, y_um, area_um2, dab_od, hematoxylin_od (rows) by cell."""
        rgb, _, means = self._measured(box)
        self._add_focus(rgb, box)
        means = means[:, means[2] > 0]
        cx, cy = means[0] / means[2], means[1] / means[2]
        owned = (cy >= box.top) & (cy < box.bottom) & (cx >= box.left) & (cx < box.right)
        means, cx, cy = means[:, owned], cx[owned], cy[owned]
        size = self.pixel_um
        return np.vstack([(cx + 0.5) * size, (cy + 0.5) * size, means[2] * size**2, means[3], means[4]])

    def _add_focus(self, rgb: npt.NDArray[np.uint8], box: _Box) -> None:
        """Add the tile's own pixels to the focus sums."""
        rows = self._places(box.top, box.bottom - box.top, 0)
        columns = self._places(box.left, box.right - box.left, 1)
        own = (slice(box.top - box.y, box.bottom - box.y), slice(box.left - box.x, box.right - box.x))
        inside = self._tissue.mask[np.ix_(rows, columns)]
        self.focus.add(np.ascontiguousarray(rgb[..., 1]), self.pixel_um, own, inside)


def _table(values: tuple[Float, ...], panel: Panel) -> pd.DataFrame:
    x_um, y_um, area, dab, hematoxylin = values
    grade = np.searchsorted(np.asarray(panel.thresholds), dab, side="right").astype(np.int8)
    return pd.DataFrame(
        {
            "cell": np.arange(1, len(x_um) + 1, dtype=np.int32),
            "x_um": x_um,
            "y_um": y_um,
            "area_um2": area,
            "dab_od": dab,
            "hematoxylin_od": hematoxylin,
            "positive": grade > 0,
            "class": grade,
            "compartment": np.full(len(x_um), "tissue", dtype=object),
        }
    )


def expand(labels: Labels, pixels: int) -> Labels:
    """Grow labels into the background by a number of pixels (octagonal steps: square, cross, square, ...).

    Where two labels meet in one step the later one (the larger number) takes the pixel.

    Parameters
    ----------
    labels : array of int32, shape (Y, X)
    pixels : int
        Number of steps.

    Returns
    -------
    array of int32, shape (Y, X)
    """
    grown = labels.astype(np.float32)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    square = np.ones((3, 3), np.uint8)
    for step in range(pixels):
        spread = cv2.dilate(grown, cross if step % 2 == 0 else square)
        grown = np.where(grown > 0, grown, spread)
    return grown.astype(np.int32)
