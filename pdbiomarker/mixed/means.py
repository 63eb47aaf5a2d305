"""Marginal means and their contrasts on arrays: what emmeans gives, from the rows of a reference grid.

The rows of the grid are those of the design matrix at every combination of the factors' levels, numeric
covariates held at a value (their mean, a dose). A marginal mean averages rows with weights (equal ones, or
the frequencies of the levels); a contrast weighs marginal means. All are contrasts of the coefficients: a
mean m'b with m = weights @ grid, so SE and df are those of the fit.

Source: Searle, Speed and Milliken 1980, doi:10.1080/00031305.1980.10483031.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdbiomarker.errors import AssayError, Problem

from .inputs import check_contrasts
from .model import MixedFit

__all__ = ["MarginalMeans", "marginal_means"]

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MarginalMeans:
    """Marginal means of G features, and contrasts of them.

    Attributes
    ----------
    means : MixedFit
        One column a mean.
    contrasts : MixedFit or None
        One column a contrast; None if none was asked for.
    """

    means: MixedFit
    contrasts: MixedFit | None


def marginal_means(
    fit: MixedFit,
    grid: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    contrasts: ArrayLike | None = None,
) -> MarginalMeans:
    """Average the rows of a reference grid, and compare the averages.

    Parameters
    ----------
    fit : MixedFit
        A fit with p coefficients.
    grid : (r, p) array
        Rows of the design matrix.
    weights : (m, r) array, optional
        One marginal mean a row; each row of the grid by itself if None.
    contrasts : (c, m) array, optional
        One contrast of the means a row.

    Returns
    -------
    MarginalMeans
        A mean that the data do not tell (an empty cell) is not estimable, and so is what compares it.

    Raises
    ------
    AssayError
        Shapes that do not fit together; values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from pdbiomarker.mixed import fit
    >>> rng = np.random.default_rng(1)
    >>> visit = np.tile([0.0, 1.0], 6)
    >>> X = np.column_stack([np.ones(12), visit])
    >>> model = fit(rng.normal(size=(1, 12)) + visit, X, np.arange(12) // 2)
    >>> at = marginal_means(model, [[1, 0], [1, 1]], contrasts=[[-1, 1]])
    >>> bool(np.isclose(at.contrasts.estimate, model.estimate[:, 1:])[0, 0])
    True
    """
    rows = check_contrasts(grid, fit.coefficients.shape[1])
    averages = np.eye(len(rows)) if weights is None else _matrix(weights, "weights", len(rows))
    means = averages @ rows
    if contrasts is None:
        return MarginalMeans(fit.contrast(means), None)
    compared = _matrix(contrasts, "contrasts", len(means)) @ means
    return MarginalMeans(fit.contrast(means), fit.contrast(compared))


def _matrix(values: ArrayLike, name: str, columns: int) -> Array:
    """A finite array with that many columns."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 2 and array.shape[1] == columns and np.isfinite(array).all():
        return array
    raise AssayError(
        [
            Problem(
                "E-MODEL-001",
                f"{name} of marginal means must be a finite array with {columns} columns.",
                "give one column for each row it weighs",
                column=name,
                value=str(array.shape),
            )
        ]
    )
