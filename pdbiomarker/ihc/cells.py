"""Cells of a slide, tile by tile.

A cell belongs to the tile that holds its centroid; tiles overlap by the reach of the segmenter, all
thresholds are locked, and all sums run over whole numbers: the table is the same for every tile size and
any number of threads.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.ihc.amounts import amounts
from pdbiomarker.ihc.compiled import kernel
from pdbiomarker.ihc.labels import expand
from pdbiomarker.ihc.nuclei import REACH_UM, outline
from pdbiomarker.ihc.objects import CellMeasures, measure_cells
from pdbiomarker.ihc.panel import Panel
from pdbiomarker.ihc.segmenters import Segmenter, checked
from pdbiomarker.ihc.slide import Slide
from pdbiomarker.ihc.stain import White, optical_density, stain_matrix
from pdbiomarker.ihc.tissue import Tissue

__all__ = ["CELL_COLUMNS", "DEFAULT_TILE", "CellFinder", "Focus"]

CELL_COLUMNS: Final = (
    "cell",
    "x_um",
    "y_um",
    "area_um2",
    "compartment",
    "dab_od_mean",
    "haematoxylin_od_mean",
    "class",
    "positive",
    "dab_od_nucleus",
    "dab_od_cytoplasm",
    "dab_od_membrane",
    "dab_od_membrane_p90",
    "membrane_stained",
)
DEFAULT_TILE: Final = 1536
_MEASURES: Final = (
    "x_um",
    "y_um",
    "area_um2",
    "haematoxylin_od_mean",
    "dab_od_mean",
    "decides",
    "dab_od_nucleus",
    "dab_od_cytoplasm",
    "dab_od_membrane",
    "dab_od_membrane_p90",
    "membrane_stained",
)
_FOCUS_MARGIN: Final = 2.0 * 3 + 1  # micrometres: the widest Gaussian and one pixel more
_MEMBRANE_UM: Final = 1.0
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
        margin = int(np.ceil(_FOCUS_MARGIN / pixel_um)) + 1
        part = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in own)
        view = np.ascontiguousarray(green[part])
        inside = np.zeros(view.shape, bool)
        inside[tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(own, part, strict=True))] = (
            mask
        )
        edges = cv2.Laplacian(view, cv2.CV_16S, ksize=1, borderType=cv2.BORDER_REFLECT_101)
        smooth = tuple(_smoothed(view, sigma / pixel_um) for sigma in _FOCUS_UM)
        sums = np.zeros(4, np.int64)
        _focus_sums(np.asarray(edges, dtype=np.int16), smooth, inside, sums)
        self.merge(Focus(*(int(value) for value in sums)))

    def merge(self, other: Focus) -> None:
        """Add the sums of another part."""
        self.laplacian += other.laplacian
        self.fine += other.fine
        self.coarse += other.coarse
        self.pixels += other.pixels


def _smoothed(image: npt.NDArray[np.uint8], sigma: float) -> npt.NDArray[np.float32]:
    """65,536 times the image under a Gaussian of whole numbers: exact, so no value depends on the tile.

    The largest sum, 255 x 65,536, is a whole number below 2**24: single precision holds every one.
    """
    taps = np.arange(-int(np.ceil(3 * sigma)), int(np.ceil(3 * sigma)) + 1)
    weights = np.exp(-0.5 * (taps / sigma) ** 2)
    row = np.rint(256 * weights / weights.sum())
    row[len(taps) // 2] += 256 - row.sum()
    border = cv2.BORDER_REFLECT_101
    return np.asarray(cv2.sepFilter2D(image, cv2.CV_32F, row, row, borderType=border), dtype=np.float32)


@kernel
def _focus_sums(
    edges: npt.NDArray[np.int16],
    smooth: tuple[npt.NDArray[np.float32], ...],
    mask: Mask,
    sums: npt.NDArray[np.int64],
) -> None:
    """Add the squares over `mask` of Laplacian, fine detail and coarse detail; and the pixels."""
    sharp, middle, soft = smooth
    height, width = edges.shape
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                edge = np.int64(edges[y, x])
                fine = np.int64(np.rint((sharp[y, x] - middle[y, x]) / np.float32(256)))
                coarse = np.int64(np.rint((middle[y, x] - soft[y, x]) / np.float32(256)))
                sums[0] += edge * edge
                sums[1] += fine * fine
                sums[2] += coarse * coarse
                sums[3] += 1


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
        See :mod:`pdbiomarker.ihc.segmenters`. Default: the classical one with the panel's parameters.

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
        self._reading = threading.Lock()

    def find(self, *, tile: int = DEFAULT_TILE, threads: int = 1) -> pd.DataFrame:
        """All cells whose centroid lies in evaluable tissue.

        Parameters
        ----------
        tile : int
            Side of a tile in pixels of the working resolution.
        threads : int
            How many tiles are worked on at once. Neither changes the result.

        Returns
        -------
        DataFrame
            One row per cell, from top to bottom, with the columns :data:`CELL_COLUMNS`: cell (1..n), x_um,
            y_um (slide coordinates), area_um2 (nucleus), compartment ("tissue"), dab_od_mean (where the
            panel measures), haematoxylin_od_mean (nucleus), class (0-3), positive; then the mean DAB of
            nucleus, cytoplasm and membrane, the membrane's 90th percentile, and the share of it that is
            stained (NaN where the panel grows no cells).
        """
        self.focus = Focus()
        boxes = list(self._boxes(tile))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                done = list(pool.map(self._tile, boxes))
        else:
            done = [self._tile(box) for box in boxes]
        for _, focus in done:
            self.focus.merge(focus)
        parts = [values for values, _ in done]
        columns = np.concatenate(parts, axis=1) if parts else np.zeros((len(_MEASURES), 0))
        columns = columns[:, np.lexsort((columns[0], columns[1]))]
        inside = self._tissue.at(self._tissue.mask, columns[0], columns[1])
        return _table(dict(zip(_MEASURES, columns[:, inside], strict=True)), self._panel)

    def labels(
        self, y: int, x: int, h: int, w: int
    ) -> tuple[npt.NDArray[np.uint8], Labels, npt.NDArray[np.bool_]]:
        """A field at the working resolution: pixels, nuclei, and which of them are positive (by label)."""
        box = self._box(y, x, y + h, x + w)
        rgb, labels, measures = self._measured(box)
        view = (slice(y - box.y, y - box.y + h), slice(x - box.x, x - box.x + w))
        positive = np.r_[False, _decisive(measures, self._panel)[1] >= self._panel.thresholds[0]]
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

    def _measured(self, box: _Box) -> tuple[npt.NDArray[np.uint8], Labels, CellMeasures]:
        """Pixels, nuclei, and what is measured on them."""
        with self._reading:
            rgb, missing = self._slide.resample(box.y, box.x, box.h, box.w, self.pixel_um)
        gone = self._nodata(box)
        if missing is not None:
            gone = missing if gone is None else gone | missing
        if gone is not None:
            rgb[gone] = np.rint(self._white.rgb).astype(np.uint8)
        stains = amounts(rgb, self._white.rgb, self._matrix)
        if gone is not None:
            for plane in stains:
                plane[gone] = 0
        if self._segmenter is None:
            labels = outline(*stains, self.pixel_um, options=self._panel.options)
        else:
            density = optical_density(rgb, self._white.rgb)
            if gone is not None:
                density[gone] = 0
            labels = checked(self._segmenter, density, self.pixel_um)
        return rgb, labels, self._measure(labels, stains, box)

    def _measure(self, labels: Labels, stains: tuple[Labels, Labels], box: _Box) -> CellMeasures:
        """Grow the nuclei into cells, where the panel says so, and measure both."""
        reach, measure = self._panel.expansion_um / self.pixel_um, self._panel.measure
        if measure == "nucleus" or (reach < 1 and measure != "membrane"):  # a nucleus has a rim of its own
            return measure_cells(labels, None, stains, origin=(box.y, box.x))
        width = max(1, round(_MEMBRANE_UM / self.pixel_um))
        grown = expand(labels, reach)
        threshold = self._panel.thresholds[0]
        return measure_cells(labels, grown, stains, origin=(box.y, box.x), width=width, threshold=threshold)

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

    def _tile(self, box: _Box) -> tuple[Float, Focus]:
        """Cells that belong to a tile, measures (rows, as `_MEASURES`) by cell; and the tile's focus."""
        rgb, _, found = self._measured(box)
        cx, cy = found.x, found.y
        owned = (found.area > 0) & (cy >= box.top) & (cy < box.bottom) & (cx >= box.left) & (cx < box.right)
        mean, decides = _decisive(found, self._panel)
        size = self.pixel_um
        values = np.vstack(
            [
                (cx + 0.5) * size,
                (cy + 0.5) * size,
                found.area * size**2,
                found.hematoxylin,
                mean,
                decides,
                found.nucleus,
                found.cytoplasm,
                found.membrane,
                found.membrane_p90,
                found.membrane_stained,
            ]
        )
        return values[:, owned], self._focus_of(rgb, box)

    def _focus_of(self, rgb: npt.NDArray[np.uint8], box: _Box) -> Focus:
        """The focus sums of the tile's own pixels."""
        rows = self._places(box.top, box.bottom - box.top, 0)
        columns = self._places(box.left, box.right - box.left, 1)
        own = (slice(box.top - box.y, box.bottom - box.y), slice(box.left - box.x, box.right - box.x))
        focus = Focus()
        focus.add(rgb[..., 1], self.pixel_um, own, self._tissue.mask[np.ix_(rows, columns)])
        return focus


def _decisive(found: CellMeasures, panel: Panel) -> tuple[Float, Float]:
    """Mean DAB where the panel measures, and the value that decides the class.

    A cell without a ring (nuclei touch it on all sides) is judged by the whole cell: it is not negative
    because nothing could be measured.
    """
    if panel.measure == "membrane":
        mean = found.membrane
    elif panel.measure == "ring":
        mean = np.where(np.isnan(found.cytoplasm), found.cell, found.cytoplasm)
    elif panel.measure == "cell":
        mean = found.cell
    else:
        mean = found.nucleus
    decides = found.membrane_p90 if panel.statistic == "p90" else mean
    return mean, np.where(np.isnan(decides), found.cell, decides)  # NaN would sort above 3+


def _table(values: dict[str, Float], panel: Panel) -> pd.DataFrame:
    grade = np.searchsorted(np.asarray(panel.thresholds), values["decides"], side="right").astype(np.int8)
    n = len(grade)
    values = values | {
        "cell": np.arange(1, n + 1, dtype=np.int32),
        "compartment": np.full(n, "tissue", dtype=object),
        "class": grade,
        "positive": grade > 0,
    }
    return pd.DataFrame({name: values[name] for name in CELL_COLUMNS})
