"""Small symmetric and triangular matrices, many at once.

A symmetric matrix is kept as its lower triangle, row by row, V = p (p + 1) / 2 numbers. Factors have the
matrix first and the features last, (p, p, G): every step is one operation on contiguous rows of features.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["cholesky", "full", "inverse_triangle", "lower", "lower_products", "triangle"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


def lower(matrices: Array) -> Array:
    """Lower triangles, row by row, of (G, p, p) matrices."""
    rows, columns = triangle(matrices.shape[1])
    return np.ascontiguousarray(matrices[:, rows, columns])


@functools.cache
def triangle(size: int) -> tuple[Indices, Indices]:
    """Rows and columns of a lower triangle, row by row."""
    return np.tril_indices(size)


@functools.cache
def _mirror(size: int) -> Indices:
    """Where each entry of a symmetric matrix stands in its lower triangle."""
    index = np.zeros((size, size), dtype=np.intp)
    rows, columns = triangle(size)
    index[rows, columns] = index[columns, rows] = np.arange(len(rows))
    return index


def lower_products(vectors: Array) -> Array:
    """Lower triangles of v v' for vectors (G, q, p): (G, q, V), with V first in memory, which is fastest."""
    g, q, p = vectors.shape
    first = np.ascontiguousarray(vectors.transpose(2, 0, 1))
    out = np.empty((p * (p + 1) // 2, g, q))
    for i in range(p):
        start = i * (i + 1) // 2
        np.multiply(first[i], first[: i + 1], out=out[start : start + i + 1])
    return out.transpose(1, 2, 0)


def full(lower: Array, size: int) -> Array:
    """Symmetric matrices (G, size, size) from their lower triangles."""
    return np.take(lower, _mirror(size), axis=1)


def cholesky(lower: Array, size: int) -> Array:
    """Cholesky factors, (size, size, G), of matrices given as lower triangles (V, G); NaN if not definite.

    Own code because the library's batched routine raises for the whole batch when one matrix fails.
    """
    factor = np.zeros((size, size, lower.shape[1]))
    first = np.cumsum(np.arange(size))
    for j in range(size):
        column = lower[first[j:] + j]
        if j:
            column = column - np.einsum("ikg,kg->ig", factor[j:, :j], factor[j, :j])
        pivot = np.sqrt(column[0])
        factor[j, j] = pivot
        if j + 1 < size:
            np.divide(column[1:], pivot, out=factor[j + 1 :, j])
    return factor


def inverse_triangle(factor: Array) -> Array:
    """Inverses of lower triangular factors, both (size, size, G)."""
    inverse = np.zeros_like(factor)
    for i in range(len(factor)):
        inverse[i, i] = 1.0 / factor[i, i]
        if i:
            row = np.einsum("kg,kjg->jg", factor[i, :i], inverse[:i, :i])
            inverse[i, :i] = -row * inverse[i, i]
    return inverse
