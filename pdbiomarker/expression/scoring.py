r"""From log expression to one number for each library and gene set: the definitions, on plain arrays.

`x` is genes x libraries, log2 CPM unless said otherwise; a set is an array of row numbers (with weights where
a definition knows them). With n genes and k of them in the set:

``mean_log2``  the weighted mean of the set's rows.
``mean_z``     the same of :math:`z = (x - \bar x_{ref}) / s_{ref}`, mean and SD (n - 1) of each gene over the
               reference libraries. A gene that is constant there has no z and is left out.
``singscore``  the mean rank of the set's genes in the library (ties: the smallest rank), scaled from its
               least, (k + 1)/2, to its greatest possible value, (2n - k + 1)/2, less 1/2: -1/2 to 1/2.
``ssgsea``     genes are ranked in the library (ties: the mean rank, cut to a whole number) and walked
               through from the top; the score is the mean height, over all n steps, of the walk
               (rank^0.25 of the set's genes, summed to 1) minus (the others, 1/(n - k) each), times n.
``gsva``       each gene's cumulative distribution over the reference libraries is smoothed by a Gaussian
               kernel with a quarter of its SD as bandwidth; the genes of a library are ordered by it,
               weighted by the distance of their rank from the middle, and the greatest and the least
               deviation of the walk are added. The kernel is read off a table in steps of .001 SD, as the
               original does: near ties are decided by it.
``plage``      the first singular vector of the set's z over the reference libraries; its sign is that of the
               mean z, and a library outside the reference is projected on the genes' loadings.
``zscore``     the sum of z over the root of k.

``mean_log2``, ``singscore`` and ``ssgsea`` read one library at a time: other libraries never change them. The
rest measure a library against reference libraries; with a fixed reference, they do not change either.
Genes tied in a library are walked through in the order of the rows.

Sources: Barbie et al. 2009, doi 10.1038/nature08460 (ssGSEA); Haenzelmann, Castelo and Guinney 2013, doi
10.1186/1471-2105-14-7 (GSVA); Tomfohr, Lu and Kepler 2005, doi 10.1186/1471-2105-6-225 (PLAGE); Lee et al.
2008, doi 10.1371/journal.pcbi.1000217 (combined z); Foroutan et al. 2018, doi 10.1186/s12859-018-2435-4
(singscore). Numbers of the Bioconductor package GSVA 1.46 are reproduced to 1e-9 (`tests/golden/signatures`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from pdbiomarker.expression.library_size import FloatArray

__all__ = ["combined_z", "gsva", "mean_of_genes", "plage", "singscore", "ssgsea", "standardised", "varying"]

Index = npt.NDArray[np.intp]

_EXPONENT: Final = 0.25
_BANDWIDTH: Final = 4.0
#: The table of the Gaussian distribution: its end in SD, and its steps.
_TABLE_END: Final = 10.0
_TABLE_STEPS: Final = 10_000


def varying(x: FloatArray) -> npt.NDArray[np.bool_]:
    """Tell which genes (rows) are not constant."""
    return np.asarray((x != x[:, :1]).any(axis=1))


def mean_of_genes(x: FloatArray, genes: Index, weights: FloatArray | None = None) -> FloatArray:
    """Weighted mean over the genes of a set, one number for each library."""
    if weights is None:
        return _summed(x[genes]) / len(genes)
    return _summed(x[genes] * weights[:, None]) / float(weights.sum())


def _summed(rows: FloatArray) -> FloatArray:
    """Sum over genes, one after the other: the last bit of a library's sum never hangs on other libraries."""
    total = np.zeros(rows.shape[1])
    for row in rows:
        total += row
    return total


def standardised(x: FloatArray, reference: FloatArray) -> FloatArray:
    """Z of each gene against reference libraries; rows of NaN where the reference does not vary."""
    spread = np.full(len(x), np.nan)
    if reference.shape[1] > 1:
        moving = varying(reference)
        spread[moving] = reference[moving].std(axis=1, ddof=1)
    return np.asarray((x - reference.mean(axis=1, keepdims=True)) / spread[:, None])


def combined_z(z: FloatArray, genes: Index) -> FloatArray:
    """Sum of z over the root of the number of genes."""
    return np.asarray(_summed(z[genes]) / np.sqrt(len(genes)))


def singscore(x: FloatArray, sets: Sequence[Index]) -> FloatArray:
    """Rank score of each set, sets x libraries; from -1/2 to 1/2.

    Parameters
    ----------
    x : array, genes x libraries
        All genes of the matrix; only the order within a library matters.
    sets : sequence of arrays
        Row numbers.

    Returns
    -------
    array, sets x libraries
        NaN where the set holds every gene.
    """
    n = len(x)
    ranks = stats.rankdata(x, method="min", axis=0)
    out = np.full((len(sets), x.shape[1]), np.nan)
    for row, genes in enumerate(sets):
        k = len(genes)
        if k < n:
            low, high = (k + 1) / 2, (2 * n - k + 1) / 2
            out[row] = (ranks[genes].mean(axis=0) - low) / (high - low) - 0.5
    return out


def ssgsea(x: FloatArray, sets: Sequence[Index]) -> FloatArray:
    """Single-sample enrichment score of each set, sets x libraries, not divided by any range.

    Parameters
    ----------
    x : array, genes x libraries
    sets : sequence of arrays
        Row numbers.

    Returns
    -------
    array, sets x libraries
        NaN where the set holds every gene. The original divides all scores by their range over sets and
        libraries, which makes each depend on all: do so where its numbers are wanted.
    """
    n = len(x)
    out = np.full((len(sets), x.shape[1]), np.nan)
    for column in range(x.shape[1]):
        rank = np.floor(stats.rankdata(x[:, column]))
        place = _places(-rank)
        weight = rank**_EXPONENT
        for row, genes in enumerate(sets):
            k = len(genes)
            if k == n:
                continue
            left = n - place[genes]  # steps from the gene's own to the last one
            inside = np.sum(weight[genes] * left) / np.sum(weight[genes])
            outside = (n * (n + 1) / 2 - np.sum(left)) / (n - k)
            out[row, column] = inside - outside
    return out


def _places(keys: FloatArray) -> Index:
    """Place of each gene (0 first) when keys are sorted upwards, ties in the order of the rows."""
    order = np.argsort(keys, kind="stable")
    place = np.empty(order.size, dtype=np.intp)
    place[order] = np.arange(order.size)
    return place


def gsva(
    x: FloatArray,
    sets: Sequence[Index],
    reference: FloatArray,
    *,
    kernel: Literal["gaussian", "poisson"] = "gaussian",
) -> FloatArray:
    """Gene set variation score of each set, sets x libraries.

    Parameters
    ----------
    x : array, genes x libraries
        Log expression; with the Poisson kernel, counts.
    sets : sequence of arrays
        Row numbers.
    reference : array, genes x reference libraries
        None of its genes is constant; `x` itself for the original definition.
    kernel : {"gaussian", "poisson"}

    Returns
    -------
    array, sets x libraries
        The greatest plus the least deviation of the walk; NaN where the set holds every gene.
    """
    n = len(x)
    out = np.full((len(sets), x.shape[1]), np.nan)
    for column in range(x.shape[1]):
        density = _log_odds(x[:, column], reference, kernel)
        place = _places(-density)
        weight = np.abs(n - place - n / 2)
        for row, genes in enumerate(sets):
            if len(genes) < n:
                out[row, column] = _deviations(place[genes], weight[genes], n)
    return out


def _log_odds(values: FloatArray, reference: FloatArray, kernel: str) -> FloatArray:
    """Log odds of the smoothed cumulative distribution of each gene at its value in one library."""
    total = np.zeros(len(values))
    width = reference.std(axis=1, ddof=1) / _BANDWIDTH
    for other in reference.T:  # one after the other: how the sum is rounded decides between near ties
        if kernel == "poisson":
            total += special.pdtr(values, other + 0.5)
        else:
            total += _tabled((values - other) / width)
    left = total / reference.shape[1]
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log((1.0 - left) / left))


_TABLE: Final[FloatArray] = special.ndtr(np.arange(_TABLE_STEPS + 1) * _TABLE_END / _TABLE_STEPS)


def _tabled(z: FloatArray) -> FloatArray:
    """Gaussian distribution function by the table."""
    size = np.abs(z)
    step = (np.minimum(size, _TABLE_END) / _TABLE_END * _TABLE_STEPS).astype(np.intp)
    upper = np.where(size > _TABLE_END, 1.0, _TABLE[step])
    return np.where(z < 0, 1.0 - upper, upper)


def _deviations(places: Index, weights: FloatArray, n: int) -> float:
    """Greatest plus least deviation of the walk from 0; between genes of the set it only falls."""
    order = np.argsort(places)
    at, risen = places[order], np.cumsum(weights[order])
    total = risen[-1]
    if total <= 0:
        return float("nan")
    k = at.size
    fall = (at - np.arange(k)) / (n - k)  # of the genes outside the set, up to each gene inside
    after = risen / total - fall
    before = np.concatenate([[0.0], risen[:-1]]) / total - fall
    return float(max(0.0, after.max()) + min(0.0, before.min()))


def plage(z: FloatArray, genes: Index, z_reference: FloatArray) -> FloatArray:
    """Activity of a set along the first singular vector of its genes' z over reference libraries.

    Parameters
    ----------
    z : array, genes x libraries
    genes : array
        Row numbers.
    z_reference : array, genes x reference libraries

    Returns
    -------
    array, libraries
        With the reference itself as libraries, the first right singular vector; its sign makes it rise with
        the mean z of the set (with no correlation, with the first gene).
    """
    left, size, right = np.linalg.svd(z_reference[genes], full_matrices=False)
    scores = _summed(left[:, :1] * z[genes]) / size[0]
    lean = float(right[0] @ z_reference[genes].mean(axis=0))
    sign = np.sign(lean) if abs(lean) > 1e-12 else np.sign(left[0, 0])
    return np.asarray(scores * (sign if sign != 0 else 1.0))
