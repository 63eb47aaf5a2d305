r"""How strongly two columns of numbers go together: correlations, order across groups, areas; arrays only.

* **Spearman** r_s with limits tanh(atanh r ± z sqrt((1 + r^2/2)/(n - 3))) and a permutation p.
* **Jonckheere-Terpstra**: J counts, over all pairs of participants of different groups, how often the one of
  the better group has the larger value (ties 1/2); shown as the share of those pairs, with a permutation p.
* **AUC** with DeLong's variance, limits on the logit scale.
* **Repeated-measures correlation**: the correlation of what is left of both values after each participant's
  own level, and, centred by visit, after each visit's level. r = sign(b) sqrt(SS_b / (SS_b + SS_E)) of the
  analysis of covariance, df = N - rank - 1.

Permutations are all of them where they are few, else a seeded sample with (k + 1)/(B + 1).

Sources: Bonett and Wright 2000, doi:10.1007/BF02294183; Jonckheere 1954, doi:10.1093/biomet/41.1-2.133;
DeLong et al. 1988, doi:10.2307/2531595; Bland and Altman 1995, doi:10.1136/bmj.310.6977.446; Bakdash and
Marusich 2017, doi:10.3389/fpsyg.2017.00456.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = [
    "Association",
    "area_under_curve",
    "in_order",
    "order_across_groups",
    "repeated_measures_correlation",
    "slope",
    "spearman",
]

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

_DRAWS: Final = 20_000
#: All permutations of so few values are taken.
_ALL_VALUES: Final = 8
#: All arrangements of groups are taken, where they are so few.
_ALL_ARRANGEMENTS: Final = 50_000
_CHUNK: Final = 2_000
_SAME: Final = 1e-9


@dataclasses.dataclass(frozen=True, slots=True)
class Association:
    """One number with its limits and test; NaN where it cannot be told, and `note` says why.

    Attributes
    ----------
    value, low, high : float
        Limits are at 95 %.
    p : float
        Two-sided.
    p_method : str
        How p was found.
    n : int
        Participants, or values for :func:`repeated_measures_correlation`.
    note : str
    """

    value: float
    low: float
    high: float
    p: float
    p_method: str
    n: int
    note: str = ""


def _none(n: int, why: str) -> Association:
    return Association(np.nan, np.nan, np.nan, np.nan, "", n, why)


def in_order(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Give pairs by value: draws from a seed must not hang on the order of the participants."""
    order = np.lexsort((b, a))
    return a[order], b[order]


def spearman(x: ArrayLike, y: ArrayLike, *, seed: int = 1) -> Association:
    """Correlate ranks.

    Parameters
    ----------
    x, y : (n,) arrays
        Finite.
    seed : int
        Of sampled permutations.

    Returns
    -------
    Association
        Without a value below 4 participants or where one column is constant.
    """
    a, b = in_order(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    n = len(a)
    if n < 4:
        return _none(n, f"{n} participants are too few for a correlation")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return _none(n, "one of the two does not vary")
    ranks = [(r - r.mean()) / r.std() for r in (stats.rankdata(a), stats.rankdata(b))]
    r = float(np.clip(ranks[0] @ ranks[1] / n, -1.0, 1.0))
    p, method = _permuted_p(ranks[0], ranks[1], seed)
    if abs(r) > 1 - _SAME:
        r = float(np.sign(r))
        return Association(r, np.nan, np.nan, p, method, n, "perfect order: the interval has no width")
    half = stats.norm.ppf(0.975) * math.sqrt((1 + r * r / 2) / (n - 3))
    z = math.atanh(r)
    return Association(r, math.tanh(z - half), math.tanh(z + half), p, method, n)


def _permuted_p(a: Floats, b: Floats, seed: int) -> tuple[float, str]:
    """Two-sided p of the product sum of two centred columns."""
    observed = abs(float(a @ b))
    edge = observed - _SAME * len(a)
    if len(a) <= _ALL_VALUES:
        index = np.array(list(itertools.permutations(range(len(a)))))
        return float((np.abs(b[index] @ a) >= edge).mean()), "all permutations"
    rng = np.random.default_rng(seed)
    k = sum(
        int((np.abs(rng.permuted(np.tile(b, (_CHUNK, 1)), axis=1) @ a) >= edge).sum())
        for _ in range(_DRAWS // _CHUNK)
    )
    return (k + 1) / (_DRAWS + 1), f"{_DRAWS:,} permutations"


def order_across_groups(groups: ArrayLike, y: ArrayLike, *, seed: int = 1) -> Association:
    """Ask whether values rise with the order of groups (Jonckheere-Terpstra).

    Parameters
    ----------
    groups : (n,) array of int
        Larger is better.
    y : (n,) array
    seed : int
        Of sampled permutations.

    Returns
    -------
    Association
        `value`: share of pairs from different groups in which the better one has the larger value; .5 is no
        order. Without limits.
    """
    of_group = np.unique(np.asarray(groups), return_inverse=True)[1]
    place, value = in_order(of_group.astype(float), np.asarray(y, dtype=float))
    codes = place.astype(np.int64)
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        return _none(len(value), "all participants are in one group")
    above = (value[None, :] > value[:, None]) + 0.5 * (value[None, :] == value[:, None])
    pairs = (len(codes) ** 2 - int((sizes**2).sum())) / 2
    observed = float(_ordered(codes[None, :], above)[0])
    edge = abs(observed - pairs / 2) - _SAME * pairs
    arrangements = math.factorial(len(codes))
    for size in sizes.tolist():
        arrangements //= math.factorial(size)
    if arrangements <= _ALL_ARRANGEMENTS:
        everyone = np.array(list(_arrangements(sizes.tolist())), dtype=np.int64)
        far = np.abs(_ordered(everyone, above) - pairs / 2) >= edge
        p, method = float(far.mean()), f"all {arrangements:,} arrangements"
    else:
        rng = np.random.default_rng(seed)
        k = 0
        for _ in range(_DRAWS // _CHUNK):
            drawn = rng.permuted(np.tile(codes, (_CHUNK, 1)), axis=1)
            k += int((np.abs(_ordered(drawn, above) - pairs / 2) >= edge).sum())
        p, method = (k + 1) / (_DRAWS + 1), f"{_DRAWS:,} permutations"
    return Association(observed / pairs, np.nan, np.nan, p, method, len(value))


def _ordered(codes: Codes, above: Floats) -> Floats:
    """J of each row of group codes (B, n), from the (n, n) table of which value is above which."""
    if codes.max() == 1:  # two groups: of all that lie below those above, less these among themselves
        own = (codes == 1).astype(float)
        return np.asarray(own @ above.sum(axis=0) - own.sum(axis=1) ** 2 / 2)
    total = np.zeros(len(codes))
    for group in range(1, int(codes.max()) + 1):
        lower, own = (codes < group).astype(float), (codes == group).astype(float)
        total += ((lower @ above) * own).sum(axis=1)
    return total


def _arrangements(sizes: Sequence[int]) -> Iterator[Codes]:
    """Every way to give group codes to n places."""
    n = sum(sizes)

    def place(group: int, free: tuple[int, ...], codes: Codes) -> Iterator[Codes]:
        if group == len(sizes):
            yield codes.copy()
            return
        for chosen in itertools.combinations(free, sizes[group]):
            codes[list(chosen)] = group
            yield from place(group + 1, tuple(f for f in free if f not in chosen), codes)

    yield from place(0, tuple(range(n)), np.zeros(n, dtype=np.int64))


def area_under_curve(positive: ArrayLike, y: ArrayLike, *, seed: int = 1) -> Association:
    """Give the chance that a positive has the larger value (area under the ROC curve).

    Parameters
    ----------
    positive : (n,) array of bool
    y : (n,) array
    seed : int
        Of the permutation p, which is Mann and Whitney's.

    Returns
    -------
    Association
        Limits by DeLong's variance on the logit scale; none where the two are separated completely.
    """
    flag, value = np.asarray(positive, dtype=bool), np.asarray(y, dtype=float)
    cases, others = value[flag], value[~flag]
    n = len(value)
    if min(len(cases), len(others)) < 2:
        return _none(n, f"{len(cases)} responders and {len(others)} others: at least two of each are needed")
    wins = (cases[:, None] > others[None, :]) + 0.5 * (cases[:, None] == others[None, :])
    area = float(wins.mean())
    test = order_across_groups(flag.astype(np.int64), value, seed=seed)
    variance = wins.mean(axis=1).var(ddof=1) / len(cases) + wins.mean(axis=0).var(ddof=1) / len(others)
    if variance <= 0 or not 0 < area < 1:
        why = "the groups are separated completely: DeLong's interval has no width"
        return Association(area, np.nan, np.nan, test.p, test.p_method, n, why)
    half = stats.norm.ppf(0.975) * math.sqrt(variance) / (area * (1 - area))
    middle = math.log(area / (1 - area))
    low, high = (1 / (1 + math.exp(-(middle + side * half))) for side in (-1, 1))
    return Association(area, low, high, test.p, test.p_method, n)


def repeated_measures_correlation(
    a: ArrayLike, b: ArrayLike, participants: Sequence[str], *, visits: Sequence[str] | None = None
) -> Association:
    """Correlate two values within participants.

    Parameters
    ----------
    a, b : (N,) arrays
        Finite.
    participants : (N,) sequence of str
    visits : (N,) sequence of str, optional
        Centre by visit. Without it, two unrelated values that both change on treatment correlate.

    Returns
    -------
    Association
        `n`: values of participants with two or more.
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    _, person = np.unique(np.asarray(participants, dtype=object).astype(str), return_inverse=True)
    several = np.bincount(person)[person] > 1
    x, y, person = x[several], y[several], person[several]
    columns = [(person[:, None] == np.unique(person)).astype(float)]
    if visits is not None:
        _, when = np.unique(np.asarray(visits, dtype=object).astype(str)[several], return_inverse=True)
        columns.append((when[:, None] == np.unique(when)[1:]).astype(float))
    if len(x) < 4:
        return _none(len(x), "fewer than two participants with two visits")
    design = np.hstack(columns)
    rank = int(np.linalg.matrix_rank(design))
    df = len(x) - rank - 1
    left = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y)]
    spread = [float(v @ v) for v in left]
    scale = [float(np.square(v - v.mean()).sum()) for v in (x, y)]
    if df < 2 or min(s / max(t, 1e-300) for s, t in zip(spread, scale, strict=True)) < 1e-20:
        return _none(len(x), "too few participants with several visits, or no variation within them")
    r = float(np.clip(left[0] @ left[1] / math.sqrt(spread[0] * spread[1]), -1.0, 1.0))
    if abs(r) > 1 - _SAME:
        return Association(r, np.nan, np.nan, 0.0, "t", len(x), "perfect: the interval has no width")
    p = float(2 * stats.t.sf(abs(r) * math.sqrt(df / (1 - r * r)), df))
    half = stats.norm.ppf(0.975) / math.sqrt(df - 1)
    z = math.atanh(r)
    return Association(r, math.tanh(z - half), math.tanh(z + half), p, f"t, {df} df", len(x))


def slope(x: ArrayLike, y: ArrayLike) -> Association:
    """Fit a straight line by least squares and give its slope, with t limits (n - 2 df).

    Parameters
    ----------
    x, y : (n,) arrays
        Finite.

    Returns
    -------
    Association
        Without a value below 4 participants or where `x` is constant.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    n = len(a)
    if n < 4:
        return _none(n, f"{n} participants are too few for a line")
    if np.ptp(a) == 0:
        return _none(n, "all have the same value to relate to")
    found = stats.linregress(a, b)
    half = float(stats.t.ppf(0.975, n - 2) * found.stderr)
    value = float(found.slope)
    return Association(value, value - half, value + half, float(found.pvalue), f"t, {n - 2} df", n)
