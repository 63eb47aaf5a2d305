"""Safety: treatment-emergent adverse events, maximum grades, dose-limiting toxicities.

>>> data = read_events(adverse_events, participants, doses)  # doctest: +SKIP
>>> by_kind(data)  # doctest: +SKIP
>>> evaluable = dlt_evaluable(data, outcomes, cutoff="2026-01-31")  # doctest: +SKIP
>>> outcomes_of(evaluable).outcomes  # doctest: +SKIP
'1NNN 2NNT 2NNN'
"""

from pdbiomarker.clinical.safety.events import EVENT_COLUMNS, SafetyData, read_events
from pdbiomarker.clinical.safety.limiting import EscalationPath, dlt_evaluable, dlt_table, outcomes_of
from pdbiomarker.clinical.safety.options import SafetyOptions
from pdbiomarker.clinical.safety.summary import by_kind, by_term, max_grades

__all__ = [
    "EVENT_COLUMNS",
    "EscalationPath",
    "SafetyData",
    "SafetyOptions",
    "by_kind",
    "by_term",
    "dlt_evaluable",
    "dlt_table",
    "max_grades",
    "outcomes_of",
    "read_events",
]
