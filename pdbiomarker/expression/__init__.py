"""Transcripts: count matrices become assays, a few genes become a signature score."""

from pdbiomarker.expression.counts import check_counts, problems_of, read_counts
from pdbiomarker.expression.signatures import (
    Signature,
    available_signatures,
    read_signature,
    signature_scores,
)

__all__ = [
    "Signature",
    "available_signatures",
    "check_counts",
    "problems_of",
    "read_counts",
    "read_signature",
    "signature_scores",
]
