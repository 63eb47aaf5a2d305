r"""Multiplicity on arrays of p: families of tests, and declared looks at accumulating data.

**Families** of m tests with ordered p_(1) <= ... <= p_(m); adjusted p, all at most 1:

    holm            max over j <= i of (m - j + 1) p_(j)          family-wise error, any dependence
    bh              min over j >= i of m p_(j) / j                false discovery rate, positive dependence
    by              min over j >= i of m c p_(j) / j, c = sum 1/i false discovery rate, any dependence
    fixed-sequence  max over j <= i of p_j in the declared order  family-wise error, any dependence
    none            p_i

NaN is not a test: it does not count in m. In a fixed sequence, though, a hypothesis that could not be tested
was not rejected either, so that the gate behind it is closed: what follows it has adjusted p 1.

**Looks.** At look k = 1 .. K with a share t_k of the information (t_K = 1) a standard normal Z_k is tested;
Cov(Z_j, Z_k) = sqrt(t_j / t_k), j <= k. A boundary |Z_k| >= b_k has size alpha = P(crossed at any look):

    bonferroni       two-sided p_k <= alpha / K at each look: valid whatever the statistic and dependence
    pocock           b_k = c
    obrien-fleming   b_k = c / sqrt(t_k)

The probabilities are the sum over looks of first crossings, by recursive integration of the density of the
score B_k = Z_k sqrt(t_k) inside the boundary (independent increments), with Gauss-Legendre nodes at most a
quarter of an increment's standard deviation apart. All terms are positive, so small probabilities keep their
relative accuracy. Pocock and O'Brien-Fleming hold for normal statistics; for t-tests their two-sided nominal
p is used, which is approximate (Jennison and Turnbull 2000, section 3.8), so Bonferroni is the default.

Sources: Holm 1979 (Scand J Statist 6:65); Benjamini and Hochberg 1995,
doi:10.1111/j.2517-6161.1995.tb02031.x; Benjamini and Yekutieli 2001, doi:10.1214/aos/1013699998; Maurer,
Hothorn and Lehmacher 1995 (fixed sequence); Armitage, McPherson and Rowe 1969, doi:10.2307/2343787; Pocock
1977, doi:10.1093/biomet/64.2.191; O'Brien and Fleming 1979, doi:10.2307/2530245.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from pdbiomarker.errors import AssayError, Problems

from .exact import check_choice, check_range
from .glmm.inputs import numbers, places

__all__ = ["AdjustMethod", "Adjusted", "Boundary", "LookLevels", "adjust", "adjust_for_look", "look_levels"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
AdjustMethod = Literal["holm", "bh", "by", "fixed-sequence", "none"]
Boundary = Literal["bonferroni", "pocock", "obrien-fleming"]

MOST_LOOKS = 20
#: Largest distance of the nodes, in standard deviations of the increment; fewest nodes of a look.
NODE_DISTANCE, FEWEST_NODES = 0.25, 48
#: Sizes of a boundary that are searched for.
LEAST_SIZE, LARGEST_SIZE = 1e-12, 0.5
#: Increments of information at least so large: the number of nodes grows with their inverse root.
LEAST_INCREMENT = 0.01
ROOT_TAU = float(np.sqrt(2.0 * np.pi))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """Adjusted p of one family.

    Attributes
    ----------
    p : array of the shape given
        NaN where there was no test.
    rejected : array of bool
        p <= alpha.
    method : {"holm", "bh", "by", "fixed-sequence", "none"}
    n_tests : int
        Tests of the family: p that are not NaN.
    alpha : float
    """

    p: Array
    rejected: Flags
    method: AdjustMethod
    n_tests: int
    alpha: float


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LookLevels:
    """What each of K declared looks is tested at.

    Attributes
    ----------
    level : (K,) array
        Two-sided nominal levels.
    critical : (K,) array
        Their standard normal critical values.
    spent : (K,) array
        Probability, under the null hypothesis, of having crossed by each look (normal statistics); for
        ``bonferroni`` the bound k alpha / K.
    information : (K,) array
    boundary : {"bonferroni", "pocock", "obrien-fleming"}
    alpha : float
    """

    level: Array
    critical: Array
    spent: Array
    information: Array
    boundary: Boundary
    alpha: float


def adjust(
    p: ArrayLike, method: AdjustMethod, *, order: Sequence[int] | None = None, alpha: float = 0.05
) -> Adjusted:
    """Adjust the p of one family.

    Parameters
    ----------
    p : array of any shape
        All of it is one family; NaN = no test.
    method : {"holm", "bh", "by", "fixed-sequence", "none"}
    order : sequence of int, optional
        For ``fixed-sequence``: positions in ``p`` (flattened) in the order in which they are tested, each
        once; None is the order given.
    alpha : float
        Of `rejected`; adjusted p do not depend on it.

    Returns
    -------
    Adjusted

    Raises
    ------
    AssayError
        E-MODEL-002 (p that are not numbers from 0 to 1), E-MODEL-030 (method, order, alpha).

    Examples
    --------
    >>> adjust([0.01, 0.04, np.nan, 0.03], "holm").p.round(6).tolist()
    [0.03, 0.06, nan, 0.06]
    >>> adjust([0.01, 0.04, 0.03], "fixed-sequence", order=[2, 0, 1]).p.tolist()
    [0.03, 0.04, 0.03]
    """
    problems = Problems()
    values = _probabilities(p, problems)
    check_choice(method, "method", get_args(AdjustMethod), problems)
    _check_alpha(alpha, 0.0, 1.0, problems)
    flat = values.ravel()
    if order is not None:
        _check_order(order, flat.size, method, problems)
    problems.raise_if_any(AssayError)
    tested = ~np.isnan(flat)
    adjusted = np.full(flat.size, np.nan)
    if method == "fixed-sequence":
        sequence = np.arange(flat.size) if order is None else np.asarray(order, dtype=np.intp)
        adjusted[sequence] = np.maximum.accumulate(np.where(tested, flat, 1.0)[sequence])
        adjusted[~tested] = np.nan
    else:
        adjusted[tested] = _adjusted(flat[tested], method)
    found = adjusted.reshape(values.shape)
    return Adjusted(found, np.asarray(found <= alpha), method, int(tested.sum()), alpha)


def look_levels(
    looks: int,
    *,
    boundary: Boundary = "bonferroni",
    alpha: float = 0.05,
    information: ArrayLike | None = None,
) -> LookLevels:
    """Two-sided levels of declared looks at accumulating data.

    Parameters
    ----------
    looks : int
        Declared looks, 1 to 20.
    boundary : {"bonferroni", "pocock", "obrien-fleming"}
    alpha : float
        Probability of crossing at any look under the null hypothesis; 1e-12 to .5.
    information : (looks,) array, optional
        Share of the information at each look, increasing to 1 (pairs over planned pairs); else k / K.

    Returns
    -------
    LookLevels

    Raises
    ------
    AssayError
        E-MODEL-001, E-MODEL-002, E-MODEL-030.

    Examples
    --------
    >>> look_levels(3, boundary="pocock").level.round(4).tolist()
    [0.0221, 0.0221, 0.0221]
    >>> look_levels(5, boundary="obrien-fleming").critical.round(2).tolist()
    [4.56, 3.23, 2.63, 2.28, 2.04]
    """
    problems = Problems()
    shares = _information(looks, information, boundary, problems)
    _check_alpha(alpha, LEAST_SIZE, LARGEST_SIZE, problems)
    problems.raise_if_any(AssayError)
    if boundary == "bonferroni":
        level = np.full(looks, alpha / looks)
        spent = level.cumsum()
        return LookLevels(level, -special.ndtri(0.5 * level), spent, shares, boundary, alpha)
    shape = _shape(boundary, shares)
    # The constant lies between the critical value of one look at alpha and that of alpha / K. Sizes are
    # compared on the log scale, so that small ones are met to the same relative accuracy.
    one, all_ = (float(-special.ndtri(0.5 * alpha / share)) for share in (1, looks))
    constant = optimize.brentq(
        lambda c: float(np.log(_crossing(c * shape, shares).sum() / alpha)), one - 1e-6, all_ + 1e-6,
        xtol=1e-13, rtol=1e-14,
    )  # fmt: skip
    critical = constant * shape
    return LookLevels(
        2.0 * special.ndtr(-critical), critical, _crossing(critical, shares).cumsum(), shares, boundary, alpha
    )


def adjust_for_look(
    p: ArrayLike,
    look: int,
    looks: int,
    *,
    boundary: Boundary = "bonferroni",
    information: ArrayLike | None = None,
) -> Array:
    """Two-sided p of one look, adjusted for the declared number of looks.

    The adjusted p is the size of the boundary that goes through the p seen: it is at most alpha if and only
    if p is at most the look's level in `look_levels` for that alpha. Such p may enter `adjust`.

    Parameters
    ----------
    p : array of any shape
        Two-sided; NaN = no test.
    look : int
        At which look, from 1.
    looks : int
        Declared looks, 1 to 20.
    boundary : {"bonferroni", "pocock", "obrien-fleming"}
    information : (looks,) array, optional
        As in `look_levels`.

    Returns
    -------
    array of the shape of p

    Raises
    ------
    AssayError
        E-MODEL-001, E-MODEL-002, E-MODEL-030.

    Notes
    -----
    ``bonferroni`` costs nothing; the others about a tenth of a millisecond for each different p.

    Examples
    --------
    >>> adjust_for_look([0.01, 0.2], 1, 4).tolist()
    [0.04, 0.8]
    >>> adjust_for_look(0.0294, 2, 2, boundary="pocock").round(3).tolist()
    0.05
    """
    problems = Problems()
    values = _probabilities(p, problems)
    shares = _information(looks, information, boundary, problems)
    check_range(look, "look", 1, looks, problems)
    problems.raise_if_any(AssayError)
    if boundary == "bonferroni":
        return np.asarray(np.minimum(1.0, looks * values))
    shape = _shape(boundary, shares)
    different, which = np.unique(values.ravel(), return_inverse=True)
    critical = -special.ndtri(0.5 * np.maximum(different, np.finfo(float).tiny)) / shape[look - 1]
    found = [_crossing(c * shape, shares).sum() if c > 0 else 1.0 for c in critical.tolist()]
    adjusted = np.where(np.isnan(different), np.nan, np.minimum(1.0, found))
    return np.asarray(adjusted[which].reshape(values.shape))


def _adjusted(p: Array, method: AdjustMethod) -> Array:
    m = len(p)
    order = np.argsort(p, kind="stable")
    ordered, rank = p[order], np.arange(1, m + 1)
    if method == "holm":
        steps = np.maximum.accumulate((m - rank + 1) * ordered)
    elif method == "none":
        steps = ordered
    else:
        factor = np.sum(1.0 / rank) if method == "by" else 1.0
        steps = np.minimum.accumulate((factor * m / rank * ordered)[::-1])[::-1]
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1.0, steps)
    return adjusted


def _shape(boundary: Boundary, shares: Array) -> Array:
    """Critical values of the looks over that of the last."""
    return np.ones_like(shares) if boundary == "pocock" else 1.0 / np.sqrt(shares)


def _crossing(critical: Array, shares: Array) -> Array:
    """(K,) probabilities that |Z_k| >= critical_k for the first time at look k."""
    limits = critical * np.sqrt(shares)
    first = np.empty(len(shares))
    first[0] = 2.0 * special.ndtr(-critical[0])
    nodes, mass = np.zeros(1), np.ones(1)  # before the first look the score is 0
    for k in range(1, len(shares)):
        previous = 0.0 if k == 1 else shares[k - 2]
        deviation = float(np.sqrt(shares[k - 1] - previous))
        coming = float(np.sqrt(shares[k] - shares[k - 1]))
        widest = NODE_DISTANCE * min(deviation, coming)
        x, weight = _nodes(int(np.ceil(2.0 * limits[k - 1] / widest / FEWEST_NODES)))
        new = limits[k - 1] * x
        z = (new[:, None] - nodes) / deviation
        density = np.exp(-0.5 * np.square(z)) @ mass / (deviation * ROOT_TAU)
        nodes, mass = new, density * weight * limits[k - 1]
        out = special.ndtr((nodes - limits[k]) / coming) + special.ndtr((-limits[k] - nodes) / coming)
        first[k] = out @ mass
    return first


@functools.lru_cache(maxsize=32)
def _nodes(units: int) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on (-1, 1), in multiples of the fewest so that few are computed."""
    x, weight = leggauss(FEWEST_NODES * max(1, units))
    return np.asarray(x, dtype=np.float64), np.asarray(weight, dtype=np.float64)


def _information(looks: int, information: ArrayLike | None, boundary: str, problems: Problems) -> Array:
    """Shares of information at the looks; what is wrong with them is added to the problems."""
    check_range(looks, "looks", 1, MOST_LOOKS, problems)
    check_choice(boundary, "boundary", get_args(Boundary), problems)
    problems.raise_if_any(AssayError)
    equal = np.arange(1, looks + 1) / looks
    if information is None:
        return equal
    shares = numbers(information, "information", (1,), problems)
    if shares is None:
        return equal
    if shares.shape != (looks,):
        problems.add(
            "E-MODEL-001", f"information has {len(shares)} values for {looks} looks.", column="information",
            remedy="give one share of the information for each declared look",
        )  # fmt: skip
    elif not (np.all(np.diff(shares, prepend=0.0) >= LEAST_INCREMENT) and abs(shares[-1] - 1.0) < 1e-12):
        problems.add(
            "E-MODEL-030", "The shares of information do not increase to 1.", column="information",
            value=", ".join(map(str, shares.tolist())),
            remedy=f"give pairs at each look over pairs at the last; steps of at least {LEAST_INCREMENT}",
        )  # fmt: skip
    return shares


def _probabilities(p: ArrayLike, problems: Problems) -> Array:
    try:
        values = np.asarray(p, dtype=np.float64)
    except (TypeError, ValueError) as error:
        problems.add(
            "E-MODEL-002", "p holds something that is not a number.", column="p", value=error,
            remedy="give numbers from 0 to 1; NaN = no test",
        )  # fmt: skip
        raise AssayError(problems) from error
    bad = (values < 0) | (values > 1)
    fault = ("E-MODEL-002", "A p is not between 0 and 1.", "give numbers from 0 to 1; NaN = no test")
    places(np.atleast_1d(bad), np.atleast_1d(values), "p", fault, problems)
    return values


def _check_order(order: Sequence[int], size: int, method: str, problems: Problems) -> None:
    if method != "fixed-sequence" or sorted(order) != list(range(size)):
        problems.add(
            "E-MODEL-030", "The order is not that of a fixed sequence of all tests.", column="order",
            value=", ".join(map(str, order)),
            remedy=f"for a fixed sequence name each position from 0 to {size - 1} once; else leave it out",
        )  # fmt: skip


def _check_alpha(alpha: float, low: float, high: float, problems: Problems) -> None:
    if not low <= alpha <= high:
        problems.add(
            "E-MODEL-030", "alpha is out of its range.", column="alpha", value=str(alpha),
            remedy=f"give a level from {low:g} to {high:g}, such as 0.05",
        )  # fmt: skip
