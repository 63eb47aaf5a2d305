"""The interval designs: what BOIN, mTPI and mTPI-2 decide from n treated and y toxicities at one dose.

Symbols: phi the target; p the toxicity of the dose; Beta(1 + y, 1 + n - y) its posterior under a uniform
prior.

BOIN (Liu and Yuan 2015, doi 10.1111/rssc.12089) compares y / n with two limits: with phi1 = 0.6 phi and
phi2 = 1.4 phi,
lambda_e = ln[(1 - phi1)/(1 - phi)] / ln[phi (1 - phi1)/(phi1 (1 - phi))] and
lambda_d = ln[(1 - phi)/(1 - phi2)] / ln[phi2 (1 - phi)/(phi (1 - phi2))].
mTPI (Ji et al. 2010, doi 10.1177/1740774510382799) takes the largest unit probability mass (posterior mass
over width) of three intervals: under, equivalence, over. mTPI-2 (Guo et al. 2017, doi
10.1016/j.cct.2017.04.006)
divides under and over into intervals of the width of the equivalence interval; those at 0 and 1 may be
narrower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pdbiomarker.clinical.escalation.options import DESIGNS, EscalationOptions, design_name, read_options
from pdbiomarker.clinical.escalation.outcomes import refuse

__all__ = ["boin_limits", "boundaries", "decision_table", "too_toxic"]

DECISIONS: Final = ("escalate", "stay", "de-escalate", "eliminate")
_LEAST_FOR_BOIN: Final = 3
_MAX_N: Final = 500
#: Proportions such as 3/10 and limits that equal them are compared with this slack.
_SLACK: Final = 1e-12


def boin_limits(target: float) -> tuple[float, float]:
    """Give the limits of BOIN: escalate at or below the first, de-escalate at or above the second.

    Parameters
    ----------
    target : float
        Toxicity aimed at, between 0 and 5/7 (1.4 times the target stays below 1).

    Examples
    --------
    >>> [round(limit, 4) for limit in boin_limits(0.30)]
    [0.2365, 0.3585]
    """
    low, high = 0.6 * target, 1.4 * target
    if target <= 0 or high >= 1:
        raise refuse(
            "BOIN needs a target between 0 and 0.714: 1.4 times the target is a proportion too.",
            "Give a target such as 0.30.",
            "target",
            target,
        )
    escalate = math.log((1 - low) / (1 - target)) / math.log(target * (1 - low) / (low * (1 - target)))
    deescalate = math.log((1 - target) / (1 - high)) / math.log(high * (1 - target) / (target * (1 - high)))
    return escalate, deescalate


def too_toxic(
    n: NDArray[np.int64] | int, n_dlt: NDArray[np.int64] | int, target: float, certainty: float
) -> NDArray[np.bool_]:
    """Tell where the posterior probability that the toxicity exceeds the target is above `certainty`.

    Nobody treated: False.
    """
    treated, dlt = np.asarray(n), np.asarray(n_dlt)
    above = stats.beta.sf(target, 1 + dlt, 1 + treated - dlt)
    return np.asarray((treated > 0) & (above > certainty))


def excluded(
    design: str,
    n: NDArray[np.int64] | int,
    n_dlt: NDArray[np.int64] | int,
    target: float,
    options: EscalationOptions,
) -> NDArray[np.bool_]:
    """Tell which counts exclude a dose by the rule of the design."""
    bad = too_toxic(n, n_dlt, target, options.exclusion_certainty)
    return np.asarray(bad & (np.asarray(n) >= _LEAST_FOR_BOIN)) if design == "boin" else bad


def decide(design: str, n: int, n_dlt: int, target: float, options: EscalationOptions) -> str:
    """Say what an interval design decides at one dose, before doses that exist or are excluded are looked at.

    Parameters
    ----------
    design : {"boin", "mtpi", "mtpi2"}
    n, n_dlt : int
        Treated (1 or more), and those with a toxicity.

    Returns
    -------
    {"escalate", "stay", "de-escalate"}
    """
    if design == "boin":
        low, high = boin_limits(target)
        rate = n_dlt / n
        return "escalate" if rate <= low + _SLACK else "de-escalate" if rate >= high - _SLACK else "stay"
    edges = _edges(design, target, options)
    mass = np.diff(stats.beta.cdf(edges, 1 + n_dlt, 1 + n - n_dlt)) / np.diff(edges)
    best = int(np.argmax(mass))
    middle = int(np.argmin(np.abs(edges - (target - options.epsilon1))))
    return "escalate" if best < middle else "de-escalate" if best > middle else "stay"


def _edges(design: str, target: float, options: EscalationOptions) -> NDArray[np.float64]:
    low, high = target - options.epsilon1, target + options.epsilon2
    if design == "mtpi":
        return np.array([0.0, low, high, 1.0])
    width = high - low
    below = low - width * np.arange(1, math.ceil(low / width) + 1)
    above = high + width * np.arange(1, math.ceil((1 - high) / width) + 1)
    inside = np.concatenate([below[::-1], [low, high], above])
    inside = inside[(inside > _SLACK) & (inside < 1 - _SLACK)]
    return np.concatenate([[0.0], inside, [1.0]])


def decision_table(
    design: str,
    *,
    target: float = 0.30,
    max_n: int = 18,
    options: Mapping[str, object] | EscalationOptions | None = None,
) -> pd.DataFrame:
    """Say what a design decides for every count of participants and toxicities at the current dose.

    Parameters
    ----------
    design : {"3+3", "boin", "mtpi", "mtpi2"}
    target : float
        Toxicity aimed at; the 3+3 has none.
    max_n : int
        Most participants at one dose.
    options : mapping or EscalationOptions, optional

    Returns
    -------
    DataFrame
        n_treated, n_dlt (int), decision: ``escalate``, ``stay``, ``de-escalate``, or ``eliminate``
        (de-escalate and never come back to this dose or one above). The 3+3 has rows for 3 and 6
        participants only, and its ``eliminate`` closes the dose. At the lowest dose ``de-escalate`` means to
        stay, at the highest ``escalate`` means to stay.

    Raises
    ------
    InputError
        E-DOSE-003: design, target, options or `max_n`.

    Examples
    --------
    >>> table = decision_table("boin", target=0.30, max_n=3)
    >>> table[table.n_treated == 3].decision.tolist()
    ['escalate', 'stay', 'de-escalate', 'eliminate']
    """
    key = design_name(design)
    chosen = read_options(key, target, options)
    if not 1 <= max_n <= _MAX_N:
        raise refuse(
            f"The most participants must lie between 1 and {_MAX_N}.", "Give such a number.", "max_n", max_n
        )
    rows: list[tuple[int, int, str]] = []
    if key == "3+3":
        for n in (3, 6):
            rows += [(n, y, _three_plus_three(n, y)) for y in range(n + 1) if n <= max_n]
    else:
        for n in range(1, max_n + 1):
            out = excluded(key, np.full(n + 1, n), np.arange(n + 1), target, chosen)
            rows += [
                (n, y, "eliminate" if out[y] else decide(key, n, y, target, chosen)) for y in range(n + 1)
            ]
    return pd.DataFrame(rows, columns=["n_treated", "n_dlt", "decision"])


def _three_plus_three(n: int, n_dlt: int) -> str:
    if n_dlt >= 2:
        return "eliminate"
    return "stay" if n == 3 and n_dlt == 1 else "escalate"


def boundaries(
    design: str,
    *,
    target: float = 0.30,
    max_n: int = 18,
    options: Mapping[str, object] | EscalationOptions | None = None,
) -> pd.DataFrame:
    """Give the limits of a decision table: one row for each number of participants.

    Parameters
    ----------
    design, target, max_n, options
        As in :func:`decision_table`.

    Returns
    -------
    DataFrame
        n_treated; escalate_if_at_most, deescalate_if_at_least, eliminate_if_at_least (Int64; NA where no
        count leads there).
    """
    table = decision_table(design, target=target, max_n=max_n, options=options)
    rows = []
    for n, at in table.groupby("n_treated"):
        up = at.loc[at["decision"] == "escalate", "n_dlt"]
        down = at.loc[at["decision"].isin(["de-escalate", "eliminate"]), "n_dlt"]
        out = at.loc[at["decision"] == "eliminate", "n_dlt"]
        rows.append((int(str(n)), _last(up), _first(down), _first(out)))
    names = ["n_treated", "escalate_if_at_most", "deescalate_if_at_least", "eliminate_if_at_least"]
    frame = pd.DataFrame(rows, columns=names, dtype="Int64")
    frame.attrs["design"] = DESIGNS[design_name(design)]
    return frame


def _first(counts: pd.Series) -> int | None:
    return int(counts.min()) if len(counts) else None


def _last(counts: pd.Series) -> int | None:
    return int(counts.max()) if len(counts) else None
