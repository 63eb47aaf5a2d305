"""Time to event: progression-free survival, duration of response, overall survival, and their estimates.

>>> import pdbiomarker as pb
>>> pfs = pb.clinical.survival.progression_free_survival(timepoints, participants)  # doctest: +SKIP
>>> pb.clinical.survival.kaplan_meier(pfs.table).medians  # doctest: +SKIP
"""

from pdbiomarker.clinical.survival.cox import cox
from pdbiomarker.clinical.survival.endpoints import (
    DAYS_PER_MONTH,
    TimeToEvent,
    duration_of_response,
    overall_survival,
    progression_free_survival,
    side_by_side,
)
from pdbiomarker.clinical.survival.estimate import KaplanMeier, kaplan_meier
from pdbiomarker.clinical.survival.landmark import landmark
from pdbiomarker.clinical.survival.rules import PRIMARY, SENSITIVITY, AssessmentSchedule, CensoringRules

__all__ = [
    "DAYS_PER_MONTH",
    "PRIMARY",
    "SENSITIVITY",
    "AssessmentSchedule",
    "CensoringRules",
    "KaplanMeier",
    "TimeToEvent",
    "cox",
    "duration_of_response",
    "kaplan_meier",
    "landmark",
    "overall_survival",
    "progression_free_survival",
    "side_by_side",
]
