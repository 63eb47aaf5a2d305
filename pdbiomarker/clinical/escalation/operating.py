"""How often a design chooses each dose, and how many it treats there: simulation of the rule as used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdbiomarker.clinical.escalation.options import EscalationOptions, design_name, read_options
from pdbiomarker.clinical.escalation.outcomes import Tally, refuse
from pdbiomarker.clinical.escalation.path import recommend
from pdbiomarker.clinical.escalation.selection import select

__all__ = ["TrialSize", "operating_characteristics"]

_MAX_SIMULATIONS: Final = 1_000_000


@dataclasses.dataclass(frozen=True)
class TrialSize:
    """Size of a simulated escalation.

    Attributes
    ----------
    max_n : int
        Participants at most; the 3+3 ends by itself when this allows it.
    cohort_size : int
        Participants treated before each decision.
    """

    max_n: int = 36
    cohort_size: int = 3


def operating_characteristics(
    design: str,
    true_rates: Sequence[float],
    *,
    target: float = 0.30,
    size: TrialSize | None = None,
    n_simulations: int = 2000,
    seed: int = 1,
    options: Mapping[str, object] | EscalationOptions | None = None,
) -> pd.DataFrame:
    """Simulate a design under true toxicities.

    Parameters
    ----------
    design : {"3+3", "boin", "mtpi", "mtpi2"}
    true_rates : sequence of float, shape (n_doses,)
        True probability of a dose-limiting toxicity at each dose level.
    target : float
        Toxicity aimed at.
    size : TrialSize, optional
        Default: at most 36 participants in cohorts of 3.
    n_simulations : int
        Trials.
    seed : int
        Same seed, same numbers.
    options : mapping or EscalationOptions, optional

    Returns
    -------
    DataFrame
        One row for each dose level, then one with dose 0 for "none": dose, true_rate, chosen (share of trials
        whose MTD it was), chosen_se (Monte Carlo standard error), n_treated, n_dlt (means), share_treated. In
        ``attrs``: mean_n, mean_dlt, share_above_target (participants treated at a dose whose true rate
        exceeds the target), n_simulations, seed, design, target.

    Raises
    ------
    InputError
        E-DOSE-003.
    """
    key = design_name(design)
    chosen = read_options(key, target, options)
    rates, trial = np.asarray(true_rates, dtype=float), size or TrialSize()
    _check(rates, trial, n_simulations)
    n = np.zeros((n_simulations, rates.size), dtype=np.int64)
    dlt = np.zeros_like(n)
    mtd = _simulate(key, rates, (n, dlt), trial, (target, chosen, seed))
    counted = np.bincount(mtd, minlength=rates.size + 1) / n_simulations
    share = np.append(counted[1:], counted[0])
    total = float(n.sum())
    frame = pd.DataFrame(
        {
            "dose": [*range(1, rates.size + 1), 0],
            "true_rate": np.append(rates, np.nan),
            "chosen": share,
            "chosen_se": np.sqrt(share * (1 - share) / n_simulations),
            "n_treated": np.append(n.mean(axis=0), 0.0),
            "n_dlt": np.append(dlt.mean(axis=0), 0.0),
            "share_treated": np.append(n.sum(axis=0) / total, 0.0),
        }
    )
    frame.attrs = {
        "mean_n": total / n_simulations,
        "mean_dlt": float(dlt.sum()) / n_simulations,
        "share_above_target": float(n[:, rates > target].sum()) / total,
        "n_simulations": n_simulations,
        "seed": seed,
        "design": key,
        "target": target,
    }
    return frame


def _check(rates: NDArray[np.float64], size: TrialSize, n_simulations: int) -> None:
    if rates.ndim != 1 or not 1 <= rates.size <= 100 or not bool(np.all((rates >= 0) & (rates <= 1))):
        raise refuse(
            "The true toxicities must be 1 to 100 proportions between 0 and 1.",
            "Give one for each dose level, such as (0.05, 0.15, 0.30).",
            "true_rates",
            rates.tolist(),
        )
    if not 1 <= size.cohort_size <= size.max_n <= 1000:
        raise refuse(
            "The cohort size must be at least 1 and at most the number of participants, that at most 1000.",
            "Give such numbers, such as TrialSize(max_n=36, cohort_size=3).",
            "size",
            size,
        )
    if not 1 <= n_simulations <= _MAX_SIMULATIONS:
        raise refuse(
            f"The number of simulations must lie between 1 and {_MAX_SIMULATIONS}.",
            "2000 gives a standard error of about 1 %.",
            "n_simulations",
            n_simulations,
        )


def _simulate(
    design: str,
    rates: NDArray[np.float64],
    counts: tuple[NDArray[np.int64], NDArray[np.int64]],
    size: TrialSize,
    setting: tuple[float, EscalationOptions, int],
) -> NDArray[np.int64]:
    """Fill the counts of all trials, cohort by cohort; give the MTD of each trial (0: none)."""
    n, dlt = counts
    target, options, seed = setting
    rng = np.random.default_rng(seed)
    n_trials = len(n)
    dose = np.ones(n_trials, dtype=np.int64)  # dose level of the next cohort; 0: the trial has stopped
    last = np.zeros(n_trials, dtype=np.int64)
    for start in range(0, size.max_n, size.cohort_size):
        many = min(size.cohort_size, size.max_n - start)
        draws = rng.random(
            (n_trials, many)
        )  # drawn for every trial, so that a trial does not depend on others
        on = np.flatnonzero(dose > 0)
        if not on.size:
            break
        at = dose[on] - 1
        n[on, at] += many
        dlt[on, at] += (draws[on] < rates[at, None]).sum(axis=1)
        last[on] = dose[on]
        dose[on] = _of_states(n[on], dlt[on], last[on], lambda c: _next(design, c, target, options))
    return _of_states(n, dlt, last, lambda c: select(design, c, target, options).mtd or 0)


def _next(design: str, counts: Tally, target: float, options: EscalationOptions) -> int:
    dose, go_on = recommend(design, counts, target, options)
    return (dose or 0) if go_on else 0


def _of_states(
    n: NDArray[np.int64], dlt: NDArray[np.int64], last: NDArray[np.int64], rule: Callable[[Tally], int]
) -> NDArray[np.int64]:
    """Apply a rule once to every different state, not once to every trial."""
    states, which = np.unique(np.column_stack([n, dlt, last]), axis=0, return_inverse=True)
    k = n.shape[1]
    found = [rule(Tally(row[:k], row[k : 2 * k], int(row[-1]))) for row in states]
    return np.array(found, dtype=np.int64)[which.reshape(-1)]
