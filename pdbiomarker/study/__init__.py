"""The study folder: who, when, and what was measured; read and checked whole."""

from pdbiomarker.study.cells import CellOptions
from pdbiomarker.study.folder import read_study
from pdbiomarker.study.items import is_panel_file, shown_path
from pdbiomarker.study.model import KINDS, Study, check_assay
from pdbiomarker.study.spec import AssaySpec, StudySpec, Visit

__all__ = [
    "KINDS",
    "AssaySpec",
    "CellOptions",
    "Study",
    "StudySpec",
    "Visit",
    "check_assay",
    "is_panel_file",
    "read_study",
    "shown_path",
]
