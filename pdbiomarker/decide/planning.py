r"""Planning: how many pairs, how many to enrol, and what a trial finds when the truth is known.

With n pairs, a mean change delta on the model scale and a standard deviation s of the changes, the paired
t-test has t ~ noncentral t(n - 1, sqrt(n) delta / s). s^2 = 2 sigma^2 + sd_response^2: twice the noise of one
biopsy, and how differently participants respond.

`simulate_power` takes simulated trials through :func:`pdbiomarker.pd_change`, the same code as a real one:
biopsies that are not taken or not adequate, noise, unpaired baselines and the adjustment for several
features.

Source of the noncentral t: Johnson and Welch 1940, doi:10.1093/biomet/31.3-4.362.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import special, stats

from pdbiomarker.change import pd_change
from pdbiomarker.errors import Problems
from pdbiomarker.plan import Plan
from pdbiomarker.study import Study, StudySpec, Visit

__all__ = [
    "Enrolment",
    "TrialAssumptions",
    "enrol_for",
    "evaluable_of",
    "pairs_for_power",
    "power_of_pairs",
    "power_table",
    "simulate_power",
]

Array = NDArray[np.float64]
_MOST_PAIRS: Final = 100_000
_GRID: Final = 20_000


def power_of_pairs(
    n: int, fold: float, sd: float, *, alpha: float = 0.05, sided: int = 2, margin: float = 1.0
) -> float:
    """Power of the paired t-test on log2 values.

    Parameters
    ----------
    n : int
        Evaluable pairs, at least 2.
    fold : float
        True geometric mean ratio.
    sd : float
        Standard deviation of the log2 changes between participants.
    alpha : float
    sided : {1, 2}
        1: upward only.
    margin : float
        Geometric mean ratio of the null hypothesis.

    Raises
    ------
    InputError
        E-RULE-004: an option out of its range.

    Examples
    --------
    >>> round(power_of_pairs(20, 2.0, 1.5), 3)
    0.807
    """
    _check(n=n, fold=fold, sd=sd, alpha=alpha, sided=sided, margin=margin)
    df = n - 1
    shift = float(np.sqrt(n) * np.log2(fold / margin) / sd)
    limit = float(stats.t.isf(alpha / sided, df))
    power = _beyond(limit, df, shift)
    if sided == 2:
        power += _beyond(limit, df, -shift)
    return min(power, 1.0)


def _beyond(limit: float, df: int, shift: float) -> float:
    """P(T > limit), T noncentral t."""
    found = float(stats.nct.sf(limit, df, shift))
    if np.isfinite(found):
        return found
    # scipy has no value for few degrees of freedom and large shifts: the mean over the estimate of the SD.
    grid = (np.arange(_GRID) + 0.5) / _GRID
    return float(special.ndtr(shift - limit * np.sqrt(stats.chi2.ppf(grid, df) / df)).mean())


def pairs_for_power(
    fold: float,
    sd: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    sided: int = 2,
    margin: float = 1.0,
) -> int:
    """The fewest pairs with at least this power; parameters as for :func:`power_of_pairs`.

    Raises
    ------
    InputError
        E-RULE-004: an option out of its range, or more than 100,000 pairs needed.

    Examples
    --------
    >>> [pairs_for_power(2.0, sd) for sd in (1.0, 1.5, 2.0)]
    [10, 20, 34]
    """
    _check(n=2, fold=fold, sd=sd, alpha=alpha, sided=sided, margin=margin, power=power)

    def enough(n: int) -> bool:
        return power_of_pairs(n, fold, sd, alpha=alpha, sided=sided, margin=margin) >= power

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST_PAIRS:
            problems = Problems()
            problems.add(
                "E-RULE-004",
                f"More than {_MOST_PAIRS:,} pairs would be needed.",
                remedy="A fold change at or below the margin cannot be shown.",
                column="fold",
                value=fold,
            )
            problems.raise_if_any()
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def power_table(
    folds: Sequence[float] = (1.5, 2.0, 2.5, 3.0),
    sds: Sequence[float] = (1.0, 1.5, 2.0, 2.5),
    *,
    power: float = 0.8,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Pairs needed, two-sided: one row for each standard deviation of the log2 change, one column a fold."""
    rows = [[pairs_for_power(fold, sd, power=power, alpha=alpha) for fold in folds] for sd in sds]
    return pd.DataFrame(rows, index=pd.Index(sds, name="sd"), columns=pd.Index(folds, name="fold"))


@dataclasses.dataclass(frozen=True, slots=True)
class Enrolment:
    """How many to enrol.

    Attributes
    ----------
    n_enrol : int
    n_evaluable : int
        Wanted.
    rate : float
        Probability that an enrolled participant gives an evaluable pair.
    assurance : float
        Probability that `n_enrol` give at least `n_evaluable`.
    n_expected : int
        Enrolled to reach `n_evaluable` on average only.
    low, high : int
        90 % prediction interval of the evaluable pairs among `n_enrol`.
    """

    n_enrol: int
    n_evaluable: int
    rate: float
    assurance: float
    n_expected: int
    low: int
    high: int


def enrol_for(n_evaluable: int, stages: Mapping[str, float] | float, *, assurance: float = 0.9) -> Enrolment:
    """Say how many to enrol so that enough evaluable pairs are there with a stated assurance.

    Parameters
    ----------
    n_evaluable : int
    stages : mapping of stage to probability, or a probability
        Such as ``{"baseline adequate": .87, "on-treatment taken": .8, "on-treatment adequate": .84}``; each
        given the stages before it.
    assurance : float

    Notes
    -----
    The number to enrol until `n_evaluable` are evaluable is negative binomial; its quantile is returned.

    Raises
    ------
    InputError
        E-RULE-004: a probability outside 0 to 1, or nothing wanted.

    Examples
    --------
    >>> enrol_for(20, 0.6).n_enrol
    40
    """
    given = [float(p) for p in stages.values()] if isinstance(stages, Mapping) else [float(stages)]
    rate = float(np.prod(given))
    problems = Problems()
    for value, name in ((rate, "stages"), (assurance, "assurance")):
        if not 0 < value <= 1 or (name == "assurance" and value == 1):
            problems.add("E-RULE-004", "A probability lies between 0 and 1.", column=name, value=value)
    if any(not 0 < p <= 1 for p in given) or n_evaluable < 1:
        problems.add(
            "E-RULE-004", "Stages are probabilities, and one pair at least is wanted.", column="stages"
        )
    problems.raise_if_any()
    n = n_evaluable if rate == 1 else n_evaluable + int(stats.nbinom.ppf(assurance, n_evaluable, rate))
    low, high = evaluable_of(n, rate, level=0.9)
    reached = float(stats.binom.sf(n_evaluable - 1, n, rate))
    return Enrolment(n, n_evaluable, rate, reached, int(np.ceil(n_evaluable / rate)), low, high)


def evaluable_of(n_enrolled: int, rate: float, *, level: float = 0.9) -> tuple[int, int]:
    """Binomial prediction interval of the evaluable pairs among `n_enrolled`."""
    tails = ((1 - level) / 2, (1 + level) / 2)
    low, high = (int(stats.binom.ppf(tail, n_enrolled, rate)) for tail in tails)
    return low, high


@dataclasses.dataclass(frozen=True, slots=True)
class TrialAssumptions:
    """A trial to be simulated.

    Attributes
    ----------
    n_enrolled : int
    folds : mapping of feature to float
        True geometric mean ratios.
    sigma : float
        Noise of one biopsy, log2.
    sd_between : float
        Between participants, log2.
    sd_response : float
        Of true changes between participants, log2.
    p_baseline, p_on : float
        Probability that a baseline biopsy is taken and adequate, and of the same for the second one, given
        the first.
    correlation : float
        Between features, of the noise and of the responses; 0 = independent.
    adjustment : {"holm", "bh"}
        Over the features of the trial.
    alpha : float
    """

    n_enrolled: int
    folds: Mapping[str, float]
    sigma: float
    sd_between: float = 1.0
    sd_response: float = 0.0
    p_baseline: float = 1.0
    p_on: float = 1.0
    correlation: float = 0.0
    adjustment: str = "holm"
    alpha: float = 0.05


def simulate_power(trial: TrialAssumptions, *, n_sims: int = 400, seed: int = 1) -> pd.DataFrame:
    """Take simulated trials through ``pd_change`` and count what they find.

    Parameters
    ----------
    trial : TrialAssumptions
    n_sims : int
    seed : int

    Returns
    -------
    DataFrame
        One row a feature, and one ``any feature``: ``feature, fold, power`` (adjusted p at most alpha),
        ``power_unadjusted, mc_se, bias`` (mean estimate less truth, log2), ``n_pairs`` (mean),
        ``n_pairs_low`` (5 % quantile), ``not_tested`` (share of trials without a test), ``n_sims``.

    Raises
    ------
    InputError
        E-RULE-004: an assumption out of its range.
    """
    _check_trial(trial, n_sims)
    values, n_pairs = _draw(trial, n_sims, seed)
    features = list(trial.folds)
    names = [f"t{s}_{f}" for s in range(n_sims) for f in features]
    result = pd_change(_study(values, names), _plan())
    table = result.table[result.table["set"] == "strict"].set_index("feature").loc[names]
    shape = (n_sims, len(features))
    p, estimate = (table[c].to_numpy(dtype=float).reshape(shape) for c in ("p", "estimate"))
    q = adjusted(p, trial.adjustment)
    with np.errstate(invalid="ignore"):
        found, alone = q <= trial.alpha, p <= trial.alpha
    rows = []
    for k, (feature, fold) in enumerate(trial.folds.items()):
        bias = float(np.nanmean(estimate[:, k]) - np.log2(fold))
        rows.append((feature, fold, found[:, k], alone[:, k], bias, float(np.isnan(p[:, k]).mean())))
    rows.append(
        (
            "any feature",
            np.nan,
            found.any(axis=1),
            alone.any(axis=1),
            np.nan,
            float(np.isnan(p).all(1).mean()),
        )
    )
    out = pd.DataFrame(
        [
            (name, fold, a.mean(), b.mean(), np.sqrt(a.mean() * (1 - a.mean()) / n_sims), bias, lost)
            for name, fold, a, b, bias, lost in rows
        ],
        columns=["feature", "fold", "power", "power_unadjusted", "mc_se", "bias", "not_tested"],
    )
    out["n_pairs"], out["n_pairs_low"] = n_pairs.mean(), np.quantile(n_pairs, 0.05)
    return out.assign(n_sims=n_sims)


def _draw(trial: TrialAssumptions, n_sims: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """Log2 values, (n_sims, features, participants, visits), NaN = no usable biopsy; and pairs per trial."""
    random = np.random.default_rng(seed)
    size = (n_sims, len(trial.folds), trial.n_enrolled)

    def normal() -> Array:
        shared = random.standard_normal((n_sims, 1, trial.n_enrolled))
        own = random.standard_normal(size)
        return np.asarray(np.sqrt(trial.correlation) * shared + np.sqrt(1 - trial.correlation) * own)

    level = trial.sd_between * normal()
    response = np.log2(list(trial.folds.values()))[None, :, None] + trial.sd_response * normal()
    values = np.stack([level + trial.sigma * normal(), level + response + trial.sigma * normal()], axis=-1)
    first = random.random((n_sims, trial.n_enrolled)) < trial.p_baseline
    second = first & (random.random((n_sims, trial.n_enrolled)) < trial.p_on)
    taken = np.stack([first, second], axis=-1)[:, None]
    return np.where(taken, values, np.nan), second.sum(axis=1)


_VISITS: Final = ("baseline", "on treatment")


def _study(values: Array, names: Sequence[str]) -> Study:
    """All trials as one study: each feature of each trial is a feature of its own."""
    n = values.shape[2]
    people = pd.Index([f"P{i:04d}" for i in range(n)], name="participant_id", dtype=object)
    ids = [f"{person}_{v}" for person in people for v in range(2)]
    biopsies = pd.DataFrame(
        {
            "participant_id": np.repeat(people.to_numpy(dtype=object), 2),
            "visit": np.tile(np.array(_VISITS, dtype=object), n),
            "study_day": pd.array([pd.NA] * (2 * n), dtype="Int64"),
        },
        index=pd.Index(ids, name="biopsy_id", dtype=object),
    )
    matrix = values.reshape(len(names), 2 * n).T
    var = pd.DataFrame(
        {"kind": "signature", "label": list(names)}, index=pd.Index(np.array(names, dtype=object))
    )
    adata = AnnData(np.ascontiguousarray(matrix), obs=pd.DataFrame(index=biopsies.index.copy()), var=var)
    spec = StudySpec("simulated", None, tuple(Visit(v) for v in _VISITS), {}, (), {})
    nothing = pd.DataFrame({"biopsy_id": pd.Series([], dtype=object)}, index=pd.Index([], dtype=object))
    study = Study(spec, pd.DataFrame(index=people), biopsies, nothing, nothing.copy())
    return study.with_assay("sim", adata)


def _plan() -> Plan:
    return Plan(
        formula="~ visit + (1|participant)",
        contrasts={"change": "on treatment - baseline"},
        families={},
        baseline=_VISITS[0],
    )


def adjusted(p: Array, method: str) -> Array:
    """Holm's or Benjamini and Hochberg's adjustment over the features of each trial, (trials, features).

    A feature without a test (NaN) is no member of its family.
    """
    order = np.argsort(np.where(np.isnan(p), np.inf, p), axis=1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=1)
    tests = np.isfinite(p).sum(axis=1, keepdims=True)
    rank = np.arange(1, p.shape[1] + 1)[None, :]
    if method == "holm":
        steps = np.maximum.accumulate(np.where(rank <= tests, (tests - rank + 1) * ranked, -np.inf), axis=1)
    else:
        steps = np.where(rank <= tests, ranked * tests / rank, np.inf)
        steps = np.minimum.accumulate(steps[:, ::-1], axis=1)[:, ::-1]
    out = np.empty_like(p)
    np.put_along_axis(out, order, np.minimum(steps, 1.0), axis=1)
    return np.where(np.isnan(p), np.nan, out)


def _check(
    *,
    n: int,
    fold: float,
    sd: float,
    alpha: float,
    sided: int,
    margin: float,
    power: float = 0.5,
) -> None:
    problems = Problems()
    for ok, said, name, value in (
        (n >= 2, "A paired test needs two pairs.", "n", n),
        (fold > 0, "A fold change is above 0.", "fold", fold),
        (margin > 0, "A margin is above 0.", "margin", margin),
        (sd > 0, "A standard deviation is above 0.", "sd", sd),
        (0 < alpha < 1, "A level lies between 0 and 1.", "alpha", alpha),
        (0 < power < 1, "A power lies between 0 and 1.", "power", power),
        (sided in {1, 2}, "A test has one or two sides.", "sided", sided),
    ):
        if not ok:
            problems.add("E-RULE-004", said, column=name, value=value)
    problems.raise_if_any()


def _check_trial(trial: TrialAssumptions, n_sims: int) -> None:
    problems = Problems()
    for ok, name, value in (
        (trial.n_enrolled >= 2, "n_enrolled", trial.n_enrolled),
        (len(trial.folds) > 0 and all(f > 0 for f in trial.folds.values()), "folds", dict(trial.folds)),
        (trial.sigma > 0, "sigma", trial.sigma),
        (trial.sd_between >= 0, "sd_between", trial.sd_between),
        (trial.sd_response >= 0, "sd_response", trial.sd_response),
        (0 < trial.p_baseline <= 1, "p_baseline", trial.p_baseline),
        (0 < trial.p_on <= 1, "p_on", trial.p_on),
        (0 <= trial.correlation <= 1, "correlation", trial.correlation),
        (0 < trial.alpha < 1, "alpha", trial.alpha),
        (trial.adjustment in {"holm", "bh"}, "adjustment", trial.adjustment),
        (n_sims >= 1, "n_sims", n_sims),
    ):
        if not ok:
            problems.add("E-RULE-004", "The assumption is out of its range.", column=name, value=value)
    problems.raise_if_any()
