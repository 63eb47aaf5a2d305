"""What the columns of the complete results mean, with units: a sheet of the workbook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["MEANINGS"]

_SCALE: Final = "model scale: log2, logit, or the feature's unit"
_EFFECT: Final = "as effect_unit says"

#: Column to unit and meaning.
MEANINGS: Final[Mapping[str, tuple[str, str]]] = {
    "assay": ("", "the assay of the study"),
    "feature": ("", "what was measured; in tables of decisions and noise assay:feature"),
    "label": ("", "the feature for people"),
    "kind": ("", "what kind of number it is: count, density, proportion, score, signature, intensity"),
    "family": ("", "family of the plan within which p is adjusted"),
    "contrast": ("", "which visits are compared, by the plan's name"),
    "set": ("", "analysis set"),
    "estimate": (_SCALE, "estimated contrast"),
    "se": (_SCALE, "standard error of the estimate"),
    "df": ("", "degrees of freedom of the t distribution"),
    "p": ("0 to 1", "two-sided, not adjusted"),
    "q": ("0 to 1", "adjusted p, by the method in the column adjustment"),
    "ci_low": (_SCALE, "lower 95 % limit of the estimate"),
    "ci_high": (_SCALE, "upper 95 % limit of the estimate"),
    "effect": (_EFFECT, "the estimate as people read it: a ratio, or units"),
    "effect_low": (_EFFECT, "lower 95 % limit of the effect"),
    "effect_high": (_EFFECT, "upper 95 % limit of the effect"),
    "effect_unit": ("", "unit of the effect"),
    "n_participants": ("participants", "who contribute to the row"),
    "n_pairs": ("pairs", "participants with both visits"),
    "n_biopsies": ("biopsies", "used in the row"),
    "status": ("", "ok, or why there is no plain estimate"),
    "change": (_SCALE, "a participant's own change"),
    "baseline_value": ("the feature's unit", "value at the earlier visit"),
    "on_value": ("the feature's unit", "value at the later visit"),
    "study_day": ("days", "day 1 is the day of the first dose; there is no day 0"),
    "days_between": ("days", "between the two biopsies of a pair"),
    "dose_mg": ("mg", "dose level"),
    "hours_since_first_dose": ("h", "from the first dose to the biopsy"),
    "hours_since_last_dose": ("h", "from the last dose before it to the biopsy"),
    "cumulative_dose": ("as dose_unit says", "received before the biopsy"),
    "sigma": (_SCALE, "noise of one biopsy's value around its lesion"),
    "rcv": (_SCALE, "95 % prediction limit of a change by noise alone"),
    "rcv_fold": ("ratio", "the same as a fold change"),
    "chance_by_noise": ("0 to 1", "of one such call by noise alone"),
    "p_if_inert": ("0 to 1", "chance of this verdict where the drug does nothing"),
    "p_if_target": ("0 to 1", "chance of this verdict at the true effect in the column target"),
    "tissue_mm2": ("mm²", "tissue on the slide that was analysed"),
    "library_size": ("reads", "reads of the library or biopsy"),
    "mpp": ("um", "size of a pixel"),
    "median_days": ("days", "Kaplan-Meier median"),
    "pfs_days": ("days", "from the first dose to progression, death or censoring"),
    "best_size_change_pct": ("%", "lowest change of the sum of diameters"),
    "auc_to_biopsy": ("as clinical_pk_units says", "area under the concentration from first dose to biopsy"),
    "concentration": ("as clinical_pk_units says", "measured concentration"),
}
