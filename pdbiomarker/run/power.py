"""How many pairs a trial needs, how many to enrol for them, and what it would find: tables of a plan.

::

    pairs.csv        pairs for the power asked for, by standard deviation of the change and fold change
    enrolment.csv    how many to enrol for so many pairs, with the stages at which biopsies are lost
    simulated.csv    simulated trials of that size through pd_change: power, bias, pairs, with multiplicity
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.decide import (
    TrialAssumptions,
    enrol_for,
    pairs_for_power,
    power_of_pairs,
    power_table,
    simulate_power,
)
from pdbiomarker.errors import Problems
from pdbiomarker.tables import write_table

__all__ = ["PowerRequest", "plan_power"]

#: Stages that stand for the loss of baseline biopsies in the simulation; every other one is of the second.
_BASELINE: Final = "baseline"


@dataclasses.dataclass(frozen=True, slots=True)
class PowerRequest:
    """What a trial is to show, and what it loses.

    Attributes
    ----------
    fold : float
        True geometric mean ratio to be found, of every feature.
    sigma : float
        Noise of one biopsy, log2.
    sd_response : float
        Standard deviation of true log2 changes between participants.
    power, alpha : float
        Two-sided.
    stages : mapping of stage to probability
        What an enrolled participant must pass to give a pair, each given the ones before; stages whose name
        starts with ``baseline`` lose the baseline biopsy, the others the second one.
    features : int
        Primary features, adjusted by Holm's method in the simulation.
    assurance : float
        Probability that enough pairs are there.
    n_sims, seed : int
        Simulated trials; 0 leaves them out.
    """

    fold: float = 2.0
    sigma: float = 0.7
    sd_response: float = 0.5
    power: float = 0.8
    alpha: float = 0.05
    stages: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"baseline adequate": 0.87, "second taken": 0.8, "second adequate": 0.84}
    )
    features: int = 1
    assurance: float = 0.9
    n_sims: int = 200
    seed: int = 1

    @property
    def sd(self) -> float:
        """Standard deviation of the log2 change between participants: 2 sigma^2 + sd_response^2, rooted."""
        return float(np.sqrt(2 * self.sigma**2 + self.sd_response**2))


def plan_power(request: PowerRequest, out: str | Path) -> list[Path]:
    """Write the tables of a plan: pairs, enrolment, simulated trials.

    Parameters
    ----------
    request : PowerRequest
    out : path
        A folder; made when missing.

    Returns
    -------
    list of Path
        ``enrolment.csv`` first.

    Raises
    ------
    InputError
        E-RULE-004: an assumption out of its range.

    Notes
    -----
    Where there are several features, pairs are those for `alpha` over their number (Bonferroni, which Holm's
    method never needs more than); the simulation adjusts by Holm's method itself.
    """
    _check(request)
    folder = Path(out)
    alpha = request.alpha / request.features
    pairs = pairs_for_power(request.fold, request.sd, power=request.power, alpha=alpha)
    table = power_table(power=request.power, alpha=alpha)
    rows: list[tuple[Any, ...]] = [
        (sd, fold, request.power, alpha, int(table.loc[sd, fold]))
        for sd in table.index
        for fold in table.columns
    ]
    rows.append((request.sd, request.fold, request.power, alpha, pairs))
    folder.mkdir(parents=True, exist_ok=True)
    made = {"enrolment": _enrolment(request, pairs, alpha)}
    made["pairs"] = pd.DataFrame(rows, columns=["sd_log2_change", "fold", "power", "alpha", "pairs"])
    if request.n_sims:
        made["simulated"] = _simulated(request, int(made["enrolment"]["n_enrol"].iloc[0]))
    for name, frame in made.items():
        write_table(frame, folder / f"{name}.csv")
    return [folder / f"{name}.csv" for name in made]


def _enrolment(request: PowerRequest, pairs: int, alpha: float) -> pd.DataFrame:
    enrol = enrol_for(pairs, request.stages, assurance=request.assurance)
    row = {
        "fold": request.fold,
        "sigma": request.sigma,
        "sd_response": request.sd_response,
        "sd_log2_change": request.sd,
        "alpha": alpha,
        "pairs": pairs,
        "power_of_pairs": power_of_pairs(pairs, request.fold, request.sd, alpha=alpha),
        "stages": "; ".join(f"{name} {p:g}" for name, p in request.stages.items()),
        "yield": enrol.rate,
        "n_enrol": enrol.n_enrol,
        "assurance": enrol.assurance,
        "n_enrol_on_average": enrol.n_expected,
        "pairs_low": enrol.low,
        "pairs_high": enrol.high,
    }
    return pd.DataFrame([row])


def _simulated(request: PowerRequest, n_enrol: int) -> pd.DataFrame:
    lost = {True: 1.0, False: 1.0}
    for name, p in request.stages.items():
        lost[name.startswith(_BASELINE)] *= float(p)
    trial = TrialAssumptions(
        n_enrol,
        {f"feature_{k + 1}": request.fold for k in range(request.features)},
        sigma=request.sigma,
        sd_response=request.sd_response,
        p_baseline=lost[True],
        p_on=lost[False],
        alpha=request.alpha,
    )
    found = simulate_power(trial, n_sims=request.n_sims, seed=request.seed)
    inert = dataclasses.replace(trial, folds=dict.fromkeys(trial.folds, 1.0))
    none = simulate_power(inert, n_sims=request.n_sims, seed=request.seed)
    both = pd.concat([found.assign(truth="as asked"), none.assign(truth="no effect")], ignore_index=True)
    return both.assign(n_enrolled=n_enrol)


def _check(request: PowerRequest) -> None:
    problems = Problems()
    for name, value, fits in (
        ("features", request.features, request.features >= 1),
        ("n_sims", request.n_sims, request.n_sims == 0 or request.n_sims >= 20),
        ("sigma", request.sigma, request.sigma > 0),
        ("sd_response", request.sd_response, request.sd_response >= 0),
    ):
        if not fits:
            problems.add(
                "E-RULE-004",
                "An assumption of the trial is out of its range.",
                remedy="Give 1 feature or more, 0 or at least 20 simulations, a sigma above 0, and no "
                "negative sd-response.",
                column=name,
                value=value,
            )
    problems.raise_if_any()
