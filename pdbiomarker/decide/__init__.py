"""Decisions: named rules with their operating characteristics, planning, and honesty checks.

`decide` applies rules to a result; `preset` and `read_rule` give rules; `operating_characteristics` says how
often a rule errs; `power_table`, `enrol_for` and `simulate_power` plan a trial; the checks (`leave_one_out`,
`regression_to_the_mean` and the others) ask what else could have made the result.
"""

from .aliasing import analysis_sets, batch_and_visit, dose_and_time
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
from .rules import (
    Activity,
    BayesGmr,
    BayesRate,
    GmrMargin,
    Participant,
    RcvFraction,
    ResponderCount,
    Rule,
    preset,
    presets,
    read_rule,
    rule_sha256,
)

__all__ = [
    "DECISION_COLUMNS",
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
    "Rule",
    "Setting",
    "TrialAssumptions",
    "analysis_sets",
    "batch_and_visit",
    "checks_table",
    "count_probability",
    "decide",
    "dose_and_time",
    "enrol_for",
    "evaluable_of",
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
    "read_rule",
    "regression_to_the_mean",
    "reliability_of",
    "rule_sha256",
    "simulate_power",
    "threshold_sensitivity",
    "unpaired_baselines",
]
