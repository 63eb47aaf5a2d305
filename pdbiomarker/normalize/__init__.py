"""From raw values to the scale of the model: (y, w) by the kind of each feature.

:func:`normalize` is the entry; the kernels below it work on plain arrays, genes x libraries, and equal
edgeR's and limma's numbers.
"""

from pdbiomarker.expression.library_size import cpm, tmm_factors, voom_log_cpm
from pdbiomarker.normalize.assay import NormalizeOptions, normalize
from pdbiomarker.normalize.filtering import CountFilter, filter_by_expr
from pdbiomarker.normalize.kinds import Limits
from pdbiomarker.normalize.pictures import without_batch
from pdbiomarker.normalize.quality_weights import QualityVoom, library_weights, voom_quality_weights
from pdbiomarker.normalize.size_factors import (
    FACTORS,
    deseq_size_factors,
    norm_factors,
    quartile_factors,
    rle_factors,
    stable_factors,
    stable_genes,
    tmmwsp_factors,
)
from pdbiomarker.normalize.trend import Trend, Voom, lowess, voom
from pdbiomarker.normalize.vst import DispersionTrend, Stabilised, gene_dispersions, vst

__all__ = [
    "FACTORS",
    "CountFilter",
    "DispersionTrend",
    "Limits",
    "NormalizeOptions",
    "QualityVoom",
    "Stabilised",
    "Trend",
    "Voom",
    "cpm",
    "deseq_size_factors",
    "filter_by_expr",
    "gene_dispersions",
    "library_weights",
    "lowess",
    "norm_factors",
    "normalize",
    "quartile_factors",
    "rle_factors",
    "stable_factors",
    "stable_genes",
    "tmm_factors",
    "tmmwsp_factors",
    "voom",
    "voom_log_cpm",
    "voom_quality_weights",
    "vst",
    "without_batch",
]
