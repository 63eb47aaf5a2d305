r"""Variance components of nested replicates, with confidence limits.

Rows are measurements; their levels are nested, the outermost first: participant, visit (of a participant),
lesion, biopsy, core, section, region. With fixed means X (the visits, say),

    y = X b + sum_k Z_k u_k + e,    u_k ~ N(0, s2_k I),    e ~ N(0, s2_e I).

**Estimates** are those of restricted maximum likelihood (`pdbiomarker.mixed.fit`).

**Confidence limits** are generalised confidence limits from the sequential analysis of variance. Each level
adds to the columns before it a space of d_k dimensions with sum of squares SS_k, whose expectation is linear
in the components: E SS_k = sum_j c_kj s2_j. SS_k / (E SS_k / d_k) is taken as chi-squared with d_k degrees of
freedom, which is exact in balanced nested designs. Drawing the chi-squared variables and solving for the
components gives their generalised distribution; sums and ratios (such as an intraclass correlation) are
functions of the same draws. The draws are quantiles in an order that a seed fixes.

Two levels with the same groups cannot be told apart (one lesion in every participant): the inner one is then
part of the outer one, and its row says so. A level with one group per row is the residual.

Sources: Weerahandi 1995, Exact Statistical Methods for Data Analysis, doi:10.1007/978-1-4612-0825-9; Searle,
Casella and McCulloch 1992, Variance Components, chapter 5 (sums of squares and their expectations),
doi:10.1002/9780470316856.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from pdbiomarker import mixed
from pdbiomarker.errors import Problems
from pdbiomarker.tables import nearest

__all__ = ["LEVELS", "VarianceComponents", "Variation", "variance_components"]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

#: The levels that may be named, the outermost first.
LEVELS: Final = ("participant", "visit", "lesion", "biopsy", "core", "section", "region")
RESIDUAL: Final = "residual"
_DRAWS: Final = 10_000
#: Below this share of its largest eigenvalue a direction is rounding.
_RANK: Final = 1e-9


@dataclasses.dataclass(frozen=True, slots=True)
class Variation:
    """A sum of components: its variance, confidence limits and degrees of freedom (Satterthwaite)."""

    variance: float
    low: float
    high: float
    df: float

    @property
    def sd(self) -> float:
        """Standard deviation."""
        return float(np.sqrt(self.variance))


@dataclasses.dataclass(frozen=True, eq=False)
class VarianceComponents:
    """Components of one feature.

    Attributes
    ----------
    table : DataFrame
        One row a level, the outermost first: ``component, variance, sd, variance_low, variance_high, sd_low,
        sd_high, share`` (of the sum), ``df`` (of its mean square), ``n_groups, status`` (``ok``; ``zero``:
        the estimate lies at 0; ``not_separable``: its groups are those of the level before it) and ``note``.
    level : float
        Of the confidence limits.
    n_rows : int
        Measurements used.
    method : str
        ``reml``, or ``anova``: as asked, or because REML did not converge.
    """

    table: pd.DataFrame
    level: float
    n_rows: int
    method: str
    _draws: Array = dataclasses.field(repr=False)
    _mean_squares: Array = dataclasses.field(repr=False)
    _df: Array = dataclasses.field(repr=False)
    _solve: Array = dataclasses.field(repr=False)
    _names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Components that the data tell apart, the outermost first."""
        return self._names

    def variance_of(self, component: str) -> float:
        """The estimate of one component.

        Raises
        ------
        InputError
            E-NOISE-001: no such component, or one that the data do not tell.
        """
        return float(self._estimates()[self._position(component)])

    def total(self, components: Sequence[str], *, units: Mapping[str, float] | None = None) -> Variation:
        """The sum of components, each divided by the number of its units that are averaged.

        Estimated from the mean squares, because the limits and the degrees of freedom belong to these. In
        balanced designs without a component at 0 it is the sum of the estimates in :attr:`table`.

        Parameters
        ----------
        components : sequence of str
            Of :attr:`names`.
        units : mapping of component to number, optional
            Such as ``{"region": 8}`` where a biopsy's value is the mean of eight regions. Default 1.

        Raises
        ------
        InputError
            E-NOISE-001: an unknown component.
        """
        weights = np.zeros(len(self._names))
        for name in components:
            weights[self._position(name)] = 1.0 / (units or {}).get(name, 1.0)
        variance = max(float(weights @ self._solve @ self._mean_squares), 0.0)
        low, high = _quantiles(np.maximum(self._draws, 0.0) @ weights, self.level)
        # The sum as a combination of mean squares; Satterthwaite's approximation.
        share = weights @ self._solve * self._mean_squares
        with np.errstate(divide="ignore", invalid="ignore"):
            df = float(np.square(share.sum()) / (np.square(share) / self._df).sum())
        return Variation(variance, low, high, df if np.isfinite(df) else 0.0)

    def icc(self, component: str) -> tuple[float, float, float]:
        """ICC(1,1): how alike two single values of one group are, with its confidence limits.

        The variance of `component` and of the levels outside it, over the sum of all. ICC(1,1) is the
        one-way random form: single values, replicates not matched across groups.

        Returns
        -------
        estimate, low, high : float
        """
        end = self._position(component) + 1
        estimates, draws = self._estimates(), np.maximum(self._draws, 0.0)
        whole = estimates.sum()
        value = float(estimates[:end].sum() / whole) if whole > 0 else np.nan
        sums = draws.sum(axis=1)
        low, high = _quantiles(draws[sums > 0, :end].sum(axis=1) / sums[sums > 0], self.level)
        return value, low, high

    def _estimates(self) -> Array:
        told = self.table["status"].to_numpy() != "not_separable"
        return np.asarray(self.table.loc[told, "variance"], dtype=float)

    def _position(self, component: str) -> int:
        if component in self._names:
            return self._names.index(component)
        problems = Problems()
        problems.add(
            "E-NOISE-001",
            f"The data do not tell a component {component!r}.",
            remedy=nearest(component, self._names),
            column="component",
            value=component,
        )
        problems.raise_if_any()
        return -1


def _quantiles(values: Array, level: float) -> tuple[float, float]:
    if not values.size:
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Design:
    """Nested groups of n rows; `codes` only of the levels that the data tell, the residual left out."""

    y: Array
    X: Array
    codes: tuple[Indices, ...]
    names: tuple[str, ...]
    merged: dict[str, str]
    groups: dict[str, int]


def variance_components(
    values: ArrayLike,
    levels: Mapping[str, ArrayLike],
    *,
    fixed: ArrayLike | None = None,
    method: Literal["reml", "anova"] = "reml",
    level: float = 0.95,
    seed: int = 1,
) -> VarianceComponents:
    """Estimate how much each level of replication adds to the variance.

    Parameters
    ----------
    values : (n,) array
        On the model scale; NaN = missing.
    levels : mapping of level to (n,) array of labels
        Of :data:`LEVELS`, in their order; labels are read within those of the level before.
    fixed : (n,) array of labels, optional
        One mean for each label, such as the visit. Default one mean.
    method : {"reml", "anova"}
        How components are estimated: by restricted maximum likelihood, or from the mean squares, cut at 0
        (faster). The limits are the same.
    level : float
        Of the confidence limits.
    seed : int
        Order of the draws behind the limits.

    Returns
    -------
    VarianceComponents

    Raises
    ------
    InputError
        E-NOISE-001: an unknown level, lengths that differ, a missing label, or a confidence level outside 0
        to 1; E-NOISE-002: nothing is replicated, so that no variance can be estimated.

    Examples
    --------
    >>> found = variance_components([1.0, 1.2, 2.1, 1.9], {"participant": ["a", "a", "b", "b"]})
    >>> found.names
    ('participant', 'residual')
    """
    design = _design(values, levels, fixed, level)
    squares, df, expected = _anova(design)
    if df[-1] <= 0 or design.merged.get(next(iter(levels))) == RESIDUAL:
        problems = Problems()
        problems.add(
            "E-NOISE-002",
            "No group holds two measurements, so no variance within groups can be estimated.",
            remedy="Give replicates, or borrow an estimate: noise.borrow_noise.",
            column=", ".join(levels),
        )
        problems.raise_if_any()
    kept = np.flatnonzero(df > 0)
    names = (*design.names, RESIDUAL)
    if len(kept) < len(names):
        # A level whose groups the fixed means use up: its rows tell nothing of it.
        design = _without(design, [names[k] for k in range(len(names)) if k not in kept])
        squares, df, expected = _anova(design)
        names = (*design.names, RESIDUAL)
    solve = np.linalg.inv(expected / df[:, None])
    mean_squares = squares / df
    estimates, used = np.maximum(solve @ mean_squares, 0.0), "anova"
    if method == "reml":
        estimates, used = _reml(design, estimates)
    draws = (mean_squares[None, :] * df / _chi_squares(tuple(df.tolist()), seed)) @ solve.T
    residual = _residual_name(design, levels)
    names = (*design.names, residual)
    table = _table(design, levels, names, estimates=estimates, draws=draws, df=df, level=level)
    return VarianceComponents(table, level, len(design.y), used, draws, mean_squares, df, solve, _names=names)


def _residual_name(design: _Design, levels: Mapping[str, ArrayLike]) -> str:
    """The outermost level with one row a group; else plain residual."""
    for name in levels:
        if design.merged.get(name) == RESIDUAL:
            return name
    return RESIDUAL


def _design(
    values: ArrayLike, levels: Mapping[str, ArrayLike], fixed: ArrayLike | None, level: float
) -> _Design:
    problems = Problems()
    y = np.asarray(values, dtype=float).reshape(-1)
    labels = {name: np.asarray(given, dtype=object).reshape(-1) for name, given in levels.items()}
    if fixed is not None:
        labels["fixed"] = np.asarray(fixed, dtype=object).reshape(-1)
    unknown = [name for name in levels if name not in LEVELS]
    for name in unknown:
        problems.add(
            "E-NOISE-001",
            "There is no such level.",
            remedy=nearest(name, LEVELS),
            column="levels",
            value=name,
        )
    order = [LEVELS.index(name) for name in levels if name not in unknown]
    if order != sorted(order) or not levels:
        problems.add(
            "E-NOISE-001",
            "Levels go from the outermost to the innermost.",
            remedy=f"Order them as {', '.join(LEVELS)}.",
            column="levels",
            value=", ".join(levels),
        )
    for name, given in labels.items():
        if len(given) != len(y):
            problems.add(
                "E-NOISE-001",
                f"There are {len(given)} labels for {len(y)} values.",
                remedy="Give one label for each value.",
                column=name,
            )
        elif pd.isna(given[np.isfinite(y)]).any():
            at = int(np.flatnonzero(pd.isna(given) & np.isfinite(y))[0])
            problems.add(
                "E-NOISE-001",
                f"A label is missing at position {at + 1}.",
                remedy="Name the group of every value.",
                column=name,
            )
    if not 0 < level < 1:
        problems.add("E-NOISE-001", "A confidence level lies between 0 and 1.", column="level", value=level)
    problems.raise_if_any()
    used = np.isfinite(y)
    n = int(used.sum())
    X = np.ones((n, 1))
    if fixed is not None:
        codes = pd.factorize(labels["fixed"][used].astype(str), sort=True)[0]
        X = (codes[:, None] == np.arange(codes.max(initial=0) + 1)).astype(float)
    return _nest(y[used], X, {name: labels[name][used].astype(str) for name in levels})


def _nest(y: Array, X: Array, labels: Mapping[str, NDArray[np.str_]]) -> _Design:
    """Number the groups within those outside them, and merge levels that cannot be told apart."""
    merged: dict[str, str] = {}
    groups: dict[str, int] = {}
    codes: list[Indices] = []
    names: list[str] = []
    outer = np.zeros(len(y), dtype=np.intp)
    outer_name = ""
    for name, given in labels.items():
        inner = pd.factorize(given, sort=True)[0]
        pair = np.stack([outer, inner], axis=1)
        found = np.unique(pair, axis=0, return_inverse=True)[1].reshape(-1).astype(np.intp)
        groups[name] = int(found.max(initial=-1)) + 1
        if groups[name] == len(y):
            merged[name] = RESIDUAL
        elif outer_name and groups[name] == int(outer.max(initial=-1)) + 1:
            merged[name] = outer_name
        else:
            codes.append(found)
            names.append(name)
            outer_name = name
        outer = found
    return _Design(y, X, tuple(codes), tuple(names), merged, groups)


def _without(design: _Design, lost: Sequence[str]) -> _Design:
    kept = [k for k, name in enumerate(design.names) if name not in lost]
    merged = {**design.merged, **dict.fromkeys(lost, "fixed means")}
    return dataclasses.replace(
        design,
        codes=tuple(design.codes[k] for k in kept),
        names=tuple(design.names[k] for k in kept),
        merged=merged,
    )


def _anova(design: _Design) -> tuple[Array, Array, Array]:
    """Sums of squares, degrees of freedom, and coefficients of E SS (levels and residual, upper triangle)."""
    y, n = design.y, len(design.y)
    indicators = [(c[:, None] == np.arange(c.max() + 1)).astype(float) for c in design.codes]
    basis = _orthonormal(design.X, np.zeros((n, 0)))
    parts: list[Array] = []
    for Z in indicators:
        added = _orthonormal(Z, basis)
        parts.append(added)
        basis = np.hstack([basis, added])
    left = y - basis @ (basis.T @ y)
    count = len(parts)
    df = np.array([*(p.shape[1] for p in parts), n - basis.shape[1]], dtype=float)
    squares = np.array([*(float(np.square(p.T @ y).sum()) for p in parts), float(left @ left)])
    expected = np.zeros((count + 1, count + 1))
    for k, part in enumerate(parts):
        for j in range(k, count):
            expected[k, j] = np.square(indicators[j].T @ part).sum()
        expected[k, count] = df[k]
    expected[count, count] = df[count]
    return squares, df, expected


def _orthonormal(Z: Array, basis: Array) -> Array:
    """What the columns of Z add to an orthonormal basis."""
    rest = Z - basis @ (basis.T @ Z)
    values, vectors = np.linalg.eigh(rest.T @ rest)
    kept = values > _RANK * max(1.0, float(values.max(initial=0.0)))
    return np.asarray(rest @ vectors[:, kept] / np.sqrt(values[kept]))


def _reml(design: _Design, fallback: Array) -> tuple[Array, str]:
    if not design.codes:
        return fallback, "reml"  # one mean square: both are SS / df
    terms = dict(zip(design.names, design.codes, strict=True))
    fitted = mixed.fit(design.y[None, :], design.X, terms)
    found = np.append(fitted.variance[0], fitted.sigma2[0])
    if str(fitted.status[0]) in {"ok", "singular", "not_estimable"} and np.isfinite(found).all():
        return found, "reml"
    return fallback, "anova"


@functools.lru_cache(maxsize=32)
def _chi_squares(df: tuple[float, ...], seed: int) -> Array:
    """Quantiles of chi-squared variables, (draws, levels), each column in an order of its own."""
    random = np.random.default_rng(seed)
    grid = (np.arange(_DRAWS) + 0.5) / _DRAWS
    out = np.column_stack([random.permutation(stats.chi2.ppf(grid, d)) for d in df])
    out.flags.writeable = False
    return out


def _table(
    design: _Design,
    levels: Mapping[str, ArrayLike],
    names: Sequence[str],
    *,
    estimates: Array,
    draws: Array,
    df: Array,
    level: float,
) -> pd.DataFrame:
    low, high = (np.quantile(np.maximum(draws, 0.0), q, axis=0) for q in ((1 - level) / 2, (1 + level) / 2))
    whole = float(estimates.sum())
    rows = []
    for name in dict.fromkeys([*levels, *names]):
        row: dict[str, object] = {"component": name, "n_groups": design.groups.get(name, len(design.y))}
        if name in names:
            k = list(names).index(name)
            row |= {
                "variance": estimates[k],
                "variance_low": low[k],
                "variance_high": high[k],
                "share": estimates[k] / whole if whole > 0 else np.nan,
                "df": df[k],
                "status": "zero" if estimates[k] <= 0 else "ok",
                "note": _includes(name, names, design),
            }
        else:
            row |= {"status": "not_separable", "note": _merged_note(name, names, design)}
        rows.append(row)
    table = pd.DataFrame(rows)
    for root, squared in (("sd", "variance"), ("sd_low", "variance_low"), ("sd_high", "variance_high")):
        table[root] = np.sqrt(table[squared].astype(float))
    columns = ["component", "variance", "sd", "variance_low", "variance_high", "sd_low", "sd_high", "share"]
    return table[[*columns, "df", "n_groups", "status", "note"]]


def _includes(name: str, names: Sequence[str], design: _Design) -> str:
    own = RESIDUAL if name == names[-1] else name
    inside = [inner for inner, outer in design.merged.items() if outer == own and inner != name]
    return f"includes what {', '.join(inside)} would add" if inside else ""


def _merged_note(name: str, names: Sequence[str], design: _Design) -> str:
    outer = design.merged.get(name, "")
    if outer == "fixed means":
        return "the fixed means use up its groups"
    if outer == RESIDUAL:
        return f"one row in every group: part of {names[-1]}"
    return f"one {name} in every {outer}: part of {outer}"
