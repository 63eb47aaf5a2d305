"""Basins of the signal, and the sums of every candidate outline inside them.

A basin holds the pixels from which steepest ascent ends at one peak. Its candidate at threshold k is what
lies above that threshold: areas, moments and edge sums of all candidates come from one histogram over (basin,
level), summed from the top level down. A *crack* is the side between two neighbouring pixels.

All sums are whole numbers: no value depends on the order in which pixels are visited.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.compiled import kernel

__all__ = ["CRACK_UNITS", "SUMS", "Pairs", "find_basins", "measure_basins"]

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
UInt16 = npt.NDArray[np.uint16]

#: Columns of the sums of a candidate: pixels, x, y, xx, yy, xy, cracks of its outline, their edge strength.
SUMS: Final = 8
#: Edge strength of one crack at its highest: two pixels of 1,000, times the fall of 64.
CRACK_UNITS: Final = 2 * 1000 * 64
#: Neighbouring basins a < b: first, second, height of the pass, cracks and edge they share by level.
Pairs = tuple[Int32, Int32, Int32, Int32]

_FAR = -(2**30)


def find_basins(z: Int32, level: Bytes) -> tuple[Int32, Int32]:
    """Basin of every pixel of level 1 or more, by steepest ascent among eight neighbours.

    Of equal neighbours the later one in reading order counts as higher, so plateaus have one peak.

    Parameters
    ----------
    z : array of int32, shape (Y, X)
        The signal.
    level : array of uint8, shape (Y, X)
        How many thresholds it exceeds.

    Returns
    -------
    basin : array of int32, shape (Y, X)
        0..n-1 in the reading order of the peaks; -1 where the level is 0.
    peaks : array of int32, shape (n,)
        The signal at each peak.
    """
    basin = np.empty(z.shape, np.int32)
    roots = _ascend(z, level, basin)
    return basin, z.ravel()[roots]


def measure_basins(
    basin: Int32, level: Bytes, images: tuple[Int32, UInt16], peaks: Int32, levels: int
) -> tuple[Int64, Pairs]:
    """Sums of every candidate of every basin, and the neighbours.

    Parameters
    ----------
    basin, level : arrays, shape (Y, X)
    images : tuple of arrays, shape (Y, X)
        The signal and the edge strength.
    peaks : array of int32, shape (n,)
    levels : int
        Number of thresholds K.

    Returns
    -------
    sums : array of int64, shape (n, K, 8)
        Columns as :data:`SUMS`; candidate k - 1 holds the pixels of level k and more. A crack to another
        basin counts for less edge the higher the pass there is: a cut through a nucleus is no edge.
    pairs : first, second (m,), passes (m,), shared (m, K, 2)
        Sorted by first and second.
    """
    z, edge = images
    sums = np.zeros((len(peaks), levels, SUMS), np.int64)
    _pixel_sums(basin, level, sums)
    count = _crack_sums((z, level, basin, edge), peaks, sums)
    cracks = np.empty((3, count), np.int32), np.empty(count, np.uint8), np.empty(count, np.int32)
    _list_cracks((z, level, basin, edge), peaks, *cracks)
    _from_top(sums)
    return sums, _collect(*cracks, len(peaks), levels)


@kernel
def _ascend(z: Int32, level: Bytes, basin: Int32) -> Int32:
    """Fill `basin`; return the flat places of the peaks."""
    height, width = z.shape
    rows = np.full((3, width + 2), _FAR, np.int32)  # three padded rows of the signal inside
    best = np.empty(width, np.int32)
    flat = basin.ravel()
    roots = np.empty(height * width // 4 + width + height + 1, np.int32)
    count = 0
    steps = np.array(
        [-width - 1, -width, -width + 1, -1, 0, 1, width - 1, width, width + 1, 0, 0, 0, 0, 0, 0, 0]
    )
    for y in range(-1, height):
        ahead = rows[(y + 1) % 3]
        if y + 1 < height:
            for x in range(width):
                ahead[x + 1] = z[y + 1, x] * 16 if level[y + 1, x] > 0 else _FAR
        else:
            for x in range(width):
                ahead[x + 1] = _FAR
        if y < 0:
            continue
        up, row, down = rows[(y + 2) % 3], rows[y % 3], rows[(y + 1) % 3]
        for x in range(width):
            top = max(up[x], up[x + 1] + 1, up[x + 2] + 2)
            middle = max(row[x] + 3, row[x + 1] + 4, row[x + 2] + 5)
            bottom = max(down[x] + 6, down[x + 1] + 7, down[x + 2] + 8)
            best[x] = max(top, middle, bottom)
        start = y * width
        for x in range(width):
            if level[y, x] == 0:
                flat[start + x] = -1
                continue
            code = best[x] & 15
            if code == 4:
                roots[count] = start + x
                count += 1
                flat[start + x] = -count - 1  # peak number, below -1
            else:
                flat[start + x] = start + x + steps[code]
    _resolve(flat, level.ravel())
    return roots[:count].copy()


@kernel
def _resolve(flat: Int32, level: Bytes) -> None:
    """Replace places by the number of the peak that the way up from there ends at."""
    for i in range(len(flat)):
        if level[i] == 0 or flat[i] < -1:
            continue
        at = flat[i]
        while flat[at] >= 0:
            at = flat[at]
        number = flat[at]
        walk = i
        while flat[walk] >= 0:
            ahead = flat[walk]
            flat[walk] = number
            walk = ahead
    for i in range(len(flat)):
        if level[i] != 0:
            flat[i] = -flat[i] - 2


@kernel
def _pixel_sums(basin: Int32, level: Bytes, sums: Int64) -> None:
    height, width = basin.shape
    for y in range(height):
        for x in range(width):
            k = level[y, x]
            if k > 0:
                s = sums[basin[y, x], k - 1]
                s[0] += 1
                s[1] += x
                s[2] += y
                s[3] += x * x
                s[4] += y * y
                s[5] += x * y


@kernel
def _fall(peak: int, height: int) -> int:
    """How clearly a pass lies below a peak, 0-64: 64 from a relative depth of 0.4."""
    return min(max((peak - height) * 160 // peak, 0), 64)


@kernel
def _crack_sums(images: tuple[Int32, Bytes, Int32, UInt16], peaks: Int32, sums: Int64) -> int:
    """Add every crack to the sums of its basins; return how many lie between two basins.

    A crack between levels p > q of one basin is edge of its candidates q < k <= p: +1 at level p and -1 at
    level q, summed from the top.
    """
    z, level, basin, edge = images
    height, width = z.shape
    between = 0
    for y in range(height):
        for x in range(width):
            k, b = np.int64(level[y, x]), basin[y, x]
            for axis in range(2):
                v, u = y + 1 - axis, x + axis
                if v >= height or u >= width:
                    continue
                other, c = np.int64(level[v, u]), basin[v, u]
                if b == c:
                    if k == other:
                        continue
                    strength = (np.int64(edge[y, x]) + np.int64(edge[v, u])) * 64
                    high, low = max(k, other) - 1, min(k, other) - 1
                    sums[b, high, 6] += 1
                    sums[b, high, 7] += strength
                    sums[b, low, 6] -= 1
                    sums[b, low, 7] -= strength
                    continue
                strength = np.int64(edge[y, x]) + np.int64(edge[v, u])
                if k > 0 and other > 0:
                    between += 1
                    way = min(z[y, x], z[v, u])
                    sums[b, k - 1, 6] += 1
                    sums[b, k - 1, 7] += strength * _fall(peaks[b], way)
                    sums[c, other - 1, 6] += 1
                    sums[c, other - 1, 7] += strength * _fall(peaks[c], way)
                elif k > 0:
                    sums[b, k - 1, 6] += 1
                    sums[b, k - 1, 7] += strength * 64
                else:
                    sums[c, other - 1, 6] += 1
                    sums[c, other - 1, 7] += strength * 64
    return between


@kernel
def _list_cracks(
    images: tuple[Int32, Bytes, Int32, UInt16], peaks: Int32, ends: Int32, levels: Bytes, weights: Int32
) -> None:
    """The cracks between two basins: lower and higher basin, height; lower level; edge of both sides."""
    z, level, basin, edge = images
    height, width = z.shape
    at = 0
    for y in range(height):
        for x in range(width):
            b = basin[y, x]
            if b < 0:
                continue
            for axis in range(2):
                v, u = y + 1 - axis, x + axis
                if v >= height or u >= width:
                    continue
                c = basin[v, u]
                if c < 0 or b == c:
                    continue
                way = min(z[y, x], z[v, u])
                strength = np.int64(edge[y, x]) + np.int64(edge[v, u])
                ends[0, at], ends[1, at], ends[2, at] = min(b, c), max(b, c), way
                levels[at] = min(level[y, x], level[v, u])
                weights[at] = strength * (_fall(peaks[b], way) + _fall(peaks[c], way))
                at += 1


@kernel
def _from_top(sums: Int64) -> None:
    n, levels, columns = sums.shape
    for i in range(n):
        for k in range(levels - 2, -1, -1):
            for c in range(columns):
                sums[i, k, c] += sums[i, k + 1, c]


@kernel
def sorted_pairs(first: Int32, second: Int32, n: int) -> Int32:
    """Order of pairs by first, then second (stable)."""
    start = np.zeros(n + 1, np.int64)
    for a in first:
        start[a + 1] += 1
    for i in range(n):
        start[i + 1] += start[i]
    order = np.empty(len(first), np.int32)
    for i in range(len(first)):
        order[start[first[i]]] = i
        start[first[i]] += 1
    low = 0
    for i in range(n):
        high = start[i]
        for j in range(low + 1, high):
            item = order[j]
            value = second[item]
            at = j - 1
            while at >= low and second[order[at]] > value:
                order[at + 1] = order[at]
                at -= 1
            order[at + 1] = item
        low = high
    return order


@kernel
def _collect(ends: Int32, level: Bytes, weight: Int32, n: int, levels: int) -> Pairs:
    """The cracks by pair of basins."""
    first, second, way = ends[0], ends[1], ends[2]
    order = sorted_pairs(first, second, n)
    count = 0
    for j in range(len(order)):
        i = order[j]
        if j == 0 or first[i] != first[order[j - 1]] or second[i] != second[order[j - 1]]:
            count += 1
    one, two, height = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int32)
    shared = np.zeros((count, levels, 2), np.int32)
    at = -1
    for j in range(len(order)):
        i = order[j]
        if at < 0 or one[at] != first[i] or two[at] != second[i]:
            at += 1
            one[at], two[at], height[at] = first[i], second[i], way[i]
        height[at] = max(height[at], way[i])
        shared[at, level[i] - 1, 0] += 1
        shared[at, level[i] - 1, 1] += weight[i]
    for i in range(count):
        for k in range(levels - 2, -1, -1):
            shared[i, k, 0] += shared[i, k + 1, 0]
            shared[i, k, 1] += shared[i, k + 1, 1]
    return one, two, height, shared
