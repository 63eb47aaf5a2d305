"""Immunohistochemistry: slides, cells, scores.

A slide is read tile by tile (:func:`open_slide`), its glass measured and its tissue found, its nuclei
outlined (:func:`segment`) and measured (:class:`CellFinder`); cells become scores with numerator, denominator
and area, and slides an assay of biopsies x features (:func:`quantify`). Optical densities are decadic.
"""

from pdbiomarker.ihc.assemble import assemble, problems_of
from pdbiomarker.ihc.cells import CELL_COLUMNS, CellFinder
from pdbiomarker.ihc.measure import SlideOptions, SlideResult, check_slide, quantify_slide
from pdbiomarker.ihc.nuclei import SegmentOptions, segment
from pdbiomarker.ihc.outputs import check_cells, write_slide
from pdbiomarker.ihc.panel import Panel, check_panel, read_panel
from pdbiomarker.ihc.quantify import find_twins, quantify
from pdbiomarker.ihc.regions import Regions, check_regions, read_regions
from pdbiomarker.ihc.score import pool_scores, score_cells
from pdbiomarker.ihc.segmenters import Segmenter, cellpose, instanseg, stardist
from pdbiomarker.ihc.slide import Slide, open_slide
from pdbiomarker.ihc.stain import White, measure_white, optical_density, stain_matrix, unmix
from pdbiomarker.ihc.tissue import Tissue, find_tissue

__all__ = [
    "CELL_COLUMNS",
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
    "cellpose",
    "check_cells",
    "check_panel",
    "check_regions",
    "check_slide",
    "find_tissue",
    "find_twins",
    "instanseg",
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
    "stain_matrix",
    "stardist",
    "unmix",
    "write_slide",
]
