"""Doses, concentrations and antibodies: EX, PC, IS and their analysis datasets."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from pdbiomarker.clinical.cdisc.records import Records, with_flags

__all__ = ["antibodies", "concentrations", "doses", "first_doses", "is_below_limit"]

_BELOW = re.compile(r"\s*(<.*|BLQ|BLOQ|BQL|LLOQ|BLQ\b.*|BELOW.*|NON-?QUANTIFIABLE|NOT DETECTED|ND)\s*", re.I)
_NUMBER_BELOW = re.compile(r"\s*<\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*", re.ASCII)
_DURATION = re.compile(r"(-?)P(?:([0-9.]+)D)?(?:T(?:([0-9.]+)H)?(?:([0-9.]+)M)?(?:([0-9.]+)S)?)?", re.ASCII)
_COPIED: Final = ("COPY", "LOCF", "AVERAGE", "MAXIMUM", "MINIMUM")
_CYCLE = re.compile(r"\bC(?:YCLE)?\s*([0-9]+)\s*D(?:AY)?\s*([0-9]+)\b", re.ASCII)
_STATUS: Final = (("REDUC", "reduced"), ("INTERRUPT", "interrupted"), ("HELD", "held"), ("HOLD", "held"))


def is_below_limit(text: str | None) -> bool:
    """Tell whether a result says that it lies below the limit of quantification, however it is spelt.

    Examples
    --------
    >>> is_below_limit("<BLQ"), is_below_limit("<0.5"), is_below_limit("BLOQ"), is_below_limit("0")
    (True, True, True, False)
    """
    return text is not None and _BELOW.fullmatch(text) is not None


def doses(records: Records) -> pd.DataFrame | None:
    """Give doses.csv of EX, or of ADEX: there, of the records of parameter DOSE.

    Returns
    -------
    DataFrame or None
        participant_id, start, end, amount, unit, cycle, day, planned_amount, status, treatment, route.
    """
    analysis = records.data.is_adam
    if not records.need("USUBJID", "EXDOSE", "EXDOSU"):
        return None
    parameter = records.upper("PARAMCD")
    amount, occurred = records.number("EXDOSE"), records.upper("EXOCCUR")
    people, start = records.people, records.date("EXSTDTC", "ASTDTM", "ASTDT")

    def objection(i: int) -> str | None:
        if analysis and "PARAMCD" in records.data and parameter[i] != "DOSE":
            return "Only the parameter DOSE stands for an administration."
        if people[i] is None or start[i] is None:
            return "No participant or no start."
        held = occurred[i] == "N"
        return (
            "No amount, and not said that it was not given." if math.isnan(amount[i]) and not held else None
        )

    kept = (
        records.once(records.keep(objection), "EXSEQ") if "EXSEQ" in records.data else records.keep(objection)
    )
    visits = records.upper("VISIT", "AVISIT")
    cycles = [_CYCLE.search(v) for v in visits]
    adjusted = records.upper("EXADJ")
    columns: dict[str, Any] = {
        "participant_id": people,
        "start": start,
        "end": records.date("EXENDTC", "AENDTM", "AENDT"),
        "amount": [0.0 if o == "N" and math.isnan(a) else a for a, o in zip(amount, occurred, strict=True)],
        "unit": records.text("EXDOSU"),
        "cycle": pd.array([int(c[1]) if c else pd.NA for c in cycles], dtype="Int64"),
        "day": pd.array([int(c[2]) if c else pd.NA for c in cycles], dtype="Int64"),
        "planned_amount": records.number("EXPLDOS", "PDOSEO"),
        "status": [
            "held" if o == "N" else next((word for sign, word in _STATUS if sign in a), None)
            for o, a in zip(occurred, adjusted, strict=True)
        ],
        "treatment": records.text("EXTRT"),
        "route": records.text("EXROUTE"),
        "frequency": records.text("EXDOSFRQ"),
    }
    table = pd.DataFrame(columns).iloc[kept]
    optional = ("end", "cycle", "day", "planned_amount", "status", "route", "frequency")
    table = table.drop(columns=[c for c in optional if not table[c].notna().any()])
    table = table.sort_values(["participant_id", "start"], kind="stable", ignore_index=True)
    return with_flags(table, [c for c in ("start", "end") if c in table])


def first_doses(table: pd.DataFrame | None) -> dict[str, float]:
    """Give the first amount of each participant, in mg; participants with another unit are left out."""
    if table is None:
        return {}
    given = table[(table["unit"].str.casefold() == "mg") & table["amount"].notna()]
    first = given.drop_duplicates("participant_id")
    return dict(zip(first["participant_id"].tolist(), first["amount"].tolist(), strict=True))


def concentrations(records: Records) -> pd.DataFrame | None:
    """Give concentrations.csv of PC, or of ADPC.

    A result below the limit is written as ``<`` and the limit (``BLQ`` where no limit is given), whether its
    number is missing or 0. Of ADPC, copies of records and records of doses are left out.

    Returns
    -------
    DataFrame or None
        participant_id, datetime, nominal_time_h (after the reference dose), analyte, concentration (text),
        unit, lloq, specimen, visit, timepoint.
    """
    analysis = records.data.is_adam
    value, code = ("AVAL", "PARAMCD") if analysis else ("PCSTRESN", "PCTESTCD")
    unit = "AVALU" if analysis else "PCSTRESU"
    if not records.need("USUBJID", code, value, unit):
        return None
    people, when = records.people, records.date(*(("ADTM", "ADT") if analysis else ()), "PCDTC")
    said = records.text("PCSTRESC", "PCORRES", "AVALCAT1")
    number = records.number(value)
    lloq = records.number("PCLLOQ", "ALLOQ")
    source, derived, status = records.upper("SRCDOM"), records.upper("DTYPE"), records.upper("PCSTAT")

    def objection(i: int) -> str | None:
        if analysis and (source[i] == "EX" or any(word in derived[i] for word in _COPIED)):
            return "A record of a dose, or a copy of another record."
        if status[i] == "NOT DONE":
            return "The sample was not measured."
        if people[i] is None or when[i] is None:
            return "No participant or no date."
        missing = math.isnan(number[i]) and not is_below_limit(said[i])
        return "No result." if missing else None

    kept = records.keep(objection)
    analyte = records.text("PCTEST", "PARAM", code)
    nominal = records.number("NRRLT") if analysis else _nominal(records)
    columns: dict[str, Any] = {
        "participant_id": people,
        "datetime": when,
        "nominal_time_h": nominal,
        "analyte": analyte,
        "concentration": [_written(said[i], number[i], lloq[i]) for i in range(len(records))],
        "unit": records.text(unit),
        "lloq": lloq,
        "specimen": records.text("PCSPEC"),
        "visit": records.text("AVISIT", "VISIT"),
        "timepoint": records.text("ATPT", "PCTPT"),
    }
    _tell_negative(records, number, kept)
    kept = records.once(kept, *(n for n in (code, "PCSPEC", "PCDTC", "ADTM", "PCTPT") if n in records.data))
    table = pd.DataFrame(columns).iloc[kept]
    optional = ("nominal_time_h", "lloq", "specimen", "visit", "timepoint")
    table = table.drop(columns=[c for c in optional if not table[c].notna().any()])
    table = table.sort_values(["participant_id", "datetime"], kind="stable", ignore_index=True)
    return with_flags(table, ["datetime"])


def _written(said: str | None, number: float, lloq: float) -> str | None:
    """Give a result as the sheet has it: a number, or the limit that it lies below."""
    if is_below_limit(said):
        own = _NUMBER_BELOW.fullmatch(said or "")
        limit = float(own[1]) if own else lloq
        return "BLQ" if math.isnan(limit) else f"<{float(limit)!r}"
    return None if math.isnan(number) else repr(float(number))


def _nominal(records: Records) -> Any:
    """Hours after the reference dose: the elapsed time as ISO duration, else the number of the time point."""
    if records.has("PCELTM"):
        return [_hours(text) for text in records.text("PCELTM")]
    return records.number("PCTPTNUM")


def _hours(text: str | None) -> float:
    said = _DURATION.fullmatch(text or "")
    if said is None or not any(said.groups()[1:]):
        return math.nan
    days, hours, minutes, seconds = (float(part or 0) for part in said.groups()[1:])
    size = days * 24 + hours + minutes / 60 + seconds / 3600
    return -size if said[1] else size


def _tell_negative(records: Records, number: Any, kept: Sequence[int]) -> None:
    wrong = [
        (records.line(i), f"{number[i]:g}", "A concentration is not negative.") for i in kept if number[i] < 0
    ]
    records.tell("E-CDISC-007", "PCSTRESN", wrong, remedy="Correct the value in the source.")


def antibodies(records: Records, *, titre_scale: str | None = None) -> pd.DataFrame | None:
    """Give ada.csv of IS: binding antibodies (ADA_BAB), with the neutralizing result (ADA_NAB) beside.

    ADAB repeats a sample for each parameter that is derived from it: each sample (ISSEQ) counts once.
    A titre below the least one that the assay reports (``<1.40``) is a positive sample: the titre is that
    limit, and `titre_limit` says so.

    Parameters
    ----------
    records : Records
    titre_scale : {"linear", "log10"}, optional
        The dataset does not say it; without it the column stays empty, and that is told.

    Returns
    -------
    DataFrame or None
        participant_id, date, study_day, assay_step, result, titre, titre_limit, titre_scale, neutralizing,
        antibody.
    """
    if not records.need("USUBJID", "ISTESTCD", "ISSTRESC"):
        return None
    people, when = records.people, records.date("ISDTC")
    test, said = records.upper("ISTESTCD"), records.upper("ISSTRESC", "ISORRES")
    number, status = records.number("ISSTRESN"), records.upper("ISSTAT")
    sample = list(zip(people, records.number("ISSEQ").tolist(), test, strict=True))
    derived = _repeats(sample) if records.data.is_adam else [False] * len(records)
    read = [_antibody(text, value) for text, value in zip(said, number.tolist(), strict=True)]

    def objection(i: int) -> str | None:
        if derived[i]:
            return "Another parameter of a sample that is taken."
        if not test[i].startswith("ADA"):
            return "Not a test for antibodies against the drug."
        if people[i] is None or when[i] is None:
            return "No participant or no date."
        return "No result." if status[i] == "NOT DONE" or read[i] is None else None

    kept = records.once(records.keep(objection), "ISTESTCD", "ISBDAGNT", "ISDTC", "ISTPT")
    neutral = {(people[i], when[i]): read[i] for i in kept if "NAB" in test[i]}
    binding = [i for i in kept if "NAB" not in test[i]]
    known = {(people[i], when[i]) for i in binding}
    for i in kept:
        if "NAB" in test[i] and (people[i], when[i]) not in known:
            records.leave(i, "A neutralizing result without a binding one of that time.")
    days, antibody = records.number("ISDY"), records.text("ISBDAGNT")
    rows = []
    for i in binding:
        found, nab = read[i], neutral.get((people[i], when[i]))
        result, titre, limit = found if found is not None else ("", math.nan, None)
        rows.append(
            {
                "participant_id": people[i],
                "date": when[i],
                "study_day": pd.NA if math.isnan(days[i]) else int(days[i]),
                "assay_step": "screen"
                if result == "negative"
                else ("confirm" if math.isnan(titre) else "titre"),
                "result": result,
                "titre": titre,
                "titre_limit": limit,
                "titre_scale": None if math.isnan(titre) else titre_scale,
                "neutralizing": nab[0] if nab is not None else None,
                "antibody": antibody[i],
            }
        )
    if titre_scale is None and any(found is not None and not math.isnan(found[1]) for found in read):
        records.ledger.problems.add(
            "E-CDISC-004",
            "The scale of the titres is not in the dataset: it stays empty.",
            remedy="Give --titres linear (1:64 is 64) or log10 (1:64 is 1.81); in Python titre_scale=.",
            file=records.data.file,
            column="ISSTRESN",
            severity="warning",
        )
    order = ["participant_id", "date", "study_day", "assay_step", "result", "titre", "titre_limit"]
    table = pd.DataFrame(rows, columns=[*order, "titre_scale", "neutralizing", "antibody"])
    table["study_day"] = table["study_day"].astype("Int64")
    return with_flags(
        table.sort_values(["participant_id", "date"], kind="stable", ignore_index=True), ["date"]
    )


def _repeats(keys: Sequence[object]) -> list[bool]:
    """Tell of each key whether it was there before."""
    seen: set[object] = set()
    out = []
    for key in keys:
        out.append(key in seen)
        seen.add(key)
    return out


def _antibody(said: str, number: float) -> tuple[str, float, str | None] | None:
    """Result, titre, and ``<`` where the titre is the least that the assay reports; None without a result."""
    limit = _NUMBER_BELOW.fullmatch(said)
    if limit is not None:
        return "positive", float(limit[1]), "<"
    if not math.isnan(number):
        return "positive", number, None
    if said.startswith("NEG"):
        return "negative", math.nan, None
    return ("positive", math.nan, None) if said.startswith("POS") else None
