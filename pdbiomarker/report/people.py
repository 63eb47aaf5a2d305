"""The participants, each with what a reader wants to know at a glance: dose, change, why not evaluable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.decide import Review
from pdbiomarker.plot.decided import noise_of
from pdbiomarker.plot.numbers import format_number
from pdbiomarker.plot.select import RATIO_KINDS, Result, Selection, not_evaluable, select
from pdbiomarker.report.content import Fact, Person
from pdbiomarker.report.findings import primary_rows
from pdbiomarker.report.privacy import clean

__all__ = ["people_of"]

#: Primary features that are told of each participant.
_MOST: Final = 3
_NONE: Final = "not evaluable"
_FACTS: Final = {"dose_mg": "dose (mg)", "cohort": "cohort", "tumor_type": "tumour"}
_ITEMS: Final = {"biopsies": "biopsy", "slides": "slide", "libraries": "library"}


def people_of(result: Result, review: Review | None) -> tuple[Person, ...]:
    """Describe every participant of the study, in its order.

    Parameters
    ----------
    result : PDResult
    review : Review, optional
        Says whose change goes beyond noise.

    Returns
    -------
    tuple of Person
        Their facts are the dose, the cohort and the tumour where recorded, and for at most three primary
        features the change (a ratio, or units) with whether it goes beyond noise, or why there is none.
    """
    participants = result.study.participants
    items = _items(result)
    changes: list[tuple[str, Mapping[str, str]]] = []
    several = primary_rows(result)["contrast"].nunique() > 1
    for _, row in primary_rows(result).head(_MOST).iterrows():
        chosen = select(result, f"{row['assay']}:{row['feature']}", row["contrast"], row["set"])
        name = f"{chosen.label} ({row['contrast']})" if several else chosen.label
        changes.append((name, _changes(result, chosen, review)))
    out = []
    for participant in participants.index:
        facts = [
            Fact(name, _written(participants.at[participant, column]))
            for column, name in _FACTS.items()
            if column in participants.columns and pd.notna(participants.at[participant, column])
        ]
        facts += [Fact(name, told[str(participant)]) for name, told in changes if str(participant) in told]
        without = [told.get(str(participant), _NONE).startswith(_NONE) for _, told in changes]
        evaluable = not without or not all(without)
        out.append(Person(str(participant), tuple(facts), items.get(str(participant), {}), evaluable))
    return tuple(out)


def _written(value: object) -> str:
    return f"{float(value):g}" if isinstance(value, int | float | np.number) else str(value)


def _changes(result: Result, chosen: Selection, review: Review | None) -> dict[str, str]:
    """By participant: the change of one feature in words."""
    noise = noise_of(result, review, chosen)
    rows = noise.table("responders") if noise is not None else pd.DataFrame()
    beyond = {
        str(p): f", beyond noise ({way})" if flag else ", within noise"
        for p, flag, way, change in (
            zip(*(rows[c] for c in ("participant_id", "beyond_noise", "direction", "change")), strict=True)
            if len(rows)
            else ()
        )
        if pd.notna(change)
    }
    told = {}
    for person, change, ratio in zip(
        *(chosen.pairs[c] for c in ("participant_id", "change", "ratio")), strict=True
    ):
        if chosen.kind in RATIO_KINDS:
            size = f"{'odds ' if chosen.kind == 'proportion' else ''}× {format_number(float(ratio))}"
        else:
            sign = "+" if float(change) > 0 else ""
            size = f"{sign}{format_number(float(change))} {chosen.row['effect_unit']}"
        told[str(person)] = size + beyond.get(str(person), "")
    for person, word, reason in not_evaluable(result, chosen):
        told[person] = f"{_NONE}: {clean(reason) or word}"
    return told


def _items(result: Result) -> dict[str, dict[str, tuple[str, ...]]]:
    """Biopsies, slides and libraries of each participant."""
    study = result.study
    owner = study.biopsies["participant_id"].astype(str).to_dict() if len(study.biopsies) else {}
    found: dict[str, dict[str, list[str]]] = {}
    for sheet, kind in _ITEMS.items():
        frame = getattr(study, sheet, pd.DataFrame())
        of = frame["biopsy_id"] if "biopsy_id" in frame.columns else frame.index
        for item, biopsy in zip(frame.index, of, strict=True):
            if biopsy in owner:
                found.setdefault(owner[biopsy], {}).setdefault(kind, []).append(str(item))
    return {p: {kind: tuple(ids) for kind, ids in kinds.items()} for p, kinds in found.items()}
