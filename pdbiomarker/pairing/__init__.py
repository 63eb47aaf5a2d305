"""Which biopsy stands for which visit, which participants pair, and why the others do not.

``choice`` gives every biopsy its visit, judges its adequacy, chooses among several and pairs them;
``accounting`` counts participants from enrolment to an evaluable pair; ``specimens`` keeps blood and tumour
apart.
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
from pdbiomarker.pairing.specimens import is_blood, specimen_of

__all__ = [
    "SETS",
    "accountability",
    "adequacy",
    "assign_visits",
    "is_baseline",
    "is_blood",
    "pair_table",
    "pairs",
    "specimen_of",
    "usable",
]
