"""The default nucleus segmenter: classical, deterministic, without weights.

The idea: no single threshold fits pale and dark nuclei, so each nucleus gets its own. The nuclear signal z
(the stain's optical density, softly capped, plus a centre-surround term of nuclear size) is divided into
basins, one per local maximum, by steepest ascent. Inside each basin the part above each of a fixed list of
thresholds is a candidate outline; a score of its size, its likeness to a filled ellipse and the steepness
of the density along its edge picks the best. Two neighbouring basins are joined where the candidate of
both together scores higher than either alone. What scores too little is not a nucleus.

All of it is integer arithmetic on neighbourhoods of bounded size, and every threshold is a constant: the
outline of a nucleus depends only on its surroundings, so results do not depend on how a slide is tiled.

Symbols: K thresholds; level of a pixel = how many of them z exceeds; a *crack* is the side between two
neighbouring pixels. Areas, moments and edge sums of the candidate at threshold k are sums over the pixels
and cracks of level >= k, so that one histogram over (basin, level), summed from the top, gives every
candidate at once, and those of a union are sums of those of its parts.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc import stain
from pdbiomarker.ihc.candidates import EDGE_UNITS, PIXEL_WEIGHT, UNITS_PER_OD, SegmentOptions, choose

__all__ = ["REACH_UM", "SegmentOptions", "segment"]

Int = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float = npt.NDArray[np.float64]

#: How far, in micrometres, the outline of a nucleus depends on its surroundings.
REACH_UM: Final = 48.0

_BLOB_WEIGHT: Final = 84
_FAR: Final = 2**30
#: Steps to the neighbours in reading order: of equal heights the later one is the higher.
_STEPS: Final = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0), (0, 1), (1, -1), (1, 0), (1, 1))


def segment(od: npt.NDArray[np.float32], pixel_um: float, options: SegmentOptions | None = None) -> Int32:
    """Outline the nuclei of a haematoxylin-DAB image.

    Parameters
    ----------
    od : array of float32, shape (Y, X, 3)
        Decadic optical density, red, green, blue.
    pixel_um : float
        Size of a pixel in micrometres; 0.5 is what the defaults were set at.
    options : SegmentOptions, optional

    Returns
    -------
    array of int32, shape (Y, X)
        0 outside, 1..n inside the nuclei, numbered in the order of their first pixel. An empty image
        gives an empty array.

    Examples
    --------
    >>> import numpy as np
    >>> int(segment(np.zeros((32, 32, 3), np.float32), 0.5).max())
    0
    """
    opt = options or SegmentOptions()
    shape = od.shape[:2]
    if min(shape) < 3:
        return np.zeros(shape, np.int32)
    z, gradient = _signal(od, pixel_um, opt)
    level = _levels(z, opt)
    inside = level > 0
    if not inside.any():
        return np.zeros(shape, np.int32)
    basin, peaks = _basins(z, inside)
    group, best, kept = choose((z, level, basin, gradient), peaks, pixel_um, opt)
    lookup = np.where(kept, best, 255)[group].astype(np.uint8)
    chosen = np.zeros(shape, np.int32)
    selected = inside & (level >= np.where(basin >= 0, lookup[basin], 255))
    chosen[selected] = group[basin[selected]] + 1
    return _relabel(_fill_holes(chosen, pixel_um))


def _signal(
    od: npt.NDArray[np.float32], pixel_um: float, opt: SegmentOptions
) -> tuple[Int32, npt.NDArray[np.uint16]]:
    """The nuclear signal z (OD x 100 x 65536) and the edge strength (0-1000) of every pixel."""
    matrix = None if opt.matrix is None else np.reshape(opt.matrix, (3, 3))
    if opt.channel == "hematoxylin":
        (amount,) = stain.unmix(od, matrix, (0,))
    else:
        amount = np.maximum(*stain.unmix(od, matrix, (0, 1)))
    capped = np.float32(opt.cap) * np.tanh(np.maximum(amount, 0) / np.float32(opt.cap))
    raw = np.rint(capped * np.float32(UNITS_PER_OD)).astype(np.uint16)
    smooth = _blur(raw, opt.smoothing_um / pixel_um)
    scale = opt.radius_um / np.sqrt(2.0) / pixel_um
    narrow, wide = _blur(raw, scale / np.sqrt(1.5)), _blur(raw, scale * np.sqrt(1.5))
    z = PIXEL_WEIGHT * smooth.astype(np.int32)
    z += _BLOB_WEIGHT * (narrow.astype(np.int32) - wide.astype(np.int32))
    return z, _edge_strength(smooth, pixel_um, opt)


def _blur(image: npt.NDArray[np.uint16], sigma: float) -> npt.NDArray[np.uint16]:
    """Gaussian blur in fixed-point arithmetic: the same value wherever the image is cut."""
    blurred = cv2.GaussianBlur(
        image, (0, 0), float(sigma), borderType=cv2.BORDER_REFLECT_101, hint=cv2.ALGO_HINT_ACCURATE
    )
    return np.asarray(blurred, dtype=np.uint16)


def _edge_strength(
    smooth: npt.NDArray[np.uint16], pixel_um: float, opt: SegmentOptions
) -> npt.NDArray[np.uint16]:
    """Gradient g of the density as g / (g + edge_half), in thousandths."""
    values = cv2.copyMakeBorder(smooth, 1, 1, 1, 1, cv2.BORDER_REPLICATE).astype(np.int32)
    gx = (values[1:-1, 2:] - values[1:-1, :-2]).astype(np.float32)
    gy = (values[2:, 1:-1] - values[:-2, 1:-1]).astype(np.float32)
    slope = np.sqrt(gx * gx + gy * gy)
    half = np.float32(opt.edge_half * 2.0 * pixel_um * UNITS_PER_OD)
    return (np.float32(EDGE_UNITS) * slope / (slope + half)).astype(np.uint16)


def _levels(z: Int32, opt: SegmentOptions) -> npt.NDArray[np.uint8]:
    """How many of the thresholds each pixel exceeds (0..K)."""
    thresholds = np.geomspace(opt.lowest, opt.highest, opt.levels) * UNITS_PER_OD * PIXEL_WEIGHT
    step = 1 << 8
    bins = np.arange(int(thresholds[-1]) // step + 2, dtype=np.float64) * step
    table = np.searchsorted(thresholds, bins, side="right").astype(np.uint8)
    level: npt.NDArray[np.uint8] = table[np.clip(z >> 8, 0, len(bins) - 1)]
    return level


def _basins(z: Int32, inside: npt.NDArray[np.bool_]) -> tuple[Int32, Int32]:
    """Basin of every pixel inside (-1 outside), by steepest ascent; and the height of each peak.

    Of equal neighbours the later one in reading order counts as higher, so plateaus have one peak.
    """
    height, width = z.shape
    coded = np.full((height + 2, width + 2), -_FAR, np.int32)
    np.multiply(z, 16, out=coded[1:-1, 1:-1], where=inside)
    best = coded[1:-1, 1:-1] + np.int32(_STEPS.index((0, 0)))
    candidate = np.empty_like(best)
    for code, (dy, dx) in enumerate(_STEPS):
        neighbour = coded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        np.maximum(best, np.add(neighbour, np.int32(code), out=candidate), out=best)
    offsets = np.array([dy * width + dx for dy, dx in _STEPS] + [0] * 7, np.int32)
    index = np.flatnonzero(inside).astype(np.int32)
    position = np.zeros(height * width, np.int32)
    position[index] = np.arange(len(index), dtype=np.int32)
    parent = position[index + offsets[best.ravel()[index] & 15]]
    while True:
        upper = parent[parent]
        if np.array_equal(upper, parent):
            break
        parent = upper
    roots = np.flatnonzero(parent == np.arange(len(parent), dtype=np.int32))
    number = np.zeros(len(parent), np.int32)
    number[roots] = np.arange(len(roots), dtype=np.int32)
    basin = np.full(height * width, -1, np.int32)
    basin[index] = number[parent]
    return basin.reshape(height, width), z.ravel()[index[roots]]


def _fill_holes(labels: Int32, pixel_um: float, max_um2: float = 15.0) -> Int32:
    """Fill holes of up to `max_um2` that one or more nuclei enclose (pale centres)."""
    outside = (labels == 0).astype(np.uint8)
    count, component, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] * pixel_um**2 <= max_um2
    small[0] = False
    touches = np.zeros(count, bool)
    for edge in (component[0], component[-1], component[:, 0], component[:, -1]):
        touches[edge] = True
    hole = (small & ~touches)[component]
    filled = labels.astype(np.float32)
    steps = int(np.ceil(np.sqrt(max_um2) / pixel_um))
    for _ in range(steps):
        if not hole.any():
            break
        spread = cv2.dilate(filled, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
        grow = hole & (filled == 0)
        if not grow.any():
            break
        filled[grow] = spread[grow]
    result: Int32 = filled.astype(np.int32)
    return result


def _relabel(labels: Int32) -> Int32:
    """Number the labels 1..n in the order of their first pixel."""
    flat = labels.ravel()
    where = np.flatnonzero(flat)
    if where.size == 0:
        return np.zeros(labels.shape, np.int32)
    first = np.full(int(flat.max()) + 1, flat.size, np.int64)
    np.minimum.at(first, flat[where], where)
    present = np.flatnonzero(first < flat.size)
    number = np.zeros(len(first), np.int32)
    number[present[np.argsort(first[present], kind="stable")]] = np.arange(1, len(present) + 1)
    result: Int32 = number[labels]
    return result
