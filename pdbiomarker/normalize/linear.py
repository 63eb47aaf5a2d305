"""Least squares on a shared design that may be rank-deficient."""

from __future__ import annotations

from typing import Final

import numpy as np

from pdbiomarker.expression.library_size import FloatArray

__all__ = ["column_basis"]

#: A column adds to the rank when this share of its norm is not explained by the columns before it (as R).
_RANK_TOLERANCE: Final = 1e-7


def column_basis(design: FloatArray) -> FloatArray:
    """Orthonormal basis of the column space, columns taken in order and aliased ones left out.

    Parameters
    ----------
    design : array, observations x coefficients

    Returns
    -------
    array, observations x rank
        Fitted values of `Y` (features x observations) are ``(Y @ Q) @ Q.T``; they do not depend on which
        of several aliased columns was left out.
    """
    n = design.shape[0]
    basis = np.empty((n, min(design.shape)))
    rank = 0
    for column in design.T:
        rest = column.astype(np.float64)
        for _ in range(2):  # twice is enough for orthogonality at machine precision
            rest = rest - basis[:, :rank] @ (basis[:, :rank].T @ rest)
        norm = float(np.linalg.norm(rest))
        if rank < basis.shape[1] and norm > _RANK_TOLERANCE * float(np.linalg.norm(column)):
            basis[:, rank] = rest / norm
            rank += 1
    return basis[:, :rank]
