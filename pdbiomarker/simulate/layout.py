"""Where the tissue, the tumour nests and the cells of one slide lie.

Positions are in um from the top left corner of the image; the pixel in row r and column c covers
[c, c + 1) x [r, r + 1) times the size of a pixel. Outlines are level sets of smooth random fields, cut at
the quantile that gives the area wanted; cells are thrown at random and kept where they touch no other
(random sequential addition), the CD8+ ones first, so that every planted cell is a cell of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from scipy.spatial import cKDTree

__all__ = ["CELL_KINDS", "DAB_OD", "Layout", "draw_layout", "place_cells", "smooth_noise"]

Float = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Kind of cell -> (mean major semi-axis um, SD, mean axis ratio minor/major, radius kept free um).
CELL_KINDS: Final[Mapping[str, tuple[float, float, float, float]]] = {
    "cd8": (3.55, 0.30, 0.90, 5.0),
    "lymphocyte": (3.35, 0.25, 0.90, 3.6),
    "tumor": (5.6, 0.75, 0.76, 5.1),
    "fibroblast": (6.3, 1.2, 0.30, 4.0),
}
#: Optical density of DAB at the membrane, by level 0, 1+, 2+, 3+.
DAB_OD: Final = (0.0, 0.48, 0.80, 1.15)
_GAP_UM: Final = 0.6


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Tissue and tumour nests of one image.

    Attributes
    ----------
    tissue, nest : ndarray of bool, shape (height, width)
        Tissue, and the tumour nests inside it.
    nest_outlines : tuple of ndarray of int32, shape (points, 2)
        Corners (x, y) in pixels of the polygons that `nest` is filled from.
    mpp : float
        Size of a pixel, um.
    """

    tissue: Mask
    nest: Mask
    nest_outlines: tuple[npt.NDArray[np.int32], ...]
    mpp: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self.tissue.shape
        return height, width

    @property
    def area_mm2(self) -> float:
        """Area of the tissue, mm2."""
        return float(np.count_nonzero(self.tissue)) * self.mpp**2 / 1e6

    @property
    def nest_area_mm2(self) -> float:
        """Area of the tumour nests, mm2."""
        return float(np.count_nonzero(self.nest)) * self.mpp**2 / 1e6


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Float:
    """Gaussian noise smoothed with `sigma` pixels, mean 0 and variance 1, shape `shape`.

    Coarse noise is drawn on a coarse grid and enlarged.
    """
    factor = max(1, int(sigma / 1.5))
    small = (shape[0] // factor + 3, shape[1] // factor + 3)
    noise = rng.standard_normal(small, dtype=np.float32)
    noise = np.asarray(
        cv2.GaussianBlur(noise, (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT), dtype=np.float32
    )
    noise = (noise - noise.mean()) / noise.std()
    if factor == 1:
        return np.ascontiguousarray(noise[: shape[0], : shape[1]])
    large = cv2.resize(noise, (small[1] * factor, small[0] * factor), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(np.asarray(large, dtype=np.float32)[: shape[0], : shape[1]])


def draw_layout(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    mpp: float = 0.5,
    area_mm2: float = 0.4,
    nest_fraction: float = 0.5,
) -> Layout:
    """A piece of a needle core on glass, with tumour nests.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    shape : tuple of int
        Height and width of the image, pixels.
    mpp : float
        Size of a pixel, um.
    area_mm2 : float
        Area of the tissue; cut to what fits on the image with a rim of glass.
    nest_fraction : float
        Fraction of the tissue that is tumour nest.

    Returns
    -------
    Layout
        Areas are met within a few per cent, because stray islands are dropped: use those of the layout.
    """
    height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) * np.float32(mpp)
    # A gently bent strip with torn ends.
    phase = rng.uniform(0, 2 * np.pi)
    bend = 0.045 * height * mpp * np.sin(2 * np.pi * x[0] / (1.6 * width * mpp) + phase)
    centre = (height * mpp / 2 + bend).astype(np.float32)
    half_length, half_width = 0.465 * width * mpp, 0.36 * height * mpp
    level = (np.abs(x - width * mpp / 2) / half_length) ** 7 + (np.abs(y - centre[None]) / half_width) ** 2
    level += 0.16 * smooth_noise(rng, shape, 34 / mpp) + 0.075 * smooth_noise(rng, shape, 9 / mpp)
    level += 0.022 * smooth_noise(rng, shape, 2.5 / mpp)
    rim = max(4, round(14 / mpp))
    free = np.full(shape, np.inf, dtype=np.float32)
    free[rim:-rim, rim:-rim] = level[rim:-rim, rim:-rim]
    wanted = min(area_mm2 * 1e6 / mpp**2, 0.8 * (height - 2 * rim) * (width - 2 * rim))
    tissue = _largest(free <= np.partition(free.ravel(), int(wanted))[int(wanted)])
    tissue &= ~_lumens(rng, tissue, mpp)
    outlines = _nests(rng, tissue, nest_fraction, mpp)
    filled = np.zeros(shape, dtype=np.uint8)
    cv2.fillPoly(filled, list(outlines), 1)
    return Layout(tissue, (filled > 0) & tissue, outlines, mpp)


def _largest(mask: Mask) -> Mask:
    """The largest connected part, its small holes filled."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    part = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(part)
    cv2.drawContours(filled, outlines, -1, 1, thickness=cv2.FILLED)
    return np.asarray(filled > 0, dtype=np.bool_)


def _lumens(rng: np.random.Generator, tissue: Mask, mpp: float) -> Mask:
    """A few empty vessels."""
    holes = np.zeros(tissue.shape, dtype=np.uint8)
    depth = np.asarray(cv2.distanceTransform(tissue.astype(np.uint8), cv2.DIST_L2, 5))
    rows, columns = np.nonzero(depth > 45 / mpp)
    for _ in range(int(rng.integers(1, 4)) if rows.size else 0):
        pick = int(rng.integers(rows.size))
        axes = (round(rng.uniform(9, 20) / mpp), round(rng.uniform(6, 11) / mpp))
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(holes, (int(columns[pick]), int(rows[pick])), axes, angle, 0, 360, 1, cv2.FILLED)
    return np.asarray(holes > 0, dtype=np.bool_)


def _nests(
    rng: np.random.Generator, tissue: Mask, fraction: float, mpp: float
) -> tuple[npt.NDArray[np.int32], ...]:
    """Outlines of islands that cover `fraction` of the tissue."""
    field = smooth_noise(rng, tissue.shape, 38 / mpp) + 0.22 * smooth_noise(rng, tissue.shape, 10 / mpp)
    depth = np.asarray(cv2.distanceTransform(tissue.astype(np.uint8), cv2.DIST_L2, 5))
    field = np.where(depth > 8 / mpp, field, -np.inf)
    inside = field[tissue]
    wanted = min(int(fraction * inside.size), inside.size - 1)
    if wanted < 1:
        return ()
    cut = np.partition(inside, inside.size - wanted)[inside.size - wanted]
    # Opening cuts necks one pixel wide, where an outline would touch itself.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    mask = cv2.morphologyEx((field >= cut).astype(np.uint8), cv2.MORPH_OPEN, disc)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    smooth = [line for outline in outlines if (line := _simplified(outline)) is not None]
    smallest = min(1500.0, 0.3 * fraction * inside.size * mpp**2)
    kept = [line for line in smooth if len(line) > 3 and cv2.contourArea(line) * mpp**2 >= smallest]
    return tuple(sorted(kept, key=lambda line: (int(line[0, 1]), int(line[0, 0]))))


def _simplified(outline: npt.NDArray[Any]) -> npt.NDArray[np.int32] | None:
    """The coarsest simplification of an outline that is a valid polygon; None if there is none."""
    for tolerance in (1.2, 0.8, 0.4, 0.0):
        line: npt.NDArray[np.int32] = cv2.approxPolyDP(outline, tolerance, closed=True)[:, 0, :].astype(
            np.int32
        )
        if len(line) > 3 and shapely.Polygon(line).is_valid:
            return line
    return None


def place_cells(rng: np.random.Generator, layout: Layout, numbers: Mapping[str, int]) -> pd.DataFrame:
    """Put cells on a layout.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    layout : Layout
        Tissue and nests.
    numbers : mapping of str to int
        Cells wanted: ``cd8_stroma``, ``cd8_nest``, ``lymphocyte`` (stroma), ``nest_lymphocyte``, ``tumor``
        (nests) and ``fibroblast`` (stroma); a missing key is none.

    Returns
    -------
    DataFrame
        One row per cell: ``x_um, y_um, kind, compartment, positive, dab_level`` (0-3), ``dab_od`` (of the
        membrane), ``major_um, minor_um`` (semi-axes of the nucleus) and ``angle`` (radians). Where there is
        no room, fewer cells than wanted.
    """
    inside = np.asarray(cv2.distanceTransform(layout.tissue.astype(np.uint8), cv2.DIST_L2, 5))
    nest = layout.nest.astype(np.uint8)
    in_nest = np.asarray(cv2.distanceTransform(nest, cv2.DIST_L2, 5))
    in_stroma = np.asarray(cv2.distanceTransform(1 - nest, cv2.DIST_L2, 5))
    crowds = np.exp(0.9 * smooth_noise(rng, layout.shape, 22 / layout.mpp))
    turn = 0.9 * smooth_noise(rng, layout.shape, 55 / layout.mpp)
    plan = (
        ("cd8_nest", "cd8", "nest"),
        ("cd8_stroma", "cd8", "stroma"),
        ("tumor", "tumor", "nest"),
        ("nest_lymphocyte", "lymphocyte", "nest"),
        ("lymphocyte", "lymphocyte", "stroma"),
        ("fibroblast", "fibroblast", "stroma"),
    )
    placed = _Placed()
    parts = []
    for key, kind, compartment in plan:
        radius = CELL_KINDS[kind][3]
        clear = (in_nest if compartment == "nest" else in_stroma) * layout.mpp > 1.5
        allowed = clear & (inside * layout.mpp > radius + 0.5)
        lymphoid = kind in ("cd8", "lymphocyte") and compartment == "stroma"
        weight = np.where(allowed, crowds if lymphoid else np.float32(1), np.float32(0))
        points = placed.add(rng, weight[::2, ::2], radius, numbers.get(key, 0), 2 * layout.mpp)
        parts.append(_shapes(rng, points, kind, compartment, turn, layout.mpp))
    cells = pd.concat(parts, ignore_index=True)
    return cells.sort_values(["y_um", "x_um"], kind="stable", ignore_index=True)


class _Placed:
    """Discs already on the slide."""

    def __init__(self) -> None:
        self.points = np.empty((0, 2))
        self.radii = np.empty(0)

    def add(
        self, rng: np.random.Generator, weight: Float, radius: float, number: int, mpp: float
    ) -> npt.NDArray[np.float64]:
        """Add up to `number` discs, likelier where `weight` is larger; returns their centres in um."""
        cumulative = np.cumsum(weight.ravel(), dtype=np.float64)
        kept = np.empty((0, 2))
        if number == 0 or cumulative[-1] <= 0:
            return kept
        for _ in range(60):
            wanted = number - len(kept)
            if wanted <= 0:
                break
            tries = min(4 * wanted + 50, 6000)
            pixel = np.searchsorted(cumulative, rng.random(tries) * cumulative[-1], side="right")
            corner = np.column_stack([pixel % weight.shape[1], pixel // weight.shape[1]])
            points = (corner + rng.random((tries, 2))) * mpp
            points = points[self._free(points, radius)]
            points = points[_thinned(points, 2 * radius + _GAP_UM)][:wanted]
            self.points = np.vstack([self.points, points])
            self.radii = np.concatenate([self.radii, np.full(len(points), radius)])
            kept = np.vstack([kept, points])
        return kept

    def _free(self, points: npt.NDArray[np.float64], radius: float) -> Mask:
        if not len(self.points):
            return np.ones(len(points), dtype=np.bool_)
        reach = radius + float(self.radii.max()) + _GAP_UM
        distance, index = cKDTree(self.points).query(points, k=12, distance_upper_bound=reach)
        radii = np.append(self.radii, 0.0)[index]
        return np.asarray((distance >= radii + radius + _GAP_UM).all(axis=1), dtype=np.bool_)


def _thinned(points: npt.NDArray[np.float64], distance: float) -> Mask:
    """Those points that no earlier point of the list is nearer to than `distance`."""
    pairs = cKDTree(points).query_pairs(distance, output_type="ndarray")
    keep = np.ones(len(points), dtype=np.bool_)
    keep[pairs.max(axis=1)] = False
    return keep


def _shapes(
    rng: np.random.Generator,
    points: npt.NDArray[np.float64],
    kind: str,
    compartment: str,
    turn: Float,
    mpp: float,
) -> pd.DataFrame:
    """Rows for cells of one kind: the size, shape and direction of nuclei, and the strength of DAB."""
    n = len(points)
    major_mean, major_sd, ratio, _ = CELL_KINDS[kind]
    major = np.clip(rng.normal(major_mean, major_sd, n), 0.75 * major_mean, 1.3 * major_mean)
    minor = major * np.clip(rng.normal(ratio, 0.08, n), 0.8 * ratio, min(1.0, 1.25 * ratio))
    rows = np.minimum((points[:, 1] / mpp).astype(int), turn.shape[0] - 1)
    columns = np.minimum((points[:, 0] / mpp).astype(int), turn.shape[1] - 1)
    spread = {"fibroblast": 0.25, "tumor": 0.5}.get(kind, 3.0)
    angle = turn[rows, columns] + rng.normal(0.0, spread, n)
    positive = kind == "cd8"
    level = rng.choice([1, 2, 3], n, p=[0.15, 0.35, 0.5]) if positive else np.zeros(n, dtype=np.int64)
    dab_od = np.array(DAB_OD)[level] * np.exp(0.09 * rng.standard_normal(n))
    return pd.DataFrame(
        {
            "x_um": points[:, 0],
            "y_um": points[:, 1],
            "kind": [kind] * n,
            "compartment": [compartment] * n,
            "positive": np.full(n, positive),
            "dab_level": level,
            "dab_od": dab_od,
            "major_um": major,
            "minor_um": minor,
            "angle": angle,
        }
    )
