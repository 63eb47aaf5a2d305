"""How the levels of a factor become columns: the contrasts of R, from their formulas.

A factor with k levels gives k - 1 columns by contrasts, or k columns, one per level, where its margin is
absent from the model.

* treatment: column j is 1 for level j, 0 otherwise, without the reference level.
* sum: column j is 1 for level j, -1 for the last level, 0 otherwise; j = 1 .. k - 1.
* helmert: column j compares level j + 1 with the mean of those before: -1 for levels 1 .. j, j for
  level j + 1.
* poly: orthonormal polynomials of degree 1 .. k - 1 in the level's number, by the three-term recurrence
  of the discrete Chebyshev (Gram) polynomials, p[j+1](u) = u p[j](u) - b[j] p[j-1](u) with
  b[j] = j^2 (k^2 - j^2) / (4 (4 j^2 - 1)) and u the centred level number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_POLY_LEVELS", "contrast_columns", "contrast_matrix"]

#: Beyond this, polynomials of the highest degrees are no longer orthogonal to 1e-12.
MAX_POLY_LEVELS: Final = 15
_POLY_NAMES: Final = (".L", ".Q", ".C")


def contrast_matrix(scheme: str, n_levels: int, base: int = 0) -> npt.NDArray[np.float64]:
    """Code the levels of a factor.

    Parameters
    ----------
    scheme : {"treatment", "sum", "helmert", "poly", "full"}
        The contrasts; ``full`` is one column per level.
    n_levels : int
        Number of levels, at least 2 (1 for ``full``).
    base : int
        Position of the reference level, for ``treatment``.

    Returns
    -------
    ndarray of float, (n_levels, n_levels - 1) or (n_levels, n_levels)
    """
    k = n_levels
    if scheme == "full":
        return np.eye(k)
    if scheme == "treatment":
        return np.delete(np.eye(k), base, axis=1)
    if scheme == "sum":
        return np.vstack([np.eye(k - 1), -np.ones((1, k - 1))])
    if scheme == "helmert":
        rows, columns = np.indices((k, k - 1))
        return np.where(rows <= columns, -1.0, np.where(rows == columns + 1, columns + 1.0, 0.0))
    return _polynomials(k)


def _polynomials(k: int) -> npt.NDArray[np.float64]:
    u = np.arange(k) - (k - 1) / 2
    values = [np.ones(k), u]
    for j in range(1, k - 1):
        b = j**2 * (k**2 - j**2) / (4 * (4 * j**2 - 1))
        values.append(u * values[j] - b * values[j - 1])
    found = np.column_stack(values[1:])
    return np.asarray(found / np.linalg.norm(found, axis=0), dtype=np.float64)


def contrast_columns(scheme: str, levels: Sequence[str], base: int = 0) -> list[str]:
    """Name the columns of :func:`contrast_matrix`, as R does (without the name of the variable)."""
    if scheme == "full":
        return list(levels)
    if scheme == "treatment":
        return [level for i, level in enumerate(levels) if i != base]
    numbers = range(1, len(levels))
    if scheme == "poly":
        return [_POLY_NAMES[j - 1] if j <= len(_POLY_NAMES) else f"^{j}" for j in numbers]
    return [str(j) for j in numbers]
