"""Matrices become assays: counts of transcripts, tables of values; a few genes become a signature score."""

from pdbiomarker.expression.counts import check_counts, problems_of, read_counts
from pdbiomarker.expression.signatures import (
    Signature,
    available_signatures,
    read_signature,
    signature_scores,
)
from pdbiomarker.expression.values import VALUE_KINDS, read_values

__all__ = [
    "VALUE_KINDS",
    "Signature",
    "available_signatures",
    "check_counts",
    "problems_of",
    "read_counts",
    "read_signature",
    "read_values",
    "signature_scores",
]
