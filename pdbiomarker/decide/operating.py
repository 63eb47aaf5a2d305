r"""Operating characteristics: how often a rule gives each verdict when the truth is known.

Simulated for the rule as used: the same code judges simulated trials and the real one. A trial has the
participants, the noise and the baselines that the real one has,

    baseline_i = b_i + e_i,   on_i = b_i + log(fold) + r_i + f_i,
    e, f ~ N(0, sigma^2),     r ~ N(0, sd_response^2),

and its noise is estimated anew, sigma sqrt(chi2_df / df), where the real one was estimated with df degrees of
freedom. Probabilities carry their Monte Carlo error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from pdbiomarker.decide.judge import CONSIDER, GO, NOT_EVALUABLE, STOP, Trials, judge, threshold
from pdbiomarker.decide.rules import Rule
from pdbiomarker.errors import Problems
from pdbiomarker.noise import Noise

__all__ = ["Setting", "count_probability", "operating_characteristics"]

_COLUMNS: Final = {"p_go": GO, "p_consider": CONSIDER, "p_stop": STOP, "p_not_evaluable": NOT_EVALUABLE}


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """The trial that a rule is used in.

    Attributes
    ----------
    n : int
        Evaluable pairs of the group that is judged.
    n_baselines : int
        Baselines of the whole study; at least n.
    baseline_mean, baseline_sd : float
        Of participants' baselines, model scale, noise of one biopsy included.
    sd_response : float
        Standard deviation of true changes between participants, model scale.
    """

    n: int
    n_baselines: int = 0
    baseline_mean: float = 0.0
    baseline_sd: float = 1.0
    sd_response: float = 0.0


def count_probability(n: int, at_least: int, rate: float, *, endpoints: int = 1) -> float:
    """Probability of at least `at_least` of `n` independent responders, in at least one of the endpoints.

    Endpoints count as independent, which those of one biopsy are not.

    Examples
    --------
    >>> [round(count_probability(3, 2, rate), 3) for rate in (0.8, 0.1)]
    [0.896, 0.028]
    """
    once = float(stats.binom.sf(at_least - 1, n, rate))
    return 1 - (1 - once) ** endpoints


def operating_characteristics(
    rule: Rule,
    noise: Noise,
    setting: Setting,
    *,
    truths: Sequence[float] | None = None,
    n_sims: int = 10_000,
    seed: int = 1,
) -> pd.DataFrame:
    """Simulate how often a rule says go, consider and stop under stated truths.

    Parameters
    ----------
    rule : Rule
    noise : Noise
        Its sigma is taken as the truth; its df say how well the trial knows it.
    setting : Setting
    truths : sequence of float, optional
        True fold changes in the rule's direction (points on the identity scale), besides no change; default
        the rule's own.
    n_sims, seed : int
        Trials per truth.

    Returns
    -------
    DataFrame
        ``rule, n, truth, inert`` (no change), ``sigma, sigma_df, sd_response, p_go, p_consider, p_stop,
        p_not_evaluable, p_responder`` (of a participant, NaN where the rule judges none), ``mc_se`` (the
        largest Monte Carlo standard error of these), ``n_sims, method``.

    Raises
    ------
    InputError
        E-RULE-004: fewer than one pair or 100 simulations, or a negative standard deviation.
    """
    _check(setting, n_sims)
    scale = noise.scale
    none = 0.0 if scale == "identity" else 1.0
    asked = [*(rule.truths if truths is None else truths)]
    rows = []
    for truth in dict.fromkeys([none, *asked]):
        effect = threshold(truth, truth, scale) * (1.0 if rule.direction == "up" else -1.0)
        trials = _simulate(noise, setting, effect, n_sims=n_sims, seed=seed)
        found = judge(rule, trials)
        row: dict[str, object] = {"rule": rule.name, "n": setting.n, "truth": truth, "inert": truth == none}
        row |= {"sigma": noise.sigma, "sigma_df": noise.df, "sd_response": setting.sd_response}
        shares = {name: float((found.verdict == code).mean()) for name, code in _COLUMNS.items()}
        row |= shares
        row["p_responder"] = np.nan if found.responder is None else float(found.responder.mean())
        row["mc_se"] = max(float(np.sqrt(p * (1 - p) / n_sims)) for p in shares.values())
        rows.append(row | {"n_sims": n_sims, "method": "simulated, the rule as used"})
    return pd.DataFrame(rows)


def _simulate(noise: Noise, setting: Setting, effect: float, *, n_sims: int, seed: int) -> Trials:
    random = np.random.default_rng(seed)
    n, m = setting.n, max(setting.n_baselines, setting.n)
    between = np.sqrt(max(setting.baseline_sd**2 - noise.sigma**2, 0.0))
    truth = setting.baseline_mean + between * random.standard_normal((n_sims, m))
    baselines = truth + noise.sigma * random.standard_normal((n_sims, m))
    response = effect + setting.sd_response * random.standard_normal((n_sims, n))
    on = truth[:, :n] + response + noise.sigma * random.standard_normal((n_sims, n))
    sigma = np.full(n_sims, noise.sigma)
    if np.isfinite(noise.df):
        sigma = noise.sigma * np.sqrt(random.chisquare(noise.df, n_sims) / noise.df)
    return Trials(baselines[:, :n], on, baselines, sigma, noise.df, noise.scale)


def _check(setting: Setting, n_sims: int) -> None:
    problems = Problems()
    if setting.n < 1:
        problems.add("E-RULE-004", "A group has one pair at least.", column="n", value=setting.n)
    if n_sims < 100:
        problems.add(
            "E-RULE-004", "Fewer than 100 simulations tell no probability.", column="n_sims", value=n_sims
        )
    if setting.baseline_sd < 0 or setting.sd_response < 0:
        problems.add("E-RULE-004", "A standard deviation is not negative.", column="baseline_sd, sd_response")
    problems.raise_if_any()
