"""Rules and what they saw, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pdbiomarker.decide.judge import NOT_EVALUABLE, Judged
from pdbiomarker.decide.rules import (
    Activity,
    BayesGmr,
    BayesRate,
    GmrMargin,
    RcvFraction,
    ResponderCount,
    Rule,
)
from pdbiomarker.noise import Scale

__all__ = ["criterion", "observed", "responder", "shown"]

Array = NDArray[np.float64]


def criterion(rule: Rule, scale: Scale = "log2") -> str:
    """The rule in words, as it is asked of a feature on that scale: the identity has points, no folds."""
    way = "rise" if rule.direction == "up" else "fall"
    if isinstance(rule, ResponderCount):
        return f"at least {rule.go_at_least} of {rule.of} participants: {responder(rule, scale)}"
    if isinstance(rule, BayesRate):
        who = responder(rule, scale)
        return f"P(rate of responders > {rule.rate:g}) > {rule.go_above:g}, stop < {rule.stop_below:g}: {who}"
    if isinstance(rule, RcvFraction):
        tail = (1 - rule.level) / 2
        limit = f"the {rule.level:.0%} prediction limit"
        return f"more than {tail:.2%} with a {way} beyond {limit} (p <= {rule.alpha:g})"
    if isinstance(rule, GmrMargin):
        mean, margin = _mean(rule.margin, rule.points, scale)
        return f"{mean} ({way}) above {margin}, one-sided p <= {rule.alpha:g}"
    if isinstance(rule, BayesGmr):
        mean, margin = _mean(rule.fold, rule.points, scale)
        return f"P({mean} ({way}) > {margin}) > {rule.go_above:g}, stop < {rule.stop_below:g}"
    return f"geometric mean ratio >= {rule.fold:g} and {rule.on_treatment:g} on treatment (clinical activity)"


def _mean(fold: float, points: float | None, scale: Scale) -> tuple[str, str]:
    """What a rule of means compares, and with what; a rule without points is told by its fold."""
    if scale == "identity" and points is not None:
        return "mean change", f"{points:g} points"
    return "geometric mean ratio", f"{fold:g}"


def responder(rule: ResponderCount | BayesRate, scale: Scale = "log2") -> str:
    """When a participant is a responder, in words."""
    participant, parts = rule.participant, []
    way = "rise" if rule.direction == "up" else "fall"
    in_points = scale == "identity" and participant.points is not None
    if participant.fold is not None and not in_points:
        parts.append(f"a {participant.fold:g}-fold {way}")
    if in_points or (participant.points is not None and participant.fold is None):
        parts.append(f"a {way} of {participant.points:g} points")
    if participant.sd_multiple is not None:
        of = "baselines" if participant.sd == "between_baselines" else "a biopsy (noise)"
        parts.append(f"a {way} of {participant.sd_multiple:g} SD of {of}")
    if participant.beyond_noise is not None:
        parts.append(f"a {way} beyond the {participant.beyond_noise:.0%} prediction limit")
    return " and ".join(parts)


def observed(rule: Rule, judged: Judged, *, baseline: Array, on: Array, scale: Scale) -> str:
    """What was seen of n participants, (n,) arrays on the model scale."""
    n = len(on)
    if int(judged.verdict[0]) == NOT_EVALUABLE and judged.responder is None:
        return f"{n} evaluable"
    value = float(judged.observed[0])
    if isinstance(rule, ResponderCount | RcvFraction):
        return f"{value:.0f} of {n}"
    mean = shown(float((on - baseline).mean()), scale)
    if isinstance(rule, GmrMargin):
        return f"{mean}, p {value:.3g}"
    if isinstance(rule, Activity):
        return f"{mean}, {2 ** float(on.mean()):.4g} on treatment"
    if isinstance(rule, BayesGmr):
        return f"{mean}, probability {value:.3f}"
    k = 0 if judged.responder is None else int(judged.responder[0].sum())
    return f"{k} of {n}, probability {value:.3f}"


def shown(change: float, scale: Scale) -> str:
    """A change on the model scale in words."""
    if scale == "identity":
        return f"{change:+.3g} points"
    return f"ratio {np.exp2(change):.3g}" if scale == "log2" else f"odds ratio {np.exp(change):.3g}"
