r"""Background, positive-control and housekeeping scaling of lanes; stable genes; unwanted factors.

With raw counts :math:`x_{pk}` of probe p in lane k, limit of detection :math:`b_k` (mean + 2 SD of the lane's
negative controls), :math:`P_k` the geometric mean of POS_A to POS_E and :math:`H_k` that of the housekeeping
genes:

.. math:: v_{pk} = x^*_{pk}\,\frac{\bar P}{P_k}\,\frac{\bar H}{H_k},

bars the arithmetic means over lanes, :math:`H` after positive-control scaling. :math:`x^*` is, by the way the
background is treated,

========= =======================================================================================
threshold the larger of x and b: a value at the limit is known to be at most that (censored)
subtract  the larger of x and b, less the mean of the negative controls, and at least 1
none      x, and at least 1 (a count of 0 has no logarithm)
========= =======================================================================================

Values with :math:`x \le b` are marked as censored ("at most") for the Tobit model and never replaced by half
the limit; with ``none`` only zeros are, and the limit of each value stands beside it (layer `lloq`).

Housekeeping genes are chosen in the manner of geNorm: of those above the limit of detection in 3 of 4 lanes,
the one with the largest M, the mean over the others of the standard deviation of their log2 ratio, is left
out until no M is above 1 or three are left (1 is the limit for heterogeneous tissue).

`unwanted_factors` are the first left singular vectors of the centred log values of control genes, as in RUVg:
columns for the formula of the model. Values corrected by them are for pictures.

Sources: Geiss et al. 2008, doi 10.1038/nbt1385 (the assay); Vandesompele et al. 2002,
doi 10.1186/gb-2002-3-7-research0034 (M); Hellemans et al. 2007, doi 10.1186/gb-2007-8-2-r19 (its limits);
Risso et al. 2014, doi 10.1038/nbt.2931 (RUVg).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pdbiomarker.expression.library_size import FloatArray

__all__ = [
    "BACKGROUNDS",
    "Background",
    "gene_stability",
    "stable_subset",
    "treat_background",
    "unwanted_factors",
]

BACKGROUNDS: Final = ("threshold", "subtract", "none")
_FEWEST: Final = 3
_UNSTABLE: Final = 1.0


class Background(NamedTuple):
    """Values after the background was treated, and -1 where they are at most that (else 0)."""

    values: FloatArray
    censored: FloatArray


def treat_background(
    counts: FloatArray, lod: FloatArray, background: FloatArray, how: str = "threshold"
) -> Background:
    """Treat the background of lanes; see the head of this module.

    Parameters
    ----------
    counts : array, probes x lanes
    lod, background : array, lanes
        Limit of detection and mean of the negative controls; NaN: unknown, nothing is censored.
    how : {"threshold", "subtract", "none"}
    """
    if how not in BACKGROUNDS:
        raise ValueError(f"how must be one of {', '.join(BACKGROUNDS)}; got {how!r}.")
    limit = np.where(np.isfinite(lod), lod, -np.inf)
    if how == "none":
        return Background(np.maximum(counts, 1.0), np.where(counts <= 0, -1.0, 0.0))
    censored = np.where((counts <= limit) | (counts <= 0), -1.0, 0.0)
    values = np.maximum(np.maximum(counts, limit), 1.0)
    if how == "subtract":
        values = np.maximum(values - np.where(np.isfinite(background), background, 0.0), 1.0)
    return Background(values, censored)


def gene_stability(values: npt.ArrayLike) -> FloatArray:
    """GeNorm's M of each gene: the mean over the others of the SD, over lanes, of their log2 ratio.

    Parameters
    ----------
    values : array, genes x lanes
        Positive.

    Returns
    -------
    array, genes
        NaN with fewer than two genes or lanes.

    References
    ----------
    Vandesompele J et al. Genome Biology 2002;3:research0034, doi 10.1186/gb-2002-3-7-research0034.
    """
    logs = np.log2(np.asarray(values, dtype=np.float64))
    n, lanes = logs.shape
    if n < 2 or lanes < 2:
        return np.full(n, np.nan)
    centred = logs - logs.mean(axis=1, keepdims=True)
    cross = centred @ centred.T / (lanes - 1)
    variance = np.diag(cross)
    pairwise = np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2 * cross, 0))
    return np.asarray(pairwise.sum(axis=1) / (n - 1))


def stable_subset(values: npt.ArrayLike) -> list[int]:
    """Genes that are left when the least stable is left out until none has an M above 1, or three are left.

    Parameters
    ----------
    values : array, genes x lanes
        Positive.

    Returns
    -------
    list of int
        Rows, ascending.
    """
    x = np.asarray(values, dtype=np.float64)
    kept = list(range(x.shape[0]))
    while len(kept) > _FEWEST:
        m = gene_stability(x[kept])
        if not np.nanmax(m) > _UNSTABLE:
            break
        kept.pop(int(np.nanargmax(m)))
    return kept


def unwanted_factors(log_values: npt.ArrayLike, controls: npt.ArrayLike, k: int = 1) -> FloatArray:
    """Factors of unwanted variation from control genes, as RUVg estimates them.

    Parameters
    ----------
    log_values : array, genes x lanes
    controls : array of int
        Rows of genes that the treatment does not change.
    k : int
        How many factors.

    Returns
    -------
    array, lanes x k
        Orthonormal; the sign of each is that which makes its largest entry positive.

    References
    ----------
    Risso D et al. Nature Biotechnology 2014;32:896-902, doi 10.1038/nbt.2931.
    """
    y = np.asarray(log_values, dtype=np.float64)[np.asarray(controls, dtype=np.intp)].T
    u = np.linalg.svd(y - y.mean(axis=0), full_matrices=False)[0][:, :k]
    largest = np.abs(u).argmax(axis=0)
    return np.asarray(u * np.sign(u[largest, np.arange(u.shape[1])]))
