"""Methods of noise, responders and decisions, written from what was used: rules, parameters, error rates."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.decide import Review
from pdbiomarker.plot.decided import each_row
from pdbiomarker.plot.numbers import format_interval, format_number
from pdbiomarker.plot.select import Result, select
from pdbiomarker.report.options import true_effect

__all__ = ["decided_paragraphs"]

#: What a basis of noise leaves out or adds.
_BASES: Final = {
    "treated pairs": "the spread of the changes under treatment divided by sqrt(2), which also holds how "
    "differently participants respond and so bounds sigma from above",
    "replicate biopsies": "replicate biopsies of one visit",
    "untreated pairs": "pairs of biopsies without treatment between them",
}
_SCALES: Final = {"log2": "log2", "logit": "logit", "identity": "original"}


def decided_paragraphs(result: Result, review: Review | None) -> tuple[str, ...]:
    """Write the paragraphs on noise, responders, decisions and checks; none without a review.

    Parameters
    ----------
    result : PDResult
    review : Review or None
    """
    if review is None or not review.features:
        return ()
    paragraphs = [_noise(result, review), _responders(review), _rules(result, review), _checks(review)]
    return tuple(p for p in paragraphs if p)


def _label(result: Result, review: Review, reference: str) -> str:
    return select(result, reference, review.contrast).label


def _noise(result: Result, review: Review) -> str:
    if not len(review.noise):
        return ""
    told = [_of_one(_label(result, review, str(row["feature"])), row) for _, row in review.noise.iterrows()]
    parts = review.noise_components
    components = (
        " Variance components (participant, visit, lesion, biopsy and what lies within it, as far as the "
        "biopsies tell them apart) were estimated by restricted maximum likelihood, with generalised "
        "confidence limits (Weerahandi 1993)."
        if "variance" in parts and len(parts)
        else ""
    )
    return (
        "Noise: sigma is the standard deviation of one biopsy's value around its lesion at a visit, on the "
        f"model scale. {' '.join(told)}{components} The reference change value (RCV), also minimal "
        "detectable "
        "change, is the two-sided 95 % prediction limit of a change by noise alone, t(.025; df) "
        "sqrt(2) sigma."
    )


def _of_one(label: str, row: pd.Series) -> str:
    if not np.isfinite(float(row["sigma"])):
        return f"The noise of {label} is not known."
    limits = format_interval(row["sigma_low"], row["sigma_high"])
    size = f"{format_number(float(row['sigma']))} ({limits}; {format_number(float(row['df']))} df)"
    basis = str(row["basis"])
    source = f"; borrowed, from {str(row['source']).rstrip('.')}" if bool(row["borrowed"]) else ""
    limit = (
        f"{format_number(float(row['rcv_fold']))}-fold"
        if pd.notna(row["rcv_fold"])
        else format_number(float(row["rcv"]))
    )
    scale = _SCALES.get(str(row["scale"]), str(row["scale"]))
    return (
        f"For {label}, sigma was {size} on the {scale} scale, from "
        f"{_BASES.get(basis, basis)}{source}; its RCV is "
        f"{limit}."
    )


def _responders(review: Review) -> str:
    if not len(review.responders):
        return ""
    return (
        "A participant's change was called beyond noise where it passed the RCV, with its counting error "
        "in the place of the counting part of sigma where that part is known. Rates have Clopper-Pearson "
        "limits and stand beside the chance of one such call by noise alone."
    )


def _rules(result: Result, review: Review) -> str:
    rules = getattr(review.decisions, "rules", ())
    cohort = review.decisions.cohort
    if not rules or not len(cohort):
        return ""
    named = "; ".join(_rule(rule) for rule in rules)
    facts = review.declared
    locked = {True: "was declared", False: "was denied", None: "was not declared"}[facts.plan_locked]
    return (
        f"Decision rules, on the contrast {review.contrast}: {named}. The chance of each verdict was "
        "simulated "
        "for the rule as used, with this study's number of pairs, baselines and noise, estimated anew in "
        f"every simulated trial: {_rates(result, review.contrast, cohort)}. All simulated participants "
        "respond alike, so the chance at the "
        "true effect is optimistic. A verdict is at most consider where rule, feature and model were not "
        f"declared to be locked before unblinding (here it {locked}), where baseline and on-treatment "
        "samples "
        "share no staining run, and where the drug may cover the stained epitope."
    )


def _rule(rule: Any) -> str:
    doi = f", doi:{rule.doi}" if rule.doi else ""
    source = str(rule.source).rstrip(".")
    return f"{rule.name} ({rule.title}; from {rule.min_evaluable} evaluable pairs on; {source}{doi})"


def _rates(result: Result, contrast: str, cohort: pd.DataFrame) -> str:
    told = []
    for row in each_row(cohort):
        if pd.isna(row.p_if_inert):
            continue
        true = true_effect(result, contrast, row)
        inert, target = _share(row.p_if_inert), _share(row.p_if_target)
        chances = f"{inert} if the drug is inert, {target} if the effect is {true}"
        told.append(f"{row.rule} {row.verdict}, {chances}")
    return "; ".join(dict.fromkeys(told)) or "none could be given"


def _share(value: Any) -> str:
    return "–" if pd.isna(value) else f"{format_number(100 * float(value), 2)} %"


def _checks(review: Review) -> str:
    names = (
        list(dict.fromkeys(map(str, review.honesty_checks["check"]))) if len(review.honesty_checks) else []
    )
    return f"Checks of what else could have made the result: {', '.join(names)}." if names else ""
