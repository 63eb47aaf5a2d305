"""How many participants carry a contrast, and the degrees of freedom that follow."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pairs", "count_pairs"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Of m patterns of observation and k contrasts.

    Attributes
    ----------
    groups : (m,) array of int
        Participants observed.
    pairs : (m, k) array of int
        Participants within whom a column of the contrast varies.
    df : (m, k) array
        pairs - 1; for a contrast between participants, groups less the coefficients that do not vary within
        participants. Never below 0.
    """

    groups: NDArray[np.int64]
    pairs: NDArray[np.int64]
    df: Array


def count_pairs(X: Array, patterns: Flags, participants: Indices, contrasts: Array, kept: Flags) -> Pairs:
    """Count them.

    Parameters
    ----------
    X : (n, p) array
    patterns : (m, n) array of bool
        Which observations each pattern has.
    participants : (n,) array
        Sorted codes.
    contrasts : (k, p) array
    kept : (m, p) array of bool
        Columns that are not aliased.

    Returns
    -------
    Pairs
    """
    starts = np.flatnonzero(np.diff(participants, prepend=-1))
    groups = np.logical_or.reduceat(patterns, starts, axis=1).sum(axis=1)
    upper = np.where(patterns[..., None], X, -np.inf)
    lower = np.where(patterns[..., None], X, np.inf)
    spread = np.maximum.reduceat(upper, starts, axis=1) - np.minimum.reduceat(lower, starts, axis=1)
    varies = spread > 0
    pairs = np.stack([(varies & (row != 0)).any(axis=2).sum(axis=1) for row in contrasts], axis=1)
    between = (kept & ~varies.any(axis=1)).sum(axis=1)
    df = np.where(pairs > 0, pairs - 1, (groups - between)[:, None])
    return Pairs(groups, pairs, np.maximum(df, 0).astype(np.float64))
