"""Which biopsy stands for which visit, which participants pair, and why the others do not.

``choice`` gives every biopsy its visit, judges its adequacy, chooses among several and pairs them;
``events`` leaves out what intercurrent events affect, ``accounting`` counts participants from enrolment to an
evaluable pair, ``mix`` says of what tumours and sites the pairs are.
"""

from pdbiomarker.pairing.accounting import accountability
from pdbiomarker.pairing.choice import (
    SETS,
    adequacy,
    assign_visits,
    is_baseline,
    pair_table,
    pairs,
    usable,
)
from pdbiomarker.pairing.events import EVENT_COLUMNS, affected_biopsies, with_events
from pdbiomarker.pairing.mix import MIX_COLUMNS, pair_mix

__all__ = [
    "EVENT_COLUMNS",
    "MIX_COLUMNS",
    "SETS",
    "accountability",
    "adequacy",
    "affected_biopsies",
    "assign_visits",
    "is_baseline",
    "pair_mix",
    "pair_table",
    "pairs",
    "usable",
    "with_events",
]
