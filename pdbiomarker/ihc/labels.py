"""Label images: painting, holes, ragged rims, numbering, growth.

A label image holds 0 outside and 1..n inside the objects.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.compiled import kernel

__all__ = ["expand", "fill_holes", "paint", "relabel", "settle_rims"]

Int32 = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


def paint(basin: Int32, level: Bytes, chosen: tuple[Int32, Int32, Bool]) -> Int32:
    """Label the pixels of each kept group of basins that reach its level: the group's number plus 1."""
    group, lowest, kept = chosen
    labels = np.zeros(basin.shape, np.int32)
    _paint(basin, level, group, np.where(kept, lowest, 255).astype(np.uint8), labels)
    return labels


def fill_holes(labels: Int32, largest: int) -> Int32:
    """Fill holes that one or more objects enclose, in place.

    Parameters
    ----------
    labels : array of int32, shape (Y, X)
    largest : int
        Holes (connected by sides) of more pixels stay, and those that touch the edge of the image.

    Returns
    -------
    array of int32
        `labels`. Where several objects enclose a hole it is filled from its rim inwards, the larger number
        first.
    """
    _fill_holes(labels, largest)
    return labels


def settle_rims(labels: Int32) -> Int32:
    """Give every pixel to the object that most of its surroundings belong to: smooths ragged rims.

    A pixel of an object that fewer than 4 of its 8 neighbours share is dropped; a pixel outside with 6 or
    more neighbours in one object joins it.

    Returns
    -------
    array of int32, shape (Y, X)
    """
    settled = labels.copy()
    _settle(labels, settled)
    return settled


def relabel(labels: Int32) -> Int32:
    """Number the labels 1..n in the order of their first pixel, in place."""
    _relabel(labels.ravel(), np.zeros(int(labels.max(initial=0)) + 1, np.int32))
    return labels


def expand(labels: Int32, pixels: float) -> Int32:
    """Grow labels into the background up to a distance (exact, Euclidean).

    Parameters
    ----------
    labels : array of int32, shape (Y, X)
    pixels : float
        Largest distance of a pixel's centre from that of the nearest labelled pixel.

    Returns
    -------
    array of int32, shape (Y, X)
        Each background pixel within the distance takes the label of the nearest labelled pixel; of equally
        near ones the smaller number.
    """
    grown = labels.copy()
    if labels.size and pixels >= 1:
        _expand(labels, int(pixels * pixels + 1e-9), grown)
    return grown


@kernel
def _paint(basin: Int32, level: Bytes, group: Int32, lowest: Bytes, labels: Int32) -> None:
    height, width = basin.shape
    for y in range(height):
        for x in range(width):
            if level[y, x] > 0:
                g = group[basin[y, x]]
                if level[y, x] >= lowest[g]:
                    labels[y, x] = g + 1


@kernel
def _fill_holes(labels: Int32, largest: int) -> None:
    height, width = labels.shape
    seen = np.zeros((height, width), np.int32)
    ys, xs = np.empty(largest + 5, np.int64), np.empty(largest + 5, np.int64)
    stamp = 0
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            # the first pixel of a hole in reading order has objects above and to the left
            if labels[y, x] != 0 or labels[y - 1, x] == 0 or labels[y, x - 1] == 0:
                continue
            stamp += 1
            ys[0], xs[0], count, at, closed = y, x, 1, 0, True
            seen[y, x] = stamp
            while at < count and closed:
                v, u = ys[at], xs[at]
                at += 1
                if v == 0 or u == 0 or v == height - 1 or u == width - 1:
                    closed = False
                    break
                for dv, du in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                    if labels[v + dv, u + du] == 0 and seen[v + dv, u + du] != stamp:
                        seen[v + dv, u + du] = stamp
                        ys[count], xs[count] = v + dv, u + du
                        count += 1
                if count > largest:
                    closed = False
            if closed:
                _fill(labels, ys[:count], xs[:count])


@kernel
def _fill(labels: Int32, ys: npt.NDArray[np.int64], xs: npt.NDArray[np.int64]) -> None:
    found = np.zeros(len(ys), np.int32)
    left = len(ys)
    while left > 0:
        for i in range(len(ys)):
            y, x = ys[i], xs[i]
            if labels[y, x] == 0:
                found[i] = max(labels[y - 1, x], labels[y + 1, x], labels[y, x - 1], labels[y, x + 1])
        for i in range(len(ys)):
            if found[i] > 0:
                labels[ys[i], xs[i]] = found[i]
                found[i] = 0
                left -= 1


@kernel
def _settle(labels: Int32, out: Int32) -> None:
    height, width = labels.shape
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            own = labels[y, x]
            if own > 0:
                same = 0
                for v in range(y - 1, y + 2):
                    for u in range(x - 1, x + 2):
                        same += labels[v, u] == own
                if same < 5:  # itself among them
                    out[y, x] = 0
                continue
            up, down, left, right = labels[y - 1, x], labels[y + 1, x], labels[y, x - 1], labels[y, x + 1]
            # six of eight neighbours leave no way but through two opposite sides
            label = up if up == down and up > 0 else left if left == right else 0
            if label > 0:
                same = 0
                for v in range(y - 1, y + 2):
                    for u in range(x - 1, x + 2):
                        same += labels[v, u] == label
                if same >= 6:
                    out[y, x] = label


@kernel
def _relabel(flat: Int32, number: Int32) -> None:
    count = 0
    for i in range(len(flat)):
        label = flat[i]
        if label > 0:
            if number[label] == 0:
                count += 1
                number[label] = count
            flat[i] = number[label]


@kernel
def _expand(labels: Int32, limit: int, out: Int32) -> None:
    """Distances down the columns first, then the nearest along each row."""
    height, width = labels.shape
    reach = int(np.sqrt(limit))
    far = reach + 1
    above = np.full((height, width), far, np.int32)  # rows to the nearest label of the column, upwards
    for y in range(height):
        for x in range(width):
            if labels[y, x] > 0:
                above[y, x] = 0
            elif y > 0:
                above[y, x] = min(above[y - 1, x] + 1, far)
    below = np.full(width, far, np.int32)
    near, which = np.empty(width, np.int32), np.empty(width, np.int32)
    for y in range(height - 1, -1, -1):
        for x in range(width):
            below[x] = 0 if labels[y, x] > 0 else min(below[x] + 1, far)
            near[x] = min(above[y, x], below[x])
            which[x] = 0
            if near[x] < far:
                up = labels[y - near[x], x] if above[y, x] == near[x] else 0
                down = labels[y + near[x], x] if below[x] == near[x] else 0
                which[x] = min(up, down) if up > 0 and down > 0 else max(up, down)
        _nearest_in_row(labels[y], near, which, limit, out[y])


@kernel
def _nearest_in_row(labels: Int32, near: Int32, which: Int32, limit: int, out: Int32) -> None:
    """For every background pixel of a row the label at the least distance up to the limit (squared)."""
    width = len(labels)
    reach = int(np.sqrt(limit))
    for x in range(width):
        if labels[x] > 0:
            continue
        best, label = limit + 1, 0
        if near[x] <= reach:
            best, label = near[x] * near[x], which[x]
        for step in range(1, reach + 1):
            if step * step > best:
                break
            for u in (x - step, x + step):
                if 0 <= u < width and near[u] <= reach:
                    distance = step * step + near[u] * near[u]
                    if distance < best or (distance == best and which[u] < label):
                        best, label = distance, which[u]
        if best <= limit:
            out[x] = label
