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

import dataclasses
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pdbiomarker.ihc import stain

__all__ = ["REACH_UM", "SegmentOptions", "segment"]

Int = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float = npt.NDArray[np.float64]

#: How far, in micrometres, the outline of a nucleus depends on its surroundings.
REACH_UM: Final = 48.0

_UNITS_PER_OD: Final = 65536.0
_PIXEL_WEIGHT, _BLOB_WEIGHT = 100, 84
_EDGE_UNITS = 1000
_CLEAR_FALL = 0.4  # a pass this far (relatively) below the peak divides two nuclei clearly
_PASS_DEPTHS = (0.03, 0.06, 0.12, 0.25)


#: The signal, the levels, the basins, and the edge strength of every pixel.
_Images = tuple[Int32, npt.NDArray[np.uint8], Int32, npt.NDArray[np.uint16]]


@dataclasses.dataclass(frozen=True, slots=True)
class SegmentOptions:
    """What a nucleus looks like, in micrometres and optical density.

    Attributes
    ----------
    channel : {"both", "hematoxylin"}
        The signal: the stronger of haematoxylin and DAB (nuclear markers), or haematoxylin alone
        (cytoplasmic and membranous markers, whose DAB lies outside the nucleus).
    min_area_um2, max_area_um2, typical_area_um2, area_log_sd : float
        Limits of the area, and the log-normal prior on it.
    min_score : float
        What scores less is not a nucleus (0-1).
    radius_um : float
        Radius of the centre-surround term.
    smoothing_um : float
        Standard deviation of the smoothing.
    cap : float
        Optical density at which the soft cap levels off, so that dense DAB does not dominate.
    edge_half : float
        Gradient (OD per micrometre) at which the edge term is one half.
    lowest, highest : float
        First and last threshold of the signal (OD).
    matrix : tuple of 9 floats or None
        Stain vectors, row by row; None for Ruifrok's.
    """

    channel: str = "both"
    min_area_um2: float = 14.0
    max_area_um2: float = 350.0
    typical_area_um2: float = 60.0
    area_log_sd: float = 0.85
    min_score: float = 0.09
    radius_um: float = 4.0
    smoothing_um: float = 0.5
    cap: float = 0.45
    edge_half: float = 0.02
    lowest: float = 0.02
    highest: float = 0.70
    levels: int = 20
    min_depth: float = 0.004
    matrix: tuple[float, ...] | None = None


@dataclasses.dataclass(slots=True)
class _Candidates:
    """Sums per (basin, level), each of shape (n, K): already summed from the top level down."""

    area: Float
    sx: Float
    sy: Float
    sxx: Float
    syy: Float
    sxy: Float
    cracks: Float
    edge: Float

    def joined(self, a: Int, b: Int, shared: Float, shared_edge: Float) -> _Candidates:
        """Candidates of the unions of basins a and b; cracks between them are inside, not edge."""
        names = ("area", "sx", "sy", "sxx", "syy", "sxy")
        sums = {name: getattr(self, name)[a] + getattr(self, name)[b] for name in names}
        return _Candidates(
            **sums,
            cracks=self.cracks[a] + self.cracks[b] - 2 * shared,
            edge=self.edge[a] + self.edge[b] - shared_edge,
        )


_FIELDS: Final = dataclasses.fields(_Candidates)


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
    candidates, pairs = _measure((z, level, basin, gradient), peaks, opt)
    group, best, kept = _choose(candidates, pairs, peaks, pixel_um, opt)
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
    raw = np.rint(capped * np.float32(_UNITS_PER_OD)).astype(np.uint16)
    smooth = _blur(raw, opt.smoothing_um / pixel_um)
    scale = opt.radius_um / np.sqrt(2.0) / pixel_um
    narrow, wide = _blur(raw, scale / np.sqrt(1.5)), _blur(raw, scale * np.sqrt(1.5))
    z = _PIXEL_WEIGHT * smooth.astype(np.int32)
    z += _BLOB_WEIGHT * (narrow.astype(np.int32) - wide.astype(np.int32))
    return z, _edge_strength(smooth, pixel_um, opt)


def _blur(image: npt.NDArray[np.uint16], sigma: float) -> npt.NDArray[np.uint16]:
    """Gaussian blur in fixed-point arithmetic: the same value wherever the image is cut."""
    blurred: npt.NDArray[np.uint16] = cv2.GaussianBlur(
        image, (0, 0), float(sigma), borderType=cv2.BORDER_REFLECT_101, hint=cv2.ALGO_HINT_ACCURATE
    )
    return blurred


def _edge_strength(
    smooth: npt.NDArray[np.uint16], pixel_um: float, opt: SegmentOptions
) -> npt.NDArray[np.uint16]:
    """Gradient g of the density as g / (g + edge_half), in thousandths."""
    values = cv2.copyMakeBorder(smooth, 1, 1, 1, 1, cv2.BORDER_REPLICATE).astype(np.int32)
    gx = (values[1:-1, 2:] - values[1:-1, :-2]).astype(np.float32)
    gy = (values[2:, 1:-1] - values[:-2, 1:-1]).astype(np.float32)
    slope = np.sqrt(gx * gx + gy * gy)
    half = np.float32(opt.edge_half * 2.0 * pixel_um * _UNITS_PER_OD)
    return (np.float32(_EDGE_UNITS) * slope / (slope + half)).astype(np.uint16)


def _levels(z: Int32, opt: SegmentOptions) -> npt.NDArray[np.uint8]:
    """How many of the thresholds each pixel exceeds (0..K)."""
    thresholds = np.geomspace(opt.lowest, opt.highest, opt.levels) * _UNITS_PER_OD * _PIXEL_WEIGHT
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
    floor = np.iinfo(np.int32).min
    padded = np.full((height + 2, width + 2), floor, np.int32)
    padded[1:-1, 1:-1] = np.where(inside, z, floor)
    best = padded[1:-1, 1:-1].copy()
    target = np.zeros((height, width), np.int32)
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        neighbour = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        higher = neighbour >= best if (dy, dx) > (0, 0) else neighbour > best
        np.copyto(best, neighbour, where=higher)
        np.copyto(target, np.int32(dy * width + dx), where=higher)
    index = np.flatnonzero(inside).astype(np.int32)
    position = np.zeros(height * width, np.int32)
    position[index] = np.arange(len(index), dtype=np.int32)
    parent = position[index + target.ravel()[index]]
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


@dataclasses.dataclass(slots=True)
class _Pairs:
    """Neighbouring basins a < b: height of the pass between them, and their shared cracks by level."""

    a: Int
    b: Int
    saddle: Int
    cracks: Float
    edge: Float


def _measure(images: _Images, peaks: Int32, opt: SegmentOptions) -> tuple[_Candidates, _Pairs]:
    """One pass over pixels and one over cracks: the sums of every candidate of every basin."""
    _, level, basin, _ = images
    n, levels = len(peaks), opt.levels
    ys, xs = np.nonzero(level)
    key = basin[ys, xs].astype(np.int64) * (levels + 1) + level[ys, xs]
    size = n * (levels + 1)
    x, y = xs.astype(np.float64), ys.astype(np.float64)

    def total(weights: Float | None = None) -> Float:
        return _from_top(np.bincount(key, weights, size).astype(np.float64).reshape(n, levels + 1))

    sums = [total(), total(x), total(y), total(x * x), total(y * y), total(x * y)]
    cracks = np.zeros((2, n, levels + 1))
    between: list[tuple[Int, ...]] = []
    for axis in (0, 1):
        between.append(_cracks(axis, images, peaks, cracks))
    across = [np.concatenate(parts) for parts in zip(*between, strict=True)]
    pairs = _pairs(across, n, levels)
    return _Candidates(*sums, cracks=_from_top(cracks[0]), edge=_from_top(cracks[1])), pairs


def _from_top(histogram: Float) -> Float:
    """Sums over levels >= k, for k = 1..K."""
    return np.ascontiguousarray(np.cumsum(histogram[:, ::-1], axis=1)[:, ::-1][:, 1:])


def _cracks(axis: int, images: _Images, peaks: Int32, sums: Float) -> tuple[npt.NDArray[np.generic], ...]:
    """Add the cracks of one direction to `sums` (2, n, K + 1); return those between two basins.

    A crack between levels p > q of one basin is edge of its candidates q < k <= p: +1 at level p and -1 at
    level q, summed from the top. Between two basins it is edge of either for k up to that one's level, and
    counts for less the nearer it lies to that one's peak: a cut through a nucleus is no edge.
    """
    first = [np.take(image, range(image.shape[axis] - 1), axis) for image in images]
    second = [np.take(image, range(1, image.shape[axis]), axis) for image in images]
    matters = (first[1] != second[1]) | (first[2] != second[2])
    (z1, l1, b1, g1), (z2, l2, b2, g2) = ([image[matters] for image in side] for side in (first, second))
    strength = (g1.astype(np.float64) + g2) / 2
    same = b1 == b2
    apart = ~same & (b1 >= 0) & (b2 >= 0)
    saddle = np.minimum(z1, z2)
    n, width = sums.shape[1:]
    shared = np.zeros(len(saddle))
    for label, level, other in ((b1, l1, l2), (b2, l2, l1)):
        where = label >= 0
        sign = np.where(same & (level < other), -1.0, 1.0)
        fall = np.clip((1 - saddle / peaks[label].astype(np.float64)) / _CLEAR_FALL, 0, 1)
        weight = strength * np.where(apart, fall, 1.0)
        shared += weight
        key = label[where].astype(np.int64) * width + level[where]
        sums[0] += np.bincount(key, sign[where], n * width).reshape(n, width)
        sums[1] += np.bincount(key, (sign * weight)[where], n * width).reshape(n, width)
    low, high = np.minimum(b1, b2)[apart], np.maximum(b1, b2)[apart]
    return low, high, saddle[apart], np.minimum(l1, l2)[apart], shared[apart]


def _pairs(across: list[npt.NDArray[np.generic]], n: int, levels: int) -> _Pairs:
    """Collect the cracks between basins by pair."""
    low, high, saddle, level, weight = across
    code = low.astype(np.int64) * n + high.astype(np.int64)
    unique, inverse = np.unique(code, return_inverse=True)
    key = inverse * (levels + 1) + level.astype(np.int64)
    size = len(unique) * (levels + 1)
    top = np.full(len(unique), np.iinfo(np.int64).min)
    np.maximum.at(top, inverse, saddle.astype(np.int64))
    count = np.bincount(key, minlength=size).astype(np.float64).reshape(-1, levels + 1)
    edge = np.bincount(key, weight.astype(np.float64), size).reshape(-1, levels + 1)
    return _Pairs(unique // n, unique % n, top, _from_top(count), _from_top(edge))


def _choose(
    candidates: _Candidates, pairs: _Pairs, peaks: Int32, pixel_um: float, opt: SegmentOptions
) -> tuple[Int, Int, npt.NDArray[np.bool_]]:
    """Join basins, pick each one's threshold: group of every basin, level of every group, and which stay."""
    n = len(peaks)
    group = np.arange(n, dtype=np.int64)
    height = peaks.astype(np.int64)
    depth = int(opt.min_depth * _UNITS_PER_OD * _PIXEL_WEIGHT)
    for _ in range(2):  # ripples of the noise: no depth of their own
        lower = np.where(height[pairs.a] < height[pairs.b], pairs.a, pairs.b)
        shallow = height[lower] - pairs.saddle < depth
        joins = _mutual(pairs, np.where(shallow, pairs.saddle, np.iinfo(np.int64).min).astype(np.float64), n)
        candidates, pairs, group, height = _join(candidates, pairs, group, height, joins)
    for pass_depth in _PASS_DEPTHS:  # several parts of one nucleus, with shallow passes between them
        candidates, pairs, group, height = _join_clusters(
            candidates, pairs, group, height, (pass_depth, pixel_um, opt)
        )
    for _ in range(2):  # halves of one nucleus: better together
        score = _score(candidates, pixel_um, opt).max(axis=1)
        union = candidates.joined(pairs.a, pairs.b, pairs.cracks, pairs.edge)
        gain = _score(union, pixel_um, opt).max(axis=1) - np.maximum(score[pairs.a], score[pairs.b])
        joins = _mutual(pairs, np.where(gain > 0, gain, -np.inf), n)
        candidates, pairs, group, height = _join(candidates, pairs, group, height, joins)
    scores = _score(candidates, pixel_um, opt)
    best = scores.argmax(axis=1) + 1
    return group, best, scores.max(axis=1) > opt.min_score


def _mutual(pairs: _Pairs, gain: Float, n: int) -> npt.NDArray[np.bool_]:
    """Pairs in which each is the other's best partner (of equals the first)."""
    usable = gain > np.finfo(np.float64).min
    if gain.size:
        usable &= gain > np.iinfo(np.int64).min
    order = np.flatnonzero(usable)
    order = order[np.argsort(-gain[order], kind="stable")]
    choice = np.full(n, -1, np.int64)
    ends = np.concatenate([pairs.a[order], pairs.b[order]])
    ranks = np.concatenate([np.arange(len(order))] * 2)
    sequence = np.argsort(ranks, kind="stable")[::-1]
    choice[ends[sequence]] = order[ranks[sequence]]
    mutual = np.zeros(len(gain), bool)
    mutual[order] = (choice[pairs.a[order]] == order) & (choice[pairs.b[order]] == order)
    return mutual


def _join(
    candidates: _Candidates,
    pairs: _Pairs,
    group: Int,
    height: Int,
    joins: npt.NDArray[np.bool_],
) -> tuple[_Candidates, _Pairs, Int, Int]:
    """Join the marked pairs: b's sums go to a, its neighbours become a's."""
    if not joins.any():
        return candidates, pairs, group, height
    a, b = pairs.a[joins], pairs.b[joins]
    union = candidates.joined(a, b, pairs.cracks[joins], pairs.edge[joins])
    for field in _FIELDS:
        values = getattr(candidates, field.name)
        values[a] = getattr(union, field.name)
        values[b] = 0
    height = height.copy()
    height[a] = np.maximum(height[a], height[b])
    target = np.arange(len(height), dtype=np.int64)
    target[b] = a
    return candidates, _regroup(pairs, target), target[group], height


def _regroup(pairs: _Pairs, target: Int) -> _Pairs:
    """The neighbours after basins have moved to `target`: sums of the cracks, highest pass."""
    left, right = target[pairs.a], target[pairs.b]
    rest = left != right
    n = len(target)
    code = np.minimum(left, right)[rest] * n + np.maximum(left, right)[rest]
    unique, inverse = np.unique(code, return_inverse=True)
    if unique.size == 0:
        return _Pairs(unique, unique, unique, pairs.cracks[:0], pairs.edge[:0])
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], np.arange(len(unique)))
    saddle = np.maximum.reduceat(pairs.saddle[rest][order], starts)
    cracks = np.add.reduceat(pairs.cracks[rest][order], starts, axis=0)
    edge = np.add.reduceat(pairs.edge[rest][order], starts, axis=0)
    return _Pairs(unique // n, unique % n, saddle, cracks, edge)


def _join_clusters(
    candidates: _Candidates,
    pairs: _Pairs,
    group: Int,
    height: Int,
    how: tuple[float, float, SegmentOptions],
) -> tuple[_Candidates, _Pairs, Int, Int]:
    """Join all basins that passes shallower than a depth connect, where the union scores highest."""
    depth, pixel_um, opt = how
    n = len(height)
    lower = np.minimum(height[pairs.a], height[pairs.b])
    open_ = (lower - pairs.saddle) < depth * lower
    links = coo_array((np.ones(int(open_.sum())), (pairs.a[open_], pairs.b[open_])), shape=(n, n))
    _, cluster = connected_components(links, directed=False)
    members = np.bincount(cluster)
    several = np.flatnonzero(members[cluster] > 1)
    if several.size == 0:
        return candidates, pairs, group, height
    order = several[np.argsort(cluster[several], kind="stable")]
    starts = np.flatnonzero(np.r_[True, np.diff(cluster[order]) > 0])
    ids = cluster[order[starts]]
    place = np.full(len(members), -1, np.int64)
    place[ids] = np.arange(len(ids))
    sums = {f.name: np.add.reduceat(getattr(candidates, f.name)[order], starts) for f in _FIELDS}
    inner = np.flatnonzero(cluster[pairs.a] == cluster[pairs.b])
    where = place[cluster[pairs.a[inner]]]
    np.subtract.at(sums["cracks"], where, 2 * pairs.cracks[inner])
    np.subtract.at(sums["edge"], where, pairs.edge[inner])
    union = _Candidates(**sums)
    alone = np.maximum.reduceat(_score(candidates, pixel_um, opt).max(axis=1)[order], starts)
    better = _score(union, pixel_um, opt).max(axis=1) > alone
    first = order[starts]
    target = np.arange(n, dtype=np.int64)
    accepted = place[cluster[order]]
    moved = better[accepted]
    target[order[moved]] = first[accepted[moved]]
    height = height.copy()
    height[first[better]] = np.maximum.reduceat(height[order], starts)[better]
    for field in _FIELDS:
        values = getattr(candidates, field.name)
        values[order[moved]] = 0
        values[first[better]] = getattr(union, field.name)[better]
    return candidates, _regroup(pairs, target), target[group], height


def _score(c: _Candidates, pixel_um: float, opt: SegmentOptions) -> Float:
    """How much each candidate looks like a nucleus, 0-1: size x shape x edge."""
    um2 = c.area * pixel_um**2
    possible = (um2 >= opt.min_area_um2) & (um2 <= opt.max_area_um2)
    area = np.where(possible, c.area, 1.0)
    vxx, vyy, vxy = (
        np.where(possible, (area * s - p * q) / area**2, 1.0)
        for s, p, q in ((c.sxx, c.sx, c.sx), (c.syy, c.sy, c.sy), (c.sxy, c.sx, c.sy))
    )
    vxx, vyy, vxy = vxx + 1 / 12, vyy + 1 / 12, np.where(possible, vxy, 0.0)
    det = np.maximum(vxx * vyy - vxy**2, 1e-6)
    half = (vxx + vyy) / 2
    gap = np.sqrt(np.maximum(half**2 - det, 0))
    aspect = np.sqrt((half + gap) / np.maximum(half - gap, 1e-3))
    fill = area / (4 * np.pi * np.sqrt(det))
    shape = np.clip((fill - 0.86) / 0.13, 0, 1) * np.clip((4 - aspect) / 1.5, 0, 1)
    edge = c.edge / np.maximum(c.cracks, 1) / _EDGE_UNITS
    size = np.exp(-0.5 * (np.log(np.where(possible, um2, 1.0) / opt.typical_area_um2) / opt.area_log_sd) ** 2)
    score = size * (0.2 + 0.8 * shape) * edge**2
    return np.where(possible & (shape > 0), score, 0.0)


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
