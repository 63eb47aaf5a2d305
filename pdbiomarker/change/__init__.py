"""Paired change: a study and a plan become a :class:`PDResult`.

``families`` says which features are tested together and adjusts their p-values, ``analysis`` fits the model
of every feature, contrast and analysis set, ``result`` holds what comes out.
"""

from pdbiomarker.change.analysis import pd_change
from pdbiomarker.change.families import FEATURE_COUNT_OF_A_PANEL
from pdbiomarker.change.result import CHANGE_COLUMNS, TABLE_COLUMNS, PDResult

__all__ = ["CHANGE_COLUMNS", "FEATURE_COUNT_OF_A_PANEL", "TABLE_COLUMNS", "PDResult", "pd_change"]
