"""Is a dataset the shape that ADaM asks of a BDS? The rules that a reviewer's tool checks first.

Rules are those of CDISC's Analysis Data Model (BDS) and of SAS transport files; each that is broken is told
with the records that break it. Two things go beyond ADaM's own variables: LINK says on which scale CHG is
(``IDENTITY``: CHG = AVAL - BASE; ``LOG2``: CHG = log2 of R2BASE; ``LOGIT``: CHG = ln of OR2BASE), because a
change of a biopsy's density is a ratio, and OR2BASE holds that odds ratio.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.cdisc.dataset import (
    MAX_LABEL,
    MAX_NAME,
    MAX_TEXT,
    Dataset,
    dataset_of,
)
from pdbiomarker.errors import Problems
from pdbiomarker.tables import add_rows

__all__ = ["check_adam"]

_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,7}", re.ASCII)
_CODE = re.compile(r"[A-Z][A-Z0-9]{0,7}", re.ASCII)
_NEEDED: Final = ("STUDYID", "USUBJID", "PARAMCD", "PARAM")
#: Pairs of which each value of one has one value of the other.
_ONE_TO_ONE: Final = (("PARAMCD", "PARAM"), ("AVISIT", "AVISITN"))
_OF_PARAMETER: Final = ("AVALU", "LINK", "PARCAT1", "CRIT1")
_LINKS: Final = ("IDENTITY", "LOG2", "LOGIT")
_YES_ONLY: Final = re.compile(r"ABLFL|ANL[0-9]{2}FL", re.ASCII)
_TOLERANCE: Final = 1e-9


def check_adam(data: Dataset | pd.DataFrame) -> Problems:
    """Check a dataset against the rules of the basic data structure.

    Parameters
    ----------
    data : Dataset or DataFrame
        A DataFrame has no labels but those in its ``attrs["labels"]``.

    Returns
    -------
    Problems
        E-CDISC-010: names, labels and lengths that a transport file cannot hold; E-CDISC-011: rules of the
        BDS. Empty when all hold.

    Notes
    -----
    Names: at most 8 of A-Z, 0-9, ``_``; labels: 1 to 40 characters; texts: at most 200; PARAMCD and PARAM,
    AVISIT and AVISITN one to one; AVALU, LINK and CRIT1 the same within a parameter; flags Y or N (ABLFL,
    ANLzzFL: Y or missing); variables that end in DT are dates; no study day 0; at most one baseline of a
    participant, parameter and BASETYPE, BASE its AVAL; CHG, PCHG, R2BASE as derived; ANL01FL at most once at
    a visit, with a value, and where it is missing ANLRSN says why; ASEQ once in a participant.
    """
    given = data if isinstance(data, Dataset) else dataset_of("ADAM", data, labels=data.attrs.get("labels"))
    problems = Problems()
    _check_form(given, problems)
    missing = [name for name in _NEEDED if name not in given]
    if "AVAL" not in given and "AVALC" not in given:
        missing.append("AVAL")
    for name in missing:
        problems.add("E-CDISC-011", f"A BDS needs the variable {name}.", remedy="Add it.", column=name)
    if missing:
        return problems
    frame = given.frame
    _check_codes(frame, problems)
    _check_flags(frame, problems)
    _check_days(given, problems)
    _check_baseline(frame, problems)
    _check_changes(frame, problems)
    _check_analysis(frame, problems)
    return problems


def _tell(
    problems: Problems, frame: pd.DataFrame, wrong: Any, column: str, message: str, *, remedy: str
) -> None:
    """Tell of one rule at every record that breaks it."""
    places = np.flatnonzero(np.asarray(wrong, dtype=bool))
    values = frame[column].tolist() if column in frame else [None] * len(frame)
    cells = [
        (int(frame.index[i]), None if values[i] is None else str(values[i]), message) for i in places.tolist()
    ]
    add_rows(problems, "E-CDISC-011", cells, remedy=remedy, file="", column=column)


def _check_form(data: Dataset, problems: Problems) -> None:
    """Names, labels, lengths."""

    def refuse(column: str, message: str, value: object = None) -> None:
        problems.add("E-CDISC-010", message, remedy="Shorten it.", column=column, value=value)

    if not _NAME.fullmatch(data.name):
        refuse(data.name, f"The dataset's name is not {MAX_NAME} or fewer of A-Z, 0-9 and '_'.", data.name)
    for variable in data.variables:
        if not _NAME.fullmatch(variable.name):
            refuse(variable.name, f"The name is not {MAX_NAME} or fewer of A-Z, 0-9 and '_'.", variable.name)
        if not 1 <= len(variable.label) <= MAX_LABEL:
            refuse(variable.name, f"The label does not have 1 to {MAX_LABEL} characters.", variable.label)
        if variable.kind == "text":
            long = [v for v in data.frame[variable.name].tolist() if isinstance(v, str) and len(v) > MAX_TEXT]
            if long:
                said = f"{len(long)} values are longer than {MAX_TEXT} characters."
                refuse(variable.name, said, f"{long[0][:40]}...")
    names = [variable.name for variable in data.variables]
    for name in sorted({n for n in names if names.count(n) > 1}):
        refuse(name, "Two variables have the same name.", name)


def _check_codes(frame: pd.DataFrame, problems: Problems) -> None:
    bad = [not (isinstance(c, str) and _CODE.fullmatch(c)) for c in frame["PARAMCD"].tolist()]
    remedy = "Use at most 8 of A-Z and 0-9, a letter first."
    _tell(problems, frame, bad, "PARAMCD", "The PARAMCD is not a code.", remedy=remedy)
    for one, other in _ONE_TO_ONE:
        if one in frame and other in frame:
            for left, right in ((one, other), (other, one)):
                known = frame[left].notna()
                spread = frame[known].groupby(left)[right].transform(lambda s: s.nunique(dropna=False) > 1)
                wrong = spread.reindex(frame.index, fill_value=False).astype(bool)
                said = f"One {left} has several {right}."
                _tell(problems, frame, wrong, left, said, remedy=f"Give each {left} one {right}.")
    for name in _OF_PARAMETER:
        if name in frame:
            spread = frame.groupby("PARAMCD")[name].transform(lambda s: s.nunique(dropna=True) > 1)
            said = f"{name} differs within a parameter."
            _tell(problems, frame, spread.fillna(False), name, said, remedy="Split the parameter.")
    if "LINK" in frame:
        bad = [link not in _LINKS for link in frame["LINK"].tolist()]
        _tell(
            problems,
            frame,
            bad,
            "LINK",
            "The scale of CHG is unknown.",
            remedy=f"One of {', '.join(_LINKS)}.",
        )


def _check_flags(frame: pd.DataFrame, problems: Problems) -> None:
    for name in map(str, frame.columns):
        if not name.endswith("FL") or frame[name].dtype != object:
            continue
        allowed = {"Y", None} if _YES_ONLY.fullmatch(name) else {"Y", "N", None}
        bad = [value not in allowed for value in frame[name].tolist()]
        shown = "Y or missing" if _YES_ONLY.fullmatch(name) else "Y, N or missing"
        _tell(problems, frame, bad, name, "The flag has another value.", remedy=f"Flags are {shown}.")


def _check_days(data: Dataset, problems: Problems) -> None:
    for variable in data.variables:
        if re.fullmatch(r"[A-Z0-9]{1,6}DT", variable.name) and variable.kind != "date":
            problems.add(
                "E-CDISC-011",
                "The variable is a date by its name and not by its values.",
                remedy="Give dates: they are written as days from 1960-01-01.",
                column=variable.name,
                value=variable.kind,
            )
    frame = data.frame
    if "ADY" not in frame:
        return
    days = frame["ADY"].to_numpy(dtype=float)
    _tell(problems, frame, days == 0, "ADY", "There is no study day 0.", remedy="The day before day 1 is -1.")
    fraction = np.isfinite(days) & (days != np.floor(days))
    _tell(problems, frame, fraction, "ADY", "A study day is a whole number.", remedy="Correct it.")
    if "ADT" in frame and "TRTSDT" in frame:
        known = frame["ADT"].notna() & frame["TRTSDT"].notna()
        gap = [
            (a - s).days if k and isinstance(a, dt.date) and isinstance(s, dt.date) else 0
            for a, s, k in zip(frame["ADT"], frame["TRTSDT"], known, strict=True)
        ]
        due = np.where(np.asarray(gap) >= 0, np.asarray(gap) + 1, np.asarray(gap))
        wrong = known.to_numpy() & (days != due)
        said = "ADY is not ADT minus TRTSDT (plus 1 from day 1 on)."
        _tell(problems, frame, wrong, "ADY", said, remedy="Derive it again.")


def _groups(frame: pd.DataFrame, *more: str) -> list[str]:
    return ["USUBJID", "PARAMCD", *(name for name in ("BASETYPE", *more) if name in frame)]


def _key(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    return frame[list(columns)].astype(object).where(frame[list(columns)].notna(), "").apply(tuple, axis=1)


def _check_baseline(frame: pd.DataFrame, problems: Problems) -> None:
    if "ABLFL" not in frame:
        return
    marked = (frame["ABLFL"] == "Y").to_numpy()
    key = _key(frame, _groups(frame))
    several = marked & key.where(pd.Series(marked, index=frame.index)).duplicated(keep=False).to_numpy()
    said = "A participant has two baselines of one parameter and BASETYPE."
    _tell(problems, frame, several, "ABLFL", said, remedy="Mark one, or give each definition a BASETYPE.")
    if "BASE" not in frame or "AVAL" not in frame or several.any():
        return
    values = dict(zip(key[marked], frame["AVAL"].to_numpy(dtype=float)[marked], strict=True))
    due = np.array([values.get(k, np.nan) for k in key], dtype=float)
    base = frame["BASE"].to_numpy(dtype=float)
    wrong = ~((base == due) | (np.isnan(base) & np.isnan(due)))
    said = "BASE is not the AVAL of the baseline record."
    _tell(problems, frame, wrong, "BASE", said, remedy="Carry the baseline's AVAL to every record.")


def _check_changes(frame: pd.DataFrame, problems: Problems) -> None:
    if "BASE" not in frame or "AVAL" not in frame:
        return
    aval, base = (frame[n].to_numpy(dtype=float) for n in ("AVAL", "BASE"))
    link = (
        frame["LINK"].to_numpy(dtype=object) if "LINK" in frame else np.full(len(frame), "IDENTITY", object)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        if "CHG" in frame:
            chg = frame["CHG"].to_numpy(dtype=float)
            ratio = _column(frame, "R2BASE")
            odds = _column(frame, "OR2BASE")
            due = np.select([link == "LOG2", link == "LOGIT"], [np.log2(ratio), np.log(odds)], aval - base)
            said = "CHG is not the change on the scale that LINK names."
            remedy = "IDENTITY: AVAL - BASE; LOG2: log2 of R2BASE; LOGIT: ln of OR2BASE."
            _tell(problems, frame, _apart(chg, due), "CHG", said, remedy=remedy)
            lost = np.isfinite(chg) & np.isnan(base)
            _tell(problems, frame, lost, "CHG", "A change without a baseline.", remedy="Leave CHG empty.")
        if "PCHG" in frame:
            pchg = frame["PCHG"].to_numpy(dtype=float)
            remedy = "PCHG is 100 (AVAL - BASE) / BASE, and empty where BASE is 0."
            wrong = _apart(pchg, 100 * (aval - base) / base) | (np.isfinite(pchg) & (base == 0))
            _tell(problems, frame, wrong, "PCHG", "PCHG is not the change in percent.", remedy=remedy)
        if "R2BASE" in frame and "LINK" not in frame:
            wrong = _apart(frame["R2BASE"].to_numpy(dtype=float), aval / base)
            _tell(problems, frame, wrong, "R2BASE", "R2BASE is not AVAL / BASE.", remedy="Derive it again.")


def _column(frame: pd.DataFrame, name: str) -> np.ndarray[Any, Any]:
    return frame[name].to_numpy(dtype=float) if name in frame else np.full(len(frame), np.nan)


def _apart(given: np.ndarray[Any, Any], due: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where a value is given and is not what is due, to rounding."""
    room = _TOLERANCE * np.maximum(1.0, np.abs(np.where(np.isfinite(due), due, 0.0)))
    return np.asarray(np.isfinite(given) & ~(np.abs(given - due) <= room))


def _check_analysis(frame: pd.DataFrame, problems: Problems) -> None:
    if "ASEQ" in frame:
        twice = frame.duplicated(["USUBJID", "ASEQ"], keep=False)
        said = "A participant has this ASEQ twice."
        _tell(problems, frame, twice, "ASEQ", said, remedy="Number the records of a participant from 1.")
    if "ANL01FL" not in frame:
        return
    used = (frame["ANL01FL"] == "Y").to_numpy()
    key = _key(frame, _groups(frame, "AVISIT")).where(pd.Series(used, index=frame.index))
    several = used & key.duplicated(keep=False).to_numpy()
    said = "Two records of one visit are in the analysis."
    _tell(problems, frame, several, "ANL01FL", said, remedy="Keep one, or add one of DTYPE AVERAGE.")
    value = _column(frame, "AVAL")
    text = frame["AVALC"].notna().to_numpy() if "AVALC" in frame else np.zeros(len(frame), dtype=bool)
    empty = used & np.isnan(value) & ~text
    said = "A record without a value is in the analysis."
    _tell(problems, frame, empty, "ANL01FL", said, remedy="Leave the flag empty and give a reason.")
    if "ANLRSN" in frame:
        silent = ~used & frame["ANLRSN"].isna().to_numpy()
        said = "A record is not in the analysis and does not say why."
        _tell(problems, frame, silent, "ANLRSN", said, remedy="Give the reason.")
