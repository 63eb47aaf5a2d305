"""Transcripts: count matrices become assays, a few genes become a signature score."""

from pdbiomarker.expression.counts import check_counts, problems_of, read_counts
from pdbiomarker.expression.enrichment import competitive, competitive_from_table, rotate, self_contained
from pdbiomarker.expression.genesets import (
    Signature,
    available_signatures,
    read_gene_sets,
    read_signature,
)
from pdbiomarker.expression.identity import Identity, identity, library_counts
from pdbiomarker.expression.qc import expression_qc
from pdbiomarker.expression.signatures import (
    SignatureReference,
    fit_reference,
    read_reference,
    signature_scores,
)
from pdbiomarker.expression.singlecell import COMPOSITION, Pseudobulk, read_cells

__all__ = [
    "COMPOSITION",
    "Identity",
    "Pseudobulk",
    "Signature",
    "SignatureReference",
    "available_signatures",
    "check_counts",
    "competitive",
    "competitive_from_table",
    "expression_qc",
    "fit_reference",
    "identity",
    "library_counts",
    "problems_of",
    "read_cells",
    "read_counts",
    "read_gene_sets",
    "read_reference",
    "read_signature",
    "rotate",
    "self_contained",
    "signature_scores",
]
