"""Which basins belong together, and where each nucleus ends.

Every basin has one candidate outline per threshold (:mod:`pdbiomarker.ihc.basins`). A score of size, likeness
to a filled ellipse and steepness of the edge judges each; basins are joined where the candidates of both
together score higher than those of either. The sums of a union are sums of those of its parts, less the
cracks between them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.basins import CRACK_UNITS, Pairs, sorted_pairs
from pdbiomarker.ihc.compiled import kernel
from pdbiomarker.ihc.options import PIXEL_WEIGHT, UNITS_PER_OD, SegmentOptions

__all__ = ["choose", "size_table"]

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_PASS_DEPTHS: Final = (3, 6, 12, 25)  # percent of the lower peak
_RIPPLE_ROUNDS: Final = 2
_HALF_ROUNDS: Final = 2
# Area over that of the ellipse with the same moments: 1 for an ellipse, .95 for a square, .9 for two thirds
# of a ring. Long axis over short axis.
_LEAST_FILL = 0.88
_FULL_FILL = 0.99
_LONGEST = 4.0
_ANY_SHAPE = 0.1  # share of the score that shape does not decide


@dataclasses.dataclass(slots=True)
class _State:
    """Basins as they are joined; a joined basin lives on under the number of its first part."""

    sums: Int64
    height: Int32
    best: Float
    group: Int32
    pairs: Pairs
    rows: Int32
    sizes: Float

    def join_pairs(self, chosen: Int32) -> None:
        """Join the basins of some pairs, no basin in two of them."""
        if len(chosen) == 0:
            return
        first, second, _, shared = self.pairs
        target = np.arange(len(self.group), dtype=np.int32)
        _join_pairs(chosen, (first, second, self.rows, shared), self._kept(), target)
        self.regroup(target)

    def join_clusters(self, depth: int) -> None:
        """Join all that passes of less than a relative depth (percent) connect, where the union is best."""
        first, second, passes, shared = self.pairs
        cluster = _clusters(first, second, passes[self.rows], self.height, depth)
        target = np.arange(len(self.group), dtype=np.int32)
        if _join_clusters(cluster, (first, second, self.rows, shared), self._kept(), target):
            self.regroup(target)

    def ripples(self, depth: int) -> Int32:
        """Pairs that a pass of almost no depth divides, the highest pass of either first."""
        first, second, passes, _ = self.pairs
        return _mutual(first, second, _ripple_gain(first, second, passes[self.rows], self.height, depth))

    def halves(self) -> Int32:
        """Pairs that score higher together than either alone, the largest gain of either first."""
        first, second, _, shared = self.pairs
        return _mutual(first, second, _half_gain((first, second, self.rows, shared), self._kept()))

    def regroup(self, target: Int32) -> None:
        """Follow the basins that moved."""
        first, second, passes, shared = self.pairs
        first, second, self.rows = _regroup(first, second, self.rows, target, passes, shared)
        self.pairs = first, second, passes, shared
        self.group = target[self.group]

    def _kept(self) -> tuple[Int64, Int32, Float, Float]:
        return self.sums, self.height, self.best, self.sizes


def choose(
    sums: Int64, pairs: Pairs, peaks: Int32, pixel_um: float, opt: SegmentOptions
) -> tuple[Int32, Int32, Bool]:
    """Join basins and pick each one's threshold.

    Parameters
    ----------
    sums, pairs
        See :func:`pdbiomarker.ihc.basins.measure_basins`; changed in place.
    peaks : array of int32, shape (n,)
        The signal at the peak of every basin.
    pixel_um : float
    opt : SegmentOptions

    Returns
    -------
    group : array of int32, shape (n,)
        The basin that each basin was joined to (its own number where to none).
    level : array of int32, shape (n,)
        The level from which a pixel of that basin lies in the nucleus.
    kept : array of bool, shape (n,)
        Whether it scores enough.
    """
    sizes = size_table(pixel_um, opt)
    n = len(peaks)
    rows = np.arange(len(pairs[0]), dtype=np.int32)
    best, _ = _outlines(sums, sizes)
    state = _State(sums, peaks.copy(), best, np.arange(n, dtype=np.int32), pairs, rows, sizes)
    ripple = int(opt.min_depth * UNITS_PER_OD * PIXEL_WEIGHT)
    for _ in range(_RIPPLE_ROUNDS):
        state.join_pairs(state.ripples(ripple))
    for depth in _PASS_DEPTHS:
        state.join_clusters(depth)
    for _ in range(_HALF_ROUNDS):
        state.join_pairs(state.halves())
    score, level = _outlines(state.sums, sizes)
    return state.group, level, score > opt.min_score


def size_table(pixel_um: float, opt: SegmentOptions) -> Float:
    """The factor of the score by area in pixels: a two-sided log-normal prior, 0 outside the limits."""
    um2 = np.arange(int(opt.max_area_um2 / pixel_um**2 + 1e-9) + 1) * pixel_um**2
    size = np.zeros(len(um2))
    possible = (um2 >= opt.min_area_um2) & (um2 > 0)
    log = np.log(um2[possible] / opt.typical_area_um2)
    size[possible] = np.exp(-0.5 * (log / np.where(log < 0, opt.area_log_sd, opt.area_log_sd_above)) ** 2)
    return size


@kernel
def _score(s: Int64, sizes: Float) -> float:
    """How much a candidate looks like a nucleus, 0-1: size x shape x edge."""
    area = s[0]
    if area <= 0 or area >= len(sizes) or sizes[area] == 0.0:
        return 0.0
    square = float(area) * float(area)
    vxx = float(area * s[3] - s[1] * s[1]) / square + 1 / 12
    vyy = float(area * s[4] - s[2] * s[2]) / square + 1 / 12
    vxy = float(area * s[5] - s[1] * s[2]) / square
    det = max(vxx * vyy - vxy * vxy, 1e-6)
    fill = float(area) / (4 * math.pi * math.sqrt(det))
    if fill <= _LEAST_FILL:
        return 0.0
    half = (vxx + vyy) / 2
    gap = math.sqrt(max(half * half - det, 0.0))
    aspect = math.sqrt((half + gap) / max(half - gap, 1e-3))
    shape = min((fill - _LEAST_FILL) / (_FULL_FILL - _LEAST_FILL), 1.0) * min((_LONGEST - aspect) / 1.5, 1.0)
    if shape <= 0:
        return 0.0
    edge = float(s[7]) / (float(max(s[6], 1)) * CRACK_UNITS)
    return float(sizes[area]) * (_ANY_SHAPE + (1 - _ANY_SHAPE) * shape) * edge * edge


@kernel
def _best(sums: Int64, sizes: Float) -> tuple[float, int]:
    """Highest score of the candidates of one basin, and its level (1..K; of equals the first)."""
    score, level = _score(sums[0], sizes), 1
    for k in range(1, len(sums)):
        value = _score(sums[k], sizes)
        if value > score:
            score, level = value, k + 1
    return score, level


@kernel
def _outlines(sums: Int64, sizes: Float) -> tuple[Float, Int32]:
    n = len(sums)
    score, level = np.empty(n), np.empty(n, np.int32)
    for i in range(n):
        score[i], level[i] = _best(sums[i], sizes)
    return score, level


@kernel
def _union(a: Int64, b: Int64, shared: Int32, out: Int64) -> None:
    """Sums of two basins together; the cracks between them are inside, not edge."""
    for k in range(len(a)):
        for c in range(8):
            out[k, c] = a[k, c] + b[k, c]
        out[k, 6] -= 2 * shared[k, 0]
        out[k, 7] -= shared[k, 1]


@kernel
def _add(more: Int64, total: Int64) -> None:
    for k in range(len(total)):
        for c in range(8):
            total[k, c] += more[k, c]


@kernel
def _clear(sums: Int64) -> None:
    for k in range(len(sums)):
        for c in range(8):
            sums[k, c] = 0


@kernel
def _ripple_gain(first: Int32, second: Int32, passes: Int32, height: Int32, depth: int) -> Float:
    gain = np.full(len(first), -np.inf)
    for i in range(len(first)):
        if min(height[first[i]], height[second[i]]) - passes[i] < depth:
            gain[i] = passes[i]
    return gain


@kernel
def _half_gain(pairs: tuple[Int32, Int32, Int32, Int32], kept: tuple[Int64, Int32, Float, Float]) -> Float:
    first, second, rows, shared = pairs
    sums, _, best, sizes = kept
    gain = np.full(len(first), -np.inf)
    union = np.empty((sums.shape[1], 8), np.int64)
    for i in range(len(first)):
        a, b = first[i], second[i]
        _union(sums[a], sums[b], shared[rows[i]], union)
        more = _best(union, sizes)[0] - max(best[a], best[b])
        if more > 0:
            gain[i] = more
    return gain


@kernel
def _mutual(first: Int32, second: Int32, gain: Float) -> Int32:
    """Pairs in which each is the other's best partner; of equal gains the first pair counts."""
    n = 0
    for i in range(len(second)):
        n = max(n, second[i] + 1)
    choice = np.full(n, -1, np.int32)
    for i in range(len(first)):
        if gain[i] == -np.inf:
            continue
        for end in (first[i], second[i]):
            if choice[end] < 0 or gain[i] > gain[choice[end]]:
                choice[end] = i
    chosen = np.empty(len(first), np.int32)
    count = 0
    for i in range(len(first)):
        if gain[i] > -np.inf and choice[first[i]] == i and choice[second[i]] == i:
            chosen[count] = i
            count += 1
    return chosen[:count].copy()


@kernel
def _join_pairs(
    chosen: Int32,
    pairs: tuple[Int32, Int32, Int32, Int32],
    kept: tuple[Int64, Int32, Float, Float],
    target: Int32,
) -> None:
    first, second, rows, shared = pairs
    sums, height, best, sizes = kept
    for i in chosen:
        a, b = first[i], second[i]
        _union(sums[a], sums[b], shared[rows[i]], sums[a])
        _clear(sums[b])
        height[a] = max(height[a], height[b])
        best[a] = _best(sums[a], sizes)[0]
        best[b] = 0.0
        target[b] = a


@kernel
def _clusters(first: Int32, second: Int32, passes: Int32, height: Int32, depth: int) -> Int32:
    """For every basin the first basin that shallow passes connect it with."""
    root = np.arange(len(height)).astype(np.int32)
    for i in range(len(first)):
        lower = np.int64(min(height[first[i]], height[second[i]]))
        if (lower - passes[i]) * 100 >= depth * lower:
            continue
        a, b = first[i], second[i]
        while root[a] != a:
            root[a] = root[root[a]]
            a = root[a]
        while root[b] != b:
            root[b] = root[root[b]]
            b = root[b]
        if a != b:
            root[max(a, b)] = min(a, b)
    for i in range(len(root)):
        root[i] = root[root[i]]
    return root


@kernel
def _join_clusters(
    cluster: Int32,
    pairs: tuple[Int32, Int32, Int32, Int32],
    kept: tuple[Int64, Int32, Float, Float],
    target: Int32,
) -> bool:
    """Join the clusters whose union scores higher than each part; tell whether there were any."""
    first, second, rows, shared = pairs
    sums, height, best, sizes = kept
    n = len(cluster)
    place = np.full(n, -1, np.int32)
    count = 0
    for i in range(n):
        if cluster[i] != i and place[cluster[i]] < 0:
            place[cluster[i]] = count
            count += 1
    union = np.zeros((count, sums.shape[1], 8), np.int64)
    most, top = np.zeros(count), np.zeros(count, np.int32)
    for i in range(n):
        c = place[cluster[i]]
        if c >= 0:
            _add(sums[i], union[c])
            most[c], top[c] = max(most[c], best[i]), max(top[c], height[i])
    for i in range(len(first)):
        c = place[cluster[first[i]]]
        if c >= 0 and cluster[first[i]] == cluster[second[i]]:
            for k in range(union.shape[1]):
                union[c, k, 6] -= 2 * shared[rows[i], k, 0]
                union[c, k, 7] -= shared[rows[i], k, 1]
    score = np.empty(count)
    for c in range(count):
        score[c] = _best(union[c], sizes)[0]
    moved = False
    for i in range(n):
        c = place[cluster[i]]
        if c < 0 or score[c] <= most[c]:
            continue
        moved = True
        if cluster[i] == i:
            best[i], height[i] = score[c], top[c]
            _clear(sums[i])
            _add(union[c], sums[i])
        else:
            _clear(sums[i])
            best[i] = 0.0
            target[i] = cluster[i]
    return moved


@kernel
def _regroup(
    first: Int32, second: Int32, rows: Int32, target: Int32, passes: Int32, shared: Int32
) -> tuple[Int32, Int32, Int32]:
    """The neighbours after basins have moved to `target`: sums of the cracks, highest pass."""
    low, high, kept = np.empty_like(first), np.empty_like(first), np.empty_like(first)
    m = 0
    for i in range(len(first)):
        a, b = target[first[i]], target[second[i]]
        if a != b:
            low[m], high[m], kept[m] = min(a, b), max(a, b), rows[i]
            m += 1
    order = sorted_pairs(low[:m], high[:m], len(target))
    one, two, row = np.empty(m, np.int32), np.empty(m, np.int32), np.empty(m, np.int32)
    count = 0
    for j in range(m):
        i = order[j]
        if count > 0 and one[count - 1] == low[i] and two[count - 1] == high[i]:
            into = row[count - 1]
            passes[into] = max(passes[into], passes[kept[i]])
            for k in range(shared.shape[1]):
                shared[into, k, 0] += shared[kept[i], k, 0]
                shared[into, k, 1] += shared[kept[i], k, 1]
        else:
            one[count], two[count], row[count] = low[i], high[i], kept[i]
            count += 1
    return one[:count].copy(), two[:count].copy(), row[:count].copy()
