"""Matrices become assays: counts, nCounter lanes, tables of values; a few genes become a signature score."""

from pdbiomarker.expression.assay import assay_files, has_expression, read_assay
from pdbiomarker.expression.counts import check_counts, problems_of, read_counts
from pdbiomarker.expression.formats import CountSource
from pdbiomarker.expression.genes import merge_genes
from pdbiomarker.expression.ncounter import (
    LaneLimits,
    LaneOptions,
    check_rcc,
    read_ncounter,
    read_nsolver,
)
from pdbiomarker.expression.signatures import (
    Signature,
    available_signatures,
    read_signature,
    signature_scores,
)
from pdbiomarker.expression.values import VALUE_KINDS, read_values

__all__ = [
    "VALUE_KINDS",
    "CountSource",
    "LaneLimits",
    "LaneOptions",
    "Signature",
    "assay_files",
    "available_signatures",
    "check_counts",
    "check_rcc",
    "has_expression",
    "merge_genes",
    "problems_of",
    "read_assay",
    "read_counts",
    "read_ncounter",
    "read_nsolver",
    "read_signature",
    "read_values",
    "signature_scores",
]
