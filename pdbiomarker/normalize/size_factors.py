r"""Library sizes by other rules than TMM, all as factors that multiply the total of a library.

========= ===================================================================================================
tmm       trimmed mean of M values (:func:`pdbiomarker.expression.library_size.tmm_factors`)
tmmwsp    the same with singleton pairing: genes that only one of two libraries holds are not dropped but
          paired by rank, the largest count of the one with the largest of the other; for sparse counts
rle       median over genes of the ratio to the geometric mean library (Anders and Huber), over the total
uq        upper quartile of the counts of a library (Bullard et al.), over its total
deseq     DESeq2's size factors: rle on a geometric mean without zeros; where every gene is 0 somewhere, the
          geometric mean that takes 0 for 1 in the genes' positive counts (``poscounts``)
none      the totals themselves
========= ===================================================================================================

Factors are scaled to a geometric mean of 1; `factor * total` is the effective library size. A size factor
:math:`s_k` of DESeq2 is the factor :math:`s_k / N_k`. Agreement with edgeR 3.40 and DESeq2 1.38: 1e-9.

**Influx.** All of these assume that most genes do not change. When immune cells enter a tumour, most genes
may: then the factors follow the immune genes, and the tumour's own seem to fall. `stable_genes` names genes
that change little between libraries in comparison with each other, in the manner of geNorm's M, and
`stable_factors` scales libraries by them alone. Which of the two pictures is right the counts cannot say: it
is a question of composition, so the second is shown beside the first, never in its place.

Sources: Robinson and Oshlack 2010, doi 10.1186/gb-2010-11-3-r25 (TMM); Anders and Huber 2010,
doi 10.1186/gb-2010-11-10-r106 (ratios); Bullard et al. 2010, doi 10.1186/1471-2105-11-94 (quartile);
Love et al. 2014, doi 10.1186/s13059-014-0550-8 (poscounts); Vandesompele et al. 2002,
doi 10.1186/gb-2002-3-7-research0034 (M value).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from pdbiomarker.errors import AssayError, Problem
from pdbiomarker.expression.library_size import FloatArray, cpm, tmm_factors
from pdbiomarker.tables import nearest

__all__ = [
    "FACTORS",
    "Normalization",
    "deseq_size_factors",
    "norm_factors",
    "quartile_factors",
    "rle_factors",
    "stable_factors",
    "stable_genes",
    "tmmwsp_factors",
]

Normalization = Literal["tmm", "tmmwsp", "rle", "uq", "deseq", "none"]

#: Name of each rule, with the words that describe it in a methods text.
FACTORS: Final[dict[str, str]] = {
    "tmm": "trimmed mean of M values (TMM)",
    "tmmwsp": "trimmed mean of M values with singleton pairing (TMMwsp)",
    "rle": "median ratio to the geometric mean library (RLE)",
    "uq": "upper quartile of the counts",
    "deseq": "DESeq2's median-of-ratios size factors",
    "none": "total reads, without further scaling",
}

#: Log ratios all smaller than this: the libraries are proportional.
_PROPORTIONAL: Final = 1e-6
#: Keeps the weights of near-certain log ratios finite.
_VARIANCE_FLOOR: Final = 1e-6
#: A candidate for a stable gene has at least this many reads per million in every library.
_STABLE_CPM: Final = 5.0


def norm_factors(
    counts: npt.ArrayLike, method: str = "tmm", lib_size: npt.ArrayLike | None = None
) -> FloatArray:
    """Factors of each library by a named rule.

    Parameters
    ----------
    counts : array, genes x libraries
        Counts >= 0, complete.
    method : {"tmm", "tmmwsp", "rle", "uq", "deseq", "none"}
    lib_size : array, libraries, optional
        Total of each library; default the column sums.

    Returns
    -------
    array, libraries
        Positive, geometric mean 1.

    Raises
    ------
    AssayError
        E-COUNT-030: the rule has no answer for these counts, such as a quartile of 0.

    Examples
    --------
    >>> norm_factors([[10, 20], [30, 60], [5, 10]], "uq").tolist()
    [1.0, 1.0]
    """
    y = np.asarray(counts, dtype=np.float64)
    size = y.sum(axis=0) if lib_size is None else np.asarray(lib_size, dtype=np.float64)
    if y.shape[1] < 2 or not y.any() or method == "none":
        if method not in FACTORS:
            raise ValueError(f"method must be one of {', '.join(FACTORS)}; got {method!r}.")
        return np.ones(y.shape[1])
    if method == "tmm":
        return tmm_factors(y, size)
    if method == "tmmwsp":
        return tmmwsp_factors(y, size)
    if method == "rle":
        return rle_factors(y, size)
    if method == "uq":
        return quartile_factors(y, size)
    if method == "deseq":
        return _centred(deseq_size_factors(y) / size)
    raise ValueError(
        f"method must be one of {', '.join(FACTORS)}; got {method!r}. {nearest(method, list(FACTORS))}"
    )


def _centred(factors: FloatArray) -> FloatArray:
    return np.asarray(factors / np.exp(np.mean(np.log(factors))), dtype=np.float64)


def _no_answer(method: str, why: str, remedy: str) -> AssayError:
    return AssayError(
        [
            Problem(
                "E-COUNT-030",
                f"The libraries cannot be scaled by {FACTORS[method]}: {why}.",
                remedy=remedy,
                column="normalization",
                value=method,
            )
        ]
    )


def tmmwsp_factors(
    counts: npt.ArrayLike,
    lib_size: npt.ArrayLike | None = None,
    *,
    ratio_trim: float = 0.3,
    sum_trim: float = 0.05,
) -> FloatArray:
    """Factors by the trimmed mean of M values with singleton pairing, as edgeR's ``TMMwsp``.

    Parameters
    ----------
    counts : array, genes x libraries
    lib_size : array, libraries, optional
        Default the column sums.
    ratio_trim, sum_trim : float
        Share trimmed from each end of the log ratios and of the mean log abundances.

    Returns
    -------
    array, libraries
        Positive, geometric mean 1. The reference library is the one with the largest sum of roots.
    """
    y = np.asarray(counts, dtype=np.float64)
    size = y.sum(axis=0) if lib_size is None else np.asarray(lib_size, dtype=np.float64)
    y = y[(y > 0).any(axis=1)]
    if y.shape[0] == 0 or y.shape[1] < 2:
        return np.ones(y.shape[1])
    reference = int(np.argmax(np.sqrt(y).sum(axis=0)))
    own_size, reference_size = size.tolist(), float(size[reference])
    factors = [
        _paired_factor(y[:, k], y[:, reference], (own_size[k], reference_size), ratio_trim, sum_trim)
        for k in range(y.shape[1])
    ]
    return _centred(np.array(factors))


def _paired_factor(
    own: FloatArray, ref: FloatArray, sizes: tuple[float, float], ratio_trim: float, sum_trim: float
) -> float:
    """Factor of one library against the reference, singletons of both paired by rank."""
    both = (own > 0) & (ref > 0)
    only_own, only_ref = own[(own > 0) & ~both], ref[(ref > 0) & ~both]
    n_paired = min(only_own.size, only_ref.size)
    own = np.concatenate([own[both], np.sort(only_own)[::-1][:n_paired]])
    ref = np.concatenate([ref[both], np.sort(only_ref)[::-1][:n_paired]])
    if own.size == 0:
        return 1.0
    share_own, share_ref = own / sizes[0], ref / sizes[1]
    ratio = np.log2(share_own / share_ref)
    if np.abs(ratio).max() < _PROPORTIONAL:
        return 1.0
    abundance = 0.5 * np.log2(share_own * share_ref)
    # Equal log ratios are ordered by those of counts drawn towards each other, so that ties are cut the same.
    drawn = np.log2(((own + 0.5) / (sizes[0] + 0.5)) / ((ref + 0.5) / (sizes[1] + 0.5)))
    kept = _middle(np.lexsort((drawn, ratio)), ratio_trim) & _middle(
        np.argsort(abundance, kind="stable"), sum_trim
    )
    if not kept.any():
        return 1.0
    variance = (1 - share_own[kept]) / share_own[kept] / sizes[0]
    variance += (1 - share_ref[kept]) / share_ref[kept] / sizes[1]
    weight = (1 + _VARIANCE_FLOOR) / (variance + _VARIANCE_FLOOR)
    return float(2 ** (np.sum(weight * ratio[kept]) / np.sum(weight)))


def _middle(order: npt.NDArray[np.intp], trim: float) -> npt.NDArray[np.bool_]:
    """Which elements are left when `trim` of them is cut from each end of an order."""
    n = order.size
    cut = int(n * trim)
    kept = np.zeros(n, dtype=bool)
    kept[order[cut : n - cut]] = True
    return kept


def rle_factors(counts: npt.ArrayLike, lib_size: npt.ArrayLike | None = None) -> FloatArray:
    """Factors by the median ratio to the geometric mean library, as edgeR's ``RLE``.

    Raises
    ------
    AssayError
        E-COUNT-030: no gene has a read in every library.
    """
    y = np.asarray(counts, dtype=np.float64)
    size = y.sum(axis=0) if lib_size is None else np.asarray(lib_size, dtype=np.float64)
    return _centred(_ratio_medians(y, "rle") / size)


def _ratio_medians(y: FloatArray, method: str) -> FloatArray:
    whole = (y > 0).all(axis=1)
    if not whole.any():
        why, remedy = "no gene has a read in every library", "Use 'deseq' or 'tmmwsp'."
        raise _no_answer(method, why, remedy)
    logs = np.log(y[whole])
    return np.asarray(np.exp(np.median(logs - logs.mean(axis=1, keepdims=True), axis=0)))


def quartile_factors(
    counts: npt.ArrayLike, lib_size: npt.ArrayLike | None = None, *, quantile: float = 0.75
) -> FloatArray:
    """Factors by an upper quantile of the counts of each library, as edgeR's ``upperquartile``.

    Genes without a read in any library do not count.

    Raises
    ------
    AssayError
        E-COUNT-030: the quantile of a library is 0.
    """
    y = np.asarray(counts, dtype=np.float64)
    size = y.sum(axis=0) if lib_size is None else np.asarray(lib_size, dtype=np.float64)
    at = np.quantile(y[(y > 0).any(axis=1)], quantile, axis=0)
    if (at <= 0).any():
        raise _no_answer(
            "uq", f"the quartile of library {int(np.argmin(at)) + 1} is 0", "Use 'tmmwsp' or 'deseq'."
        )
    return _centred(at / size)


def deseq_size_factors(
    counts: npt.ArrayLike, *, kind: Literal["ratio", "poscounts", "auto"] = "auto"
) -> FloatArray:
    """Size factors as DESeq2's ``estimateSizeFactors``; they multiply nothing but scale counts directly.

    Parameters
    ----------
    counts : array, genes x libraries
        Counts >= 0, complete.
    kind : {"ratio", "poscounts", "auto"}
        ``ratio``: median ratio to the geometric mean over genes with a read in every library. ``poscounts``:
        the geometric mean of a gene is exp(sum of the logs of its positive counts / number of libraries),
        and the factors have a geometric mean of 1. ``auto``: ratio where it exists, else poscounts.

    Returns
    -------
    array, libraries

    Raises
    ------
    AssayError
        E-COUNT-030: ``ratio`` was asked for and no gene has a read in every library.
    """
    y = np.asarray(counts, dtype=np.float64)
    if kind == "ratio" or (kind == "auto" and (y > 0).all(axis=1).any()):
        return _ratio_medians(y, "deseq")
    positive = y > 0
    logs = np.log(np.where(positive, y, 1.0))
    centre = logs.mean(axis=1)
    medians = [np.median((logs[:, k] - centre)[positive[:, k]]) for k in range(y.shape[1])]
    return _centred(np.exp(np.array(medians)))


def stable_genes(counts: npt.ArrayLike, *, share: float = 0.1, at_least: int = 20) -> npt.NDArray[np.intp]:
    r"""Genes that change least in comparison with each other.

    Candidates have 5 reads per million or more in every library. A gene is stable when it moves with the
    bulk of the others: :math:`M_i = \mathrm{sd}_k(x_{ik} - \tilde x_k)`, x the log2 counts and
    :math:`\tilde x_k` the median of the candidates in library k. (geNorm's M is the mean of such standard
    deviations against each single other gene; against their median it needs no pairs.) The most stable
    `share` is kept, but at least `at_least`, and all where there are no more.

    The rule uses no visit and no outcome. With influx that most candidates share it follows the influx as TMM
    does; then a list of genes chosen on other grounds is the better one.

    Parameters
    ----------
    counts : array, genes x libraries
    share : float
        Of the candidates.
    at_least : int

    Returns
    -------
    array of int
        Rows, the most stable first; empty where no gene is a candidate.
    """
    y = np.asarray(counts, dtype=np.float64)
    if not y.any(axis=0).all():
        return np.zeros(0, dtype=np.intp)
    candidates = np.flatnonzero((cpm(y) >= _STABLE_CPM).all(axis=1))
    if candidates.size == 0:
        return candidates
    logs = np.log2(y[candidates])
    spread = (logs - np.median(logs, axis=0)).std(axis=1, ddof=1 if y.shape[1] > 1 else 0)
    wanted = max(at_least, round(share * candidates.size))
    return candidates[np.argsort(spread, kind="stable")[:wanted]]


def stable_factors(
    counts: npt.ArrayLike, genes: Sequence[int] | npt.NDArray[np.intp], lib_size: npt.ArrayLike | None = None
) -> FloatArray:
    """Factors by which the geometric mean of chosen genes is the same in every library.

    Parameters
    ----------
    counts : array, genes x libraries
    genes : sequence of int
        Rows, such as those of :func:`stable_genes`; each with a read in every library.
    lib_size : array, libraries, optional
        Default the column sums of all genes.

    Returns
    -------
    array, libraries
        Positive, geometric mean 1.

    Raises
    ------
    AssayError
        E-COUNT-030: there is no gene, or one has no read in some library.
    """
    y = np.asarray(counts, dtype=np.float64)
    size = y.sum(axis=0) if lib_size is None else np.asarray(lib_size, dtype=np.float64)
    chosen = y[np.asarray(genes, dtype=np.intp)]
    if chosen.shape[0] == 0 or (chosen <= 0).any():
        raise AssayError(
            [
                Problem(
                    "E-COUNT-030",
                    "The libraries cannot be scaled by stable genes: "
                    + ("there is none." if chosen.shape[0] == 0 else "one has no read in some library."),
                    remedy="Name genes that are well expressed everywhere.",
                    column="stable_genes",
                )
            ]
        )
    return _centred(np.exp(np.log(chosen).mean(axis=0)) / size)
