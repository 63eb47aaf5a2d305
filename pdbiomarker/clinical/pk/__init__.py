"""Pharmacokinetics without compartments: single doses, dosing intervals, exposure up to a biopsy."""

from pdbiomarker.clinical.pk.biopsies import exposure_at
from pdbiomarker.clinical.pk.intervals import auc_between, nca_intervals
from pdbiomarker.clinical.pk.of_study import PkTables, pk_tables
from pdbiomarker.clinical.pk.profiles import BlqRule
from pdbiomarker.clinical.pk.proportionality import dose_proportionality
from pdbiomarker.clinical.pk.single_dose import nca
from pdbiomarker.clinical.pk.summary import concentration_summary, parameter_summary, parameter_units

__all__ = [
    "BlqRule",
    "PkTables",
    "auc_between",
    "concentration_summary",
    "dose_proportionality",
    "exposure_at",
    "nca",
    "nca_intervals",
    "parameter_summary",
    "parameter_units",
    "pk_tables",
]
