"""Padding: areas of one colour that a scanner, a viewer or an export filled in.

Every camera has noise and every tissue has texture, so an area that is one colour to the last grey level was
never photographed. Averaged to a thumbnail, clear glass can look like that too; so what is even there is
looked up in the slide itself. Padding as bright as the glass is left as glass: it harms nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.slide import Slide
from pdbiomarker.ihc.stain import White, measure_white

__all__ = ["Blank", "find_blank"]

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]

_WINDOW_UM: Final = 16.0  # 32 pixels at the working resolution
_RIM_UM: Final = 4.0  # JPEG blurs the rim of padding by up to a block
_PATCH: Final = 24  # side of the places that are looked up, pixels of the slide
_PATCHES: Final = 12
_MOST_PARTS: Final = 400
_SAME_WHITE: Final = 3.0  # grey levels
_NEAR_RANGE: Final = 3  # grey levels: black that went through JPEG
_NEAR_STD: Final = 1.0
_NEAR_CHROMA: Final = 10
_DARK: Final = 0.6  # share of the white


@dataclasses.dataclass(frozen=True, slots=True)
class Blank:
    """What was never photographed, and the white of the rest.

    Attributes
    ----------
    nodata : array of bool, shape (Y, X)
        What the file holds no data for, and padding that is not the colour of the glass, with its rim.
    white : White
        Measured on glass that a camera saw, where there is such glass.
    """

    nodata: Mask
    white: White


def find_blank(
    slide: Slide, thumbnail: Pixels, nodata: Mask, *, um: float, declared: tuple[float, float, float]
) -> Blank:
    """Find padding, and measure the white without it.

    Parameters
    ----------
    slide : Slide
        Where even parts of the thumbnail are looked up at full resolution.
    thumbnail : array of uint8, shape (Y, X, 3)
    nodata : array of bool, shape (Y, X)
        What the file holds no data for.
    um : float
        Micrometres per pixel of the thumbnail.
    declared : three floats
        The white where there is no glass.

    Returns
    -------
    Blank
        An area counts as padding when it is 16 um wide or more and exactly one colour, or even to one grey
        level (standard deviation), grey, and darker than 0.6 of the white.
    """
    side = max(3, round(_WINDOW_UM / um)) | 1
    kernel = np.ones((side, side), np.uint8)
    low, high = cv2.erode(thumbnail, kernel), cv2.dilate(thumbnail, kernel)
    spread = (high - low).max(axis=-1)
    constant = np.zeros(nodata.shape, bool)
    colour = np.zeros(thumbnail.shape, np.uint8)
    for part in _parts(_inside((spread == 0) & ~nodata, side)):
        most, largest = _patch_std(slide, part, um)
        if most == 0 and largest < _NEAR_STD:
            constant[part] = True
            colour[part] = thumbnail[part]
    white = measure_white(thumbnail, nodata=nodata | _grown(constant, side), declared=declared)
    if not white.measured:
        white = measure_white(thumbnail, nodata=nodata, declared=declared)
    glass = np.asarray(white.rgb)
    other = constant & (np.abs(colour - glass) > _SAME_WHITE).any(axis=-1)
    chroma = high.max(axis=-1) - low.min(axis=-1)
    dark = (spread <= _NEAR_RANGE) & (chroma <= _NEAR_CHROMA) & (high.max(axis=-1) < _DARK * glass.min())
    for part in _parts(_inside(dark & ~nodata & ~constant, side)):
        if _patch_std(slide, part, um)[1] < _NEAR_STD:
            other[part] = True
    if not other.any():
        return Blank(nodata, white)
    rim = 2 * int(np.ceil(_RIM_UM / um))
    return Blank(nodata | _grown(other, side + rim), white)


def _inside(mask: Mask, side: int) -> Mask:
    """Drop what lies so near the edge of the thumbnail that its window leaves it."""
    half = side // 2
    kept = np.zeros_like(mask)
    kept[half : mask.shape[0] - half, half : mask.shape[1] - half] = True
    kept &= mask
    return kept


def _grown(mask: Mask, side: int) -> Mask:
    grown: Mask = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)).astype(bool)
    return grown


def _parts(mask: Mask) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Rows and columns of the connected parts of a mask, the largest first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    order = np.argsort(-stats[1:count, cv2.CC_STAT_AREA], kind="stable")[:_MOST_PARTS] + 1
    for label in order.tolist():
        left, top, width, height = (int(v) for v in stats[label, :4])
        rows, columns = np.nonzero(labels[top : top + height, left : left + width] == label)
        yield rows + top, columns + left


def _patch_std(
    slide: Slide, part: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]], um: float
) -> tuple[float, float]:
    """Standard deviations (grey levels) in patches of the slide, spread evenly over a part.

    Three quarters lie at or
    below the first number, all at or below the second; both are infinite once a patch has texture.
    """
    rows, columns = part
    height, width = slide.shape
    h, w = min(_PATCH, height), min(_PATCH, width)
    found: list[float] = []
    for k in np.unique(np.linspace(0, len(rows) - 1, _PATCHES).astype(np.int64)).tolist():
        y = round((float(rows[k]) + 0.5) * um / slide.mpp) - h // 2
        x = round((float(columns[k]) + 0.5) * um / slide.mpp) - w // 2
        patch = slide.read(min(max(y, 0), height - h), min(max(x, 0), width - w), h, w)
        found.append(float(patch.reshape(-1, 3).std(axis=0).max()))
        if found[-1] >= _NEAR_STD:
            return float("inf"), float("inf")
    found.sort()
    return found[(3 * len(found) - 1) // 4], found[-1]
