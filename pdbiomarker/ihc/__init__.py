"""Immunohistochemistry: slides, cells, scores.

A slide is read tile by tile (:func:`open_slide`), its glass measured and its tissue found, its nuclei
outlined (:func:`segment`) and measured (:class:`CellFinder`); cells become scores with numerator, denominator
and area, and slides an assay of biopsies x features (:func:`quantify`). Optical densities are decadic.
"""

from pdbiomarker.ihc.artefacts import flag_artefacts
from pdbiomarker.ihc.assemble import assemble, problems_of
from pdbiomarker.ihc.calibrate import Calibration, calibrate, match_cells
from pdbiomarker.ihc.cells import CELL_COLUMNS, CellFinder
from pdbiomarker.ihc.measure import SlideOptions, SlideResult, check_slide, quantify_slide
from pdbiomarker.ihc.nuclei import SegmentOptions, segment
from pdbiomarker.ihc.outputs import check_cells, write_slide
from pdbiomarker.ihc.panel import Panel, check_panel, read_panel
from pdbiomarker.ihc.quantify import find_twins, quantify
from pdbiomarker.ihc.regions import Regions, check_regions, read_regions
from pdbiomarker.ihc.score import pool_scores, score_cells
from pdbiomarker.ihc.segmenters import Segmenter, cellpose, instanseg, stardist
from pdbiomarker.ihc.slide import Slide, open_slide, slide_hash
from pdbiomarker.ihc.stain import (
    White,
    measure_white,
    optical_density,
    stain_matrix,
    stain_tables,
    unmix,
    unmix_rgb,
)
from pdbiomarker.ihc.tissue import Tissue, find_tissue
from pdbiomarker.ihc.vectors import estimate_stains, stain_vectors

__all__ = [
    "CELL_COLUMNS",
    "Calibration",
    "CellFinder",
    "Panel",
    "Regions",
    "SegmentOptions",
    "Segmenter",
    "Slide",
    "SlideOptions",
    "SlideResult",
    "Tissue",
    "White",
    "assemble",
    "calibrate",
    "cellpose",
    "check_cells",
    "check_panel",
    "check_regions",
    "check_slide",
    "estimate_stains",
    "find_tissue",
    "find_twins",
    "flag_artefacts",
    "instanseg",
    "match_cells",
    "measure_white",
    "open_slide",
    "optical_density",
    "pool_scores",
    "problems_of",
    "quantify",
    "quantify_slide",
    "read_panel",
    "read_regions",
    "score_cells",
    "segment",
    "slide_hash",
    "stain_matrix",
    "stain_tables",
    "stain_vectors",
    "stardist",
    "unmix",
    "unmix_rgb",
    "write_slide",
]
