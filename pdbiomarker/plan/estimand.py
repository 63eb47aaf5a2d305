"""The estimand in words: population, treatment, variable, intercurrent events and summary measure.

The five attributes are those of ICH E9(R1), Addendum on Estimands and Sensitivity Analysis in Clinical Trials
(step 4 of 20 November 2019), section A.3.3. What study and plan do not say is said to be missing, not
guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import pandas as pd

from pdbiomarker.plan.intercurrent import STRATEGIES
from pdbiomarker.plan.model import Plan
from pdbiomarker.study import AdequacyRule, Study, Visit

__all__ = ["ATTRIBUTES", "estimand_of"]

#: The attributes, in order, by their key.
ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "population": "Population",
        "treatment": "Treatment condition",
        "variable": "Variable",
        "intercurrent_events": "Intercurrent events",
        "summary_measure": "Population-level summary",
    }
)
_MEASURES: Final[Mapping[str, str]] = {
    "density": "ratio of geometric means",
    "intensity": "ratio of geometric means",
    "count": "fold change of geometric means of normalised counts",
    "proportion": "odds ratio",
    "score": "difference of means (points)",
    "signature": "difference of means (units of the score)",
}
_MOST: Final = 8


def estimand_of(study: Study, plan: Plan) -> dict[str, str]:
    """Write the estimand of a study and its plan in words.

    Parameters
    ----------
    study : Study
        With its assays, if the summary measure of a whole assay is to be named by kind.
    plan : Plan

    Returns
    -------
    dict of attribute to sentence
        The keys of :data:`ATTRIBUTES`, in order.
    """
    return {
        "population": _population(study),
        "treatment": _treatment(study),
        "variable": _variable(study, plan),
        "intercurrent_events": _events(plan),
        "summary_measure": _summary(study, plan),
    }


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_MOST])
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(shown) + more


def _population(study: Study) -> str:
    people = study.participants
    tumours = _levels(people, "tumor_type")
    rules = [f"{column} {_required(rule)}" for column, rule in study.spec.adequacy.items()]
    adequate = f" Biopsies count where they are adequate ({'; '.join(rules)})." if rules else ""
    kinds = f" with {_listed(tumours)}" if tumours else " (tumour types not recorded)"
    return (
        f"Participants enrolled in {study.spec.id}{kinds} and biopsied; n = {len(people)}.{adequate} "
        "Participants with one usable biopsy of two contribute to the model."
    )


def _required(rule: AdequacyRule) -> str:
    """What a rule asks, in words: ``10 or more``, ``Pass or Pass at Risk``."""
    asked = [" or ".join(rule.allowed)] if rule.allowed else []
    asked += [f"{rule.min:g} or more"] if rule.min is not None else []
    asked += [f"{rule.max:g} or less"] if rule.max is not None else []
    where = f" in {', '.join(rule.assays)}" if rule.assays else ""
    return (", ".join(asked) or "as required") + where


def _levels(frame: pd.DataFrame, column: str) -> list[str]:
    if column not in frame:
        return []
    values = frame[column].dropna()
    if pd.api.types.is_numeric_dtype(values):
        return [f"{value:g}" for value in sorted(set(values.tolist()))]
    return sorted({str(value) for value in values})


def _treatment(study: Study) -> str:
    doses, cohorts = _levels(study.participants, "dose_mg"), _levels(study.participants, "cohort")
    told = [f"{_listed(doses)} mg"] if doses else []
    told += [f"cohort {_listed(cohorts)}"] if cohorts else []
    return (
        f"The study's treatment as assigned ({'; '.join(told) or 'doses and cohorts not recorded'}), "
        "compared with the same participants before treatment; no untreated arm, so that changes without "
        "treatment are not told from those by it."
    )


def _window(visit: Visit) -> str:
    if visit.low is None or visit.high is None:
        return visit.name
    return f"{visit.name} (days {visit.low} to {visit.high})"


def _variable(study: Study, plan: Plan) -> str:
    primary = plan.families.get("primary", ())
    names = (
        f"The primary family: {_listed(list(primary))}"
        if primary
        else "Every feature (no primary family named)"
    )
    contrasts = [f"{name} = {text}" for name, text in plan.contrasts.items()]
    visits = ", ".join(_window(visit) for visit in study.spec.visits)
    return f"{names}; contrasts of visits: {_listed(contrasts)}; visits {visits}."


def _events(plan: Plan) -> str:
    if not plan.events:
        return (
            "None declared: every measured value counts, whatever happened between the biopsies "
            "(treatment policy by default)."
        )
    told = []
    for event in plan.events:
        washout = "" if event.washout_days is None else f", washout {event.washout_days} days"
        strategy = event.strategy.replace("_", " ")
        told.append(f"{event.words}: {strategy} ({STRATEGIES[event.strategy]}{washout})")
    return "; ".join(told) + ". A missing second biopsy: missing at random given what is observed."


def _summary(study: Study, plan: Plan) -> str:
    kinds: dict[str, None] = {}
    for reference in plan.families.get("primary", tuple(study.assays)):
        assay, _, feature = reference.partition(":")
        if assay in study.assays:
            var = study.assays[assay].var
            own = var["kind"].astype(str)
            mine = own[[str(f).startswith(feature) for f in var.index]] if feature else own
            kinds |= dict.fromkeys(mine)
    measures = list(dict.fromkeys(_MEASURES[kind] for kind in kinds if kind in _MEASURES))
    measure = " or ".join(measures) if measures else "mean change on the model scale"
    test = {
        "permutation": "p by sign flips of the participants' changes",
        "kenward-roger": "Kenward-Roger degrees of freedom",
        "satterthwaite": "Satterthwaite degrees of freedom",
        "residual": "residual degrees of freedom",
    }[plan.ddf]
    return (
        f"The {measure} between the visits, with a 95 % confidence interval, by the mixed model "
        f"{plan.formula} (restricted maximum likelihood, {test}), analysis set strict."
    )
