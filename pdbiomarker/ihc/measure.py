"""One slide: white, tissue, cells, compartments, scores, pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pdbiomarker.errors import ItemError, Problem, Problems
from pdbiomarker.ihc.artefacts import CAUSES, flag_artefacts
from pdbiomarker.ihc.blank import find_blank
from pdbiomarker.ihc.calibrate import apply_calibration
from pdbiomarker.ihc.cells import DEFAULT_TILE, CellFinder, Focus
from pdbiomarker.ihc.compartments import place_cells, read_compartments
from pdbiomarker.ihc.overlay import FIELD_SCALE, draw_field, draw_overview
from pdbiomarker.ihc.panel import Panel, Scale, StainVectors, WhiteRange, read_panel
from pdbiomarker.ihc.pixelsize import refuse
from pdbiomarker.ihc.score import NO_TUMOUR, score_cells, threshold_sensitivity
from pdbiomarker.ihc.segmenters import Segmenter
from pdbiomarker.ihc.slide import Slide, open_slide, slide_hash
from pdbiomarker.ihc.stain import White, stain_matrix
from pdbiomarker.ihc.tissue import Tissue, find_tissue, foreign_tint

__all__ = ["SHARP", "SHARP_FIELDS", "SlideOptions", "SlideResult", "check_slide", "quantify_slide"]

_THUMBNAIL_UM: Final = 8.0
_COARSEST_UM: Final = 1.0
_FINE_SIDE: Final = 256
_DARK_MEDIAN: Final = 120  # grey levels: real fields 144 to 244, inverted ones 11 to 103
# Eight sharp haematoxylin-DAB fields: 0.63 to 0.85 (painted: 0.54); under a Gaussian blur of 0.5 um 0.48
# to 0.69, of 1.5 um 0.35 to 0.42, of 3 um 0.30 to 0.34; the same at working resolutions of 0.25 to 1 um.
#: Fine over coarse detail: below, a slide is out of focus; and what sharp fields have.
SHARP: Final = 0.42
SHARP_FIELDS: Final = (0.54, 0.85)
_MOST_BLUR: Final = 0.8
_MUCH_LOST: Final = 0.1
_REDDISH: Final = -0.08  # haematoxylin-eosin: -0.15; six haematoxylin-DAB fields: 0.01 to 0.23


@dataclasses.dataclass(frozen=True, slots=True)
class SlideOptions:
    """How a slide is worked through; none of it changes what is found, but for `segmenter`.

    Attributes
    ----------
    tile : int
        Side of a tile at the working resolution, in pixels.
    segmenter : callable or None
        ``(optical density (Y, X, 3) float32, pixel size um) -> labels (Y, X) int32``; None for the default.
    overlay : bool
        Whether the pictures are drawn.
    threads : int
        How many tiles of the slide are worked on at once.
    """

    tile: int = DEFAULT_TILE
    segmenter: Segmenter | None = None
    overlay: bool = True
    threads: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class SlideResult:
    """What one slide gave.

    Attributes
    ----------
    cells : DataFrame
        One row per cell; see :meth:`pdbiomarker.ihc.CellFinder.find`.
    scores : DataFrame
        Columns feature, kind, value, numerator, denominator, area_mm2, n_cells, note.
    qc : dict
        tissue_mm2, n_cells, white_red/green/blue, white_measured, mpp, pixel_um, focus (edge strength, grey
        levels), focus_ratio (fine over coarse detail), nodata_share, artefact_share, lost_*_mm2 by cause
        (pen, fold, edge, blur, necrosis), nodata_mm2, excluded_mm2 (by regions), format, icc_profile
        (noted, not applied), sha256, panel, panel_sha256, dab_slope and dab_intercept (calibration).
    overview, field : array of uint8, shape (Y, X, 3), or None
        Pictures for the reviewer.
    problems : tuple of Problem
        Warnings, and regions that were left out.
    sensitivity : DataFrame
        The scores under moved thresholds: see :func:`pdbiomarker.ihc.threshold_sensitivity`.
    """

    cells: pd.DataFrame
    scores: pd.DataFrame
    qc: dict[str, float | int | str | bool]
    overview: npt.NDArray[np.uint8] | None
    field: npt.NDArray[np.uint8] | None
    problems: tuple[Problem, ...]
    sensitivity: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)


def quantify_slide(
    path: str | Path,
    panel: Panel | str | Path,
    *,
    mpp: float | None = None,
    regions: str | Path | None = None,
    origin: Mapping[str, str | None] | None = None,
    options: SlideOptions | None = None,
) -> SlideResult:
    """Find and score the cells of one slide.

    Parameters
    ----------
    path : path
        The slide.
    panel : Panel, name or path
    mpp : float, optional
        Micrometres per pixel from the sheet, where the file does not state it.
    regions : path, optional
        GeoJSON with nest, stroma and exclusions.
    origin : mapping, optional
        ``scanner`` and ``batch`` of the slide, for panels that calibrate by one of them.
    options : SlideOptions, optional

    Returns
    -------
    SlideResult

    Raises
    ------
    ItemError
        Any E-SLIDE code; the slide cannot be used.
    AssayError
        The panel cannot be used.
    """
    found, how = read_panel(panel), options or SlideOptions()
    file, problems = Path(path), Problems()
    with open_slide(file, mpp=mpp) as slide:
        if slide.mpp > _COARSEST_UM:
            raise refuse(
                "E-SLIDE-010",
                f"At {slide.mpp:g} um per pixel no nucleus can be outlined.",
                slide.name,
                remedy="Scan or export the slide at 20x (0.5 um) or finer.",
                value=f"{slide.mpp:g}",
            )
        thumbnail, tissue, white = _survey(slide, found, problems)
        scale = _scale(found, origin or {}, slide.name)
        finder = CellFinder(slide, tissue, _on_scale(found, scale), white=white, segmenter=how.segmenter)
        cells = finder.find(tile=how.tile, threads=how.threads)
        if scale is not None:
            cells = apply_calibration(cells, slope=scale.slope, intercept=scale.intercept)
        _judge_focus(finder.focus, slide.name, problems)
        drawn = None
        if regions is not None:
            drawn = read_compartments(regions, shape=slide.shape, mpp=slide.mpp, problems=problems)
        placed = place_cells(cells, tissue, drawn, panel=found, shape=slide.shape, mpp=slide.mpp)
        cells, areas = placed.cells, placed.areas_mm2
        scores = score_cells(cells, areas, found, tiles=placed.tiles)
        moved = threshold_sensitivity(cells, areas, found)
        _tell_refused(scores, slide.name, problems)
        overview = draw_overview(thumbnail, tissue, cells) if how.overlay else None
        field = draw_field(finder, slide.grid(finder.pixel_um), cells) if how.overlay else None
        qc: dict[str, float | int | str | bool] = {
            "tissue_mm2": areas["tissue"],
            "n_cells": len(cells),
            "white_red": white.rgb[0],
            "white_green": white.rgb[1],
            "white_blue": white.rgb[2],
            "white_measured": white.measured,
            "mpp": slide.mpp,
            "pixel_um": finder.pixel_um,
            # Micrometres per pixel of the two pictures: shown side by side they need one magnification.
            "overview_um": nan if overview is None else thumbnail.shape[1] * tissue.mpp / overview.shape[1],
            "field_um": nan if field is None else finder.pixel_um / FIELD_SCALE,
            "focus": finder.focus.value,
            "focus_ratio": finder.focus.ratio,
            **_losses(tissue, placed.excluded_mm2),
            "format": slide.facts.format,
            "icc_profile": slide.facts.icc_profile,
            "sha256": slide_hash(file),
            **_panel_facts(found, scale),
        }
    return SlideResult(cells, scores, qc, overview, field, tuple(problems), moved)


def _losses(tissue: Tissue, excluded_mm2: float) -> dict[str, float]:
    """What of the tissue was not measured, and why."""
    return {
        "nodata_share": tissue.nodata_share,
        "artefact_share": tissue.artefact_share,
        **{f"lost_{cause}_mm2": tissue.lost_mm2.get(cause, 0.0) for cause in CAUSES},
        "nodata_mm2": float(tissue.nodata.sum()) * tissue.mpp**2 * 1e-6,
        "excluded_mm2": excluded_mm2,
    }


def _panel_facts(panel: Panel, scale: Scale | None) -> dict[str, float | str]:
    """By which panel, and on which scale of DAB, the slide was measured."""
    return {
        "panel": panel.marker,
        "panel_sha256": panel.hash,
        "dab_slope": 1.0 if scale is None else scale.slope,
        "dab_intercept": 0.0 if scale is None else scale.intercept,
    }


def _scale(panel: Panel, origin: Mapping[str, str | None], name: str) -> Scale | None:
    """How the slide's DAB is put on the panel's scale; None where it is on it."""
    try:
        return panel.scale_of(origin)
    except KeyError as error:
        table = panel.calibration
        by = "scanner" if table is None else table.by
        known = [] if table is None else sorted([table.reference, *table.scales])
        raise refuse(
            "E-SLIDE-021",
            f"The panel calibrates DAB by {by}, and this slide's {by} is not among {', '.join(known)}.",
            name,
            remedy=f"State the {by} in slides.csv, or add its scale to the panel's calibration.",
            value=error.args[0],
        ) from error


def _on_scale(panel: Panel, scale: Scale | None) -> Panel:
    """The panel with its thresholds turned to the slide's own scale, for calls made on its pixels."""
    if scale is None:
        return panel
    own = tuple((value - scale.intercept) / scale.slope for value in panel.thresholds)
    return panel.model_copy(update={"thresholds": own})


def check_slide(path: str | Path, mpp: float | None = None) -> Problems:
    """Check whether a slide can be read: its header, then its colours and tissue at low resolution."""
    problems = Problems()
    try:
        with open_slide(path, mpp=mpp) as slide:
            _survey(slide, None, problems)
    except ItemError as error:
        problems.extend([dataclasses.replace(error.problem, severity="error")])
    return problems


def _tell_refused(scores: pd.DataFrame, name: str, problems: Problems) -> None:
    """Tell which scores of the panel this slide cannot have, because nothing says where the tumour is."""
    refused = scores.loc[scores["note"] == NO_TUMOUR, "feature"]
    if len(refused):
        problems.add(
            "E-SLIDE-009",
            f"Not made: {', '.join(refused)}; {NO_TUMOUR}.",
            remedy="Draw the tumour (regions), give a mask, or take the score off the panel.",
            file=name,
            severity="warning",
        )


def _thumbnail_um(slide: Slide) -> float:
    """Resolution of the tissue search: 8 um, finer for small fields."""
    shortest = min(slide.shape) * slide.mpp
    return max(slide.mpp, min(_THUMBNAIL_UM, max(1.0, shortest / _FINE_SIDE)))


def _survey(
    slide: Slide, panel: Panel | None, problems: Problems
) -> tuple[npt.NDArray[np.uint8], Tissue, White]:
    """Thumbnail, tissue and white of a slide; without a panel, focus is not looked up at full resolution."""
    allowed = WhiteRange() if panel is None else panel.white
    stains = StainVectors() if panel is None else panel.stains
    um = _thumbnail_um(slide)
    thumbnail, nodata = slide.thumbnail_masked(um)
    blank = find_blank(slide, thumbnail, nodata, um=um, declared=allowed.declared)
    nodata, white = blank.nodata, blank.white
    if nodata.any():
        _tell_missing(slide.name, nodata, problems)
    if not white.measured and _inverted(thumbnail, nodata):
        raise refuse(
            "E-SLIDE-008",
            "The background is darker than the tissue: the image looks inverted, or is not brightfield.",
            slide.name,
            remedy="Export the brightfield image as it was scanned.",
        )
    low, high = allowed.low, allowed.high
    if not all(low <= value <= high for value in white.rgb):
        shown = "/".join(f"{value:.0f}" for value in white.rgb)
        raise refuse(
            "E-SLIDE-008",
            f"The glass is {shown} (red/green/blue); the panel asks for {low:g}-{high:g}.",
            slide.name,
            remedy="Scan the slide again with a white balance on clear glass.",
            value=shown,
        )
    if not white.measured:
        problems.add(
            "E-SLIDE-008",
            "The field shows no glass; the declared white stands in, so pale stain is less certain.",
            remedy="Give a field with some clear glass, or set white.declared in the panel.",
            file=slide.name,
            severity="warning",
        )
    matrix = stain_matrix(stains.hematoxylin, stains.dab)
    tissue = find_tissue(thumbnail, nodata, um, white=white, matrix=matrix)
    if not tissue.mask.any():
        raise _no_tissue(slide.name)
    if foreign_tint(thumbnail, tissue, white=white, matrix=matrix) < _REDDISH:
        raise refuse(
            "E-SLIDE-013",
            "The tissue is stained red or pink (eosin, AEC?), not with haematoxylin and DAB.",
            slide.name,
            remedy="Check that this is the IHC slide; other chromogens are not measured.",
        )
    clean = flag_artefacts(
        None if panel is None else slide,
        thumbnail,
        tissue,
        white=white,
        matrix=matrix,
        detectors=None if panel is None else panel.artefacts,
    )
    _judge_artefacts(clean, slide.name, problems)
    return thumbnail, clean, white


def _judge_artefacts(tissue: Tissue, name: str, problems: Problems) -> None:
    """Refuse a slide that is nearly all blurred, or all artefact; tell when much of it was left out."""
    lost = {cause: area for cause, area in tissue.lost_mm2.items() if area > 0}
    whole = tissue.area_mm2 + sum(lost.values())
    blurred = lost.get("blur", 0.0)
    if blurred > _MOST_BLUR * whole:
        raise refuse(
            "E-SLIDE-014",
            f"The slide is out of focus: {100 * blurred / whole:.0f} % of its tissue has no fine detail.",
            name,
            remedy="Scan the slide again in focus: blur hides cells.",
            value=f"{100 * blurred / whole:.0f} %",
        )
    if not tissue.mask.any():
        raise refuse(
            "E-SLIDE-007",
            f"No tissue is left: all of it is taken for {', '.join(lost)}.",
            name,
            remedy="Look at the slide; if it is fit, turn the detector off in the panel (artefacts).",
        )
    if sum(lost.values()) > _MUCH_LOST * whole:
        told = ", ".join(f"{cause} {area:.3g} mm2" for cause, area in lost.items())
        problems.add(
            "E-SLIDE-022",
            f"{100 * sum(lost.values()) / whole:.0f} % of the tissue is left out: {told}.",
            remedy="Look at the overview; scan the slide again where that helps.",
            file=name,
            severity="warning",
        )


def _inverted(thumbnail: npt.NDArray[np.uint8], nodata: npt.NDArray[np.bool_]) -> bool:
    """Whether most of the image is dark, and its smooth parts are darker than its textured ones."""
    grey = thumbnail.astype(np.float32).mean(axis=-1)
    mean = cv2.blur(grey, (5, 5))
    spread = np.maximum(cv2.blur(grey * grey, (5, 5)) - mean * mean, 0)[~nodata]
    values = grey[~nodata]
    if values.size == 0:
        return False
    low, high = np.quantile(spread, [0.25, 0.75])
    smooth, textured = np.median(values[spread <= low]), np.median(values[spread >= high])
    return bool(np.median(values) < _DARK_MEDIAN and smooth < textured)


def _no_tissue(name: str) -> ItemError:
    return refuse(
        "E-SLIDE-007",
        "No tissue was found: the slide's scores are missing, not zero.",
        name,
        remedy="Check that this is the right slide and that it is stained.",
    )


def _tell_missing(name: str, nodata: npt.NDArray[np.bool_], problems: Problems) -> None:
    problems.add(
        "E-SLIDE-012",
        f"{100 * nodata.mean():.1f} % of the image has no data; it is neither tissue nor glass.",
        remedy="Copy or export the slide again, if that part should be there.",
        file=name,
        severity="warning",
    )


def _judge_focus(focus: Focus, name: str, problems: Problems) -> None:
    if not focus.ratio < SHARP:
        return
    problems.add(
        "E-SLIDE-014",
        f"The slide looks out of focus: its fine detail is {focus.ratio:.2f} of its coarse detail, below "
        f"{SHARP:g} (sharp fields: {SHARP_FIELDS[0]:g} to {SHARP_FIELDS[1]:g}; "
        f"edge strength {focus.value:.1f} grey levels).",
        remedy="Look at the slide; scan it again in focus: blur hides cells.",
        file=name,
        value=f"{focus.ratio:.2f}",
        severity="warning",
    )
