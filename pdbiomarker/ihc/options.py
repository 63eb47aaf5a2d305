"""What a nucleus looks like: the parameters of the default segmenter, and its units."""

from __future__ import annotations

import dataclasses
from typing import Final

__all__ = ["PIXEL_WEIGHT", "UNITS_PER_OD", "SegmentOptions"]

#: The signal is the optical density times these.
UNITS_PER_OD: Final = 65536.0
PIXEL_WEIGHT: Final = 100


@dataclasses.dataclass(frozen=True, slots=True)
class SegmentOptions:
    """What a nucleus looks like, in micrometres and optical density.

    Attributes
    ----------
    channel : {"both", "hematoxylin"}
        The signal: the stronger of haematoxylin and DAB (nuclear markers), or haematoxylin alone
        (cytoplasmic and membranous markers, whose DAB lies outside the nucleus).
    min_area_um2, max_area_um2, typical_area_um2 : float
        Limits of the area, and the mode of the prior on it.
    area_log_sd, area_log_sd_above : float
        Standard deviation of the prior on the log area, below and above the mode: small pieces are doubted
        more than large nuclei, which tumours have.
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
    lowest, highest, levels : float, float, int
        First and last threshold of the signal (OD), and how many there are.
    min_depth : float
        A pass less deep (OD) is a ripple of the noise.
    dab_leak : float
        Share of the DAB that is taken off the haematoxylin where that is the signal: dense DAB is darker in
        red than its vector says, and would pass for nuclei.
    matrix : tuple of 9 floats or None
        Stain vectors, row by row; None for Ruifrok's.
    """

    channel: str = "both"
    min_area_um2: float = 14.0
    max_area_um2: float = 350.0
    typical_area_um2: float = 50.0
    area_log_sd: float = 0.65
    area_log_sd_above: float = 1.1
    min_score: float = 0.085
    radius_um: float = 4.0
    smoothing_um: float = 0.5
    cap: float = 0.45
    edge_half: float = 0.02
    lowest: float = 0.018
    highest: float = 0.70
    levels: int = 12
    min_depth: float = 0.004
    dab_leak: float = 0.1
    matrix: tuple[float, ...] | None = None
