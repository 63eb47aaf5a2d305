"""The analysis plan: frozen, read from YAML, hashed; it travels with every result.

``model`` holds the plan and reads it, ``columns`` says what its formula and contrasts may name, ``structure``
which random terms and contrasts are estimated.
"""

from pdbiomarker.plan.columns import formula_levels
from pdbiomarker.plan.model import DEFAULT_CHOICE, DEFAULT_FORMULA, FILE, Plan
from pdbiomarker.plan.structure import Fault, contrast_fault, random_faults

__all__ = [
    "DEFAULT_CHOICE",
    "DEFAULT_FORMULA",
    "FILE",
    "Fault",
    "Plan",
    "contrast_fault",
    "formula_levels",
    "random_faults",
]
