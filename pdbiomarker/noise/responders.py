r"""Responders: who changed, and who changed by more than noise.

A participant's change d carries two errors, shown apart: counting cells (known from the counts, v1 + v2) and
the difference between two biopsies of a lesion (2 sigma^2). Where the noise tells how much of sigma^2 is
counting, each participant's own counting error takes its place,

    Var(d) = 2 (sigma^2 - c) + v1 + v2;

where it does not (borrowed noise), both are added, which errs on the wide side. Counting alone is no
interval: at a log2 sigma of .7 and 250 cells it covers the truth one time in five.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from pdbiomarker.errors import Problems
from pdbiomarker.noise.estimate import Noise, from_scale
from pdbiomarker.shares import clopper_pearson

__all__ = ["Responders", "responders"]

Array = NDArray[np.float64]

_CALLS: Final = {
    (True, True): "beyond fold and noise",
    (True, False): "beyond fold, within noise",
    (False, True): "beyond noise, below fold",
    (False, False): "neither",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Responders:
    """Per participant: the change, its errors, and what it is beyond.

    Attributes
    ----------
    table : DataFrame
        One row a participant: ``participant_id, change`` (model scale), ``ratio, counting_se, noise_se, se,
        df, counting_low, counting_high`` (ratio, counting error only), ``ratio_low, ratio_high`` (both
        errors; on the identity scale these four are changes), ``beyond_fold, beyond_noise, both, direction,
        call`` and ``note``. Nobody is left out: without a change the call is ``not evaluable``.
    summary : DataFrame
        One row each for ``beyond fold``, ``beyond noise`` and ``both``, upward and downward: ``criterion,
        direction, n, n_evaluable, rate, rate_low, rate_high`` (Clopper-Pearson) and ``chance_by_noise,
        chance_low, chance_high``: the probability of one such call by noise alone, at sigma and at its
        confidence limits.
    noise : Noise
    fold, level : float
        The fold change asked for, and the level of limits and intervals.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    noise: Noise
    fold: float
    level: float


def responders(
    changes: pd.DataFrame,
    noise: Noise,
    *,
    counting: ArrayLike | None = None,
    fold: float = 2.0,
    level: float = 0.95,
) -> Responders:
    """Call responders by fold change, by noise, and by both.

    Parameters
    ----------
    changes : DataFrame
        With ``participant_id`` and ``change`` on the model scale, one row a participant, of one feature,
        contrast and set: rows of ``PDResult.changes``. NaN = not evaluable.
    noise : Noise
        On the same scale.
    counting : (n,) array, optional
        Variance of each change from counting cells: the sum over both biopsies, see
        :func:`~pdbiomarker.noise.counting_variance`.
    fold : float
        Above 1. On the logit scale an odds ratio; on the identity scale there are no folds: NaN, and nobody
        is called by fold.
    level : float
        Of the prediction limits and of the intervals.

    Returns
    -------
    Responders

    Raises
    ------
    InputError
        E-NOISE-001: missing columns, a participant twice, a fold of 1 or less, counting of another length.
    """
    _check(changes, counting, fold=fold, level=level)
    d = changes["change"].to_numpy(dtype=float)
    counted = np.full(len(d), np.nan) if counting is None else np.asarray(counting, dtype=float)
    known = np.isfinite(counted)
    biology = np.full(d.shape, 2 * noise.sigma**2)
    if np.isfinite(noise.counting_variance):
        biology = np.where(known, 2 * max(noise.sigma**2 - noise.counting_variance, 0.0), biology)
    variance = biology + np.where(known, counted, 0.0)
    # Only the noise is estimated; the counting part is known.
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(biology > 0, np.square(variance) / np.square(biology) * noise.df, np.inf)
    half = stats.t.isf((1 - level) / 2, df) * np.sqrt(variance)
    counting_half = stats.norm.isf((1 - level) / 2) * np.sqrt(counted)
    table = pd.DataFrame(
        {
            "participant_id": changes["participant_id"].to_numpy(dtype=object),
            "change": d,
            "ratio": from_scale(d, noise.scale),
            "counting_se": np.sqrt(counted),
            "noise_se": np.sqrt(biology),
            "se": np.where(np.isfinite(d), np.sqrt(variance), np.nan),
            "df": df,
            "counting_low": _shown(d - counting_half, noise),
            "counting_high": _shown(d + counting_half, noise),
            "ratio_low": _shown(d - half, noise),
            "ratio_high": _shown(d + half, noise),
        }
    )
    _call(table, noise, fold=fold, level=level)
    return Responders(table, _summary(table, noise, fold=fold, level=level), noise, fold, level)


def _shown(values: Array, noise: Noise) -> Array:
    return values if noise.scale == "identity" else from_scale(values, noise.scale)


def _threshold(noise: Noise, fold: float) -> float:
    if noise.scale == "identity":
        return float(np.inf)
    return float(np.log2(fold) if noise.scale == "log2" else np.log(fold))


def _call(table: pd.DataFrame, noise: Noise, *, fold: float, level: float) -> None:
    d = table["change"].to_numpy(dtype=float)
    told = np.isfinite(d)
    size = np.abs(np.where(told, d, 0.0))
    # A doubling counted exactly is a doubling, whatever the last bit of its logarithm says.
    by_fold = told & (size >= _threshold(noise, fold) - 1e-12)
    by_noise = told & (size > noise.limit(level))
    table["beyond_fold"], table["beyond_noise"], table["both"] = by_fold, by_noise, by_fold & by_noise
    table["direction"] = np.select([~told, d > 0, d < 0], ["", "up", "down"], "none")
    calls = [_CALLS[bool(f), bool(n)] for f, n in zip(by_fold, by_noise, strict=True)]
    table["call"] = np.where(told, calls, "not evaluable")
    notes = np.where(told, "", "no change: not evaluable")
    uncounted = told & ~np.isfinite(table["counting_se"].to_numpy())
    table["note"] = np.where(uncounted, "no cell counts: counting error not shown apart", notes)


def _summary(table: pd.DataFrame, noise: Noise, *, fold: float, level: float) -> pd.DataFrame:
    n = int((table["call"] != "not evaluable").sum())
    limit, ask = noise.limit(level), _threshold(noise, fold)
    rows = []
    for criterion, column, change in (
        (f"beyond {fold:g}-fold", "beyond_fold", ask),
        (f"beyond noise ({level:.0%} prediction limits)", "beyond_noise", limit),
        ("both", "both", max(ask, limit)),
    ):
        for direction in ("up", "down"):
            k = int((table[column] & (table["direction"] == direction)).sum())
            low, high = map(float, clopper_pearson(k, n))
            chances = []
            for sigma in (noise.sigma, noise.low, noise.high):
                usable = np.isfinite(sigma)
                one = dataclasses.replace(noise, sigma=float(sigma) if usable else 0.0)
                chances.append(one.chance_beyond(change) if usable else np.nan)
            rows.append((criterion, direction, k, n, k / n if n else np.nan, low, high, *chances))
    columns = ["criterion", "direction", "n", "n_evaluable", "rate", "rate_low", "rate_high"]
    return pd.DataFrame(rows, columns=[*columns, "chance_by_noise", "chance_low", "chance_high"])


def _check(changes: pd.DataFrame, counting: ArrayLike | None, *, fold: float, level: float) -> None:
    problems = Problems()
    for column in ("participant_id", "change"):
        if column not in changes:
            problems.add("E-NOISE-001", "The changes have no such column.", column=column)
    problems.raise_if_any()
    twice = changes["participant_id"][changes["participant_id"].duplicated()]
    if len(twice):
        problems.add(
            "E-NOISE-001",
            "A participant has two changes.",
            remedy="Give the rows of one assay, feature, contrast and set.",
            column="participant_id",
            value=twice.iloc[0],
        )
    if counting is not None and np.asarray(counting).shape != (len(changes),):
        problems.add(
            "E-NOISE-001",
            f"There are {len(changes)} changes and counting errors of shape {np.asarray(counting).shape}.",
            remedy="Give one variance for each change.",
            column="counting",
        )
    if not fold > 1:
        problems.add("E-NOISE-001", "A fold change to ask for lies above 1.", column="fold", value=fold)
    if not 0 < level < 1:
        problems.add("E-NOISE-001", "A level lies between 0 and 1.", column="level", value=level)
    problems.raise_if_any()
