"""Lesions and responses: TU and TR, RS and ADRS; one reader.

Trap: every time point is there once for each reader. One reader is chosen by name; without a choice several
readers are refused, because counting all of them would count every response several times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.cdisc.records import Records, with_flags
from pdbiomarker.tables import nearest

__all__ = ["RESPONSES", "choose_reader", "lesions", "measurable_disease", "readers", "responses"]

#: Responses of RECIST 1.1 at a time point.
RESPONSES: Final = ("CR", "PR", "SD", "NON-CR/NON-PD", "PD", "NE")
_ROLES: Final[Mapping[str, str]] = {"TARGET": "target", "NON-TARGET": "non-target", "NEW": "new"}
#: Test of a diameter, in the order of preference; nodes are measured by their short axis.
_DIAMETERS: Final = ("DIAMETER", "LDIAM")
_SHORT_AXIS: Final = ("DIAMETER", "SAXIS", "LPERP")
_STATES: Final[Mapping[str, str]] = {
    "PRESENT": "present",
    "ABSENT": "absent",
    "UNEQUIVOCAL": "progression",
    "UNEQUIVOCAL PROGRESSION": "progression",
    "EQUIVOCAL": "present",
    "NOT EVALUABLE": "not evaluable",
    "NE": "not evaluable",
    "INEVALUABLE": "not evaluable",
    "TOO SMALL TO MEASURE": "too small",
}
_MM: Final = {"mm": 1.0, "cm": 10.0}


def readers(records: Records) -> list[str]:
    """Give the reader of each record: its --EVALID, else its --EVAL; INVESTIGATOR where it has neither."""
    name = records.data.name if not records.data.is_adam else records.data.name[2:4]
    return [value or "INVESTIGATOR" for value in records.upper(f"{name}EVALID", f"{name}EVAL")]


def choose_reader(records: Records, reader: str | None, places: Sequence[int]) -> list[int]:
    """Keep the records of one reader.

    Parameters
    ----------
    records : Records
    reader : str or None
        A reader as :func:`readers` names it, or an --EVAL with several readers, of whom those count that the
        study accepts (--ACPTFL). None: there must be one.
    places : sequence of int
        The records to choose from.

    Returns
    -------
    list of int
        Empty where the choice was refused (E-CDISC-005, with the readers that there are).
    """
    own = readers(records)
    there = sorted({own[i] for i in places})
    if reader is None:
        if len(there) <= 1:
            return list(places)
        _refuse(
            records, f"{len(there)} readers assessed: {', '.join(there)}. One must be chosen.", None, there
        )
        return []
    chosen = reader.upper()
    if chosen in there:
        return _of(records, places, own, chosen)
    stem = records.data.name if not records.data.is_adam else records.data.name[2:4]
    groups, accepted = records.upper(f"{stem}EVAL"), records.upper(f"{stem}ACPTFL")
    inside = [i for i in places if groups[i] == chosen and accepted[i] == "Y"]
    if inside:
        for i in sorted({*places} - {*inside}):
            records.leave(i, f"Not an accepted assessment of {chosen}.")
        return inside
    if places:
        _refuse(records, f"No record has the reader {reader!r}.", reader, there)
    return []


def _of(records: Records, places: Sequence[int], own: Sequence[str], chosen: str) -> list[int]:
    for i in places:
        if own[i] != chosen:
            records.leave(i, f"Another reader ({own[i]}): {chosen} was chosen.")
    return [i for i in places if own[i] == chosen]


def _refuse(records: Records, message: str, value: str | None, there: Sequence[str]) -> None:
    records.ledger.problems.add(
        "E-CDISC-005",
        message,
        remedy=f"Choose one with --reader (in Python reader=). {nearest(value or '', there)}",
        file=records.data.file,
        column=f"{records.data.name}EVAL",
        value=value,
    )


def lesions(tr: Records, tu: Records | None, *, reader: str | None = None) -> pd.DataFrame | None:
    """Give lesions.csv of TR, with places and roles of TU.

    The diameter of a target lesion is the one that the study marks as such (DIAMETER), else the longest one
    (LDIAM), in nodes the short axis (SAXIS, LPERP). Sums and other derived results are left out.

    Returns
    -------
    DataFrame or None
        participant_id, date, lesion_id, role, diameter_mm, node, state, reader, location, visit.
    """
    if not tr.need("USUBJID", "TRLNKID", "TRTESTCD", "TRDTC"):
        return None
    test, ids = tr.upper("TRTESTCD"), tr.text("TRLNKID")
    people, when = tr.people, tr.date("TRDTC")
    usable = {*_DIAMETERS, *_SHORT_AXIS, "TUMSTATE"}

    def objection(i: int) -> str | None:
        if test[i] not in usable:
            return f"{test[i] or 'No test'} is not a diameter or a state of a lesion."
        return None if people[i] and ids[i] and when[i] else "No participant, no lesion or no date."

    kept = tr.once(
        choose_reader(tr, reader, tr.keep(objection)),
        *_present(tr, "TRLNKID", "TRTESTCD", "TRDTC", "TREVAL", "TREVALID", "VISIT"),
    )
    facts = _identified(tu, reader)
    groups: dict[tuple[str, str, str], dict[str, int]] = {}
    for i in kept:
        groups.setdefault((str(people[i]), str(when[i]), str(ids[i])), {})[test[i]] = i
    number, units, said = _millimetres(tr, kept), tr.upper("TRGRPID"), tr.upper("TRSTRESC", "TRORRES")
    status, own, visit = tr.upper("TRSTAT"), readers(tr), tr.text("VISIT")
    rows = []
    for (person, date, lesion), tests in groups.items():
        role, place = facts.get((person, lesion), (None, None))
        first = next(iter(tests.values()))
        role = role or _ROLES.get(units[first])
        node = "NODE" in (place or "").upper()
        row = _lesion_row(tr, tests, role, node=node, values=(number, said, status))
        if row is None:
            continue
        rows.append(
            {
                "participant_id": person,
                "date": date,
                "lesion_id": lesion,
                "role": role,
                **row,
                "node": None if place is None else ("yes" if node else "no"),
                "reader": own[first].lower(),
                "location": place,
                "visit": visit[first],
            }
        )
    order = ["participant_id", "date", "lesion_id", "role", "diameter_mm", "node", "state", "reader"]
    table = pd.DataFrame(rows, columns=[*order, "location", "visit"])
    table = table.sort_values(order[:3], kind="stable", ignore_index=True)
    return with_flags(table, ["date"])


def _present(records: Records, *names: str) -> list[str]:
    return [name for name in names if name in records.data]


def _lesion_row(
    tr: Records,
    tests: Mapping[str, int],
    role: str | None,
    *,
    node: bool,
    values: tuple[np.ndarray[Any, Any], Sequence[str], Sequence[str]],
) -> dict[str, Any] | None:
    """Diameter and state of one lesion at one date; None where nothing of it is used."""
    number, said, status = values
    first = next(iter(tests.values()))
    if role is None:
        tr.leave(first, "Neither TU nor TRGRPID says whether the lesion is a target.")
        return None
    measured = [t for t in (_SHORT_AXIS if node else _DIAMETERS) if t in tests]
    used = tests[measured[0]] if measured else None
    for name, i in tests.items():
        if i != used and name != "TUMSTATE":
            tr.leave(i, f"Another diameter of the lesion than {measured[0] if measured else 'the one used'}.")
    state = None
    if "TUMSTATE" in tests:
        i = tests["TUMSTATE"]
        state = "not evaluable" if status[i] == "NOT DONE" else _STATES.get(said[i])
        if role == "new" and said[i] == "EQUIVOCAL":
            tr.leave(i, "An equivocal new lesion is no progression.")
            return None
        if role == "new" and state == "progression":
            state = "present"
        if state is None:
            tr.tell(
                "E-CDISC-007",
                "TRSTRESC",
                [(tr.line(i), said[i], "The state of a lesion is unknown.")],
                remedy=f"Known are {', '.join(_STATES)}.",
            )
    if used is None:
        return {"diameter_mm": math.nan, "state": state}
    if status[used] == "NOT DONE" or math.isnan(number[used]):
        small = _STATES.get(said[used]) == "too small"
        return {"diameter_mm": math.nan, "state": "too small" if small else "not evaluable"}
    return {"diameter_mm": float(number[used]), "state": state or ("measured" if role == "target" else None)}


def _millimetres(tr: Records, kept: Sequence[int]) -> np.ndarray[Any, Any]:
    number, units = tr.number("TRSTRESN"), tr.text("TRSTRESU", "TRORRESU")
    factors = [_MM.get((unit or "mm").lower(), math.nan) for unit in units]
    wrong = [
        (tr.line(i), units[i], "The unit of a diameter is neither mm nor cm.")
        for i in kept
        if math.isnan(factors[i]) and not math.isnan(number[i])
    ]
    tr.tell("E-CDISC-007", "TRSTRESU", wrong, remedy="Give diameters in mm.")
    return np.asarray(number * np.asarray(factors, dtype=float), dtype=float)


def _identified(
    tu: Records | None, reader: str | None
) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """Role and place of each lesion, by participant and lesion."""
    if tu is None or not tu.need("USUBJID", "TULNKID", "TUTESTCD"):
        return {}
    test, ids, people = tu.upper("TUTESTCD"), tu.text("TULNKID"), tu.people
    marks = [i for i in range(len(tu)) if test[i] == "TUMIDENT" and ids[i] and people[i]]
    role, place = tu.upper("TUSTRESC", "TUORRES"), tu.text("TULOC")
    found: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    wrong = []
    for i in choose_reader(tu, reader, marks):
        key = (str(people[i]), str(ids[i]))
        said = (_ROLES.get(role[i]), place[i])
        if found.setdefault(key, said) != said:
            wrong.append((tu.line(i), ids[i], "The lesion is identified twice, with another role or place."))
    tu.tell("E-CDISC-006", "TULNKID", wrong, remedy="Give every lesion of a participant an id of its own.")
    return found


def responses(records: Records, *, reader: str | None = None) -> pd.DataFrame | None:
    """Give responses.csv of RS (overall response at each time point), or of ADRS (parameter OVR).

    Returns
    -------
    DataFrame or None
        participant_id, date, response, reader, visit.
    """
    analysis = records.data.is_adam
    code, value = ("PARAMCD", "AVALC") if analysis else ("RSTESTCD", "RSSTRESC")
    if not records.need("USUBJID", code, value):
        return None
    test, said = records.upper(code), records.upper(value, "RSORRES")
    people, when = records.people, records.date("RSDTC", "ADT")
    criteria, status = records.upper("RSCAT"), records.upper("RSSTAT")
    overall = "OVR" if analysis else "OVRLRESP"

    def objection(i: int) -> str | None:
        if test[i] != overall:
            return f"{test[i] or 'No test'} is not the overall response at a time point."
        if criteria[i] and "RECIST" in criteria[i] and criteria[i].startswith("I"):
            return f"Responses by {criteria[i]} are not those of RECIST 1.1."
        if people[i] is None or when[i] is None:
            return "No participant or no date."
        if status[i] == "NOT DONE":
            return "The assessment was not done."
        return None if said[i] in RESPONSES else f"{said[i] or 'Nothing'} is not a response of RECIST 1.1."

    kept = choose_reader(records, reader, records.keep(objection))
    kept = records.once(kept, *_present(records, code, "RSDTC", "ADT", "VISIT"))
    own, visit = readers(records), records.text("VISIT", "AVISIT")
    table = pd.DataFrame(
        {
            "participant_id": [people[i] for i in kept],
            "date": [when[i] for i in kept],
            "response": [said[i] for i in kept],
            "reader": [own[i].lower() for i in kept],
            "visit": [visit[i] for i in kept],
        }
    )
    table = table.sort_values(["participant_id", "date"], kind="stable", ignore_index=True)
    return with_flags(table, ["date"])


def measurable_disease(records: Records | None) -> dict[str, str]:
    """Give measurable disease at baseline, ``yes`` or ``no``, by participant, as ADRS says it (MDIS)."""
    if records is None or "PARAMCD" not in records.data or "AVALC" not in records.data:
        return {}
    rows = zip(records.people, records.upper("PARAMCD"), records.upper("AVALC"), strict=True)
    return {p: "yes" if v == "Y" else "no" for p, code, v in rows if p and code == "MDIS" and v in {"Y", "N"}}
