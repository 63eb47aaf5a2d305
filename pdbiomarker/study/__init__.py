"""The study folder: who, when, and what was measured; read and checked whole."""

from pdbiomarker.study.assays import AssaySpec
from pdbiomarker.study.clinical import FOLDER as CLINICAL
from pdbiomarker.study.folder import read_study
from pdbiomarker.study.items import is_panel_file, shown_path
from pdbiomarker.study.model import KINDS, Study, check_assay
from pdbiomarker.study.single_cell import SingleCellOptions
from pdbiomarker.study.spec import StudySpec, Visit

__all__ = [
    "CLINICAL",
    "KINDS",
    "AssaySpec",
    "SingleCellOptions",
    "Study",
    "StudySpec",
    "Visit",
    "check_assay",
    "is_panel_file",
    "read_study",
    "shown_path",
]
