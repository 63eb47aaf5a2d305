"""Where there is tissue: a mask at low resolution, without glass, unscanned parts and foreign colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.stain import White, optical_density, unmix

__all__ = ["Tissue", "find_tissue", "foreign_tint"]

Mask = npt.NDArray[np.bool_]

_MIN_OD: Final = 0.012  # mean over the channels: averaged glass is about 0.002, the palest cytoplasm 0.02
_MIN_OD_NO_GLASS: Final = 0.04  # the declared white may lie above the glass of this scanner
_SMOOTH_UM: Final = 3.0
_CLOSE_UM: Final = 16.0
_BEHIND: Final = 4.0  # the tissue behind an edge is looked up this many times as far as the smoothing reaches
_LEAST_WEIGHT: Final = 1e-3
_MIN_TISSUE_MM2: Final = 0.002
_MAX_HOLE_MM2: Final = 0.005
_FOREIGN_SHARE: Final = 0.45
_STAINED_OD: Final = 0.15
_FOREIGN_OD: Final = 0.35


@dataclasses.dataclass(frozen=True, slots=True)
class Tissue:
    """Masks of one slide at low resolution.

    Attributes
    ----------
    mask : array of bool, shape (Y, X)
        Evaluable tissue: without artefacts and unscanned parts.
    artefact, nodata : arrays of bool, shape (Y, X)
        What was taken out of the tissue; parts the file holds no data for.
    mpp : float
        Micrometres per pixel of the masks.
    causes : mapping of str to array of bool
        The artefacts by cause, without overlap; see :func:`pdbiomarker.ihc.artefacts.flag_artefacts`.
    """

    mask: Mask
    artefact: Mask
    nodata: Mask
    mpp: float
    causes: Mapping[str, Mask] = dataclasses.field(default_factory=dict)

    @property
    def area_mm2(self) -> float:
        """Evaluable area in mm2."""
        return float(self.mask.sum()) * self.mpp**2 * 1e-6

    @property
    def lost_mm2(self) -> dict[str, float]:
        """Area that each cause took, in mm2."""
        return {cause: float(mask.sum()) * self.mpp**2 * 1e-6 for cause, mask in self.causes.items()}

    @property
    def artefact_share(self) -> float:
        """Artefacts as a share of tissue and artefacts together."""
        both = int(self.mask.sum()) + int(self.artefact.sum())
        return float(self.artefact.sum()) / both if both else 0.0

    @property
    def nodata_share(self) -> float:
        """Unscanned parts as a share of the slide."""
        return float(self.nodata.mean()) if self.nodata.size else 0.0

    def at(self, mask: Mask, x_um: npt.NDArray[np.float64], y_um: npt.NDArray[np.float64]) -> Mask:
        """The value of one of the masks at positions on the slide (micrometres)."""
        rows = np.clip((y_um / self.mpp).astype(np.int64), 0, mask.shape[0] - 1)
        columns = np.clip((x_um / self.mpp).astype(np.int64), 0, mask.shape[1] - 1)
        found: Mask = mask[rows, columns]
        return found


def find_tissue(
    thumbnail: npt.NDArray[np.uint8],
    nodata: Mask,
    mpp: float,
    *,
    white: White,
    matrix: npt.NDArray[np.float64] | None = None,
) -> Tissue:
    """Find tissue on a thumbnail by its optical density.

    Parameters
    ----------
    thumbnail : array of uint8, shape (Y, X, 3)
    nodata : array of bool, shape (Y, X)
        What the file holds no data for: never tissue.
    mpp : float
        Micrometres per pixel of the thumbnail.
    white : White
        The white of the glass.
    matrix : array, shape (3, 3), optional
        Stain vectors; what they cannot explain is foreign (pen, pigment).

    Returns
    -------
    Tissue
        Specks below 0.002 mm2 are dropped, holes below 0.005 mm2 filled. Without tissue the mask is empty.
    """
    density = optical_density(thumbnail, white.rgb)
    density[nodata] = 0
    sigma = _SMOOTH_UM / mpp
    smooth = np.asarray(cv2.GaussianBlur(density, (0, 0), max(sigma, 0.5)), dtype=np.float32)
    found = smooth.mean(axis=-1) > (_MIN_OD if white.measured else _MIN_OD_NO_GLASS)
    found &= ~nodata
    found &= ~_blurred_rim(found, smooth.mean(axis=-1), nodata, sigma=max(sigma, 0.5))
    found = _close(found, _CLOSE_UM / mpp)
    found = _drop_small(found, _MIN_TISSUE_MM2 * 1e6 / mpp**2)
    found = ~_drop_small(~found, _MAX_HOLE_MM2 * 1e6 / mpp**2) & ~nodata
    foreign = _foreign(smooth, matrix) & found
    return Tissue(found & ~foreign, foreign, nodata, mpp)


def _blurred_rim(found: Mask, density: npt.NDArray[np.float32], nodata: Mask, *, sigma: float) -> Mask:
    """What smoothing has spread over the glass: outside half the density of the tissue behind the edge.

    A step smoothed by a Gaussian is at half its height where it was, whatever the width; a lower threshold
    lies outside it. `sigma` in pixels. Strands too thin to have an inside, and what lies farther from dense
    tissue than smoothing reaches, stay.
    """
    reach = 2 * sigma
    inside = _depth(found | nodata) > reach
    inside &= found
    if not inside.any():
        return np.zeros_like(found)
    level = np.where(inside, np.minimum(density, np.median(density[inside])), np.float32(0))
    spread = np.asarray(cv2.GaussianBlur(level.astype(np.float32), (0, 0), _BEHIND * sigma))
    weight = np.asarray(cv2.GaussianBlur(inside.astype(np.float32), (0, 0), _BEHIND * sigma))
    there = np.asarray(cv2.GaussianBlur((~nodata).astype(np.float32), (0, 0), sigma))  # nodata takes density
    pale = found & (weight > _LEAST_WEIGHT) & (density * weight < 0.5 * spread * there)
    near = _depth(~(found & ~pale)) <= reach
    rim: Mask = pale & near & (_depth(found | nodata) <= reach)
    return rim


def _depth(mask: Mask) -> npt.NDArray[np.float32]:
    """Distance of each pixel of a mask from what is outside it, in pixels; the image's edge is no border."""
    if mask.all():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def foreign_tint(
    thumbnail: npt.NDArray[np.uint8],
    tissue: Tissue,
    *,
    white: White,
    matrix: npt.NDArray[np.float64] | None = None,
) -> float:
    """How far the colour of the tissue lies beside haematoxylin and DAB: the median residual.

    Returns
    -------
    float
        Residual stain as a share of the optical density, the median over stained tissue: about 0 to 0.25 in
        haematoxylin-DAB slides, negative where red is in play (eosin, AEC). NaN where nothing is stained.
    """
    density = optical_density(thumbnail, white.rgb)[tissue.mask | tissue.artefact][None]
    total = np.sqrt((density * density).sum(axis=-1))
    (residual,) = unmix(density, matrix, (2,))
    stained = total > _STAINED_OD
    return float(np.median(residual[stained] / total[stained])) if stained.any() else float("nan")


def _foreign(density: npt.NDArray[np.float32], matrix: npt.NDArray[np.float64] | None) -> Mask:
    """Dense colour that haematoxylin and DAB cannot make."""
    hematoxylin, dab, residual = unmix(density, matrix)
    total = np.sqrt((density * density).sum(axis=-1))
    beside = np.sqrt(residual**2 + np.minimum(hematoxylin, 0) ** 2 + np.minimum(dab, 0) ** 2)
    strange: Mask = (total > _FOREIGN_OD) & (beside > _FOREIGN_SHARE * total)
    return strange


def _close(mask: Mask, diameter: float) -> Mask:
    """Close gaps up to a diameter (pixels)."""
    size = round(diameter) | 1
    if size < 3:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), size, size, size, size, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)
    return closed[size:-size, size:-size].astype(bool)


def _drop_small(mask: Mask, pixels: float) -> Mask:
    """Drop connected parts below a number of pixels; on a field smaller than that, none."""
    if mask.size <= 4 * pixels:
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= pixels
    keep[0] = False
    kept: Mask = keep[labels]
    return kept
