"""From raw values to the scale of the model: (y, w) by the kind of each feature.

:func:`normalize` is the entry; the kernels below it work on plain arrays, genes x libraries, and equal
edgeR's and limma's numbers.
"""

from pdbiomarker.expression.library_size import cpm, log_cpm, tmm_factors, voom_log_cpm
from pdbiomarker.normalize.assay import NormalizeOptions, normalize
from pdbiomarker.normalize.filtering import CountFilter, filter_by_expr
from pdbiomarker.normalize.kinds import Limits
from pdbiomarker.normalize.trend import Trend, Voom, lowess, voom

__all__ = [
    "CountFilter",
    "Limits",
    "NormalizeOptions",
    "Trend",
    "Voom",
    "cpm",
    "filter_by_expr",
    "log_cpm",
    "lowess",
    "normalize",
    "tmm_factors",
    "voom",
    "voom_log_cpm",
]
