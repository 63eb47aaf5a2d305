"""Immunohistochemistry: slides, cells, scores.

A slide is read tile by tile (:func:`open_slide`), its glass measured and its tissue found, its nuclei
outlined (:func:`segment`) and measured (:class:`CellFinder`); cells become scores with numerator, denominator
and area, and slides an assay of biopsies x features (:func:`quantify`). Optical densities are decadic.
"""

from pdbiomarker.ihc.artefacts import flag_artefacts
from pdbiomarker.ihc.assemble import assemble
from pdbiomarker.ihc.calibrate import Calibration, calibrate, match_cells
from pdbiomarker.ihc.cells import CELL_COLUMNS, CellFinder
from pdbiomarker.ihc.compartments import Placed, compartments_in, find_regions, place_cells, read_compartments
from pdbiomarker.ihc.definitions import DEFINITIONS, Definition, log2_ratio
from pdbiomarker.ihc.exports import (
    IMPORT_COLUMNS,
    IMPORT_MEANINGS,
    ImportedCells,
    import_cells,
    read_cells,
    score_import,
    sensitivity_of_import,
    slide_name,
)
from pdbiomarker.ihc.masks import MaskRegions, read_mask, tumour_by_nuclei
from pdbiomarker.ihc.measure import SlideOptions, SlideResult, check_slide, quantify_slide
from pdbiomarker.ihc.nuclei import SegmentOptions, segment
from pdbiomarker.ihc.outputs import (
    CELL_FILE_COLUMNS,
    cells_to_anndata,
    check_cells,
    join_slides,
    write_cells,
    write_cells_geojson,
    write_slide,
)
from pdbiomarker.ihc.panel import Panel, check_panel, read_panel
from pdbiomarker.ihc.privacy import Holding, deidentify, slide_holdings
from pdbiomarker.ihc.quantify import find_twins, quantify
from pdbiomarker.ihc.regions import Regions, check_regions, read_regions, write_regions
from pdbiomarker.ihc.score import (
    COMPARTMENT_ORDER,
    pool_scores,
    score_cells,
    score_counts,
    threshold_sensitivity,
    typed_scores,
)
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
from pdbiomarker.ihc.tiles import Tiles
from pdbiomarker.ihc.tissue import Tissue, find_tissue
from pdbiomarker.ihc.vectors import estimate_stains, stain_vectors
from pdbiomarker.study.assay_problems import problems_of

__all__ = [
    "CELL_COLUMNS",
    "CELL_FILE_COLUMNS",
    "COMPARTMENT_ORDER",
    "DEFINITIONS",
    "IMPORT_COLUMNS",
    "IMPORT_MEANINGS",
    "Calibration",
    "CellFinder",
    "Definition",
    "Holding",
    "ImportedCells",
    "MaskRegions",
    "Panel",
    "Placed",
    "Regions",
    "SegmentOptions",
    "Segmenter",
    "Slide",
    "SlideOptions",
    "SlideResult",
    "Tiles",
    "Tissue",
    "White",
    "assemble",
    "calibrate",
    "cellpose",
    "cells_to_anndata",
    "check_cells",
    "check_panel",
    "check_regions",
    "check_slide",
    "compartments_in",
    "deidentify",
    "estimate_stains",
    "find_regions",
    "find_tissue",
    "find_twins",
    "flag_artefacts",
    "import_cells",
    "instanseg",
    "join_slides",
    "log2_ratio",
    "match_cells",
    "measure_white",
    "open_slide",
    "optical_density",
    "place_cells",
    "pool_scores",
    "problems_of",
    "quantify",
    "quantify_slide",
    "read_cells",
    "read_compartments",
    "read_mask",
    "read_panel",
    "read_regions",
    "score_cells",
    "score_counts",
    "score_import",
    "segment",
    "sensitivity_of_import",
    "slide_hash",
    "slide_holdings",
    "slide_name",
    "stain_matrix",
    "stain_tables",
    "stain_vectors",
    "stardist",
    "threshold_sensitivity",
    "tumour_by_nuclei",
    "typed_scores",
    "unmix",
    "unmix_rgb",
    "write_cells",
    "write_cells_geojson",
    "write_regions",
    "write_slide",
]
