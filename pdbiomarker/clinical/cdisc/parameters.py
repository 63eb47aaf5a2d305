"""Parameters that others derived, to be held against ours: ADPP (or PP), ADRS, ADTTE, ADAB."""

from __future__ import annotations

import math
from typing import Any, Final

import pandas as pd

from pdbiomarker.clinical.cdisc.records import Records, with_flags

__all__ = ["PARAMETER_COLUMNS", "parameters"]

#: Columns of the table of imported parameters.
PARAMETER_COLUMNS: Final = (
    "participant_id",
    "dataset",
    "parameter",
    "label",
    "value",
    "text",
    "unit",
    "date",
    "visit",
    "start_date",
    "censored",
    "event",
    "specimen",
)


def parameters(records: Records) -> pd.DataFrame | None:
    """Give the parameters of an analysis dataset, or of PP, long.

    Parameters
    ----------
    records : Records

    Returns
    -------
    DataFrame or None
        Columns :data:`PARAMETER_COLUMNS`: `value` and `text` are AVAL and AVALC; of times to an event,
        `start_date`, `censored` (CNSR; 0 is an event) and `event` (EVNTDESC). A record without value and
        text is left out, and so is one that repeats another.
    """
    pk = records.data.name == "PP"
    code, value, text = ("PPTESTCD", "PPSTRESN", "PPSTRESC") if pk else ("PARAMCD", "AVAL", "AVALC")
    if not records.need("USUBJID", code, value):
        return None
    people, codes = records.people, records.text(code)
    number, words = records.number(value), records.text(text)
    # PP carries the number in both.
    said = [None if pk and not math.isnan(n) else w for w, n in zip(words, number.tolist(), strict=True)]
    if pk or records.data.name == "ADPP":
        when = records.date("ADT", "PPRFDTC")
    else:
        when = records.date("ADTM", "ADT")

    def objection(i: int) -> str | None:
        if people[i] is None or codes[i] is None:
            return "No participant or no parameter."
        return "No value." if math.isnan(number[i]) and said[i] is None else None

    columns: dict[str, Any] = {
        "participant_id": people,
        "dataset": records.data.name,
        "parameter": codes,
        "label": records.text("PARAM", "PPTEST"),
        "value": number,
        "text": said,
        "unit": records.text("AVALU", "PPSTRESU"),
        "date": when,
        "visit": records.text("AVISIT"),
        "start_date": records.date("STARTDT"),
        "censored": records.number("CNSR"),
        "event": records.text("EVNTDESC"),
        "specimen": records.text("PPSPEC"),
    }
    kept = records.keep(objection)
    table = pd.DataFrame(columns, columns=list(PARAMETER_COLUMNS)).iloc[kept]
    twice = table.duplicated()
    for place, again in zip(kept, twice.tolist(), strict=True):
        if again:
            records.leave(place, "The record repeats another one, value for value.")
    table = table[~twice].astype({"censored": "float64"})
    table = table.sort_values(["participant_id", "dataset", "parameter"], kind="stable", ignore_index=True)
    return with_flags(table, ["date"])
