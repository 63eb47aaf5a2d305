"""The study folder: who, when, and what was measured; read and checked whole."""

from pdbiomarker.study.assays import AssaySpec
from pdbiomarker.study.clinical import FOLDER as CLINICAL
from pdbiomarker.study.declared import FACTS_IN_WORDS, Declared
from pdbiomarker.study.folder import check_batches, read_study
from pdbiomarker.study.formats import FORMATS, FileFormat
from pdbiomarker.study.items import is_panel_file, shown_path
from pdbiomarker.study.lock import LOCK_FILE, LockEntry, PlanLock, write_lock
from pdbiomarker.study.model import KINDS, Study, check_assay
from pdbiomarker.study.overrides import no_overrides, override_reason
from pdbiomarker.study.people import study_day
from pdbiomarker.study.places import amiss, check_files
from pdbiomarker.study.rules import AdequacyRule, Archival, Quality, worst
from pdbiomarker.study.schedule import Schedule, days_between, shifted
from pdbiomarker.study.single_cell import SingleCellOptions
from pdbiomarker.study.spec import StudySpec, Visit, spec_mapping
from pdbiomarker.study.starting import init_study

__all__ = [
    "CLINICAL",
    "FACTS_IN_WORDS",
    "FORMATS",
    "KINDS",
    "LOCK_FILE",
    "AdequacyRule",
    "Archival",
    "AssaySpec",
    "Declared",
    "FileFormat",
    "LockEntry",
    "PlanLock",
    "Quality",
    "Schedule",
    "SingleCellOptions",
    "Study",
    "StudySpec",
    "Visit",
    "amiss",
    "check_assay",
    "check_batches",
    "check_files",
    "days_between",
    "init_study",
    "is_panel_file",
    "no_overrides",
    "override_reason",
    "read_study",
    "shifted",
    "shown_path",
    "spec_mapping",
    "study_day",
    "worst",
    "write_lock",
]
