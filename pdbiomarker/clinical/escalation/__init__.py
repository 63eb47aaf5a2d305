"""Dose escalation: the next dose, decision tables, the maximum tolerated dose, how often a design errs.

Designs: 3+3, BOIN, mTPI and mTPI-2. The continual reassessment method is not computed here: what it
recommended is imported with the doses that were given.
"""

from pdbiomarker.clinical.escalation.intervals import boin_limits, boundaries, decision_table
from pdbiomarker.clinical.escalation.operating import TrialSize, operating_characteristics
from pdbiomarker.clinical.escalation.options import DESIGNS, EscalationOptions
from pdbiomarker.clinical.escalation.outcomes import Cohort, parse_outcomes
from pdbiomarker.clinical.escalation.path import next_dose
from pdbiomarker.clinical.escalation.selection import Selection, select_mtd

__all__ = [
    "DESIGNS",
    "Cohort",
    "EscalationOptions",
    "Selection",
    "TrialSize",
    "boin_limits",
    "boundaries",
    "decision_table",
    "next_dose",
    "operating_characteristics",
    "parse_outcomes",
    "select_mtd",
]
