"""The study folder: who, when, and what was measured; read and checked whole."""

from pdbiomarker.study.assays import AssaySpec
from pdbiomarker.study.clinical import FOLDER as CLINICAL
from pdbiomarker.study.declared import FACTS_IN_WORDS, Declared
from pdbiomarker.study.folder import read_study
from pdbiomarker.study.items import is_panel_file, shown_path
from pdbiomarker.study.lock import LOCK_FILE, LockEntry, PlanLock, write_lock
from pdbiomarker.study.model import KINDS, Study, check_assay
from pdbiomarker.study.people import study_day
from pdbiomarker.study.single_cell import SingleCellOptions
from pdbiomarker.study.spec import StudySpec, Visit, spec_mapping

__all__ = [
    "CLINICAL",
    "FACTS_IN_WORDS",
    "KINDS",
    "LOCK_FILE",
    "AssaySpec",
    "Declared",
    "LockEntry",
    "PlanLock",
    "SingleCellOptions",
    "Study",
    "StudySpec",
    "Visit",
    "check_assay",
    "is_panel_file",
    "read_study",
    "shown_path",
    "spec_mapping",
    "study_day",
    "write_lock",
]
