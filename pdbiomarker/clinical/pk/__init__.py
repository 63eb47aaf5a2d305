"""Pharmacokinetics without compartments: single doses, dosing intervals, exposure up to a biopsy."""

from pdbiomarker.clinical.pk.profiles import BlqRule
from pdbiomarker.clinical.pk.single_dose import nca

__all__ = ["BlqRule", "nca"]
