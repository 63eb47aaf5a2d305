r"""Is a lane fit for use? Imaging, binding density, positive controls, limit of detection.

=================== ============================ ============ ==========================================
figure              definition                   limit        a lane beyond it is
=================== ============================ ============ ==========================================
fov_ratio           fields of view counted / all >= 0.75      quarantined
binding_density     barcodes per um2             <= 2.25      quarantined (counts saturate)
.                                                >= 0.1       told (little RNA)
positive_r2         R2 of log2 count on log2     >= 0.95      quarantined
                    concentration, POS_A to E
lod                 mean + 2 SD of the negative  POS_E above  told
                    controls
positive_factor     mean over lanes / geometric  0.3 to 3     told
                    mean of POS_A to E
housekeeping_factor likewise, of the chosen      0.1 to 10    told
                    housekeeping genes
=================== ============================ ============ ==========================================

These are the limits that the maker of the instrument publishes for its software (binding density up to 1.8 on
the Sprint). `lod_share` is the share of endogenous probes above the limit of detection; below 10 % it is
told. POS_F (0.125 fM) is near or under the limit of detection and left out.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from pdbiomarker.errors import Problems
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.expression.ncounter.rcc import Lane

__all__ = ["LaneLimits", "LaneQuality", "judge", "lane_quality"]

_CONTROLS_NEEDED: Final = 3
#: fM; the control below it, POS_F, is near or under the limit of detection and tells nothing of a lane.
_WEAKEST: Final = 0.5
#: A lane in which fewer endogenous probes are detected has little usable RNA.
_FEW_DETECTED: Final = 0.1


@dataclasses.dataclass(frozen=True)
class LaneLimits:
    """Limits of quality; see the head of this module."""

    fov_ratio: float = 0.75
    density: tuple[float, float] = (0.1, 2.25)
    positive_r2: float = 0.95
    positive_factor: tuple[float, float] = (0.3, 3.0)
    housekeeping_factor: tuple[float, float] = (0.1, 10.0)


@dataclasses.dataclass(frozen=True)
class LaneQuality:
    """Figures of one lane; NaN where its controls are missing.

    Attributes
    ----------
    fov_ratio, binding_density, positive_r2 : float
    background, lod : float
        Mean, and mean + 2 SD, of the negative controls.
    positive_e : float
        Count of the 0.5 fM control.
    positive_geomean, housekeeping_geomean : float
        Geometric means of POS_A to POS_E and of all housekeeping genes (a count of 0 taken as 1).
    lod_share : float
        Share of endogenous probes above the limit of detection.
    """

    fov_ratio: float
    binding_density: float
    positive_r2: float
    background: float
    lod: float
    positive_e: float
    positive_geomean: float
    housekeeping_geomean: float
    lod_share: float


def lane_quality(lane: Lane) -> LaneQuality:
    """Figures of a lane from its attributes and controls.

    Parameters
    ----------
    lane : Lane
    """
    negative = lane.of_class("negative")
    background = float(negative.mean()) if negative.size else np.nan
    spread = float(negative.std(ddof=1)) if negative.size > 1 else np.nan
    lod = background + 2 * spread
    positive = [k for k, p in enumerate(lane.probes) if p.code_class == "positive"]
    known = np.array([lane.probes[k].concentration for k in positive])
    counted = lane.counts[positive]
    order = np.argsort(-known, kind="stable")
    known, counted = known[order], counted[order]
    strong = counted[known >= _WEAKEST]
    endogenous = lane.of_class("endogenous")
    return LaneQuality(
        fov_ratio=lane.fov_counted / lane.fov_count if lane.fov_count else 0.0,
        binding_density=lane.binding_density,
        positive_r2=_r2(known[known >= _WEAKEST], strong),
        background=background,
        lod=lod,
        positive_e=float(counted[known == _WEAKEST][0]) if (known == _WEAKEST).any() else np.nan,
        positive_geomean=_geomean(strong),
        housekeeping_geomean=_geomean(lane.of_class("housekeeping")),
        lod_share=float((endogenous > lod).mean()) if endogenous.size and np.isfinite(lod) else np.nan,
    )


def _r2(concentration: FloatArray, counts: FloatArray) -> float:
    if counts.size < _CONTROLS_NEEDED or not np.isfinite(concentration).all() or (counts <= 0).any():
        return np.nan
    x, y = np.log2(concentration), np.log2(counts)
    if y.std() == 0 or x.std() == 0:
        return np.nan
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def _geomean(counts: FloatArray) -> float:
    return float(np.exp(np.log(np.maximum(counts, 1)).mean())) if counts.size else np.nan


def judge(lane: Lane, quality: LaneQuality, problems: Problems, limits: LaneLimits) -> bool:
    """Tell what is wrong with a lane; False where it is quarantined.

    Parameters
    ----------
    lane : Lane
    quality : LaneQuality
    problems : Problems
        Added: E-LANE-003 to 006.
    limits : LaneLimits
    """
    before = len(problems.quarantined)

    def add(code: str, message: str, remedy: str, column: str, value: float, *, lost: bool) -> None:
        problems.add(
            code,
            f"Lane {lane.name!r}: {message}" + ("; it is left out." if lost else "."),
            remedy=remedy,
            file=lane.file,
            column=column,
            value=f"{value:.4g}",
            severity="quarantine" if lost else "warning",
            item=lane.name,
        )

    q = quality
    if not q.fov_ratio >= limits.fov_ratio:
        told = f"{lane.fov_counted:g} of {lane.fov_count:g} fields of view were counted"
        add("E-LANE-003", told, "Scan the cartridge again.", "FovCounted", q.fov_ratio, lost=True)
    low, high = limits.density
    if not q.binding_density <= high:
        told = f"the binding density is above {high:g}: barcodes overlap and counts saturate"
        add("E-LANE-004", told, "Run it again with less RNA.", "BindingDensity", q.binding_density, lost=True)
    elif q.binding_density < low:
        told = f"the binding density is below {low:g}"
        add("E-LANE-004", told, "Run it with more RNA.", "BindingDensity", q.binding_density, lost=False)
    if np.isnan(q.positive_r2):
        told = "the positive controls are missing or have no counts"
        add("E-LANE-005", told, "Run it again.", "Positive", q.positive_r2, lost=True)
    elif q.positive_r2 < limits.positive_r2:
        told = f"the positive controls are not linear (R2 below {limits.positive_r2:g})"
        add("E-LANE-005", told, "Run it again.", "Positive", q.positive_r2, lost=True)
    elif not q.positive_e > q.lod:
        told = f"the 0.5 fM control has {q.positive_e:g} counts, the limit of detection is {q.lod:.4g}"
        add("E-LANE-006", told, "Read weak genes with caution.", "POS_E", q.positive_e, lost=False)
    if q.lod_share < _FEW_DETECTED:
        told = f"only {q.lod_share:.0%} of the endogenous probes are above the limit of detection"
        add("E-LANE-006", told, "It held little usable RNA.", "Endogenous", q.lod_share, lost=False)
    return len(problems.quarantined) == before
