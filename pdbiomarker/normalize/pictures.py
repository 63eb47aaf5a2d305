"""Values without the part that batches explain: for pictures, never for tests.

A test on corrected values counts the batch's degrees of freedom twice and is anticonservative: in a model the
batch is a term of the formula. Where a batch holds one visit only, nothing can be corrected: batch and visit
are not separable, and `without_batch` refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from pdbiomarker.errors import AssayError, Problem
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.normalize.linear import column_basis

__all__ = ["without_batch"]

_ALIASED: Final = 1e-8


def without_batch(y: FloatArray, batch: Sequence[str], design: FloatArray | None = None) -> FloatArray:
    """Log values with the differences between batches taken out, for pictures.

    Parameters
    ----------
    y : array, genes x libraries
        Log values, complete.
    batch : sequence of str, libraries
    design : array, libraries x coefficients, optional
        What must stay, such as the visits; default one mean.

    Returns
    -------
    array, genes x libraries
        As limma's ``removeBatchEffect``: the batches' effects (adding up to zero) of a linear model with
        design and batch are subtracted.

    Raises
    ------
    AssayError
        E-STUDY-005: the batches are aliased with the design; they are not separable.
    """
    values = np.asarray(y, dtype=np.float64)
    labels = np.asarray(batch, dtype=str)
    levels = sorted(set(labels.tolist()))
    if len(levels) < 2:
        return values.copy()
    codes = np.array([[float(b == level) - float(b == levels[-1]) for level in levels[:-1]] for b in labels])
    x = np.ones((labels.size, 1)) if design is None else np.asarray(design, dtype=np.float64)
    kept = column_basis(x)
    rest = codes - kept @ (kept.T @ codes)
    if np.linalg.matrix_rank(rest, tol=_ALIASED) < codes.shape[1]:
        raise AssayError(
            [
                Problem(
                    "E-STUDY-005",
                    "Batch and visit are not separable: a batch differs from the others by nothing but what "
                    "must stay.",
                    remedy="Show the values as they are, and say that batch and visit cannot be told apart.",
                    column="batch",
                    value=", ".join(levels),
                )
            ]
        )
    effects = np.linalg.lstsq(rest, values.T, rcond=None)[0]
    return np.asarray(values - (codes @ effects).T)
