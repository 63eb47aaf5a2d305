"""Reading the sheets of lesions: one reader chosen, every row understood or named."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.columns import line_of, read_dates, text_of
from pdbiomarker.clinical.people import with_ids
from pdbiomarker.errors import Problems
from pdbiomarker.tables import PartialDate, is_number, nearest

__all__ = ["Lesion", "choose_reader", "read_lesions", "refuse_missing_columns"]

_FILE: Final = "lesions.csv"
_ROLES: Final = ("target", "non-target", "new")
_GONE: Final = "absent"
_STATES: Final = {
    "": "",
    "measured": "",
    "present": "present",
    "absent": _GONE,
    "disappeared": _GONE,
    "progression": "progression",
    "unequivocal progression": "progression",
    "unequivocal": "present",
    "equivocal": "equivocal",
    "not evaluable": "not evaluable",
    "ne": "not evaluable",
    "too small": "too small",
    "too small to measure": "too small",
}
_YES: Final = frozenset({"yes", "y", "true", "1"})
_NO: Final = frozenset({"no", "n", "false", "0", ""})


@dataclasses.dataclass(frozen=True, slots=True)
class Lesion:
    """One lesion at one assessment.

    Attributes
    ----------
    participant, visit, lesion, role : str
        `visit` is what joins scans of several days to one assessment: the column ``visit``, else the date.
    days : PartialDate
    diameter : float
        mm; the short axis of a node. NaN where none was written.
    node : bool
    state : str
        ``""`` (measured), ``present``, ``absent``, ``progression``, ``equivocal``, ``not evaluable`` or
        ``too small``.
    row : int or None
        The line of the sheet.
    """

    participant: str
    visit: str
    lesion: str
    role: str
    days: PartialDate
    diameter: float
    node: bool
    state: str
    row: int | None


def refuse_missing_columns(
    frame: pd.DataFrame, columns: tuple[str, ...], *, code: str, file: str, problems: Problems
) -> None:
    """Add a problem for every column that the frame lacks, and raise them."""
    for column in columns:
        if column not in frame.columns:
            problems.add(
                code,
                "The table has no such column.",
                remedy=f"It has: {', '.join(map(str, frame.columns))}.",
                file=file,
                column=column,
            )
    problems.raise_if_any()


def choose_reader(
    frame: pd.DataFrame, reader: str | None, *, file: str, problems: Problems
) -> tuple[pd.DataFrame, str]:
    """Keep the rows of one reader.

    Parameters
    ----------
    frame : DataFrame
        With or without a column ``reader``.
    reader : str, optional
        Who is meant. Needed where the frame has several, as the rows of two readers would count twice.
    file : str
    problems : Problems
        E-RESP-004: several readers and none chosen, or one that there is not; the readers are listed.

    Returns
    -------
    rows : DataFrame
    reader : str
        ``""`` where readers are not recorded.
    """
    if "reader" not in frame.columns:
        found: list[str] = []
        texts = [""] * len(frame)
    else:
        texts = [text_of(value) for value in frame["reader"]]
        found = sorted(set(texts))
    listed = ", ".join(repr(text) for text in found) or "none"
    if reader is None and len(found) > 1:
        problems.add(
            "E-RESP-004",
            f"{len(found)} readers assessed, and none is chosen: {listed}.",
            remedy="Choose one, such as reader='INVESTIGATOR'; rows of several readers would count twice.",
            file=file,
            column="reader",
        )
    elif reader is not None and reader not in found:
        problems.add(
            "E-RESP-004",
            f"No assessment is of that reader. The readers are: {listed}.",
            remedy=nearest(reader, found),
            file=file,
            column="reader",
            value=reader,
        )
    problems.raise_if_any()
    chosen = reader if reader is not None else (found[0] if found else "")
    if reader is None:
        return frame, chosen
    return frame[[text == reader for text in texts]], chosen


def read_lesions(
    lesions: pd.DataFrame, *, reader: str | None, problems: Problems
) -> tuple[list[Lesion], str]:
    """Read the sheet of lesions of one reader, in the order of participant, date and lesion.

    Raises
    ------
    InputError
        E-RESP-001, -002, -003, -004, -005, E-SHEET-012: every row that cannot be understood.
    """
    required = ("participant_id", "date", "lesion_id", "role")
    frame = with_ids(lesions) if lesions.index.name == "participant_id" else lesions
    refuse_missing_columns(frame, required, code="E-RESP-001", file=_FILE, problems=problems)
    frame, chosen = choose_reader(frame, reader, file=_FILE, problems=problems)
    spans = read_dates(frame, "date", file=_FILE, problems=problems)
    found: list[Lesion] = []
    for (label, cells), span in zip(frame.iterrows(), spans, strict=True):
        one = _lesion(cells, span, line_of(label), problems)
        if one is not None:
            found.append(one)
    found.sort(key=lambda one: (one.participant, one.days, one.visit, one.role, one.lesion))
    found = _once(found, problems)
    problems.raise_if_any()
    return found, chosen


def _lesion(cells: pd.Series, span: PartialDate | None, row: int | None, problems: Problems) -> Lesion | None:
    role = text_of(cells["role"]).casefold().replace("_", "-").replace("nontarget", "non-target")
    state_text = text_of(cells.get("state")).casefold().replace("_", " ")
    node_text = text_of(cells.get("node")).casefold()
    person, name = text_of(cells["participant_id"]), text_of(cells["lesion_id"])
    wrong = False
    for column, text, known in (
        ("role", role, set(_ROLES)),
        ("state", state_text, set(_STATES)),
        ("node", node_text, set(_YES | _NO)),
    ):
        if text not in known:
            wrong = True
            remedy = nearest(text, sorted(k for k in known if k))
            problems.add(
                "E-RESP-002",
                "The value is not known.",
                remedy=remedy,
                file=_FILE,
                row=row,
                column=column,
                value=text,
            )
    for column, text in (("participant_id", person), ("lesion_id", name)):
        if not text:
            wrong = True
            problems.add(
                "E-SHEET-004",
                "An id is missing.",
                remedy="Fill the cell.",
                file=_FILE,
                row=row,
                column=column,
            )
    diameter, usable = _diameter(text_of(cells.get("diameter_mm")), row, problems)
    if span is None and not text_of(cells["date"]):
        wrong = True
        problems.add(
            "E-SHEET-017",
            "An assessment has no date.",
            remedy="Give its date as YYYY-MM-DD.",
            file=_FILE,
            row=row,
            column="date",
        )
    if wrong or not usable or span is None:
        return None
    state = _STATES[state_text]
    if role == "non-target" and state_text == "unequivocal":
        state = "progression"
    if role == "non-target" and not state and np.isfinite(diameter):
        state = _GONE if diameter == 0 else "present"
    visit = text_of(cells.get("visit")) or f"{span.earliest}/{span.latest}"
    return Lesion(person, visit, name, role, span, diameter, node_text in _YES, state, row)


def _diameter(text: str, row: int | None, problems: Problems) -> tuple[float, bool]:
    if not text:
        return float("nan"), True
    if is_number(text) and float(text) >= 0:
        return float(text), True
    problems.add(
        "E-RESP-003",
        "A diameter is a number of millimetres, 0 or more.",
        remedy="Leave the cell empty and write the state: not evaluable, absent or too small.",
        file=_FILE,
        row=row,
        column="diameter_mm",
        value=text,
    )
    return float("nan"), False


def _once(found: list[Lesion], problems: Problems) -> list[Lesion]:
    """Keep one of rows that say the same; refuse those that contradict each other."""
    kept: dict[tuple[str, str, PartialDate, str], Lesion] = {}
    for one in found:
        key = (one.participant, one.visit, one.days, one.lesion)
        first = kept.setdefault(key, one)
        if first is one:
            continue
        same = repr(dataclasses.replace(first, row=None)) == repr(dataclasses.replace(one, row=None))
        problems.add(
            "E-RESP-005",
            f"Lesion {one.lesion!r} of {one.participant!r} on {one.days.earliest} stands twice"
            + (", with the same values: used once." if same else ", with different values."),
            remedy="Keep one row for each lesion and assessment.",
            file=_FILE,
            row=one.row,
            column="lesion_id",
            value=one.lesion,
            severity="warning" if same else "error",
        )
    return list(kept.values())


def is_gone(one: Lesion) -> bool:
    """Tell whether a lesion has disappeared: absent, or 0 mm."""
    return one.state == _GONE or one.diameter == 0


def day_text(day: dt.date | None) -> str:
    """Write a day as ISO text; none is empty."""
    return "" if day is None else day.isoformat()
