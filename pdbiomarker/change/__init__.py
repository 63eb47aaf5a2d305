"""Paired change: a study and a plan become a :class:`PDResult`.

``question`` reads what a plan asks, ``blocks`` chooses biopsies and brings their values to the model scale,
``rows`` fits a question to every feature (``linear``, ``count_models``, ``fitting``; ``random`` and
``layout`` say how its biopsies hang together), ``robustness`` asks how far that rests on the model and on
single participants, ``families`` adjusts p-values, ``result`` holds what comes out; ``adam`` and
``workbook`` give it other shapes, ``clinic`` puts the trial beside it.
"""

from pdbiomarker.change.adam import to_adam
from pdbiomarker.change.adam_parameters import adam_parameters
from pdbiomarker.change.analysis import pd_change
from pdbiomarker.change.clinic import (
    BEFORE_BIOPSY,
    JOINED_COLUMNS,
    change_columns,
    clinical_join,
    with_clinical_columns,
)
from pdbiomarker.change.families import FEATURE_COUNT_OF_A_PANEL
from pdbiomarker.change.result import CHANGE_COLUMNS, TABLE_COLUMNS, PDResult
from pdbiomarker.change.robustness import ROBUSTNESS_COLUMNS

__all__ = [
    "BEFORE_BIOPSY",
    "CHANGE_COLUMNS",
    "FEATURE_COUNT_OF_A_PANEL",
    "JOINED_COLUMNS",
    "ROBUSTNESS_COLUMNS",
    "TABLE_COLUMNS",
    "PDResult",
    "adam_parameters",
    "change_columns",
    "clinical_join",
    "pd_change",
    "to_adam",
    "with_clinical_columns",
]
