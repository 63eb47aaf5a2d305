"""A serial-biopsy trial with known truth: sheets, rendered IHC slides and counts, as a study folder."""

from pdbiomarker.simulate.design import FAULTS, TrialDesign
from pdbiomarker.simulate.folder import simulate_study
from pdbiomarker.simulate.layout import Layout, draw_layout, place_cells
from pdbiomarker.simulate.render import SlideStyle, render_image
from pdbiomarker.simulate.slides import render_slide, write_ome_tiff

__all__ = [
    "FAULTS",
    "Layout",
    "SlideStyle",
    "TrialDesign",
    "draw_layout",
    "place_cells",
    "render_image",
    "render_slide",
    "simulate_study",
    "write_ome_tiff",
]
