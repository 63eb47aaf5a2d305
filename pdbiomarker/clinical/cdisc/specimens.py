"""Biopsies and what came of them: BE (events), RELSPEC (genealogy), BS (properties), MI (findings).

A specimen that was collected is a biopsy (level 1); blocks, sections and aliquots descend from it. A parent
that does not exist, a specimen that is given twice, belongs to two participants or descends from itself is
refused: a finding would be filed under the wrong biopsy.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pdbiomarker.clinical.cdisc.records import Records, with_flags
from pdbiomarker.tables import nearest

__all__ = ["Genealogy", "biopsies", "genealogy", "specimen_findings"]


@dataclasses.dataclass(frozen=True)
class Genealogy:
    """Which specimen came of which.

    Attributes
    ----------
    owner : mapping of specimen to participant
    parent : mapping of specimen to specimen
        Specimens that were collected have none.
    """

    owner: Mapping[str, str]
    parent: Mapping[str, str]

    def root(self, specimen: str) -> str:
        """Give the collected specimen that one descends from."""
        while specimen in self.parent:
            specimen = self.parent[specimen]
        return specimen


def genealogy(records: Records | None) -> Genealogy:
    """Read RELSPEC and check that it holds together.

    Raises nothing: adds E-CDISC-008 for an orphan parent, a REFID twice, one of two participants, a circle,
    and a level that contradicts the parent. Without RELSPEC every specimen is its own.
    """
    if records is None or not records.need("USUBJID", "REFID", "PARENT"):
        return Genealogy({}, {})
    ids, parents, people = records.text("REFID"), records.text("PARENT"), records.people
    levels = records.number("LEVEL")
    owner: dict[str, str] = {}
    parent: dict[str, str] = {}
    line: dict[str, int] = {}
    problems = _Faults(records)
    for i, (specimen, above, person) in enumerate(zip(ids, parents, people, strict=True)):
        if specimen is None or person is None:
            records.leave(i, "No specimen or no participant.")
            continue
        if specimen in owner:
            whose = (
                "the same participant" if owner[specimen] == person else f"participant {owner[specimen]!r}"
            )
            problems.add(
                i, "REFID", specimen, f"The specimen is already record {line[specimen]}, of {whose}."
            )
            continue
        owner[specimen], line[specimen] = person, records.line(i)
        if above is not None:
            parent[specimen] = above
        level = levels[i]
        if not math.isnan(level) and (level <= 1) != (above is None):
            said = f"The level is {level:g} and the specimen has {'a' if above else 'no'} parent."
            problems.add(i, "LEVEL", specimen, said)
    place = {specimen: i for i, specimen in reversed(list(enumerate(ids))) if specimen is not None}
    for specimen, above in parent.items():
        if above not in owner:
            said = f"The parent {above!r} is not a specimen. {nearest(above, owner)}"
            problems.add(place[specimen], "PARENT", above, said)
        elif owner[above] != owner[specimen]:
            said = f"The parent {above!r} is a specimen of participant {owner[above]!r}."
            problems.add(place[specimen], "PARENT", above, said)
    for specimen in _circles(parent):
        problems.add(place[specimen], "PARENT", specimen, "The specimen descends from itself.")
        parent.pop(specimen, None)
    problems.tell()
    return Genealogy(owner, parent)


def _circles(parent: Mapping[str, str]) -> list[str]:
    inside = []
    for start in parent:
        seen, here = {start}, parent[start]
        while here in parent and here not in seen:
            seen.add(here)
            here = parent[here]
        if here == start:
            inside.append(start)
    return inside


class _Faults:
    """Faults of a genealogy, told by column."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._found: dict[str, list[tuple[int, str | None, str]]] = {}

    def add(self, place: int, column: str, value: str, message: str) -> None:
        self._found.setdefault(column, []).append((self._records.line(place), value, message))

    def tell(self) -> None:
        remedy = "Give every specimen one record, one participant, and a parent that exists."
        for column, cells in self._found.items():
            self._records.tell("E-CDISC-008", column, cells, remedy=remedy)


def biopsies(events: Records, family: Genealogy) -> pd.DataFrame | None:
    """Give biopsies.csv of BE: one row for each specimen that was collected.

    Parameters
    ----------
    events : Records
        BE; collections are the records of category COLLECTION, or of the event "Specimen Collection".
    family : Genealogy
        Specimens of BE that RELSPEC lacks are told.

    Returns
    -------
    DataFrame or None
        participant_id, biopsy_id, visit, collection_date, site, lesion_id.
    """
    if not events.need("USUBJID", "BEREFID", "BETERM"):
        return None
    ids, people = events.text("BEREFID"), events.people
    term, category = events.upper("BETERM"), events.upper("BECAT")
    owner: dict[str, str] = {}
    faults = _Faults(events)
    for i, (specimen, person) in enumerate(zip(ids, people, strict=True)):
        if specimen is not None and person is not None and owner.setdefault(specimen, person) != person:
            faults.add(
                i, "BEREFID", specimen, f"The specimen is also one of participant {owner[specimen]!r}."
            )
        known = family.owner.get(specimen or "")
        if known is not None and known != person:
            faults.add(i, "BEREFID", str(specimen), f"RELSPEC gives the specimen to participant {known!r}.")

    def objection(i: int) -> str | None:
        if category[i] != "COLLECTION" and "COLLECTION" not in term[i]:
            return "Not a collection: the specimen descends from a biopsy."
        return None if ids[i] and people[i] else "No specimen or no participant."

    kept = events.keep(objection)
    first: dict[str, int] = {}
    for i in kept:
        if first.setdefault(str(ids[i]), i) != i:
            faults.add(
                i,
                "BEREFID",
                str(ids[i]),
                f"The specimen was already collected, record {events.line(first[str(ids[i])])}.",
            )
    faults.tell()
    _tell_unknown(events, ids, family)
    columns: dict[str, Any] = {
        "participant_id": people,
        "biopsy_id": ids,
        "visit": events.text("VISIT", "VISITNUM"),
        "collection_date": events.date("BESTDTC", "BEDTC"),
        "site": events.text("BELOC"),
        "lesion_id": events.text("BELNKID"),
    }
    table = pd.DataFrame(columns).iloc[kept].reset_index(drop=True)
    table = table.sort_values(["participant_id", "collection_date", "biopsy_id"], ignore_index=True)
    table = table.drop(columns=[c for c in ("visit", "site", "lesion_id") if not table[c].notna().any()])
    return with_flags(table, ["collection_date"])


def _tell_unknown(events: Records, ids: list[str | None], family: Genealogy) -> None:
    if not family.owner:
        return
    unknown = [
        (events.line(i), specimen, "The specimen is not in RELSPEC.")
        for i, specimen in enumerate(ids)
        if specimen is not None and specimen not in family.owner
    ]
    remedy = "Add it with its parent; without one it is a biopsy of its own."
    events.tell("E-CDISC-008", "BEREFID", unknown, remedy=remedy, severity="warning")


def specimen_findings(
    sources: Mapping[str, Records], family: Genealogy, known: Mapping[str, str]
) -> pd.DataFrame | None:
    """Give what was found in specimens, long: MI (markers, scores) and BS (properties).

    Parameters
    ----------
    sources : mapping of dataset name to Records
        MI, BS, those that there are.
    family : Genealogy
    known : mapping of biopsy to participant
        Biopsies of BE; a finding whose specimen leads to none of them is told.

    Returns
    -------
    DataFrame or None
        participant_id, biopsy_id, specimen_id, domain, test, detail, value (text), number, unit.
    """
    tables = [_findings(sources[name], name, family, known) for name in ("BS", "MI") if name in sources]
    tables = [table for table in tables if table is not None]
    return pd.concat(tables, ignore_index=True) if tables else None


def _findings(
    records: Records, name: str, family: Genealogy, known: Mapping[str, str]
) -> pd.DataFrame | None:
    reference = f"{name}REFID" if f"{name}REFID" in records.data else f"{name}SPID"
    if not records.need("USUBJID", reference, f"{name}TESTCD", f"{name}STRESC"):
        return None
    ids, people = records.text(reference), records.people
    kept = records.keep(lambda i: None if ids[i] and people[i] else "No specimen or no participant.")
    roots = [None if specimen is None else family.root(specimen) for specimen in ids]
    foreign, lost = [], []
    for i in kept:
        root = roots[i]
        owner = known.get(root or "", family.owner.get(ids[i] or ""))
        if owner is not None and owner != people[i]:
            foreign.append((records.line(i), ids[i], f"The specimen is one of participant {owner!r}."))
        elif known and root not in known:
            lost.append((records.line(i), ids[i], "The specimen leads to no biopsy that was collected."))
    records.tell("E-CDISC-008", reference, foreign, remedy="Correct the specimen or the participant.")
    remedy = "Add its genealogy to RELSPEC, or its collection to BE."
    records.tell("E-CDISC-008", reference, lost, remedy=remedy, severity="warning")
    columns: dict[str, Any] = {
        "participant_id": people,
        "biopsy_id": roots,
        "specimen_id": ids,
        "domain": name,
        "test": records.text(f"{name}TESTCD"),
        "detail": records.text(f"{name}TSTDTL", f"{name}TEST"),
        "value": records.text(f"{name}STRESC", f"{name}ORRES"),
        "number": records.number(f"{name}STRESN"),
        "unit": records.text(f"{name}STRESU"),
    }
    table = pd.DataFrame(columns).iloc[kept]
    return table.sort_values(
        ["participant_id", "specimen_id", "test", "detail"], kind="stable", ignore_index=True
    )
