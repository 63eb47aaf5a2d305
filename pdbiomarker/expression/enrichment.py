r"""Does a gene set change? Competitive (camera) and self-contained (fry) tests, on plain arrays.

*Competitive*: does the set change more than the other genes? With G statistics :math:`z` of variance
:math:`s^2` and mean :math:`\bar z`, a set of k genes with mean :math:`\bar z_k` differs from the rest by
:math:`\delta = \frac{G}{G - k} (\bar z_k - \bar z)`, and

.. math::

    t = \delta \Big/ \sqrt{\hat s^2 \left(\frac{1 + (k - 1) \rho}{k} + \frac{1}{G - k}\right)}, \qquad
    \hat s^2 = \frac{(G - 1) s^2 - \delta^2 k (G - k) / G}{G - 2},

where :math:`\rho` is the mean correlation between genes of the set: given (.01 by default), or estimated from
residuals. It needs nothing but one statistic for each gene, so it takes the t of any model:
:func:`competitive_from_table` reads them from a result table.

*Self-contained*: does any of the set change? The responses of each gene are rotated, by the design, into
one effect (the contrast) and d residual effects, all of variance 1 after division by the gene's standard
deviation (estimated without its largest effect, then moderated). Under no change every direction of the (1
+ d)-space is alike. Up or down: the set's mean effect over the root mean square of its mean residual
effects is t with d degrees of freedom. Mixed: the sum of squares of the effects, as a share of its range
over all rotations, is beta with the moments of a quadratic form on the sphere; with fewer genes than biopsies
this is conservative (with 10 genes and 8 pairs p < .05 comes up in .3 % of sets without change).

Both equal limma's ``camera``, ``cameraPR`` and ``fry`` (3.54) on golden numbers to 1e-9. Genes of a set that
have no statistic are left out and counted.

Sources: Wu and Smyth 2012, doi 10.1093/nar/gks461 (camera); Wu et al. 2010, doi 10.1093/bioinformatics/btq401
(rotation tests); Smyth 2004, doi 10.2202/1544-6115.1027 (moderation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.mixed.adjust import adjust
from pdbiomarker.mixed.moderate import squeeze_variances

__all__ = [
    "GENE_SET_COLUMNS",
    "Rotated",
    "competitive",
    "competitive_from_table",
    "rotate",
    "self_contained",
    "z_of_t",
]

#: Columns of the tables of this module.
GENE_SET_COLUMNS: Final = ("set", "n_genes", "n_missing", "direction", "correlation", "t", "df", "p", "q")
#: Correlation between genes that a competitive test assumes unless it is given or estimated.
CORRELATION: Final = 0.01
_LEAST_VARIANCE: Final = 1e-8
#: Share of the degrees of freedom that a variance without its largest effect keeps, as limma has it.
_ROBUST_DF: Final = 0.92
_NODES: Final = 128

Standardise = Literal["posterior", "residual", "none"]


def z_of_t(t: npt.ArrayLike, df: npt.ArrayLike) -> FloatArray:
    """Normal deviates with the tail areas of t statistics; NaN stays NaN."""
    t_, df_ = np.broadcast_arrays(np.asarray(t, dtype=np.float64), np.asarray(df, dtype=np.float64))
    size = np.abs(t_)
    infinite = np.isinf(df_)
    with np.errstate(divide="ignore"):
        tail = np.where(infinite, stats.norm.logsf(size), stats.t.logsf(size, np.where(infinite, 1.0, df_)))
    return np.asarray(np.sign(t_) * -special.ndtri_exp(tail))


def competitive(
    statistic: npt.ArrayLike,
    genes: Sequence[str],
    sets: Mapping[str, Sequence[str]],
    *,
    correlation: float | Mapping[str, float] = CORRELATION,
    ranks: bool = False,
    df: float = np.inf,
) -> pd.DataFrame:
    """Test sets against the other genes, as limma's ``cameraPR``.

    Parameters
    ----------
    statistic : array, genes
        One signed statistic for each gene, best z (:func:`z_of_t`); NaN where a gene was not tested.
    genes : sequence of str
        Names, unique.
    sets : mapping of name to genes
    correlation : float or mapping of set to float
        Mean correlation between the genes of a set, at least ``-1/(k - 1)``.
    ranks : bool
        Compare ranks (Wilcoxon's test with the correlation) instead of means.
    df : float
        Degrees of freedom of the statistics; the test has at most G - 2.

    Returns
    -------
    DataFrame
        One row for each set in their order; columns :data:`GENE_SET_COLUMNS`. A set without a tested gene,
        or with all of them, has missing p. `q`: Benjamini-Hochberg over the sets tested.

    Raises
    ------
    AssayError
        E-ASSAY-001: lengths differ, genes repeat, or a correlation is impossible.

    Examples
    --------
    >>> z = [0.1, -0.4, 2.5, 1.9, 0.3, -0.2]
    >>> found = competitive(z, list("abcdef"), {"up": ["c", "d"]}, correlation=0.0)
    >>> found["direction"].tolist(), round(float(found["p"].iloc[0]), 4)
    (['up'], 0.0016)
    """
    values = np.asarray(statistic, dtype=np.float64)
    place = _places(genes, values.size)
    known = np.isfinite(values)
    rows = []
    total = int(known.sum())
    mean, variance = (
        (float(values[known].mean()), float(values[known].var(ddof=1))) if total > 2 else (0.0, 0.0)
    )
    ranked = stats.rankdata(values[known])
    rank_of = np.full(values.size, np.nan)
    rank_of[known] = ranked
    for name, members in sets.items():
        index, missing = _members(members, place, known)
        k = index.size
        rho = correlation if isinstance(correlation, int | float) else correlation[name]
        if total < 3 or not 0 < k < total:
            rows.append(_row(name, k, missing))
            continue
        _check_correlation(name, float(rho), k)
        if ranks:
            t, freedom = _rank_test(rank_of[index], ranked, float(rho), df)
        else:
            shift = total / (total - k) * (float(values[index].mean()) - mean)
            pooled = ((total - 1) * variance - shift**2 * k * (total - k) / total) / (total - 2)
            inflated = (1 + (k - 1) * float(rho)) / k + 1 / (total - k)
            t, freedom = shift / np.sqrt(pooled * inflated), min(df, total - 2.0)
        rows.append(_row(name, k, missing, t=float(t), df=freedom, correlation=float(rho)))
    return _finished(rows)


def _rank_test(own: FloatArray, every: FloatArray, rho: float, df: float) -> tuple[float, float]:
    """Wilcoxon's rank sum with correlated ranks (Barry et al.), as a t with the more extreme half taken."""
    n1, n = own.size, every.size
    n2 = n - n1
    u = n1 * n2 + n1 * (n1 + 1) / 2 - float(own.sum())
    centre = n1 * n2 / 2
    if rho == 0 or n1 == 1:
        variance = n1 * n2 * (n + 1) / 12
    else:
        variance = (
            np.arcsin(1.0) * n1 * n2
            + np.arcsin(0.5) * n1 * n2 * (n2 - 1)
            + np.arcsin(rho / 2) * n1 * (n1 - 1) * n2 * (n2 - 1)
            + np.arcsin((rho + 1) / 2) * n1 * (n1 - 1) * n2
        ) / (2 * np.pi)
    counts = np.unique(every, return_counts=True)[1].astype(np.float64)
    variance *= 1 - float(np.sum(counts * (counts + 1) * (counts - 1))) / (n * (n + 1) * (n - 1))
    low, high = (u + 0.5 - centre) / np.sqrt(variance), (u - 0.5 - centre) / np.sqrt(variance)
    down, up = stats.t.sf(high, df), stats.t.cdf(low, df)
    # u falls when the set's ranks are high; the more extreme side decides.
    return (-float(high) if down < up else -float(low)), df


def competitive_from_table(
    table: pd.DataFrame, sets: Mapping[str, Sequence[str]], *, correlation: float = CORRELATION
) -> pd.DataFrame:
    """Test sets on the statistics of the mixed model, contrast by contrast.

    Parameters
    ----------
    table : DataFrame
        ``PDResult.table``, or rows of it: assay, contrast, set, label, t, df.
    sets : mapping of name to genes
        Symbols; a gene is found by its label. Of several features with one symbol the mean z is taken: to
        pick the most extreme would let the data choose.
    correlation : float
        Mean correlation between genes.

    Returns
    -------
    DataFrame
        assay, contrast, analysis_set, then :data:`GENE_SET_COLUMNS`; only features of kind ``count``.
    """
    parts = []
    counts = table[table["kind"] == "count"]
    for (assay, contrast, which), rows in counts.groupby(["assay", "contrast", "set"], sort=False):
        z = pd.Series(z_of_t(rows["t"].to_numpy(float), rows["df"].to_numpy(float)))
        symbols = rows["label"].astype(str).str.replace(r" \(.*\)$", "", regex=True)
        by_gene = z.groupby(symbols.to_numpy(), sort=False).mean()
        tested = competitive(
            by_gene.to_numpy(), [str(g) for g in by_gene.index], sets, correlation=correlation
        )
        tested.insert(0, "analysis_set", str(which))
        tested.insert(0, "contrast", str(contrast))
        tested.insert(0, "assay", str(assay))
        parts.append(tested)
    columns = ["assay", "contrast", "analysis_set", *GENE_SET_COLUMNS]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


# --- rotation ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rotated:
    """Effects of G genes on a contrast, rotated out of the design.

    Attributes
    ----------
    effect : array, genes
        Of the contrast, variance sigma2; positive where the contrast is.
    residual : array, genes x d
        Residual effects, each of variance sigma2.
    mean : array, genes
        Mean response.
    """

    effect: FloatArray
    residual: FloatArray
    mean: FloatArray

    @property
    def sigma2(self) -> FloatArray:
        """Residual variance of each gene."""
        return np.asarray((self.residual**2).mean(axis=1))

    def z(self) -> FloatArray:
        """Moderated t of the contrast as normal deviates."""
        d = self.residual.shape[1]
        moderation = squeeze_variances(self.sigma2, d)
        total = np.minimum(d + moderation.df_prior, d * self.effect.size)
        return z_of_t(self.effect / np.sqrt(moderation.s2_post), total)

    def correlation(self, members: npt.NDArray[np.intp]) -> float:
        """Mean correlation of a set's residuals; 0 where it would be below."""
        k = members.size
        if k < 2:
            return 0.0
        unit = self.residual[members] / np.sqrt(np.maximum(self.sigma2[members], _LEAST_VARIANCE))[:, None]
        inflation = k * float((unit.mean(axis=0) ** 2).mean())
        return (inflation - 1) / (k - 1)


def rotate(
    Y: FloatArray,
    X: FloatArray,
    contrast: npt.ArrayLike,
    *,
    weights: FloatArray | None = None,
    groups: npt.ArrayLike | None = None,
    rho: float = 0.0,
) -> Rotated:
    """Rotate responses into the effect of a contrast and residual effects.

    Parameters
    ----------
    Y : array, genes x biopsies
        Complete.
    X : array, biopsies x p
        Design of full rank.
    contrast : array, p
        Weights of the coefficients.
    weights : array, genes x biopsies, optional
        Precision weights (voom), positive.
    groups : array, biopsies, optional
        Participant of each biopsy.
    rho : float
        Correlation within participants, such as :func:`pdbiomarker.mixed.dupcor.duplicate_correlation` gives.

    Raises
    ------
    AssayError
        E-MODEL-001 shapes; E-MODEL-002 missing values; E-MODEL-007 no residual degrees of freedom, or a
        design or contrast that cannot be estimated.
    """
    vector = np.asarray(contrast, dtype=np.float64)
    _check_rotation(Y, X, vector, weights)
    design = _contrast_last(X, vector)
    whiten = np.eye(len(X))
    if groups is not None and rho != 0.0:
        codes = pd.factorize(np.asarray(groups))[0]
        same = (codes[:, None] == codes[None, :]).astype(np.float64)
        whiten = np.linalg.inv(np.linalg.cholesky(rho * same + (1 - rho) * np.eye(len(X))))
    if weights is None:
        effects = _effects(Y @ whiten.T, whiten @ design)
    else:
        roots = np.sqrt(weights)
        effects = np.vstack(
            [
                _effects((y * r) @ whiten.T, whiten @ (design * r[:, None]))
                for y, r in zip(Y, roots, strict=True)
            ]
        )
    return Rotated(effects[:, 0], effects[:, 1:], Y.mean(axis=1))


def _contrast_last(X: FloatArray, contrast: FloatArray) -> FloatArray:
    """The same model with the contrast as its last coefficient."""
    used = np.flatnonzero(contrast)
    if used.size == 1:
        rest = np.delete(X, used[0], axis=1)
        return np.column_stack([rest, X[:, used[0]] / contrast[used[0]]])
    # b = Q a with Q orthogonal and its first column along the contrast: a_1 is the contrast over its length.
    q, r = np.linalg.qr(contrast[:, None], mode="complete")
    turned = X @ q
    return np.column_stack([turned[:, 1:], turned[:, 0] / r[0, 0]])


def _effects(y: FloatArray, design: FloatArray) -> FloatArray:
    """Effect of the last coefficient (with its sign) and residual effects; genes x (1 + d)."""
    p = design.shape[1]
    q, r = np.linalg.qr(design, mode="complete")
    rotated = np.atleast_2d(y) @ q[:, p - 1 :]
    if r[p - 1, p - 1] < 0:
        rotated[:, 0] *= -1
    return np.asarray(rotated)


class _Spread(NamedTuple):
    mean: float
    variance: float


def self_contained(
    rotated: Rotated,
    genes: Sequence[str],
    sets: Mapping[str, Sequence[str]],
    *,
    standardise: Standardise = "posterior",
) -> pd.DataFrame:
    """Test whether the genes of each set change at all, as limma's ``fry``.

    Parameters
    ----------
    rotated : Rotated
        From :func:`rotate`.
    genes : sequence of str
    sets : mapping of name to genes
    standardise : {"posterior", "residual", "none"}
        What effects are divided by: moderated standard deviations, the genes' own, or nothing.

    Returns
    -------
    DataFrame
        Columns :data:`GENE_SET_COLUMNS`, then ``p_mixed, q_mixed`` (genes may change in either direction).
    """
    effects = np.column_stack([rotated.effect, rotated.residual])
    d = rotated.residual.shape[1]
    if standardise != "none":
        effects = effects / np.sqrt(_robust_variances(effects, standardise))[:, None]
    place = _places(genes, len(effects))
    known = np.isfinite(effects).all(axis=1)
    rows, mixed_p = [], []
    for name, members in sets.items():
        index, missing = _members(members, place, known)
        if index.size == 0:
            rows.append(_row(name, 0, missing))
            mixed_p.append(np.nan)
            continue
        own = effects[index]
        mean = own.mean(axis=0)
        t = float(mean[0] / np.sqrt((mean[1:] ** 2).mean()))
        rows.append(_row(name, index.size, missing, t=t, df=float(d)))
        mixed_p.append(float(2 * stats.t.sf(abs(t), d)) if index.size == 1 else _mixed_p(own))
    table = _finished(rows)
    table["p_mixed"] = np.array(mixed_p, dtype=np.float64)
    table["q_mixed"] = adjust(table["p_mixed"].to_numpy(dtype=np.float64), "bh").p
    return table


def _robust_variances(effects: FloatArray, standardise: Standardise) -> FloatArray:
    """Variance of each gene's effects without the largest, so that a change does not count as noise."""
    d = effects.shape[1] - 1
    squares = effects**2
    own = (squares.sum(axis=1) - squares.max(axis=1)) / (d + 1 - _largest_of(d + 1))
    if standardise == "residual":
        return np.asarray(own)
    moderation = squeeze_variances(squares[:, 1:].mean(axis=1), d)
    prior, prior_df = moderation.s2_prior, moderation.df_prior
    finite = np.where(np.isinf(prior_df), 1.0, prior_df)
    mixed = (_ROBUST_DF * d * own + finite * prior) / (_ROBUST_DF * d + finite)
    return np.where(np.isinf(prior_df), prior, mixed)


def _largest_of(n: int) -> float:
    """Expected largest of n squared normal deviates, by the quadrature that limma uses."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    u = (nodes + 1) / 2
    return float(np.sum(n * u ** (n - 1) * stats.chi2.ppf(u, 1) * weights / 2))


def _mixed_p(effects: FloatArray) -> float:
    """Chance, over all rotations, of a sum of squares of the effects at least this large."""
    roots = np.linalg.svd(effects, compute_uv=False)
    a = roots**2
    m = a.size
    if m < 2:
        return float("nan")
    low, width = a[-1], a[0] - a[-1]
    # Squared coordinates of a random direction: mean 1/m, variance v, covariance -v/(m - 1).
    v = 2 * (m - 1) / (m**2 * (m + 2))
    spread = _Spread(
        mean=(float(a.mean()) - low) / width,
        variance=float(v * (np.sum(a**2) - (a.sum() ** 2 - np.sum(a**2)) / (m - 1))) / width**2,
    )
    observed = (float(np.sum(effects[:, 0] ** 2)) - low) / width
    size = spread.mean * (1 - spread.mean) / spread.variance - 1
    alpha = size * spread.mean
    return float(stats.beta.sf(observed, alpha, size - alpha))


# --- what both share -----------------------------------------------------------------------------------


def _places(genes: Sequence[str], n: int) -> dict[str, int]:
    place = {gene: k for k, gene in enumerate(genes)}
    problems = Problems()
    if len(genes) != n:
        problems.add("E-ASSAY-001", f"{len(genes)} genes are named for {n} statistics.", remedy="Name each.")
    if len(place) != len(genes):
        problems.add("E-ASSAY-001", "A gene is named twice.", remedy="Give each gene one row.")
    problems.raise_if_any(AssayError)
    return place


def _members(
    members: Sequence[str], place: Mapping[str, int], known: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], int]:
    """Rows of a set's genes, each once, and how many of them have none."""
    own = dict.fromkeys(members)
    index = np.array([place[g] for g in own if g in place and known[place[g]]], dtype=np.intp)
    return index, len(own) - index.size


def _row(
    name: str,
    k: int,
    missing: int,
    *,
    t: float = np.nan,
    df: float = np.nan,
    correlation: float = np.nan,
) -> dict[str, object]:
    tail = stats.norm.sf(abs(t)) if np.isinf(df) else stats.t.sf(abs(t), df)
    return {
        "set": name,
        "n_genes": k,
        "n_missing": missing,
        "direction": "" if np.isnan(t) else ("up" if t > 0 else "down"),
        "correlation": correlation,
        "t": t,
        "df": df,
        "p": float(2 * tail),
    }


def _finished(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows), columns=list(GENE_SET_COLUMNS))
    table["q"] = adjust(table["p"].to_numpy(dtype=np.float64), "bh").p
    return table


def _check_correlation(name: str, rho: float, k: int) -> None:
    if not np.isfinite(rho) or 1 + (k - 1) * rho <= 0 or rho > 1:
        problems = Problems()
        problems.add(
            "E-ASSAY-001",
            f"{k} genes cannot have a mean correlation of {rho:g}.",
            remedy="Give a number between 0 and 1, such as 0.01.",
            column=name,
            value=rho,
        )
        raise AssayError(problems)


def _check_rotation(Y: FloatArray, X: FloatArray, contrast: FloatArray, weights: FloatArray | None) -> None:
    problems = Problems()
    n, p = X.shape
    if Y.ndim != 2 or Y.shape[1] != n or contrast.shape != (p,):
        problems.add(
            "E-MODEL-001",
            f"Y has shape {Y.shape}, X {X.shape}, the contrast {contrast.shape}.",
            remedy="Give genes x biopsies, biopsies x coefficients, and one weight for each coefficient.",
        )
    elif weights is not None and weights.shape != Y.shape:
        problems.add("E-MODEL-001", f"Weights have shape {weights.shape}, Y {Y.shape}.", remedy="One each.")
    elif not np.isfinite(Y).all() or (weights is not None and not (weights > 0).all()):
        problems.add(
            "E-MODEL-002",
            "A response is missing, or a weight is not positive.",
            remedy="Leave out genes with missing values; rotation needs complete rows.",
        )
    elif not contrast.any() or n - p < 1 or np.linalg.matrix_rank(X) < p:
        problems.add(
            "E-MODEL-007",
            f"The contrast is not testable: {n} biopsies, {p} coefficients, rank {np.linalg.matrix_rank(X)}.",
            remedy="Use a design of full rank with residual degrees of freedom.",
        )
    problems.raise_if_any(AssayError)
