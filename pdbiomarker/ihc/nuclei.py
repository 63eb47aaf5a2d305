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

from typing import Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.ihc.amounts import amounts_of_density, find_signal
from pdbiomarker.ihc.basins import find_basins, measure_basins
from pdbiomarker.ihc.candidates import choose
from pdbiomarker.ihc.labels import fill_holes, paint, relabel, settle_rims
from pdbiomarker.ihc.options import SegmentOptions

__all__ = ["REACH_UM", "SegmentOptions", "outline", "segment"]

Int32 = npt.NDArray[np.int32]

#: How far, in micrometres, the outline of a nucleus depends on its surroundings.
REACH_UM: Final = 48.0

_HOLE_UM2: Final = 15.0  # pale centres


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
    matrix = None if opt.matrix is None else np.reshape(opt.matrix, (3, 3))
    return outline(*amounts_of_density(od, matrix), pixel_um, options=opt)


def outline(
    hematoxylin: Int32, dab: Int32, pixel_um: float, *, options: SegmentOptions | None = None
) -> Int32:
    """As :func:`segment`, from the amounts of stain (:func:`pdbiomarker.ihc.amounts.amounts`)."""
    opt = options or SegmentOptions()
    shape = hematoxylin.shape
    if min(shape) < 3:
        return np.zeros(shape, np.int32)
    z, level, edge = find_signal(hematoxylin, dab, pixel_um, opt)
    basin, peaks = find_basins(z, level)
    if len(peaks) == 0:
        return np.zeros(shape, np.int32)
    sums, pairs = measure_basins(basin, level, (z, edge), peaks, opt.levels)
    labels = paint(basin, level, choose(sums, pairs, peaks, pixel_um, opt))
    return relabel(settle_rims(fill_holes(labels, int(_HOLE_UM2 / pixel_um**2))))
