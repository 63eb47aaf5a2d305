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

For any random effects (module `blocks`) the same two methods need one more line. Let g be the components,
log s2 among them where s2 is profiled out (its G is V), E_a = Phi^(1/2)' X'V^-1 G_a V^-1 X Phi^(1/2), E_ab
likewise with G_a V^-1 G_b, t_a = u'E_a u / u'u for a contrast u in the coordinates of Phi^(1/2), and W the
covariance of the components. Then df = 2 / (t'W t) with

- Satterthwaite: W = 2 J H^+ J', H the observed information by the roots of the covariances (lmerTest's
  parameters), J the derivative of the components by them. A variance of 0 has J = 0: it counts as known.
- Kenward-Roger: W = 2 M^+, M_ab = tr(P G_a P G_b), and the covariance Phi^(1/2) (I + 2 S) Phi^(1/2)' with
  S = sum_ab W_ab (E_ab - E_a E_b).

The data may not tell some combinations of the components (lesions with one biopsy each). A contrast whose
variance depends on such a combination has no df; the others do not notice.

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

from .blocks import BlockedData, Point
from .reml import Solution

__all__ = [
    "ContrastTable",
    "DdfMethod",
    "Uncertainty",
    "f_tail",
    "infer",
    "infer_from",
    "t_quantile",
    "t_tail",
    "uncertainty",
]

Array = NDArray[np.float64]
#: Fewer degrees of freedom than this are none: the variance of the contrast is not known at all.
FEWEST_DF = 1e-3
#: Tails: t^2 / df below this is too near 0 to come from the other end; half the df above this, too many.
NEAR, LARGE_SHAPE = 0.01, 500.0
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
        df = np.where(df >= FEWEST_DF, df, np.nan)
        se = np.where(np.isfinite(df), np.sqrt(solution.s2[:, None] * enlarged), np.nan)
    return ContrastTable(estimate, se, df)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Uncertainty:
    """What the standard errors and degrees of freedom of G features need; p columns, C components.

    Attributes
    ----------
    coefficients : (G, p) array
        b in the coordinates of the basis.
    root : (G, p, p) array
        Phi^(1/2)', the rows that turn a contrast into u.
    scale : (G,) array
        Factor of Phi in the covariance of b: s2 where it is profiled out, else 1.
    dof : (G,) array
        nu.
    first : (G, C, p, p) array
        E_a.
    covariance : (G, C, C) array
        W.
    untold : (G, C, C) array
        Projector on the scaled components that the data do not tell.
    size : (G, C) array
        Roots of the diagonal of M, which scale the components.
    enlargement : (G, p, p) array
        S; 0 unless Kenward-Roger.
    """

    coefficients: Array
    root: Array
    scale: Array
    dof: Array
    first: Array
    covariance: Array
    untold: Array
    size: Array
    enlargement: Array


def uncertainty(
    data: BlockedData, point: Point, root: Array | None, ddf: DdfMethod, *, scale_first: Array | None = None
) -> Uncertainty:
    """Collect what inference needs at an optimum.

    Parameters
    ----------
    data, point :
        G features, and their evaluation with `second`.
    root : (G, K) array or None
        Roots of the components; None takes the components themselves as parameters (they may be negative).
    ddf : {"kenward-roger", "satterthwaite", "residual"}
    scale_first : (G, p, p) array, optional
        E of the scale where it is not the identity (see module `compat`).
    """
    g, count = point.slope.shape
    p = point.inverse_root.shape[1] - 1
    nu = data.dof
    total = count + data.profiled
    first = np.empty((g, total, p, p))
    first[:, :count] = point.first[:, :, :p, :p]
    information = np.empty((g, total, total))
    information[:, :count, :count] = point.information
    observations = np.broadcast_to(data.count.astype(float), nu.shape)
    if data.profiled:
        first[:, -1] = np.eye(p) * data.kept[:, :, None] if scale_first is None else scale_first
        xx, last = first[:, :count], first[:, -1]
        # tr(P V P G) = tr(V^-1 G) - 2 tr E + tr(E_V E).
        cross = point.raw_trace - 2.0 * np.trace(xx, axis1=2, axis2=3)
        cross += np.einsum("gkab,gab->gk", xx, last)
        information[:, :count, -1] = information[:, -1, :count] = cross
        information[:, -1, -1] = (
            observations - 2.0 * np.trace(last, axis1=1, axis2=2) + np.square(last).sum(axis=(1, 2))
        )
    size = np.sqrt(np.maximum(np.diagonal(information, axis1=1, axis2=2), 1e-300))
    inverse, untold = _pseudo_inverse(information, size)
    enlargement = np.zeros((g, p, p))
    if ddf == "kenward-roger":
        covariance = 2.0 * inverse
        enlargement = _enlargement(point, first, covariance)
    else:
        covariance = _observed_covariance(data, point, root)
    row = point.inverse_root[:, -1]
    return Uncertainty(
        coefficients=-row[:, :-1] / row[:, -1:],
        root=point.inverse_root[:, :p, :p],
        scale=point.residual / nu if data.profiled else np.ones(g),
        dof=nu,
        first=first,
        covariance=covariance,
        untold=untold,
        size=size,
        enlargement=enlargement,
    )


def _pseudo_inverse(matrix: Array, size: Array, tolerance: float = 1e-9) -> tuple[Array, Array]:
    """Inverse on what is told, in units `size`, and the projector on what is not (in those units)."""
    unit = size[:, :, None] * size[:, None, :]
    scaled = matrix / unit
    good = np.isfinite(scaled).all(axis=(1, 2))
    scaled[~good] = np.eye(scaled.shape[1])
    values, vectors = np.linalg.eigh(scaled)
    told = values > tolerance * np.maximum(values[:, -1:], 1e-300)
    weights = np.where(told, 1.0 / np.where(told, values, 1.0), 0.0)
    inverse = np.matmul(vectors * weights[:, None, :], vectors.transpose(0, 2, 1))
    untold = np.matmul(vectors * ~told[:, None, :], vectors.transpose(0, 2, 1))
    inverse[~good] = np.nan
    return inverse / unit, untold


def _enlargement(point: Point, first: Array, covariance: Array) -> Array:
    """S = sum W_ab (E_ab - E_a E_b); E_ab = E_b where a is the scale."""
    g, total, p, _ = first.shape
    count = point.slope.shape[1]
    out = np.zeros((g, p, p))
    for a in range(total):
        for b in range(a, total):
            both = point.second[a, b][:, :p, :p] if b < count else first[:, a]
            both = both - np.matmul(first[:, a], first[:, b])
            weight = covariance[:, a, b, None, None]
            out += weight * both if a == b else weight * (both + both.transpose(0, 2, 1))
    return out


def _observed_covariance(data: BlockedData, point: Point, root: Array | None) -> Array:
    """2 J H^+ J' from the observed information by the roots, (G, C, C)."""
    g, count = point.slope.shape
    total = count + data.profiled
    hessian = np.zeros((g, total, total))
    hessian[:, :count, :count] = 2.0 * point.product - point.information
    J = np.zeros((g, total, total))
    J[:, :count, :count] = np.eye(count) if root is None else data.effects.jacobian(root)
    if data.profiled:
        J[:, -1, -1] = 1.0
        hessian[:, -1, :count] = hessian[:, :count, -1] = point.share
        hessian[:, -1, -1] = data.dof
    by_root = np.matmul(J.transpose(0, 2, 1), np.matmul(hessian, J))
    if root is not None:
        by_root[:, :count, :count] += np.einsum("gk,kcd->gcd", point.slope, data.effects.form)
    # A parameter that moves nothing takes no part.
    idle = ~J.any(axis=1)
    by_root = np.where(idle[:, :, None] | idle[:, None, :], 0.0, by_root)
    by_root[:, np.arange(total), np.arange(total)] += idle
    size = np.sqrt(np.maximum(np.abs(np.diagonal(by_root, axis1=1, axis2=2)), 1e-300))
    inverse, _ = _pseudo_inverse(by_root, size, 1e-10)
    return np.asarray(2.0 * np.matmul(J, np.matmul(inverse, J.transpose(0, 2, 1))))


def infer_from(known: Uncertainty, coordinates: Array, ddf: DdfMethod) -> ContrastTable:
    """Estimate contrasts, (1 or G, k, p) in the coordinates of the bases, of any random effects."""
    with np.errstate(all="ignore"):
        estimate = np.matmul(coordinates, known.coefficients[..., None])[..., 0]
        u = np.matmul(coordinates, known.root.transpose(0, 2, 1))
        v = np.square(u).sum(axis=2)
        df = np.broadcast_to(known.dof[:, None], v.shape).copy()
        if ddf != "residual":
            t = np.einsum("gki,gaij,gkj->gka", u, known.first, u, optimize=True) / v[..., None]
            df = 2.0 / np.einsum("gka,gab,gkb->gk", t, known.covariance, t, optimize=True)
            scaled = t / known.size[:, None]
            lost = np.matmul(scaled, known.untold)
            told = np.abs(lost).max(axis=2) <= 1e-6 * np.abs(scaled).max(axis=2)
            df = np.where(told & (df >= FEWEST_DF), df, np.nan)
            v = v + 2.0 * (np.matmul(u, known.enlargement) * u).sum(axis=2)
        se = np.where(np.isfinite(df), np.sqrt(known.scale[:, None] * v), np.nan)
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
        return _upper_tail(ratio, np.asarray(0.5), 0.5 * df)


def f_tail(F: Array, numerator: Array, denominator: Array) -> Array:
    """Upper tail of the F distribution, accurate where it is small, and never 0."""
    with np.errstate(all="ignore"):
        ratio = numerator * F / denominator
        return _upper_tail(ratio, 0.5 * numerator, 0.5 * denominator)


def _upper_tail(ratio: Array, a: Array, b: Array) -> Array:
    """Upper tail of the beta distribution (a, b) at ratio / (1 + ratio), to about 1e-13 relative.

    Small tails come from the other end of the distribution, as long as 1 / (1 + ratio) can be told from 1 and
    b does not magnify its rounding; large ones from 1; what is left, from scipy's slow complement.
    """
    ratio, a, b = np.broadcast_arrays(ratio, a, b)
    p = np.full(ratio.shape, np.nan)
    small = (ratio >= 1.0) | ((ratio >= NEAR) & (b <= LARGE_SHAPE))
    p[small] = special.betainc(b[small], a[small], 1.0 / (1.0 + ratio[small]))
    rest = ~small & (ratio >= 0.0)
    x = ratio[rest] / (1.0 + ratio[rest])
    p[rest] = 1.0 - special.betainc(a[rest], b[rest], x)
    again = rest & (p < 0.1)
    x = ratio[again] / (1.0 + ratio[again])
    p[again] = special.betaincc(a[again], b[again], x)
    return np.where(np.isnan(p), np.nan, np.clip(p, np.finfo(float).tiny, 1.0))


def t_quantile(share: float, df: Array) -> Array:
    """The quantile of Student's t below which that share lies; NaN where df is."""
    with np.errstate(all="ignore"):
        return np.asarray(special.stdtrit(df, share))
