r"""Joint F tests: all contrasts of a hypothesis at once.

For L (k x p) of rank q write u for its rows in the coordinates of Phi^(1/2) (module `inference`), and rotate
them so that u u' = diag(d): z = d^(-1/2) L b and K_a = d^(-1/2) u E_a u' d^(-1/2).

- **Kenward-Roger** (1997). With A1 = sum W_ab tr K_a tr K_b, A2 = sum W_ab tr(K_a K_b) and

      B = (A1 + 6 A2) / (2 q),  g = ((q + 1) A1 - (q + 4) A2) / ((q + 2) A2),
      (c1, c2, c3) = (g, q - g, q + 2 - g) / (3 q + 2 (1 - g)),
      E = 1 / (1 - A2 / q),  V = (2 / q) (1 + c1 B) / ((1 - c2 B)^2 (1 - c3 B)),  rho = V / (2 E^2),

  the statistic lambda F with F = z'(I + 2 d^(-1/2) u S u' d^(-1/2))^-1 z / (q s2) has q and
  m = 4 + (q + 2) / (q rho - 1) degrees of freedom, lambda = m / (E (m - 2)); lambda is 1 where m is 2 within
  .01, as pbkrtest has it.
- **Satterthwaite**, as lmerTest has it (Fai and Cornelius 1996): F = z'z / (q s2); with the df nu_i of the
  single z_i, m = 2 E / (E - q), E = sum nu_i / (nu_i - 2); nu itself where all are equal; 2 where one is 2 or
  less.
- **residual**: F = z'z / (q s2) with q and n - p.

Sources: Kenward and Roger 1997, doi:10.2307/2533558; Halekoh and Hojsgaard 2014, doi:10.18637/jss.v059.i09;
Fai and Cornelius 1996, doi:10.1080/00949659608811740; Kuznetsova, Brockhoff and Christensen 2017,
doi:10.18637/jss.v082.i13.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .inference import DdfMethod, Uncertainty, f_tail
from .inputs import Inputs
from .prepare import SharedLayout, offsets, prepare
from .solver import Optima, blocked_data, describe, pick

__all__ = ["JointTest", "joint_test"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Doubles that the largest array of one block of features may hold.
BLOCK_DOUBLES = 600_000
#: Directions of the hypothesis with less than this share of the largest variance are dependent rows.
DEPENDENT = 1e-10


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class JointTest:
    """F tests of G features, each array (G,).

    Attributes
    ----------
    F : array
        The statistic, scaled where the method scales it; NaN where the feature has no fit or the data do not
        tell every row of the hypothesis.
    num_df, den_df, p : arrays
        Degrees of freedom, upper tail.
    """

    F: Array
    num_df: Array
    den_df: Array
    p: Array


def joint_test(inputs: Inputs, optima: Optima) -> JointTest:
    """Test that all contrasts of `inputs` are 0, at optima that are known."""
    features = len(inputs.Y)
    F, numerator, denominator = (np.full(features, np.nan) for _ in range(3))
    layout = SharedLayout(inputs, general=True)
    usable = np.flatnonzero(optima.usable)
    size = max(1, BLOCK_DOUBLES // max(1, layout.doubles))
    for start in range(0, len(usable), size):
        rows = usable[start : start + size]
        found = _block(inputs, layout, rows, optima)
        F[rows], numerator[rows], denominator[rows] = found
    return JointTest(F, numerator, denominator, f_tail(F, numerator, denominator))


def _block(
    inputs: Inputs, layout: SharedLayout, rows: NDArray[np.intp], optima: Optima
) -> tuple[Array, Array, Array]:
    """F and its degrees of freedom for some features."""
    k = len(inputs.contrasts)
    block = prepare(inputs, layout, rows)
    data, _, norm = blocked_data(layout, block)
    here = optima.take(rows)
    with np.errstate(all="ignore"):
        components = here.components(data, block.scale, norm)
        root = None if inputs.allow_negative else data.effects.root(components)
        _, known = describe(inputs, data, root, components, norm)
        coordinates = block.coordinates[pick(block)][:, :k]
        estimate = np.matmul(coordinates, known.coefficients[..., None])[..., 0]
        estimate = estimate + offsets(block, layout)[:, :k] / block.scale[:, None]
        F, numerator, denominator = _test(known, coordinates, estimate, inputs.ddf)
    told = block.estimable[block.pattern][:, :k].all(axis=1) & np.isfinite(F) & np.isfinite(denominator)
    return tuple(np.where(told, x, np.nan) for x in (F, numerator, denominator))  # type: ignore[return-value]


def _test(
    known: Uncertainty, coordinates: Array, estimate: Array, ddf: DdfMethod
) -> tuple[Array, Array, Array]:
    """F, numerator and denominator of contrasts in the coordinates of the bases."""
    u = np.matmul(coordinates, known.root.transpose(0, 2, 1))
    products = np.matmul(u, u.transpose(0, 2, 1))
    good = np.isfinite(products).all(axis=(1, 2))
    values, vectors = np.linalg.eigh(np.where(good[:, None, None], products, 0.0))
    real = values > DEPENDENT * np.maximum(values[:, -1:], 1e-300)
    q = real.sum(axis=1).astype(float)
    shrink = np.where(real, 1.0 / np.sqrt(np.where(real, values, 1.0)), 0.0)
    turn = shrink[:, :, None] * vectors.transpose(0, 2, 1)
    z = np.matmul(turn, estimate[..., None])[..., 0]
    w = np.matmul(turn, u)
    plain = np.square(z).sum(axis=1) / (q * known.scale)
    if ddf == "residual":
        return plain, q, known.dof
    K = np.einsum("gki,gaij,glj->gakl", w, known.first, w, optimize=True)
    if ddf == "satterthwaite":
        t = np.diagonal(K, axis1=2, axis2=3).transpose(0, 2, 1)
        each = 2.0 / np.einsum("gka,gab,gkb->gk", t, known.covariance, t, optimize=True)
        return plain, q, _pooled(each, real, q)
    traces = np.trace(K, axis1=2, axis2=3)
    A1 = np.einsum("ga,gab,gb->g", traces, known.covariance, traces)
    A2 = np.einsum("gab,gakl,gblk->g", known.covariance, K, K, optimize=True)
    m, factor = _kenward_roger_scale(A1, A2, q)
    inner = np.eye(w.shape[1]) + 2.0 * np.matmul(np.matmul(w, known.enlargement), w.transpose(0, 2, 1))
    inner = np.where(np.isfinite(inner).all(axis=(1, 2))[:, None, None], inner, np.eye(w.shape[1]))
    rest = np.linalg.solve(inner, z[..., None])[..., 0]
    return factor * (z * rest).sum(axis=1) / (q * known.scale), q, m


def _pooled(each: Array, real: Flags, q: Array) -> Array:
    """Denominator df of the mean of squares of t with `each` df."""
    low = np.where(real, each, np.inf).min(axis=1)
    high = np.where(real, each, -np.inf).max(axis=1)
    E = np.where(real, each / (each - 2.0), 0.0).sum(axis=1)
    pooled = np.where(low <= 2.0, 2.0, 2.0 * E / (E - q))
    # Equal df pool to themselves; the formula is 0 / 0 for infinitely many of them only.
    return np.asarray(np.where(high - low < 1e-8, low, pooled))


def _kenward_roger_scale(A1: Array, A2: Array, q: Array) -> tuple[Array, Array]:
    """Denominator df and scale of F."""
    B = (A1 + 6.0 * A2) / (2.0 * q)
    g = ((q + 1.0) * A1 - (q + 4.0) * A2) / ((q + 2.0) * A2)
    whole = 3.0 * q + 2.0 * (1.0 - g)
    c1, c2, c3 = g / whole, (q - g) / whole, (q + 2.0 - g) / whole
    top = 1.0 + c1 * B
    top = np.where(np.abs(top) < 1e-10, 0.0, top)
    rho = np.square((1.0 - A2 / q) / (1.0 - c2 * B)) * top / (1.0 - c3 * B) / q
    m = 4.0 + (q + 2.0) / (q * rho - 1.0)
    factor = np.where(np.abs(m - 2.0) < 1e-2, 1.0, m * (1.0 - A2 / q) / (m - 2.0))
    return m, factor
