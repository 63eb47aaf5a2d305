r"""What a rule says of data: one code for real trials and simulated ones.

Arrays hold S trials of n evaluable participants. d is the change on the model scale (turned so that the asked
direction is up), s the estimated noise of one biopsy with its degrees of freedom.

- ``responder_count``: k responders; go where k >= r. With n participants instead of the declared N, more of
  them raise r to ceil(r n / N), and fewer are judged only where the missing ones could not change the
  verdict.
- ``rcv_fraction``: k beyond the prediction limit t(df) sqrt(2) s; p = P(Bin(n, (1 - level) / 2) >= k).
- ``gmr_margin``: t = (mean d - log margin) / (sd(d) / sqrt n) with n - 1 df.
- ``bayes_gmr``: P(mean > log fold | d) with the reference prior: Student t with n - 1 df.
- ``bayes_rate``: P(rate > p0 | k of n), Beta(k + 1/2, n - k + 1/2).
- ``clinical_activity``: mean d >= log fold and mean y on treatment >= log of the threshold.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from pdbiomarker.decide.rules import (
    Activity,
    BayesGmr,
    BayesRate,
    GmrMargin,
    Participant,
    RcvFraction,
    ResponderCount,
    Rule,
)
from pdbiomarker.noise import Scale

__all__ = ["VERDICTS", "Judged", "Trials", "judge", "threshold"]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.int64]

NOT_EVALUABLE, STOP, CONSIDER, GO = -1, 0, 1, 2
VERDICTS: Final = {NOT_EVALUABLE: "not evaluable", STOP: "stop", CONSIDER: "consider", GO: "go"}
_TIE: Final = 1e-12


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """S trials of one group of participants.

    Attributes
    ----------
    baseline, on : (S, n) arrays
        Model scale; every participant is evaluable.
    baselines : (S, m) array
        All baselines of the study, also those without a pair and of other groups.
    sigma : (S,) array
        Estimated noise of one biopsy; NaN where there is none.
    df : float
        Its degrees of freedom.
    scale : {"log2", "logit", "identity"}
    """

    baseline: Array
    on: Array
    baselines: Array
    sigma: Array
    df: float
    scale: Scale


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Verdicts of S trials.

    Attributes
    ----------
    verdict : (S,) array of int
        Keys of :data:`VERDICTS`.
    observed : (S,) array
        What the rule compares with its threshold: responders, p-value, probability, fold change.
    responder : (S, n) array of bool, or None
        Where the rule judges participants.
    limit : (S,) array or None
        Least change of a responder, model scale.
    reason : str
        Why nothing was judged, or how the rule was fitted to the number of participants.
    """

    verdict: Codes
    observed: Array
    responder: Flags | None = None
    limit: Array | None = None
    reason: str = ""


def threshold(fold: float, points: float | None, scale: Scale) -> float:
    """A fold change, or points, on the model scale; NaN where the scale has no folds and no points."""
    if scale == "log2":
        return float(np.log2(fold))
    if scale == "logit":
        return float(np.log(fold))
    return np.nan if points is None else float(points)


def judge(rule: Rule, trials: Trials) -> Judged:
    """Apply a rule to every trial."""
    n = trials.on.shape[1]
    sign = 1.0 if rule.direction == "up" else -1.0
    change = sign * (trials.on - trials.baseline)
    few = f"{n} evaluable pairs, the rule needs {rule.min_evaluable}" if n < rule.min_evaluable else ""
    own = isinstance(rule, ResponderCount | BayesRate | RcvFraction)
    if few and (n == 0 or not own):
        return _none(trials, few)
    found = _judge(rule, trials, change)
    if few and found.responder is not None:
        # Participants are called all the same; the group is too small.
        none = np.full(len(change), NOT_EVALUABLE)
        return dataclasses.replace(found, verdict=none, reason=few)
    return found


def _judge(rule: Rule, trials: Trials, change: Array) -> Judged:
    n = change.shape[1]
    if isinstance(rule, ResponderCount | BayesRate):
        limit, why = _limit(rule.participant, trials)
        if why:
            return _none(trials, why)
        responder = change >= limit[:, None] - _TIE
        count = responder.sum(axis=1)
        if isinstance(rule, BayesRate):
            return _rate(rule, count, n, responder, limit)
        return _count(rule, count, n, responder, limit)
    if isinstance(rule, RcvFraction):
        return _fraction(rule, change, trials)
    if isinstance(rule, Activity):
        return _activity(rule, change, trials)
    return _mean(rule, change, trials)


def _none(trials: Trials, reason: str) -> Judged:
    count = len(trials.on)
    return Judged(np.full(count, NOT_EVALUABLE), np.full(count, np.nan), reason=reason)


def _limit(participant: Participant, trials: Trials) -> tuple[Array, str]:
    """Least change of a responder in each trial; a reason where it cannot be told."""
    limits = []
    sizes = np.ones(len(trials.on))
    if participant.fold is not None or participant.points is not None:
        least = threshold(participant.fold or 1.0, participant.points, trials.scale)
        if participant.fold is None and trials.scale != "identity":
            least = np.nan
        if np.isnan(least):
            return sizes, f"the rule has no threshold for the {trials.scale} scale"
        limits.append(least * sizes)
    if participant.sd_multiple is not None:
        sd = trials.sigma
        if participant.sd == "between_baselines":
            if trials.baselines.shape[1] < 3:
                return sizes, "fewer than three baselines tell no standard deviation between them"
            sd = trials.baselines.std(axis=1, ddof=1)
        limits.append(participant.sd_multiple * sd)
    if participant.beyond_noise is not None:
        limits.append(_prediction(participant.beyond_noise, trials))
    limit = np.max(limits, axis=0)
    return limit, "" if np.isfinite(limit).all() else "the noise of the feature is not known"


def _prediction(level: float, trials: Trials) -> Array:
    return np.asarray(stats.t.isf((1 - level) / 2, trials.df) * np.sqrt(2) * trials.sigma)


def _count(rule: ResponderCount, count: Codes, n: int, responder: Flags, limit: Array) -> Judged:
    need, reason = rule.go_at_least, ""
    if n > rule.of:
        need = int(np.ceil(rule.go_at_least * n / rule.of - _TIE))
        reason = f"{n} evaluable instead of {rule.of}: at least {need} needed"
    missing = max(rule.of - n, 0)
    if missing:
        reason = f"{n} evaluable instead of {rule.of}: judged only where the others could not matter"
    verdict = np.where(count >= need, GO, STOP)
    if rule.consider_at_least is not None:
        low = rule.consider_at_least
        if n > rule.of:
            low = int(np.ceil(low * n / rule.of - _TIE))
        verdict = np.where((count >= low) & (count < need), CONSIDER, verdict)
    if missing:
        verdict = np.where((count < need) & (count + missing >= need), NOT_EVALUABLE, verdict)
    return Judged(verdict, count.astype(float), responder, limit, reason)


def _rate(rule: BayesRate, count: Codes, n: int, responder: Flags, limit: Array) -> Judged:
    above = special.betaincc(count + 0.5, n - count + 0.5, rule.rate)
    return Judged(_three_ways(above, rule.go_above, rule.stop_below), above, responder, limit)


def _three_ways(probability: Array, go: float, stop: float) -> Codes:
    return np.where(probability > go, GO, np.where(probability < stop, STOP, CONSIDER))


def _fraction(rule: RcvFraction, change: Array, trials: Trials) -> Judged:
    limit = _prediction(rule.level, trials)
    if not np.isfinite(limit).all():
        return _none(trials, "the noise of the feature is not known")
    responder = change > limit[:, None]
    count = responder.sum(axis=1)
    p = stats.binom.sf(count - 1, change.shape[1], (1 - rule.level) / 2)
    verdict = np.where(p <= rule.alpha, GO, np.where(p <= rule.consider_alpha, CONSIDER, STOP))
    return Judged(verdict, count.astype(float), responder, limit)


def _mean(rule: GmrMargin | BayesGmr, change: Array, trials: Trials) -> Judged:
    """Rules of the mean change: its t-test against a margin, or the posterior with the reference prior."""
    fold = rule.margin if isinstance(rule, GmrMargin) else rule.fold
    margin = threshold(fold, rule.points, trials.scale)
    if np.isnan(margin):
        return _none(trials, f"the rule has no margin for the {trials.scale} scale")
    n = change.shape[1]
    mean, se = change.mean(axis=1), change.std(axis=1, ddof=1) / np.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (mean - margin) / se
    if isinstance(rule, BayesGmr):
        above = special.stdtr(n - 1, t)
        return Judged(_three_ways(above, rule.go_above, rule.stop_below), above)
    p = special.stdtr(n - 1, -t)
    return Judged(np.where(p <= rule.alpha, GO, np.where(mean > margin, CONSIDER, STOP)), p)


def _activity(rule: Activity, change: Array, trials: Trials) -> Judged:
    if trials.scale != "log2":
        return _none(trials, "the rule is for densities")
    mean, on = change.mean(axis=1), trials.on.mean(axis=1)
    both = (mean >= np.log2(rule.fold) - _TIE) & (on >= np.log2(rule.on_treatment) - _TIE)
    # A rule of clinical activity is no gate of pharmacodynamics: never above consider.
    return Judged(np.where(both, CONSIDER, STOP), np.exp2(mean))
