"""The study folder: who, when, and what was measured; read and checked whole."""

from pdbiomarker.study.folder import read_study
from pdbiomarker.study.items import shown_path
from pdbiomarker.study.model import KINDS, Study, check_assay
from pdbiomarker.study.spec import AssaySpec, StudySpec, Visit

__all__ = ["KINDS", "AssaySpec", "Study", "StudySpec", "Visit", "check_assay", "read_study", "shown_path"]
