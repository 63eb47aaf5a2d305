r"""Standard errors and degrees of freedom of contrasts.

Let V = s2 V0, V0 = W^-1 + theta Z Z', Phi = (X'V0^-1 X)^-1, and l'b a contrast of estimated variance s2 v
with v = l'Phi l. Both methods ask how well s2 v is known. Write

    nu = n - p,   c = tr(P G),   t = l'Phi (X'V0^-1 G V0^-1 X) Phi l / v,   G = Z Z',

with P = V0^-1 - V0^-1 X Phi X' V0^-1. Then t is the derivative of log(s2 v) by theta, and 1 its derivative by
log s2. In these two coordinates twice the information is

    [[ M, c ], [ c, nu ]],     Delta = M - c^2 / nu,

so that the delta method, df = 2 E^2 / Var, gives for both

    df = nu / (1 + nu (t - c / nu)^2 / Delta).

- **Satterthwaite** (1946; for mixed models as described by Kuznetsova, Brockhoff and Christensen 2017): M
  from the observed information, the second derivative of the REML criterion at its minimum. On the boundary
  theta = 0 lmerTest differentiates by the standard deviation sqrt(theta), and s2 v does not change with
  that at 0: df = nu. This definition is kept, because it is the one users compare with; it is too generous
  (18 where ten complete pairs hold 9). On the lower bound of a negative theta the expected information is
  used.
- **Kenward-Roger** (1997; with the first-order algebra laid out by Halekoh and Hojsgaard 2014):
  M = tr(P G P G), the expected information, valid on the boundary too. The covariance is enlarged for the
  estimation of theta:

      Phi_A = Phi + 2 (2 / Delta) Phi (X'V0^-1 G V0^-1 G V0^-1 X - S Phi S) Phi,  S = X'V0^-1 G V0^-1 X.

  V is linear in (s2 theta, s2), so no second-derivative term appears; the direction of V itself adds nothing
  (its two terms cancel), which leaves the one term above. For one contrast the published scaling of F is
  exactly 1, and the published df, 4 + 3 / (rho - 1), reduces to the formula above. The residual matrix W^-1
  enters with its weights; pbkrtest puts the identity there and is wrong for weighted fits.
- **residual**: df = nu, covariance Phi.

Sources: Satterthwaite 1946, doi:10.2307/3002019; Kenward and Roger 1997, doi:10.2307/2533558; Halekoh and
Hojsgaard 2014, doi:10.18637/jss.v059.i09; Kuznetsova, Brockhoff and Christensen 2017,
doi:10.18637/jss.v082.i13.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .reml import Solution

__all__ = ["ContrastTable", "DdfMethod", "infer", "t_tail"]

Array = NDArray[np.float64]
DdfMethod = Literal["kenward-roger", "satterthwaite", "residual"]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ContrastTable:
    """Contrasts of G features: `estimate`, `se` and `df`, each (G, k); NaN where the data do not tell."""

    estimate: Array
    se: Array
    df: Array


def infer(solution: Solution, coordinates: Array, ddf: DdfMethod) -> ContrastTable:
    """Estimate contrasts with their standard errors and degrees of freedom.

    Parameters
    ----------
    solution : Solution
        REML fits of G features.
    coordinates : (1 or G, k, p) array
        Contrasts in the coordinates of the features' bases.
    ddf : {"kenward-roger", "satterthwaite", "residual"}
        The method; see the head of this module.

    Returns
    -------
    ContrastTable
        Estimates are those of the responses the solution was made from.
    """
    p = coordinates.shape[2]
    root = solution.inverse_root
    with np.errstate(all="ignore"):
        estimate = np.matmul(coordinates, solution.coefficients[..., None])[..., 0]
        u = np.matmul(coordinates, root[:, :p, :p].transpose(0, 2, 1))
        v = np.square(u).sum(axis=2)
        nu = solution.dof[:, None]
        if ddf == "residual":
            return ContrastTable(
                estimate, np.sqrt(solution.s2[:, None] * v), np.broadcast_to(nu, v.shape).copy()
            )

        u_second = np.matmul(u, solution.second[:, :p, :p])
        t = (u_second * u).sum(axis=2) / v
        c = solution.trace[:, None]
        lack = nu * np.square(t - c / nu)
        expected = solution.expected[:, None]
        identified = solution.identified[:, None]
        # Without information on theta a contrast is known only if its variance is free of theta.
        free = np.abs(t - c / nu) <= 1e-6 * solution.largest[:, None]
        unidentified_df = np.where(free, nu, np.nan)
        if ddf == "satterthwaite":
            observed = solution.observed[:, None]
            delta = np.where(solution.at_lower[:, None] | ~(observed > 0), expected, observed)
            df = np.where(solution.at_zero[:, None], nu, nu / (1.0 + lack / delta))
            enlarged = v
        else:
            third = np.matmul(np.matmul(root[:, :p], solution.third), root[:, :p].transpose(0, 2, 1))
            gap = (np.matmul(u, third) * u).sum(axis=2) - np.square(u_second).sum(axis=2)
            df = nu / (1.0 + lack / expected)
            enlarged = v + np.where(identified, 4.0 / expected * np.maximum(gap, 0.0), 0.0)
        df = np.where(identified, df, unidentified_df)
        se = np.where(np.isfinite(df), np.sqrt(solution.s2[:, None] * enlarged), np.nan)
    return ContrastTable(estimate, se, df)


def t_tail(t: Array, df: Array) -> Array:
    """Two-sided p of Student's t, accurate in the far tail.

    The regularised incomplete beta function I_x(df / 2, 1 / 2) at x = df / (df + t^2) keeps its relative
    accuracy down to the smallest double; what lies below that is given as the smallest normal double, so
    that no p is ever 0.

    Examples
    --------
    >>> float(t_tail(np.array([4.0621276831]), np.array([9.0]))[0].round(8))
    0.00283289
    """
    with np.errstate(all="ignore"):
        ratio = np.square(t) / df
        near = special.betaincc(0.5, 0.5 * df, ratio / (1.0 + ratio))
        far = special.betainc(0.5 * df, 0.5, 1.0 / (1.0 + ratio))
        p = np.where(ratio < 1.0, near, far)
        return np.where(np.isnan(p), np.nan, np.clip(p, np.finfo(float).tiny, 1.0))
