"""From the observed information to contrasts: what the data determine, and how well."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from pdbiomarker.mixed.inference import t_tail

__all__ = ["Information", "Tested", "contrast_tests", "invert_information"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: A direction of the parameters with less information than this is not determined: the data separate.
FLAT = 1e-6
#: A contrast with more than this share in undetermined directions is not estimable.
SEPARATED = 1e-3
#: Student's t with so many degrees of freedom is the normal distribution to twelve digits.
NORMAL_DF = 1e12


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Information:
    """Of M fits with p coefficients among their parameters.

    Attributes
    ----------
    covariance : (M, p, p) array
        Of the coefficients: inverse of the observed information, without the directions in `flat`.
    flat : (M, p, p) array
        Projection on the directions that the data do not determine.
    at_minimum : (M,) array of bool
        No direction of negative curvature.
    """

    covariance: Array
    flat: Array
    at_minimum: Flags


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """Contrasts of M fits, (M, k) each; `determined` is False where the data separate."""

    estimate: Array
    se: Array
    df: Array
    t: Array
    p: Array
    determined: Flags


def invert_information(hessian: Array, p: int) -> Information:
    """Invert Hessians (M, P, P) of minus the log-likelihood; the coefficients are the first p parameters."""
    values, vectors = np.linalg.eigh(hessian)
    known = values > FLAT
    part = vectors[:, :p, :]
    inverse = np.where(known, 1.0 / np.where(known, values, 1.0), 0.0)
    return Information(
        covariance=np.matmul(part * inverse[:, None, :], part.transpose(0, 2, 1)),
        flat=np.matmul(part * ~known[:, None, :], part.transpose(0, 2, 1)),
        at_minimum=(values > -FLAT).all(axis=1),
    )


def contrast_tests(g: Array, information: Information, coordinates: Array, told: Flags, df: Array) -> Tested:
    """Estimate and test contrasts.

    Parameters
    ----------
    g : (M, p) array
        Coefficients.
    information : Information
    coordinates : (M, k, p) array
        Contrasts of the coefficients.
    told : (M, k) array of bool
        What can be told by the design, and was fitted.
    df : (M, k) array
        Degrees of freedom; 0 = no test.

    Returns
    -------
    Tested
    """
    lost = np.square(np.matmul(coordinates, information.flat)).sum(axis=2)
    determined = lost <= SEPARATED**2 * np.square(coordinates).sum(axis=2)
    told = told & determined
    estimate = np.where(told, np.matmul(coordinates, g[..., None])[..., 0], np.nan)
    variance = (np.matmul(coordinates, information.covariance) * coordinates).sum(axis=2)
    se = np.where(told & (variance > 0), np.sqrt(np.maximum(variance, 0.0)), np.nan)
    t = estimate / se
    df = np.where(np.isfinite(t) & (df > 0), df, np.nan)
    return Tested(estimate, se, df, t, t_tail(t, np.minimum(df, NORMAL_DF)), determined)
