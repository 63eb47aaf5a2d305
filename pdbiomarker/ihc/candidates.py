"""Candidate outlines of nuclei: their sums, their scores, and which basins belong together.

Every basin has one candidate per threshold: what lies above it. Areas, moments and edge sums of all of them
come from one histogram over (basin, level), summed from the top level down, and those of a union of
basins are sums of those of its parts. See :mod:`pdbiomarker.ihc.nuclei` for the idea and the symbols.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["EDGE_UNITS", "PIXEL_WEIGHT", "UNITS_PER_OD", "Images", "SegmentOptions", "choose"]

Int = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

#: The signal, the levels, the basins, and the edge strength of every pixel.
Images = tuple[Int32, npt.NDArray[np.uint8], Int32, npt.NDArray[np.uint16]]

#: The signal is the optical density times these.
UNITS_PER_OD: Final = 65536.0
PIXEL_WEIGHT: Final = 100
#: The edge strength of a pixel at its highest.
EDGE_UNITS: Final = 1000

_CLEAR_FALL: Final = 0.4  # a pass this far (relatively) below the peak divides two nuclei clearly
_PASS_DEPTHS: Final = (0.03, 0.06, 0.12, 0.25)
_NEVER: Final = float("-inf")


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
    levels: int = 16
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

    def arrays(self) -> tuple[Float, ...]:
        """All sums, in the order of the fields."""
        return (self.area, self.sx, self.sy, self.sxx, self.syy, self.sxy, self.cracks, self.edge)

    def taken(self, rows: Bool) -> _Candidates:
        """Some of the basins."""
        return _Candidates(*(values[rows] for values in self.arrays()))

    def summed(self, order: Int, starts: Int) -> _Candidates:
        """Sums over runs of basins; the cracks between them are still counted as edge."""
        return _Candidates(*(np.add.reduceat(values[order], starts) for values in self.arrays()))

    def joined(self, a: Int, b: Int, shared: Float, shared_edge: Float) -> _Candidates:
        """Unions of basins a and b; the cracks between them are inside, not edge."""
        union = _Candidates(*(values[a] + values[b] for values in self.arrays()))
        union.cracks -= 2 * shared
        union.edge -= shared_edge
        return union


@dataclasses.dataclass(slots=True)
class _Pairs:
    """Neighbouring basins a < b: height of the pass between them, and their shared cracks by level."""

    a: Int
    b: Int
    saddle: Int
    cracks: Float
    edge: Float


class _Partition:
    """Basins joined step by step; a joined basin lives on under the number of its first part.

    Attributes
    ----------
    group : array of int64, shape (n,)
        Where each of the first basins is now.
    """

    def __init__(
        self, sums: _Candidates, pairs: _Pairs, peaks: Int32, how: tuple[float, SegmentOptions]
    ) -> None:
        self._how = how
        self._sums = sums
        self._pairs = pairs
        self._height = peaks.astype(np.int64)
        self._best = _score(sums, *how).max(axis=1)
        self.group: Int = np.arange(len(peaks), dtype=np.int64)

    def join_ripples(self, depth: int) -> None:
        """Join basins that a pass of almost no depth divides: ripples of the noise."""
        pairs = self._pairs
        lower = np.minimum(self._height[pairs.a], self._height[pairs.b])
        gain = np.where(lower - pairs.saddle < depth, pairs.saddle.astype(np.float64), _NEVER)
        self._join_pairs(_mutual(pairs, gain, len(self.group)))

    def join_halves(self) -> None:
        """Join two basins where both together score higher than either."""
        pairs = self._pairs
        union = self._sums.joined(pairs.a, pairs.b, pairs.cracks, pairs.edge)
        gain = _score(union, *self._how).max(axis=1)
        gain -= np.maximum(self._best[pairs.a], self._best[pairs.b])
        self._join_pairs(_mutual(pairs, np.where(gain > 0, gain, _NEVER), len(self.group)))

    def join_clusters(self, depth: float) -> None:
        """Join all that passes of less than a relative depth connect, where the union scores highest."""
        pairs, n = self._pairs, len(self.group)
        lower = np.minimum(self._height[pairs.a], self._height[pairs.b])
        shallow = (lower - pairs.saddle) < depth * lower
        links = coo_array((np.ones(int(shallow.sum())), (pairs.a[shallow], pairs.b[shallow])), shape=(n, n))
        _, cluster = connected_components(links, directed=False)
        several = np.flatnonzero(np.bincount(cluster)[cluster] > 1)
        if several.size == 0:
            return
        order = several[np.argsort(cluster[several], kind="stable")]
        starts = np.flatnonzero(np.r_[True, np.diff(cluster[order]) > 0])
        place = np.full(n, -1, np.int64)
        place[cluster[order[starts]]] = np.arange(len(starts))
        union = self._sums.summed(order, starts)
        inner = np.flatnonzero(cluster[pairs.a] == cluster[pairs.b])
        where = place[cluster[pairs.a[inner]]]
        np.subtract.at(union.cracks, where, 2 * pairs.cracks[inner])
        np.subtract.at(union.edge, where, pairs.edge[inner])
        score = _score(union, *self._how).max(axis=1)
        better = score > np.maximum.reduceat(self._best[order], starts)
        into = place[cluster[order]]
        moved = better[into]
        target = np.arange(n, dtype=np.int64)
        target[order[moved]] = order[starts][into[moved]]
        first = order[starts][better]
        height = np.maximum.reduceat(self._height[order], starts)[better]
        self._move(order[moved], target)
        self._settle(first, union.taken(better), score[better], height)

    def outlines(self) -> tuple[Int, Float]:
        """The level of every basin's best candidate (1..K), and its score."""
        scores = _score(self._sums, *self._how)
        return scores.argmax(axis=1) + 1, scores.max(axis=1)

    def _join_pairs(self, joins: Bool) -> None:
        if not joins.any():
            return
        pairs = self._pairs
        a, b = pairs.a[joins], pairs.b[joins]
        union = self._sums.joined(a, b, pairs.cracks[joins], pairs.edge[joins])
        height = np.maximum(self._height[a], self._height[b])
        target = np.arange(len(self.group), dtype=np.int64)
        target[b] = a
        self._move(np.concatenate([a, b]), target)
        self._settle(a, union, _score(union, *self._how).max(axis=1), height)

    def _move(self, emptied: Int, target: Int) -> None:
        for values in self._sums.arrays():
            values[emptied] = 0
        self._best[emptied] = 0
        self._pairs = _regroup(self._pairs, target)
        self.group = target[self.group]

    def _settle(self, first: Int, union: _Candidates, score: Float, height: Int) -> None:
        for values, joined in zip(self._sums.arrays(), union.arrays(), strict=True):
            values[first] = joined
        self._best[first] = score
        self._height[first] = height


def choose(images: Images, peaks: Int32, pixel_um: float, opt: SegmentOptions) -> tuple[Int, Int, Bool]:
    """Join basins and pick each one's threshold.

    Parameters
    ----------
    images : signal, level, basin and edge strength of every pixel, shape (Y, X)
    peaks : array of int32, shape (n,)
        The signal at the peak of every basin.
    pixel_um : float
    opt : SegmentOptions

    Returns
    -------
    group : array of int64, shape (n,)
        The basin that each basin was joined to (its own number where to none).
    level : array of int64, shape (n,)
        The level from which a pixel of that basin lies in the nucleus.
    kept : array of bool, shape (n,)
        Whether it scores enough.
    """
    sums, pairs = _measure(images, peaks, opt)
    parts = _Partition(sums, pairs, peaks, (pixel_um, opt))
    for _ in range(2):
        parts.join_ripples(int(opt.min_depth * UNITS_PER_OD * PIXEL_WEIGHT))
    for depth in _PASS_DEPTHS:
        parts.join_clusters(depth)
    for _ in range(2):
        parts.join_halves()
    level, score = parts.outlines()
    return parts.group, level, score > opt.min_score


def _mutual(pairs: _Pairs, gain: Float, n: int) -> Bool:
    """Pairs in which each is the other's best partner; of equal gains the first pair counts."""
    order = np.flatnonzero(gain > _NEVER)
    order = order[np.argsort(-gain[order], kind="stable")]
    choice = np.full(n, -1, np.int64)
    worst_first = order[::-1]
    ends = np.column_stack([pairs.a[worst_first], pairs.b[worst_first]]).ravel()
    choice[ends] = np.repeat(worst_first, 2)  # the last to write, the best, stays
    mutual = np.zeros(len(gain), bool)
    mutual[order] = (choice[pairs.a[order]] == order) & (choice[pairs.b[order]] == order)
    return mutual


def _regroup(pairs: _Pairs, target: Int) -> _Pairs:
    """The neighbours after basins have moved to `target`: sums of the cracks, highest pass."""
    left, right = target[pairs.a], target[pairs.b]
    rest = np.flatnonzero(left != right)
    n = len(target)
    code = np.minimum(left, right)[rest] * n + np.maximum(left, right)[rest]
    if code.size == 0:
        return _Pairs(code, code, code, pairs.cracks[:0], pairs.edge[:0])
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(code[order]) > 0])
    unique, rows = code[order[starts]], rest[order]
    saddle = np.maximum.reduceat(pairs.saddle[rows], starts)
    cracks = np.add.reduceat(pairs.cracks[rows], starts, axis=0)
    edge = np.add.reduceat(pairs.edge[rows], starts, axis=0)
    return _Pairs(unique // n, unique % n, saddle, cracks, edge)


def _measure(images: Images, peaks: Int32, opt: SegmentOptions) -> tuple[_Candidates, _Pairs]:
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
    between: list[tuple[npt.NDArray[np.generic], ...]] = []
    for axis in (0, 1):
        between.append(_cracks(axis, images, peaks, cracks))
    sums += [_from_top(cracks[0]), _from_top(cracks[1])]
    across = [np.concatenate(parts) for parts in zip(*between, strict=True)]
    pairs = _pairs(across, n, levels)
    return _Candidates(*sums), pairs


def _from_top(histogram: Float) -> Float:
    """Sums over levels >= k, for k = 1..K."""
    return np.ascontiguousarray(np.cumsum(histogram[:, ::-1], axis=1)[:, ::-1][:, 1:])


def _cracks(axis: int, images: Images, peaks: Int32, sums: Float) -> tuple[npt.NDArray[np.generic], ...]:
    """Add the cracks of one direction to `sums` (2, n, K + 1); return those between two basins.

    A crack between levels p > q of one basin is edge of its candidates q < k <= p: +1 at level p and -1 at
    level q, summed from the top. Between two basins it is edge of either for k up to that one's level, and
    counts for less the nearer it lies to that one's peak: a cut through a nucleus is no edge.
    """
    height, width = images[1].shape
    z, level, basin, gradient = (image.ravel() for image in images)
    step = width if axis == 0 else 1
    matters = np.zeros((height, width), bool)
    near = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
    far = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
    matters[near] = (images[1][near] != images[1][far]) | (images[2][near] != images[2][far])
    here = np.flatnonzero(matters)
    there = here + step
    (z1, l1, b1, g1), (z2, l2, b2, g2) = (
        [image[side] for image in (z, level, basin, gradient)] for side in (here, there)
    )
    strength = (g1 + g2.astype(np.float64)) / 2
    same = b1 == b2
    apart = np.flatnonzero(~same & (b1 >= 0) & (b2 >= 0))
    saddle = np.minimum(z1[apart], z2[apart]).astype(np.float64)
    n, slots = sums.shape[1:]
    shared = np.zeros(len(apart))
    for label, own, other in ((b1, l1, l2), (b2, l2, l1)):
        weight = strength.copy()
        fall = (1 - saddle / peaks[label[apart]]) / _CLEAR_FALL
        weight[apart] *= np.clip(fall, 0, 1)
        shared += weight[apart]
        lower = same & (own < other)
        key = label.astype(np.int64) * slots + own
        for sign, part in ((1, ~lower & (label >= 0)), (-1, lower)):
            where = key[part]
            sums[0] += sign * np.bincount(where, minlength=n * slots).reshape(n, slots)
            sums[1] += sign * np.bincount(where, weight[part], n * slots).reshape(n, slots)
    low, high = np.minimum(b1, b2)[apart], np.maximum(b1, b2)[apart]
    return low, high, saddle.astype(np.int64), np.minimum(l1, l2)[apart], shared


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


def _score(c: _Candidates, pixel_um: float, opt: SegmentOptions) -> Float:
    """How much each candidate looks like a nucleus, 0-1: size x shape x edge."""
    um2 = c.area * pixel_um**2
    possible = (um2 >= opt.min_area_um2) & (um2 <= opt.max_area_um2)
    area, um2 = c.area[possible], um2[possible]
    sx, sy = c.sx[possible], c.sy[possible]
    square = area * area
    vxx = (area * c.sxx[possible] - sx * sx) / square + 1 / 12
    vyy = (area * c.syy[possible] - sy * sy) / square + 1 / 12
    vxy = (area * c.sxy[possible] - sx * sy) / square
    det = np.maximum(vxx * vyy - vxy * vxy, 1e-6)
    half = (vxx + vyy) / 2
    gap = np.sqrt(np.maximum(half * half - det, 0))
    aspect = np.sqrt((half + gap) / np.maximum(half - gap, 1e-3))
    fill = area / (4 * np.pi * np.sqrt(det))
    shape = np.clip((fill - 0.86) / 0.13, 0, 1) * np.clip((4 - aspect) / 1.5, 0, 1)
    edge = c.edge[possible] / np.maximum(c.cracks[possible], 1) / EDGE_UNITS
    size = np.exp(-0.5 * (np.log(um2 / opt.typical_area_um2) / opt.area_log_sd) ** 2)
    score = np.zeros(c.area.shape)
    score[possible] = np.where(shape > 0, size * (0.2 + 0.8 * shape) * edge * edge, 0.0)
    return score
