"""The rules of response, as one frozen object that travels with every result."""

from __future__ import annotations

import dataclasses
from typing import Final

import pandas as pd

from pdbiomarker.errors import Problems

__all__ = ["EVALUABLE", "RANK", "RESPONSES", "ResponseRules"]

#: Every response, best first: the order in which a best response is chosen.
RESPONSES: Final = ("CR", "PR", "SD", "NON-CR/NON-PD", "PD", "NE", "ND", "MISSING")
RANK: Final = {response: rank for rank, response in enumerate(RESPONSES)}
#: Responses that tell how the tumour is: an adequate assessment.
EVALUABLE: Final = frozenset({"CR", "PR", "SD", "NON-CR/NON-PD", "PD"})
#: What each option is about, in words.
_SITUATIONS: Final = {
    "min_sd_days": "day from which stable disease is called so",
    "confirmation_days": "least days to the assessment that confirms a response",
    "max_ne_between": "assessments in between that may be not evaluable",
    "accept_sd_between": "one stable disease may stand between two partial responses",
    "missing_as_ne": "a participant without any assessment is not evaluable, not missing",
    "partial_fall_pct": "fall of the sum from baseline that is a partial response, percent",
    "progression_rise_pct": "rise of the sum from its nadir that is progression, percent",
    "progression_rise_mm": "rise of the sum from its nadir that is progression, mm",
    "node_normal_mm": "short axis below which a node is normal, mm",
    "too_small_mm": "what counts for a lesion too small to measure, mm",
}


@dataclasses.dataclass(frozen=True, slots=True)
class ResponseRules:
    """What RECIST 1.1 leaves to the protocol, and its limits.

    Attributes
    ----------
    min_sd_days : int
        Days from the first dose until stable disease may be called so; earlier it is not evaluable.
    confirmation_days : int
        Least days from a response to the assessment that confirms it.
    max_ne_between : int
        Assessments between the two that may be not evaluable.
    accept_sd_between : bool
        Whether one stable disease may stand between two partial responses.
    missing_as_ne : bool
        Whether a participant without any assessment is ``NE`` instead of ``MISSING``.
    partial_fall_pct : float
        Fall of the sum from baseline that is a partial response.
    progression_rise_pct, progression_rise_mm : float
        Rise of the sum from its nadir that is progression; both are needed.
    node_normal_mm : float
        A node with a shorter short axis is no longer pathological.
    too_small_mm : float
        What counts for a lesion that is present but too small to measure.

    Notes
    -----
    Eisenhauer et al. 2009, doi:10.1016/j.ejca.2008.10.026. The least duration of stable disease is the
    protocol's: six to eight weeks are usual.
    """

    min_sd_days: int = 42
    confirmation_days: int = 28
    max_ne_between: int = 1
    accept_sd_between: bool = False
    missing_as_ne: bool = False
    partial_fall_pct: float = 30.0
    progression_rise_pct: float = 20.0
    progression_rise_mm: float = 5.0
    node_normal_mm: float = 10.0
    too_small_mm: float = 5.0

    def __post_init__(self) -> None:
        """Refuse rules that no protocol can mean (E-RESP-008)."""
        problems = Problems()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, bool) and not 0 <= value <= 10_000:
                problems.add(
                    "E-RESP-008",
                    "A number of days, assessments, percent or millimetres is 0 or more.",
                    remedy=f"The default is {field.default}.",
                    column=field.name,
                    value=value,
                )
        problems.raise_if_any()

    def table(self) -> pd.DataFrame:
        """Give the rules as a table, in the columns of those of censoring: one row for each option."""
        rows = [
            ("response", situation, str(getattr(self, option)), "", option, str(getattr(self, option)))
            for option, situation in _SITUATIONS.items()
        ]
        return pd.DataFrame(rows, columns=["rules", "situation", "outcome", "date", "option", "value"])
