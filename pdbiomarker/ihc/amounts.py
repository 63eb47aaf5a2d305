"""Amounts of stain as whole numbers, and the signal that nuclei are sought in.

Symbols: v is a channel's value (0-255), o its optical density, c = o inverse(M) the amounts of stain (see
:mod:`pdbiomarker.ihc.stain`). For 8-bit pixels c is a sum of three numbers that depend on one channel each:
three tables of 256 entries hold them, in units of 2**-22 of an optical density, so that sums over any number
of pixels are exact and depend on no order.

The signal z (optical density x 65,536 x 100) is the stain, softly capped and smoothed, plus a
centre-surround term of nuclear size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.compiled import kernel
from pdbiomarker.ihc.options import PIXEL_WEIGHT, UNITS_PER_OD, SegmentOptions
from pdbiomarker.ihc.stain import optical_density, stain_matrix

__all__ = ["AMOUNT_UNITS", "amounts", "amounts_of_density", "find_signal"]

Int32 = npt.NDArray[np.int32]
UInt16 = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]

#: Units of an amount of stain per optical density.
AMOUNT_UNITS: Final = 2**22

_CAP_SHIFT: Final = 10  # the soft cap is looked up in steps of 2**-12 of an optical density
_CAP_STEPS: Final = 1 << 14


def amounts(
    rgb: Bytes, white: Sequence[float] = (255.0, 255.0, 255.0), matrix: npt.NDArray[np.float64] | None = None
) -> tuple[Int32, Int32]:
    """Haematoxylin and DAB of every pixel of an 8-bit image.

    Parameters
    ----------
    rgb : array of uint8, shape (Y, X, 3)
    white : three floats
        The value of clear glass per channel.
    matrix : array, shape (3, 3), optional
        Stain vectors as rows (default: Ruifrok's).

    Returns
    -------
    tuple of two arrays of int32, shape (Y, X)
        Decadic optical density in units of 2**-22; negative values are kept.
    """
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)[None]
    table = _weighted(optical_density(grey, white)[0], _inverse(matrix))
    hematoxylin, dab = np.empty(rgb.shape[:2], np.int32), np.empty(rgb.shape[:2], np.int32)
    _look_up(np.ascontiguousarray(rgb), table, hematoxylin, dab)
    return hematoxylin, dab


def amounts_of_density(
    density: npt.NDArray[np.float32], matrix: npt.NDArray[np.float64] | None = None
) -> tuple[Int32, Int32]:
    """As :func:`amounts`, from optical density; equal to it where that came from 8-bit pixels."""
    inverse = _inverse(matrix)
    found = np.zeros((2, *density.shape[:2]), np.int32)
    for channel in range(3):
        plane = density[..., channel].astype(np.float64)
        for stain in range(2):
            found[stain] += np.rint(plane * inverse[channel, stain]).astype(np.int32)
    return found[0], found[1]


def _inverse(matrix: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
    """What an optical density of 1 in each channel (rows) adds to haematoxylin and DAB (columns)."""
    inverse: npt.NDArray[np.float64] = np.linalg.inv(stain_matrix() if matrix is None else matrix)
    return inverse[:, :2] * AMOUNT_UNITS


def _weighted(density: npt.NDArray[np.float32], inverse: npt.NDArray[np.float64]) -> Int32:
    """The tables: shape (3 channels, 256, 2 stains)."""
    table = density.T.astype(np.float64)[:, :, None] * inverse[:, None, :]
    return np.rint(table).astype(np.int32)


def find_signal(
    hematoxylin: Int32, dab: Int32, pixel_um: float, opt: SegmentOptions
) -> tuple[Int32, Bytes, UInt16]:
    """The signal z, how many of the thresholds it exceeds (0-K), and the edge strength (0-1000).

    Parameters
    ----------
    hematoxylin, dab : arrays of int32, shape (Y, X)
        See :func:`amounts`.
    pixel_um : float
    opt : SegmentOptions

    Returns
    -------
    z : array of int32, shape (Y, X)
    level : array of uint8, shape (Y, X)
    edge : array of uint16, shape (Y, X)
        Gradient g of the density as g / (g + edge_half), in thousandths.
    """
    raw = np.empty(hematoxylin.shape, np.uint16)
    leak = -1 if opt.channel == "both" else round(256 * opt.dab_leak)
    _cap(hematoxylin, dab, leak, _cap_table(opt.cap), raw)
    smooth = _blur(raw, opt.smoothing_um / pixel_um)
    scale = opt.radius_um / np.sqrt(2.0) / pixel_um
    narrow, wide = _blur(raw, scale / np.sqrt(1.5)), _blur(raw, scale * np.sqrt(1.5))
    z, level = np.empty(raw.shape, np.int32), np.empty(raw.shape, np.uint8)
    edge = np.empty(raw.shape, np.uint16)
    half = np.float32(opt.edge_half * 2.0 * pixel_um * UNITS_PER_OD)
    _combine((smooth, narrow, wide), _level_table(opt), z, level)
    _edge_strength(smooth, half, edge)
    return z, level, edge


def _cap_table(cap: float) -> UInt16:
    steps = np.arange(_CAP_STEPS) * ((1 << _CAP_SHIFT) / AMOUNT_UNITS)
    return np.rint(cap * np.tanh(steps / cap) * UNITS_PER_OD).astype(np.uint16)


def _level_table(opt: SegmentOptions) -> Bytes:
    """The number of thresholds exceeded, by z / 256."""
    thresholds = np.geomspace(opt.lowest, opt.highest, opt.levels) * UNITS_PER_OD * PIXEL_WEIGHT
    bins = np.arange((int(thresholds[-1]) >> 8) + 2, dtype=np.float64) * 256
    return np.searchsorted(thresholds, bins, side="right").astype(np.uint8)


def _blur(image: UInt16, sigma: float) -> UInt16:
    """Gaussian blur in fixed-point arithmetic: the same value wherever the image is cut."""
    blurred = cv2.GaussianBlur(
        image, (0, 0), float(sigma), borderType=cv2.BORDER_REFLECT_101, hint=cv2.ALGO_HINT_ACCURATE
    )
    return np.asarray(blurred, dtype=np.uint16)


@kernel
def _look_up(rgb: Bytes, table: Int32, hematoxylin: Int32, dab: Int32) -> None:
    height, width = hematoxylin.shape
    for y in range(height):
        for x in range(width):
            red, green, blue = table[0, rgb[y, x, 0]], table[1, rgb[y, x, 1]], table[2, rgb[y, x, 2]]
            hematoxylin[y, x] = red[0] + green[0] + blue[0]
            dab[y, x] = red[1] + green[1] + blue[1]


@kernel
def _cap(hematoxylin: Int32, dab: Int32, leak: int, table: UInt16, out: UInt16) -> None:
    """The stronger stain (leak below 0), or haematoxylin less `leak` / 256 of the DAB; softly capped."""
    last = len(table) - 1
    height, width = out.shape
    for y in range(height):
        for x in range(width):
            value, brown = np.int64(hematoxylin[y, x]), np.int64(dab[y, x])
            value = max(value, brown) if leak < 0 else value - (np.maximum(brown, 0) * leak >> 8)
            out[y, x] = table[min(max(value, 0) >> 10, last)]


@kernel
def _combine(blurred: tuple[UInt16, UInt16, UInt16], table: Bytes, z: Int32, level: Bytes) -> None:
    smooth, narrow, wide = blurred
    last = len(table) - 1
    height, width = z.shape
    for y in range(height):
        for x in range(width):
            value = 100 * np.int32(smooth[y, x]) + 84 * (np.int32(narrow[y, x]) - np.int32(wide[y, x]))
            z[y, x] = value
            level[y, x] = table[min(np.maximum(value >> 8, 0), last)]


@kernel
def _edge_strength(smooth: UInt16, half: np.float32, out: UInt16) -> None:
    height, width = smooth.shape
    units = np.float32(1000)
    for y in range(height):
        up, down = smooth[max(y - 1, 0)], smooth[min(y + 1, height - 1)]
        row, edge = smooth[y], out[y]
        for x in range(width):
            gx = np.float32(np.int32(row[min(x + 1, width - 1)]) - np.int32(row[max(x - 1, 0)]))
            gy = np.float32(np.int32(down[x]) - np.int32(up[x]))
            slope = np.sqrt(gx * gx + gy * gy)
            edge[x] = np.uint16(units * slope / (slope + half))
