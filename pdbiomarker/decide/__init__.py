"""Decisions: named rules with their operating characteristics, planning, and honesty checks.

`review_of` makes everything of a result at once, a `Review`: noise, responders, decisions, trend, checks.
`decide` applies rules to a result; `preset` and `read_rule` give rules; `operating_characteristics` says how
often a rule errs; `power_table`, `enrol_for` and `simulate_power` plan a trial; the checks (`leave_one_out`,
`regression_to_the_mean` and the others) ask what else could have made the result.
"""

from .aliasing import analysis_sets, batch_and_visit, dose_and_time
from .asked import review_of_plan
from .checks import checks_table, honesty_checks
from .evaluate import DECISION_COLUMNS, Decisions, decide
from .honesty import (
    Check,
    leave_one_out,
    missing_second_biopsy,
    offset_sensitivity,
    regression_to_the_mean,
    reliability_of,
    threshold_sensitivity,
    unpaired_baselines,
)
from .inputs import DecideOptions, Declared
from .operating import Setting, count_probability, operating_characteristics
from .planning import (
    Enrolment,
    TrialAssumptions,
    enrol_for,
    evaluable_of,
    pairs_for_power,
    power_of_pairs,
    power_table,
    simulate_power,
)
from .review import Review, features_to_decide, primary_features, review_of
from .rules import (
    NOT_BY_DEFAULT,
    Activity,
    BayesGmr,
    BayesRate,
    GmrMargin,
    Participant,
    RcvFraction,
    ResponderCount,
    Rule,
    default_presets,
    preset,
    presets,
    read_rule,
    rule_sha256,
)
from .trend import dose_levels, dose_trend

__all__ = [
    "DECISION_COLUMNS",
    "NOT_BY_DEFAULT",
    "Activity",
    "BayesGmr",
    "BayesRate",
    "Check",
    "DecideOptions",
    "Decisions",
    "Declared",
    "Enrolment",
    "GmrMargin",
    "Participant",
    "RcvFraction",
    "ResponderCount",
    "Review",
    "Rule",
    "Setting",
    "TrialAssumptions",
    "analysis_sets",
    "batch_and_visit",
    "checks_table",
    "count_probability",
    "decide",
    "default_presets",
    "dose_and_time",
    "dose_levels",
    "dose_trend",
    "enrol_for",
    "evaluable_of",
    "features_to_decide",
    "honesty_checks",
    "leave_one_out",
    "missing_second_biopsy",
    "offset_sensitivity",
    "operating_characteristics",
    "pairs_for_power",
    "power_of_pairs",
    "power_table",
    "preset",
    "presets",
    "primary_features",
    "read_rule",
    "regression_to_the_mean",
    "reliability_of",
    "review_of",
    "review_of_plan",
    "rule_sha256",
    "simulate_power",
    "threshold_sensitivity",
    "unpaired_baselines",
]
