"""Anti-drug antibodies (ADA): samples, participants, prevalence and incidence, status at the biopsy.

>>> samples = read_samples(ada, participants)  # doctest: +SKIP
>>> status = classify(samples)  # doctest: +SKIP
>>> incidence(status, by_dose=True)  # doctest: +SKIP
"""

from pdbiomarker.clinical.ada.options import AdaOptions
from pdbiomarker.clinical.ada.participants import PARTICIPANT_COLUMNS, classify
from pdbiomarker.clinical.ada.samples import SAMPLE_COLUMNS, AdaSamples, read_samples
from pdbiomarker.clinical.ada.summary import incidence, sample_flow, status_at

__all__ = [
    "PARTICIPANT_COLUMNS",
    "SAMPLE_COLUMNS",
    "AdaOptions",
    "AdaSamples",
    "classify",
    "incidence",
    "read_samples",
    "sample_flow",
    "status_at",
]
