"""Which genes have counts worth testing.

A gene is kept when at least as many libraries as the smallest group reach a CPM that corresponds to
`min_count` reads in a library of median size, and when its total reaches `min_total_count`. The size of
the smallest group comes from the groups, or from the design by the largest leverage; above `large_n`
libraries it counts only in part (`min_proportion`).

Source: Chen Y, Lun ATL, Smyth GK. F1000Research 2016;5:1438, doi 10.12688/f1000research.8987.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pdbiomarker.expression.library_size import FloatArray, cpm
from pdbiomarker.normalize.linear import column_basis

__all__ = ["CountFilter", "filter_by_expr", "smallest_group"]

_TOLERANCE: Final = 1e-14


@dataclass(frozen=True)
class CountFilter:
    """Limits of :func:`filter_by_expr`; see the head of this module."""

    min_count: float = 10
    min_total_count: float = 15
    large_n: float = 10
    min_proportion: float = 0.7


def filter_by_expr(
    counts: npt.ArrayLike,
    group: Sequence[str] | None = None,
    lib_size: npt.ArrayLike | None = None,
    *,
    design: FloatArray | None = None,
    limits: CountFilter | None = None,
) -> npt.NDArray[np.bool_]:
    """Genes with sufficient counts, as edgeR's ``filterByExpr``.

    Parameters
    ----------
    counts : array, genes x libraries
    group : sequence of str, libraries, optional
        Group of each library; where given, it stands before `design`. With neither, all are one group.
    lib_size : array, libraries, optional
        Effective library sizes; default the column sums.
    design : array, libraries x coefficients, optional
    limits : CountFilter, optional
        Default edgeR's.

    Returns
    -------
    array of bool, genes

    References
    ----------
    Chen Y et al. F1000Research 2016;5:1438, doi 10.12688/f1000research.8987.2.
    """
    y = np.asarray(counts, dtype=np.float64)
    size = y.sum(axis=0) if lib_size is None else np.asarray(lib_size, dtype=np.float64)
    limits = limits or CountFilter()
    needed = smallest_group(y.shape[1], group, design)
    if needed > limits.large_n:
        needed = limits.large_n + (needed - limits.large_n) * limits.min_proportion
    cutoff = limits.min_count / np.median(size) * 1e6
    often = (cpm(y, size) >= cutoff).sum(axis=1) >= needed - _TOLERANCE
    enough = y.sum(axis=1) >= limits.min_total_count - _TOLERANCE
    return np.asarray(often & enough)


def smallest_group(n_libraries: int, group: Sequence[str] | None, design: FloatArray | None) -> float:
    """Size of the smallest group; from a design, the inverse of its largest leverage."""
    if group is not None:
        _, sizes = np.unique(np.asarray(group, dtype=str), return_counts=True)
        return float(sizes.min())
    if design is None:
        return float(n_libraries)
    basis = column_basis(np.column_stack([np.ones(n_libraries), design]))
    return 1 / float((basis**2).sum(axis=1).max())
