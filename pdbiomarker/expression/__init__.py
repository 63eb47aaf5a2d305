"""Matrices become assays: counts, nCounter lanes, tables of values; a few genes become a signature score."""

from pdbiomarker.expression.assay import (
    assay_files,
    has_expression,
    has_libraries,
    has_values,
    read_assay,
    read_value_file,
)
from pdbiomarker.expression.counts import check_counts, read_counts
from pdbiomarker.expression.enrichment import competitive, competitive_from_table, rotate, self_contained
from pdbiomarker.expression.formats import CountSource
from pdbiomarker.expression.genes import merge_genes
from pdbiomarker.expression.genesets import Signature, available_signatures, read_gene_sets, read_signature
from pdbiomarker.expression.identity import Identity, identity, library_counts
from pdbiomarker.expression.ncounter import LaneLimits, LaneOptions, check_rcc, read_ncounter, read_nsolver
from pdbiomarker.expression.olink import read_olink
from pdbiomarker.expression.qc import expression_qc
from pdbiomarker.expression.signatures import (
    SignatureReference,
    fit_reference,
    read_reference,
    signature_scores,
)
from pdbiomarker.expression.singlecell import COMPOSITION, Pseudobulk, read_cells
from pdbiomarker.expression.valued import VALUE_KINDS
from pdbiomarker.expression.values import read_values
from pdbiomarker.study.assay_problems import problems_of

__all__ = [
    "COMPOSITION",
    "VALUE_KINDS",
    "CountSource",
    "Identity",
    "LaneLimits",
    "LaneOptions",
    "Pseudobulk",
    "Signature",
    "SignatureReference",
    "assay_files",
    "available_signatures",
    "check_counts",
    "check_rcc",
    "competitive",
    "competitive_from_table",
    "expression_qc",
    "fit_reference",
    "has_expression",
    "has_libraries",
    "has_values",
    "identity",
    "library_counts",
    "merge_genes",
    "problems_of",
    "read_assay",
    "read_cells",
    "read_counts",
    "read_gene_sets",
    "read_ncounter",
    "read_nsolver",
    "read_olink",
    "read_reference",
    "read_signature",
    "read_value_file",
    "read_values",
    "rotate",
    "self_contained",
    "signature_scores",
]
