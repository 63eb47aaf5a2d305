"""The clinical sheets of a study folder: one table says what each may hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final, Literal

__all__ = ["SHEETS", "ClinicalColumn", "ClinicalSheet"]

Kind = Literal[
    "name", "word", "number", "whole", "date", "amount unit", "concentration unit", "concentration", "titre"
]

_YES: Final = {
    **dict.fromkeys(("yes", "y", "true", "1"), "yes"),
    **dict.fromkeys(("no", "n", "false", "0"), "no"),
}
_POSITIVE: Final = {"positive": "positive", "negative": "negative", "pos": "positive", "neg": "negative"}


@dataclasses.dataclass(frozen=True, slots=True)
class ClinicalColumn:
    """What a column holds.

    Attributes
    ----------
    kind : str
        ``name`` (text), ``word`` (one of `words`), ``number``, ``whole``, ``date`` (ISO, may be partial),
        ``amount unit``, ``concentration unit``, ``concentration`` (a number, or a text for below the limit),
        ``titre`` (a number, or ``<`` the lowest dilution).
    needed : bool
        The sheet must have the column, and every row a value.
    low, high : float or None
        The closed range of a number.
    words : mapping of str to str
        How a word may be typed, in lower case, and how it is read.
    """

    kind: Kind
    needed: bool = False
    low: float | None = None
    high: float | None = None
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class ClinicalSheet:
    """What a sheet holds beside participant_id.

    Attributes
    ----------
    columns : mapping of name to ClinicalColumn
        The first date column is the sheet's own: a row whose own date lies after the cut-off is set aside
        whole, of any other date only the cell.
    key : tuple of str
        Columns that, with the participant, make a record.
    when : tuple of str
        Each row needs one of these; empty: none.
    brings : mapping of column to column
        A value in the first needs one in the second.
    spans : tuple of (str, str)
        Dates of which the second may not lie before the first.
    seen : tuple of str
        Dates on which the participant was seen: of one after the cut-off it stays known that the participant
        was there on the cut-off.
    """

    columns: Mapping[str, ClinicalColumn]
    key: tuple[str, ...]
    when: tuple[str, ...] = ()
    brings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    spans: tuple[tuple[str, str], ...] = ()
    seen: tuple[str, ...] = ()

    @property
    def dates(self) -> tuple[str, ...]:
        """Its date columns, in order."""
        return tuple(name for name, column in self.columns.items() if column.kind == "date")

    @property
    def own_date(self) -> str | None:
        """The date of the row itself, where the sheet has one."""
        return self.dates[0] if self.key else None

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that the sheet must have."""
        return tuple(name for name, column in self.columns.items() if column.needed)


def _words(*words: str, **more: str) -> ClinicalColumn:
    return ClinicalColumn("word", words={**{word.casefold(): word for word in words}, **more})


def _needed(column: ClinicalColumn) -> ClinicalColumn:
    return dataclasses.replace(column, needed=True)


_NAME: Final = ClinicalColumn("name")
_DATE: Final = ClinicalColumn("date")
_YES_NO: Final = ClinicalColumn("word", words=_YES)
_SIGN: Final = ClinicalColumn("word", words=_POSITIVE)
_FROM_0: Final = ClinicalColumn("number", low=0)
_HOURS: Final = ClinicalColumn("number", low=-20_000, high=500_000)
_STUDY_DAY: Final = ClinicalColumn("whole", low=-20_000, high=20_000)

#: Every sheet that clinical/ may hold, by the name of its file.
SHEETS: Final[Mapping[str, ClinicalSheet]] = {
    "doses": ClinicalSheet(
        columns={
            "start": _needed(_DATE),
            "end": _DATE,
            "amount": _FROM_0,
            "unit": ClinicalColumn("amount unit"),
            "cycle": ClinicalColumn("whole", low=1, high=1000),
            "day": ClinicalColumn("whole", low=1, high=1000),
            "planned_amount": _FROM_0,
            "status": _words("given", "held", "reduced", "interrupted", "stopped"),
        },
        key=("start",),
        when=("start",),
        brings={"amount": "unit", "planned_amount": "unit"},
        spans=(("start", "end"),),
    ),
    "concentrations": ClinicalSheet(
        columns={
            "datetime": _DATE,
            "time_h": _HOURS,
            "nominal_time_h": _HOURS,
            "analyte": _NAME,
            "concentration": _needed(ClinicalColumn("concentration")),
            "unit": _needed(ClinicalColumn("concentration unit")),
            "lloq": _FROM_0,
            "specimen": _NAME,
        },
        key=("datetime", "time_h", "analyte", "specimen"),
        when=("datetime", "time_h"),
    ),
    "lesions": ClinicalSheet(
        columns={
            "date": _needed(_DATE),
            "lesion_id": _needed(_NAME),
            "role": _needed(_words("target", "non-target", "new", nontarget="non-target")),
            "diameter_mm": ClinicalColumn("number", low=0, high=1000),
            "node": _YES_NO,
            "state": _words(
                "absent",
                "present",
                "progression",
                "not evaluable",
                "measured",
                "too small",
                "equivocal",
                "unequivocal",
                "unequivocal progression",
                ne="not evaluable",
                disappeared="absent",
                **{"too small to measure": "too small"},
            ),
            "visit": _NAME,
            "reader": _NAME,
        },
        key=("date", "lesion_id", "reader"),
        when=("date",),
    ),
    "responses": ClinicalSheet(
        columns={
            "date": _needed(_DATE),
            "response": _needed(_words("CR", "PR", "SD", "NON-CR/NON-PD", "PD", "NE")),
            "reader": _NAME,
        },
        key=("date", "reader"),
        when=("date",),
    ),
    "outcomes": ClinicalSheet(
        columns={
            "death_date": _DATE,
            "last_contact_date": _DATE,
            "new_therapy_date": _DATE,
            "treatment_end_date": _DATE,
            "withdrawal_date": _DATE,
            "measurable_disease": _YES_NO,
        },
        key=(),
        seen=("last_contact_date",),
    ),
    "ada": ClinicalSheet(
        columns={
            "date": _DATE,
            "study_day": _STUDY_DAY,
            "assay_step": _words(
                *("screen", "confirm", "titre", "result"),
                **{"titer": "titre", "screening": "screen", "final": "result"},
                **dict.fromkeys(("confirmation", "confirmatory"), "confirm"),
            ),
            "result": _SIGN,
            "titre": ClinicalColumn("titre", low=0),
            "titre_scale": _words("linear", "log10"),
            "neutralizing": _SIGN,
            "drug_concentration": ClinicalColumn("concentration"),
            "unit": ClinicalColumn("concentration unit"),
        },
        key=("date", "study_day", "assay_step"),
        when=("date", "study_day"),
        brings={"titre": "titre_scale", "drug_concentration": "unit"},
    ),
    "adverse_events": ClinicalSheet(
        columns={
            "term": _needed(_NAME),
            "system_organ_class": _NAME,
            "grade": ClinicalColumn("whole", low=1, high=5),
            "start": _DATE,
            "end": _DATE,
            "serious": _YES_NO,
            "related": _YES_NO,
            "dose_limiting": _YES_NO,
        },
        key=("term", "start", "grade"),
        spans=(("start", "end"),),
    ),
}
