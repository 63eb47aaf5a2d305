"""Why a biopsy was not taken, in the words that are counted: reasons as sites write them, grouped.

participants.csv may say it in `missing_biopsy_reason` (of any visit), or in `missing_biopsy_reason_<visit>`.
The groups are those of reports on serial biopsies; a lesion that is gone is a response, and is never counted
as a failure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import pandas as pd

__all__ = ["NOT_RECORDED", "group_of_code", "missing_reason"]

NOT_RECORDED: Final = "no biopsy, reason not recorded"

#: Words of a reason, and its group; the first that fits.
_GONE: Final = r"(gone|regress|disappear|resol)"
_GROUPS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), group)
    for pattern, group in (
        (rf"lesion.*{_GONE}|{_GONE}.*lesion|\bresponse\b|\bcr\b", "lesion gone (response)"),
        (r"no.*(safe|access|lesion|target)|inaccess|not.*(safe|access|feasible)|unsafe", "no safe lesion"),
        (r"progress|\bpd\b", "disease progression"),
        (r"adverse|toxic|\bae\b|\bsae\b|dlt", "adverse event"),
        (r"death|died|dead", "death"),
        (r"refus|withdr|declin|consent|\bwish", "refusal or withdrawal"),
        (r"schedul|logist|technical|covid|capacity|missed", "logistics"),
    )
)
_OF_CODE: Final[Mapping[str, str]] = {
    "E-SHEET-017": "column of the model unknown",
    "E-PAIR-001": "before the first dose",
    "E-PAIR-002": "outside the window",
    "E-PAIR-003": "day 1 without a time",
    "E-PAIR-004": "visit contradicts day",
    "E-PAIR-005": "not adequate",
    "E-PAIR-006": "other biopsy chosen",
    "E-PAIR-007": NOT_RECORDED,
    "E-PAIR-008": "not measured",
    "E-PAIR-009": "visit unknown",
    "E-PAIR-010": "archival tissue only",
    "E-PAIR-012": "partial date",
    "E-PAIR-013": "regression bed",
    "E-PAIR-014": "after the data cut-off",
    "E-PAIR-015": "other lesion or lymph node",
    "E-PAIR-016": "no consent",
    "E-PLAN-014": "intercurrent event",
}


def group_of_code(code: str) -> str:
    """Give the group of a loss by the code of the biopsy's row."""
    return "override" if code.startswith("E-OVERRIDE") else _OF_CODE.get(code, "other")


def missing_reason(participant: pd.Series, visit: str) -> tuple[str, str]:
    """Say why a participant has no biopsy at a visit.

    Parameters
    ----------
    participant : Series
        A row of participants.csv.
    visit : str

    Returns
    -------
    tuple of str
        The group, and the words of the sheet (empty where nothing is recorded).

    Examples
    --------
    >>> missing_reason(pd.Series({"missing_biopsy_reason": "pt refused"}), "C2D1")
    ('refusal or withdrawal', 'pt refused')
    """
    for column in (f"missing_biopsy_reason_{visit}", "missing_biopsy_reason"):
        text = participant.get(column)
        if isinstance(text, str) and text.strip():
            group = next((g for pattern, g in _GROUPS if pattern.search(text)), "no biopsy, other reason")
            return group, text.strip()
    return NOT_RECORDED, ""
