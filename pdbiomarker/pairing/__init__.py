"""Which biopsy stands for which visit, which participants pair, and why the others do not.

``visits`` gives every biopsy its visit, ``timing`` counts from the doses before it, ``quality`` judges its
adequacy, ``events`` leaves out what intercurrent events affect, ``sets`` names the analysis sets, ``choice``
chooses among several, ``pairs`` pairs them, ``accounting`` counts participants from enrolment to an evaluable
pair, ``reasons`` names why a biopsy was not taken, ``mix`` says of what tumours and sites the pairs are, and
``specimens`` keeps blood and tumour apart.
"""

from pdbiomarker.pairing.accounting import DISPOSITION_COLUMNS, account, accountability
from pdbiomarker.pairing.choice import Chooser, rule_text, usable
from pdbiomarker.pairing.events import EVENT_COLUMNS, affected_biopsies, with_events
from pdbiomarker.pairing.mix import MIX_COLUMNS, pair_mix
from pdbiomarker.pairing.pairs import pair_table, pairs
from pdbiomarker.pairing.quality import adequacy, in_tumour, lesion_table, regression_bed
from pdbiomarker.pairing.sets import PAIRED_SETS, SETS, sets_of_study
from pdbiomarker.pairing.specimens import is_blood, specimen_of
from pdbiomarker.pairing.timing import TIMING_COLUMNS, dose_timing
from pdbiomarker.pairing.visits import assign_visits, is_baseline

__all__ = [
    "DISPOSITION_COLUMNS",
    "EVENT_COLUMNS",
    "MIX_COLUMNS",
    "PAIRED_SETS",
    "SETS",
    "TIMING_COLUMNS",
    "Chooser",
    "account",
    "accountability",
    "adequacy",
    "affected_biopsies",
    "assign_visits",
    "dose_timing",
    "in_tumour",
    "is_baseline",
    "is_blood",
    "lesion_table",
    "pair_mix",
    "pair_table",
    "pairs",
    "regression_bed",
    "rule_text",
    "sets_of_study",
    "specimen_of",
    "usable",
    "with_events",
]
