"""The analysis plan: frozen, read from YAML, hashed; it travels with every result.

``model`` holds the plan and reads it, ``columns`` says what its formula and contrasts may name, ``structure``
which random terms and contrasts are estimated.
"""

from pdbiomarker.plan.columns import formula_levels
from pdbiomarker.plan.estimand import ATTRIBUTES, estimand_of
from pdbiomarker.plan.intercurrent import (
    STRATEGIES,
    Event,
    Happened,
    check_event,
    read_event,
    undeclared_events,
)
from pdbiomarker.plan.lock import (
    DEVIATION_COLUMNS,
    LockStatus,
    declared_of,
    lock_status,
    locked_content,
    rule_is_locked,
)
from pdbiomarker.plan.model import DEFAULT_CHOICE, DEFAULT_FORMULA, FILE, Plan
from pdbiomarker.plan.structure import Fault, contrast_fault, random_faults

__all__ = [
    "ATTRIBUTES",
    "DEFAULT_CHOICE",
    "DEFAULT_FORMULA",
    "DEVIATION_COLUMNS",
    "FILE",
    "STRATEGIES",
    "Event",
    "Fault",
    "Happened",
    "LockStatus",
    "Plan",
    "check_event",
    "contrast_fault",
    "declared_of",
    "estimand_of",
    "formula_levels",
    "lock_status",
    "locked_content",
    "random_faults",
    "read_event",
    "rule_is_locked",
    "undeclared_events",
]
