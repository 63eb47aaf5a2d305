"""What lies on the tissue and is not it: ink, folds, dust and bubbles, parts out of focus.

Each cause has a mask at low resolution; what it covers counts neither as area nor for cells, and its area
stands in the QC table. The detectors are made to be silent on tissue that is clean, because a flag removes
cells: each rests on something that no clean field shows, and the margins are those of eight real fields.

*Pen and fold* look at the palest place within 40 um: between nuclei, tissue always shows some, ink and folded
tissue do not. There, per channel, lies the density e. Ink is colour beside haematoxylin and DAB; a fold (and
blue or black ink, where it looks like haematoxylin) is haematoxylin itself, denser than a single layer can
be between its nuclei. DAB never makes a flag: strong staining is what is measured.

*Edge* is what lies beside the tissue: thin grey things, such as the rims of bubbles and of the cover slip,
dust and fibres.

*Blur* is the share of fine detail (bands of 0.5 to 1 um over 1 to 2 um, green channel) within 64 um. It is a
property of the optics, nearly the same for every tissue: where a field has too little detail to tell, it is
kept.

*Necrosis* is tissue without the texture of nuclei within 128 um. It also finds mucin, collagen and fat; so
it is off unless a panel turns it on, and annotated regions are the better way.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.panel import Detectors
from pdbiomarker.ihc.slide import Slide
from pdbiomarker.ihc.stain import White, optical_density, unmix
from pdbiomarker.ihc.tissue import Tissue

__all__ = ["CAUSES", "blur_map", "flag_artefacts"]

Mask = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

#: In this order: a pixel belongs to the first cause that claims it.
CAUSES: Final = ("pen", "fold", "edge", "blur", "necrosis")

# The palest place within 40 um, over eight clean real fields: beside at most 0.04, haematoxylin 0.16.
_PALEST_UM: Final = 40.0
_MEAN_UM: Final = 8.0
_BESIDE: Final = 0.08
_BESIDE_SHARE: Final = 0.2
_LAYER: Final = 0.25
_RIM_UM: Final = 8.0

_THIN_UM: Final = 40.0
_LONG_UM: Final = 60.0
_GREY: Final = 0.2  # (highest - lowest) / mean density of a pixel; haematoxylin 0.75, DAB 0.94, both 0.3
_GREY_SHARE: Final = 0.8

_CELL_UM: Final = 16.0
_WINDOW: Final = 4  # cells: 64 um
_BANDS_UM: Final = (0.5, 1.0, 2.0)
_SHARP: Final = (
    0.42  # clean windows 0.51 to 1.05; under a Gaussian of 1.5 um 0.32 to 0.43, of 3 um 0.28 to 0.33
)
_DETAIL: Final = 0.25  # grey levels of coarse detail: below, focus cannot be told
_TISSUE_OD: Final = 0.03
_TISSUE_SHARE: Final = 0.1
_MIN_BLUR_UM2: Final = 4096.0
_BLOCK: Final = 1024

_NUCLEI_UM: Final = 128.0
_NUCLEI_OD: Final = 0.02


def flag_artefacts(
    slide: Slide | None,
    thumbnail: npt.NDArray[np.uint8],
    tissue: Tissue,
    *,
    white: White,
    matrix: npt.NDArray[np.float64] | None = None,
    detectors: Detectors | None = None,
) -> Tissue:
    """Take artefacts out of the tissue.

    Parameters
    ----------
    slide : Slide or None
        Where focus is looked up at full resolution; None leaves focus out.
    thumbnail : array of uint8, shape (Y, X, 3)
        At the resolution of `tissue`.
    tissue : Tissue
        As :func:`pdbiomarker.ihc.find_tissue` gives it; its foreign colours count as pen.
    white : White
    matrix : array, shape (3, 3), optional
        Stain vectors as rows.
    detectors : Detectors, optional
        Which causes are looked for.

    Returns
    -------
    Tissue
        With ``causes``: a mask for each cause that was looked for, without overlap.
    """
    on = detectors or Detectors()
    found = tissue.mask | tissue.artefact
    density = optical_density(thumbnail, white.rgb)
    density[tissue.nodata] = 0
    masks: dict[str, Mask] = {}
    ink, fold = _opaque(density, tissue.mpp, matrix)
    if on.pen:
        masks["pen"] = (ink & found) | tissue.artefact
    if on.fold:
        masks["fold"] = fold & found
    if on.edge:
        masks["edge"] = _edges(density, found, tissue.mpp)
    if on.blur and slide is not None:
        masks["blur"] = _blurred(slide, tissue, white) & found
    if on.necrosis:
        masks["necrosis"] = _without_nuclei(density, tissue.mpp) & found
    gone = np.zeros_like(found)
    for cause in CAUSES:
        if cause in masks:
            masks[cause] = masks[cause] & ~gone
            gone |= masks[cause]
    return dataclasses.replace(tissue, mask=found & ~gone, artefact=gone, causes=masks)


def _odd(um: float, mpp: float) -> int:
    return max(3, round(um / mpp)) | 1


def _opaque(density: Float, mpp: float, matrix: npt.NDArray[np.float64] | None) -> tuple[Mask, Mask]:
    """Where the palest place nearby is ink, and where it is haematoxylin of more than one layer.

    What is palest depends on the size of a pixel: it is looked for among means over 8 um, at any resolution.
    """
    bin_ = max(1, round(_MEAN_UM / mpp))
    height, width = density.shape[:2]
    size = (-(-width // bin_), -(-height // bin_))
    padded = cv2.copyMakeBorder(
        density, 0, size[1] * bin_ - height, 0, size[0] * bin_ - width, cv2.BORDER_REPLICATE
    )
    means = cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
    side = _odd(_PALEST_UM, mpp * bin_)
    kernel = np.ones((side, side), np.uint8)
    palest = np.asarray(cv2.erode(means, kernel, borderType=cv2.BORDER_REPLICATE), dtype=np.float32)
    hematoxylin, dab, residual = unmix(palest, matrix)
    total = np.sqrt((palest * palest).sum(axis=-1))
    beside = np.sqrt(residual**2 + np.minimum(hematoxylin, 0) ** 2 + np.minimum(dab, 0) ** 2)
    ink = (beside > _BESIDE) & (beside > _BESIDE_SHARE * total)
    fold = (hematoxylin > _LAYER) & (hematoxylin > dab) & ~ink
    grown = [_dilated(mask, side + 2 * round(_RIM_UM / (mpp * bin_))) for mask in (ink, fold)]
    fine = [np.repeat(np.repeat(mask, bin_, 0), bin_, 1)[:height, :width] for mask in grown]
    return fine[0], fine[1]


def _dilated(mask: Mask, side: int) -> Mask:
    if side < 2 or not mask.any():
        return mask
    grown: Mask = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)).astype(bool)
    return grown


def _edges(density: Float, found: Mask, mpp: float) -> Mask:
    """Thin grey parts, with the glass that the search for tissue closed round them.

    No place in such a part is 20 um from its rim, and both stains together cannot make its grey.
    """
    mean = density.mean(axis=-1)
    stained = np.asarray(mean > _TISSUE_OD)
    tint = (density.max(axis=-1) - density.min(axis=-1)) / np.maximum(mean, 1e-6)
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(stained.astype(np.uint8), connectivity=8)
    labels = np.asarray(numbers, dtype=np.int32)
    inside = cv2.distanceTransform(np.pad(stained, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1] * mpp
    widest = np.zeros(count)
    np.maximum.at(widest, labels.ravel(), inside.ravel())
    amount = np.maximum(np.bincount(labels.ravel(), mean.ravel(), count), 1e-6)
    share = np.bincount(labels.ravel(), np.where(tint < _GREY, mean, 0).ravel(), count) / amount
    longest = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) * mpp
    grey = (widest < _THIN_UM / 2) & (longest > _LONG_UM) & (share > _GREY_SHARE)
    grey[0] = False
    if not grey.any():
        return np.zeros_like(found)
    line = _dilated(grey[labels], _odd(2 * _RIM_UM, mpp)) & found
    rest = found & ~line
    count, numbers = cv2.connectedComponents(rest.astype(np.uint8), connectivity=8)
    parts = np.asarray(numbers, dtype=np.int32)
    tissue = np.bincount(parts.ravel(), (stained & ~grey[labels]).ravel(), count) > 0
    tissue[0] = True
    chosen: Mask = line | ~tissue[parts]
    return chosen


def _without_nuclei(density: Float, mpp: float) -> Mask:
    grey = density.mean(axis=-1)
    side = _odd(_NUCLEI_UM, mpp)
    mean = cv2.blur(grey, (side, side))
    spread = np.sqrt(np.maximum(cv2.blur(grey * grey, (side, side)) - mean * mean, 0))
    flat: Mask = spread < _NUCLEI_OD
    return _dilated(flat, side // 2 | 1) & (grey > _TISSUE_OD / 2)


# -- focus ---------------------------------------------------------------------------------------------------


def _blurred(slide: Slide, tissue: Tissue, white: White) -> Mask:
    """The map of blur on the grid of the tissue's masks."""
    blurred = blur_map(slide, tissue, white)
    cell = _cell_um(slide)
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * tissue.mpp / cell).astype(np.int64), blurred.shape[axis] - 1)
        for axis, n in enumerate(tissue.mask.shape)
    )
    spread: Mask = blurred[np.ix_(rows, columns)]
    return spread


def _pixel_um(slide: Slide) -> float:
    return max(_BANDS_UM[0], slide.mpp)


def _cell_um(slide: Slide) -> float:
    """Side of a cell of the map: about 16 um, an even number of pixels."""
    pixel = _pixel_um(slide)
    return 2 * max(1, round(_CELL_UM / pixel / 2)) * pixel


def blur_map(slide: Slide, tissue: Tissue, white: White) -> Mask:
    """Which cells (16 um) of a slide are out of focus.

    Parameters
    ----------
    slide : Slide
    tissue : Tissue
        Only where it has tissue is anything read.
    white : White

    Returns
    -------
    array of bool, shape (Y, X)
        In cells of the slide's working grid; False where focus cannot be told.
    """
    pixel = _pixel_um(slide)
    side = round(_cell_um(slide) / pixel)
    height, width = slide.grid(pixel)
    shape = (-(-height // side), -(-width // side))
    fine, coarse, stained = (np.zeros(shape, np.float64) for _ in range(3))
    step = max(1, _BLOCK // side) * side
    scale = pixel / tissue.mpp
    for y in range(0, height, step):
        for x in range(0, width, step):
            h, w = min(step, height - y), min(step, width - x)
            rows = slice(int(y * scale), int(np.ceil((y + h) * scale)) + 1)
            columns = slice(int(x * scale), int(np.ceil((x + w) * scale)) + 1)
            if tissue.mask[rows, columns].any():
                cells = (slice(y // side, -(-(y + h) // side)), slice(x // side, -(-(x + w) // side)))
                fine[cells], coarse[cells], stained[cells] = _detail(slide, (y, x, h, w), pixel, side, white)
    return _judge(fine, coarse, stained, side * pixel)


def _judge(
    fine: npt.NDArray[np.float64],
    coarse: npt.NDArray[np.float64],
    stained: npt.NDArray[np.float64],
    cell: float,
) -> Mask:
    near, far, part = (_windowed(v, _WINDOW) for v in (fine, coarse, stained))
    soft = (far > _DETAIL**2) & (part > _TISSUE_SHARE) & (near < _SHARP**2 * far)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(soft.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] * cell**2 >= _MIN_BLUR_UM2
    large[0] = False
    sure: Mask = np.asarray(large[labels])
    # Within a window sharp detail outweighs blur, so what is told lies half a window inside the blurred part.
    return _dilated(sure, _WINDOW + 1)


def _windowed(values: npt.NDArray[np.float64], cells: int) -> npt.NDArray[np.float64]:
    """Means over windows of an even number of cells, centred on a cell: the outermost count half."""
    window = np.ones((cells + 1, cells + 1))
    window[[0, -1]] *= 0.5
    window[:, [0, -1]] *= 0.5
    border = cv2.BORDER_REFLECT
    return np.asarray(cv2.filter2D(values, cv2.CV_64F, window / window.sum(), borderType=border))


def _detail(
    slide: Slide, block: tuple[int, int, int, int], pixel: float, side: int, white: White
) -> tuple[npt.NDArray[np.float64], ...]:
    """Mean square of fine and of coarse detail, and share of stained pixels, by cell of a block."""
    y, x, h, w = block
    height, width = slide.grid(pixel)
    reach = int(np.ceil(4 * _BANDS_UM[-1] / pixel))
    top, left = max(y - reach, 0), max(x - reach, 0)
    bottom, right = min(y + h + reach, height), min(x + w + reach, width)
    rgb, missing = slide.resample(top, left, bottom - top, right - left, pixel)
    green = rgb[..., 1].astype(np.float32)
    sigma = [um / pixel for um in _BANDS_UM]
    first = _gauss(green, sigma[0])
    second = _gauss(first, math.sqrt(sigma[1] ** 2 - sigma[0] ** 2))
    half = np.ascontiguousarray(
        second[(y - top) % 2 :: 2, (x - left) % 2 :: 2]
    )  # smooth enough to skip pixels
    third = _gauss(half, math.sqrt(sigma[2] ** 2 - sigma[1] ** 2) / 2)
    own = (slice(y - top, y - top + h), slice(x - left, x - left + w))
    near = tuple(slice(o.start // 2, None) for o in own)
    there = np.ones((h, w), np.float32) if missing is None else (~missing[own]).astype(np.float32)
    fine = ((first - second)[own] ** 2) * there
    coarse = ((half - third)[near][: -(-h // 2), : -(-w // 2)] ** 2) * there[::2, ::2]
    dark = (green[own] < white.rgb[1] * 10**-_TISSUE_OD).astype(np.float32) * there
    return _by_cell(fine, side), _by_cell(coarse, side // 2), _by_cell(dark, side)


def _gauss(image: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    size = 2 * int(np.ceil(3 * sigma)) + 1
    border = cv2.BORDER_REFLECT_101
    return np.asarray(cv2.GaussianBlur(image, (size, size), sigma, borderType=border), dtype=np.float32)


def _by_cell(values: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float64]:
    """Means over cells; the last row and column may be smaller ones."""
    if not (values.shape[0] % side or values.shape[1] % side):
        size = (values.shape[1] // side, values.shape[0] // side)
        return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), dtype=np.float64)
    rows, columns = (np.arange(0, n, side) for n in values.shape)
    total = np.add.reduceat(np.add.reduceat(values.astype(np.float64), rows, axis=0), columns, axis=1)
    sizes = [np.diff(np.append(edges, n)) for edges, n in zip((rows, columns), values.shape, strict=True)]
    means: npt.NDArray[np.float64] = total / np.outer(*sizes)
    return means
