"""Paired change: a study and a plan become a :class:`PDResult`.

``question`` reads what a plan asks, ``blocks`` chooses biopsies and brings their values to the model scale,
``rows`` fits a question to every feature (``linear``, ``count_models``, ``fitting``; ``random`` and
``layout`` say how its biopsies hang together), ``robustness`` asks how far that rests on the model and on
single participants, ``families`` adjusts p-values, ``result`` holds what comes out; ``adam`` and
``workbook`` give it other shapes.
"""

from pdbiomarker.change.adam import to_adam
from pdbiomarker.change.adam_parameters import adam_parameters
from pdbiomarker.change.analysis import pd_change
from pdbiomarker.change.families import FEATURE_COUNT_OF_A_PANEL
from pdbiomarker.change.result import CHANGE_COLUMNS, TABLE_COLUMNS, PDResult
from pdbiomarker.change.robustness import ROBUSTNESS_COLUMNS

__all__ = [
    "CHANGE_COLUMNS",
    "FEATURE_COUNT_OF_A_PANEL",
    "ROBUSTNESS_COLUMNS",
    "TABLE_COLUMNS",
    "PDResult",
    "adam_parameters",
    "pd_change",
    "to_adam",
]
