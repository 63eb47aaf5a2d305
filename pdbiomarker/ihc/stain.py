"""Colour of brightfield slides: optical density, stain separation, and the white of the glass.

Symbols: v is a channel's value (0-255), w the white of that channel, o = -log10(max(v, 1) / w) its optical
density. A pixel is o = c M, where the rows of M are the unit stain vectors (haematoxylin, DAB and their
cross product, the residual) and c holds the amounts of stain: c = o inverse(M).

Every optical density of this package is the decadic one, as in QuPath. scikit-image's ``separate_stains``
divides by ln(1e-6) instead of ln(10) and returns exactly one sixth of it.

Sources: Ruifrok and Johnston 2001 (Anal Quant Cytol Histol 23:291) for the vectors and the method.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

__all__ = [
    "DAB",
    "HEMATOXYLIN",
    "White",
    "measure_white",
    "optical_density",
    "stain_matrix",
    "stain_tables",
    "unmix",
    "unmix_rgb",
]

#: Stain vectors of Ruifrok and Johnston (red, green, blue), before normalisation.
HEMATOXYLIN: Final = (0.65, 0.70, 0.29)
DAB: Final = (0.27, 0.57, 0.78)

Float32 = npt.NDArray[np.float32]

_FLAT_STD = 2.5  # grey levels within 3 x 3 pixels of the thumbnail: glass has no texture
_CHROMA = 40  # glass is nearly grey
_NEAR_BRIGHTEST = 12  # grey levels below the brightest part of the slide
_MIN_GLASS_PIXELS = 40
_MIN_GLASS_SHARE = 0.004


@dataclasses.dataclass(frozen=True, slots=True)
class White:
    """The white of the glass.

    Attributes
    ----------
    rgb : tuple of three floats
        Red, green and blue of clear glass, 0-255.
    measured : bool
        True where glass was found on the slide; False where a declared value stands in.
    share : float
        Share of the slide's pixels that were taken for glass.
    """

    rgb: tuple[float, float, float]
    measured: bool
    share: float


def optical_density(rgb: npt.NDArray[np.uint8], white: Sequence[float] = (255.0, 255.0, 255.0)) -> Float32:
    """Decadic optical density of an 8-bit image.

    Parameters
    ----------
    rgb : array of uint8, shape (Y, X, 3)
    white : three floats
        The value of clear glass per channel.

    Returns
    -------
    array of float32, shape (Y, X, 3)
        -log10(max(v, 1) / white), not below zero.
    """
    values = np.maximum(np.arange(256, dtype=np.float64), 1.0)[:, None]
    glass = np.maximum(np.asarray(white, dtype=np.float64), 1.0)
    table = np.maximum(-np.log10(values / glass), 0.0).astype(np.float32)
    if rgb.size == 0:
        return np.zeros(rgb.shape, np.float32)
    return np.asarray(cv2.LUT(np.ascontiguousarray(rgb), table[None]), dtype=np.float32)


def stain_matrix(
    hematoxylin: Sequence[float] = HEMATOXYLIN, dab: Sequence[float] = DAB
) -> npt.NDArray[np.float64]:
    """Unit stain vectors as rows: haematoxylin, DAB, residual (their normalised cross product).

    Returns
    -------
    array of float64, shape (3, 3)
    """
    first, second = (np.asarray(v, dtype=np.float64) / np.linalg.norm(v) for v in (hematoxylin, dab))
    third = np.cross(first, second)
    return np.vstack([first, second, third / np.linalg.norm(third)])


def unmix(
    density: Float32, matrix: npt.NDArray[np.float64] | None = None, stains: Sequence[int] = (0, 1, 2)
) -> tuple[Float32, ...]:
    """Amounts of stain per pixel.

    Parameters
    ----------
    density : array of float32, shape (Y, X, 3)
        Decadic optical density.
    matrix : array, shape (3, 3), optional
        Stain vectors as rows (default :func:`stain_matrix`).
    stains : sequence of int
        Which stains to return: 0 haematoxylin, 1 DAB, 2 residual.

    Returns
    -------
    tuple of arrays of float32, shape (Y, X), one per stain asked for. Negative values are kept.
    """
    inverse = np.linalg.inv(stain_matrix() if matrix is None else matrix).astype(np.float32)
    planes = [np.ascontiguousarray(density[..., channel]) for channel in range(3)]
    return tuple(
        planes[0] * inverse[0, s] + planes[1] * inverse[1, s] + planes[2] * inverse[2, s] for s in stains
    )


def stain_tables(
    white: Sequence[float] = (255.0, 255.0, 255.0),
    matrix: npt.NDArray[np.float64] | None = None,
    stains: Sequence[int] = (0, 1, 2),
) -> Float32:
    """What each value of each channel adds to the amounts of stain: density and unmixing in one look-up.

    Returns
    -------
    array of float32, shape (stains, 3, 256)
        The amount of stain s in a pixel (r, g, b) is ``t[s, 0, r] + t[s, 1, g] + t[s, 2, b]``.
    """
    values = np.maximum(np.arange(256, dtype=np.float64), 1.0)
    glass = np.maximum(np.asarray(white, dtype=np.float64), 1.0)
    density = np.maximum(-np.log10(values[None] / glass[:, None]), 0.0)
    inverse = np.linalg.inv(stain_matrix() if matrix is None else matrix)
    return np.stack([inverse[:, s, None] * density for s in stains]).astype(np.float32)


def unmix_rgb(rgb: npt.NDArray[np.uint8], tables: Float32) -> tuple[Float32, ...]:
    """Amounts of stain of an 8-bit image, by :func:`stain_tables`: as density and :func:`unmix`, but faster.

    Parameters
    ----------
    rgb : array of uint8, shape (Y, X, 3)
    tables : array of float32, shape (stains, 3, 256)

    Returns
    -------
    tuple of arrays of float32, shape (Y, X), one per stain. Negative values are kept.
    """
    planes = [np.ascontiguousarray(rgb[..., channel]) for channel in range(3)]
    if rgb.size == 0:
        return tuple(np.zeros(rgb.shape[:2], np.float32) for _ in tables)
    return tuple(
        np.asarray(cv2.LUT(planes[0], table[0]) + cv2.LUT(planes[1], table[1]) + cv2.LUT(planes[2], table[2]))
        for table in tables
    )


def measure_white(
    thumbnail: npt.NDArray[np.uint8],
    *,
    nodata: npt.NDArray[np.bool_] | None = None,
    declared: Sequence[float] = (255.0, 255.0, 255.0),
) -> White:
    """The white of a slide, measured on its glass.

    Glass is the part of the thumbnail that is flat, nearly grey, and as bright as the brightest part of the
    slide. A field that tissue covers fully has none: then `declared` stands in, and ``measured`` is False.

    Parameters
    ----------
    thumbnail : array of uint8, shape (Y, X, 3)
        The slide at low resolution.
    nodata : array of bool, shape (Y, X), optional
        Pixels that were never scanned.
    declared : three floats
        The white to use where there is no glass.

    Returns
    -------
    White
    """
    valid = np.ones(thumbnail.shape[:2], bool) if nodata is None else ~nodata
    fallback = White((float(declared[0]), float(declared[1]), float(declared[2])), False, 0.0)
    if min(thumbnail.shape[:2]) < 3 or not valid.any():
        return fallback
    image = thumbnail.astype(np.float32)
    mean = cv2.blur(image, (3, 3))
    spread = np.sqrt(np.maximum(cv2.blur(image * image, (3, 3)) - mean * mean, 0)).max(axis=-1)
    brightness = mean.min(axis=-1)
    brightest = np.percentile(brightness[valid], 99.5)
    chroma = mean.max(axis=-1) - brightness
    whole = cv2.erode(valid.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    glass = whole & (spread < _FLAT_STD) & (chroma < _CHROMA) & (brightness > brightest - _NEAR_BRIGHTEST)
    count = int(glass.sum())
    share = count / float(valid.sum())
    if count < _MIN_GLASS_PIXELS or share < _MIN_GLASS_SHARE:
        return fallback
    red, green, blue = np.median(thumbnail[glass], axis=0)
    return White((float(red), float(green), float(blue)), True, share)
