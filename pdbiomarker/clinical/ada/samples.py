"""From rows of the antibody assay to one row for each sample: screen, confirmation, titre, verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.ada.options import AdaOptions
from pdbiomarker.clinical.columns import ClinicalTable, parse_cutoff
from pdbiomarker.clinical.people import Person, read_people
from pdbiomarker.errors import Problem, Problems
from pdbiomarker.study.people import study_day
from pdbiomarker.tables import PartialDate, is_number

__all__ = ["SAMPLE_COLUMNS", "AdaSamples", "linear", "read_samples"]

FILE: Final = "ada.csv"
SAMPLE_COLUMNS: Final = (
    "participant_id", "date", "study_day", "period", "is_baseline", "screen", "confirm", "status", "titre",
    "titre_log10", "titre_scale", "titre_assumed", "neutralizing", "drug_concentration", "note",
)  # fmt: skip
_STEPS: Final = {
    "screen": "screen", "screening": "screen", "confirm": "confirm", "confirmation": "confirm",
    "confirmatory": "confirm", "titre": "titre", "titer": "titre", "result": "result", "final": "result",
}  # fmt: skip
_RESULTS: Final = {"positive": "positive", "negative": "negative", "pos": "positive", "neg": "negative"}
_SCALES: Final = {"linear": "linear", "log10": "log10", "log": "log10"}


@dataclasses.dataclass(frozen=True)
class AdaSamples:
    """Samples of the antibody assay.

    Attributes
    ----------
    table : DataFrame
        One row for each sample, by participant and time: participant_id, date (ISO text or None), study_day
        (Int64), period (``baseline``, ``post`` or ``unplaced``), is_baseline (the baseline sample used),
        screen, confirm (``positive``, ``negative`` or None), status (``positive``, ``negative``,
        ``inconclusive``: the drug may hide antibodies, ``unresolved``: steps missing or contradictory), titre
        (linear), titre_log10,
        titre_scale (as stated), titre_assumed (bool: the lowest titre stands in), neutralizing,
        drug_concentration, note (why).
    people : mapping
        Participants with their first dose, also those without a sample.
    problems : tuple of Problem
        What was left out, and why.
    """

    table: pd.DataFrame
    people: dict[str, Person]
    problems: tuple[Problem, ...]


@dataclasses.dataclass(frozen=True)
class _Row:
    line: int
    step: str
    result: str | None
    titre: float
    scale: str | None
    assumed: bool
    neutralizing: str | None
    drug: float


@dataclasses.dataclass
class _Sample:
    person: str
    date: PartialDate | None
    day: int | None
    rows: list[_Row] = dataclasses.field(default_factory=list)


def read_samples(
    ada: pd.DataFrame, participants: pd.DataFrame | None = None, *, options: AdaOptions | None = None
) -> AdaSamples:
    """Judge every antibody sample.

    Parameters
    ----------
    ada : DataFrame
        participant_id; date or study_day; assay_step (``screen``, ``confirm``, ``titre``; empty: the result
        is the final one); result (``positive``, ``negative``); optional titre (number, or ``<`` the lowest
        dilution), titre_scale (``linear`` or ``log10``; needed with a titre), neutralizing,
        drug_concentration, unit. Rows of one participant and time are one sample.
    participants : DataFrame, optional
        participant_id, first_dose_datetime; needed where samples have a date and no study day.
    options : AdaOptions, optional

    Returns
    -------
    AdaSamples

    Raises
    ------
    InputError
        E-SHEET: a missing column or a value of another type; E-SHEET-006: a participant that is not known;
        E-ADA-002: a titre without its scale; E-ADA-003: another unit; E-ADA-005: an unknown step or result.

    Notes
    -----
    A sample is positive when it is confirmed (Shankar et al. 2014, doi 10.1208/s12248-014-9599-2). The day of
    the first dose counts as before it, unless both times are known. The baseline is the last conclusive
    sample of that period.
    """
    chosen, problems = options or AdaOptions(), Problems()
    table = ClinicalTable(ada, FILE, problems, required=["participant_id", "result"])
    people = {} if participants is None else read_people(participants, problems)
    if not (table.has("date") or table.has("study_day")):
        problems.add(
            "E-SHEET-001",
            "The table has neither 'date' nor 'study_day'.",
            remedy="Add one of them: a sample needs its place in time.",
            file=FILE,
            row=1,
            column="date",
        )
    parse_cutoff(chosen.cutoff, problems)
    samples = _collect(table, chosen, problems)
    if participants is not None:
        _check_known(table, people)
    problems.raise_if_any()
    for sample in samples:
        people.setdefault(sample.person, Person())
    records = [_judge(sample, people[sample.person], chosen, problems) for sample in samples]
    frame = pd.DataFrame(records, columns=list(SAMPLE_COLUMNS)).astype({"study_day": "Int64"})
    frame["order"] = [s.date.time.isoformat() if s.date and s.date.time else "" for s in samples]
    frame = frame.sort_values(["participant_id", "study_day", "date", "order"], kind="stable").drop(
        columns="order"
    )
    return AdaSamples(_mark_baseline(frame.reset_index(drop=True)), people, tuple(problems))


def _collect(table: ClinicalTable, options: AdaOptions, problems: Problems) -> list[_Sample]:
    ids, dates = table.ids(), table.dates("date")
    days = table.numbers("study_day")
    steps = table.choices("assay_step", _STEPS, shown="screen, confirm or titre", code="E-ADA-005")
    results = table.choices("result", _RESULTS, shown="positive or negative", code="E-ADA-005")
    neutral = table.choices("neutralizing", _RESULTS, shown="positive or negative", code="E-ADA-005")
    titres, scales, assumed = _titres(table, options)
    # Below the limit of its assay there is less drug than any tolerance.
    hidden = np.array([flag is True for flag in table.flags("blq")], dtype=bool)
    drug = np.where(hidden, 0.0, table.numbers("drug_concentration", low=0))
    _check_unit(table, drug, options, problems)
    samples: dict[tuple[str, str, float | None], _Sample] = {}
    for i, line in enumerate(table.lines):
        date, day = dates[i], None if math.isnan(days[i]) else int(days[i])
        key = (ids[i], "" if date is None else date.text, day)
        sample = samples.setdefault(key, _Sample(ids[i], date, day))
        sample.rows.append(
            _Row(
                line, steps[i] or "result", results[i], titres[i], scales[i], assumed[i], neutral[i], drug[i]
            )
        )
    return list(samples.values())


def _titres(table: ClinicalTable, options: AdaOptions) -> tuple[list[float], list[str | None], list[bool]]:
    """Titres as log10, their scale as stated, and where the lowest titre stands in."""
    scales = table.choices("titre_scale", _SCALES, shown="linear or log10", code="E-ADA-002")
    lowest = math.nan if options.minimum_titre is None else math.log10(options.minimum_titre)
    values, assumed = [], []
    wrong: list[tuple[int, str | None, str]] = []
    column = "titre_text" if table.has("titre_text") else "titre"
    for line, text, scale in zip(table.lines, table.texts(column), scales, strict=True):
        value, stands_in = math.nan, False
        if text is not None and text.startswith(("<", "≤")):
            value, stands_in = lowest, not math.isnan(lowest)
        elif text is not None and not is_number(text):
            wrong.append((line, text, "The titre is not a number."))
        elif text is not None and scale is None:
            wrong.append((line, text, "The scale of the titre is not stated: 4-fold is 4 times or plus 0.6."))
        elif text is not None and scale == "linear" and float(text) <= 0:
            wrong.append((line, text, "A linear titre is larger than 0."))
        elif text is not None:
            value = float(text) if scale == "log10" else math.log10(float(text))
        values.append(value)
        assumed.append(stands_in)
    table.tell(
        "E-ADA-002", "titre", wrong, remedy="Give the titre as a number, and titre_scale linear or log10."
    )
    stated = {scale for scale in scales if scale is not None}
    if len(stated) == 1:  # positives without a titre belong to the same assay
        scales = [next(iter(stated))] * len(scales)
    return values, scales, assumed


def _check_unit(table: ClinicalTable, drug: Iterable[float], options: AdaOptions, problems: Problems) -> None:
    if options.drug_tolerance is None:
        return
    if not options.drug_tolerance_unit:
        problems.add(
            "E-ADA-003",
            "The drug tolerance has no unit.",
            remedy="Give drug_tolerance_unit, such as ug/mL: it is compared with the column 'unit'.",
            column="drug_tolerance_unit",
        )
        return
    wrong = [
        (line, unit, f"The unit of the drug concentration is not that of the drug tolerance, "
         f"{options.drug_tolerance_unit!r}.")
        for line, unit, value in zip(table.lines, table.texts("unit"), drug, strict=True)
        if not math.isnan(value) and unit != options.drug_tolerance_unit
    ]  # fmt: skip
    table.tell(
        "E-ADA-003", "unit", wrong, remedy="Convert the concentrations, or state the tolerance in that unit."
    )


def _check_known(table: ClinicalTable, people: dict[str, Person]) -> None:
    unknown = [
        (line, person, f"The participant {person!r} is not in participants.csv.")
        for line, person in zip(table.lines, table.ids(), strict=True)
        if person and person not in people
    ]
    table.tell("E-SHEET-006", "participant_id", unknown, remedy="Correct the id, or add the participant.")


def _judge(sample: _Sample, person: Person, options: AdaOptions, problems: Problems) -> dict[str, object]:
    day, period, placed = _place(sample, person)
    if (
        options.cutoff is not None
        and sample.date is not None
        and sample.date.earliest.isoformat() > options.cutoff[:10]
    ):
        period, placed = "unplaced", "after the data cut-off"
    status, notes = _status(sample)
    titre, scale, assumed = _titre(sample, status, options)
    drug = next((row.drug for row in sample.rows if not math.isnan(row.drug)), math.nan)
    if status == "negative" and options.drug_tolerance is not None:
        if math.isnan(drug):
            notes.append("drug concentration not measured: the drug may hide antibodies")
        elif drug > options.drug_tolerance:
            status = "inconclusive"
            notes.append(
                f"drug {drug:g} above the tolerance {options.drug_tolerance:g} {options.drug_tolerance_unit}"
            )
    if placed:
        notes.append(placed)
    _tell(sample, problems, unplaced=placed if period == "unplaced" else "", status=status, why=notes)
    return {
        "participant_id": sample.person,
        "date": None if sample.date is None else sample.date.text,
        "study_day": day,
        "period": period,
        "is_baseline": False,
        "screen": _one(sample, "screen"),
        "confirm": _one(sample, "confirm"),
        "status": status,
        "titre": linear(titre),
        "titre_log10": titre,
        "titre_scale": scale,
        "titre_assumed": assumed,
        "neutralizing": _neutralizing(sample),
        "drug_concentration": drug,
        "note": "; ".join(notes),
    }


def _tell(sample: _Sample, problems: Problems, *, unplaced: str, status: str, why: list[str]) -> None:
    """Put aside a sample that is not placed in time, or whose steps contradict each other."""
    line = sample.rows[0].line
    if unplaced:
        problems.add(
            "E-ADA-004",
            f"The sample of participant {sample.person!r} is not placed in time: {unplaced}.",
            remedy="Give the whole date and the participant's first dose, or the study day.",
            file=FILE,
            row=line,
            column="date",
            value=None if sample.date is None else sample.date.text,
            severity="quarantine",
            item=sample.person,
        )
    if status == "unresolved":
        problems.add(
            "E-ADA-001",
            f"The sample of participant {sample.person!r} is not used: {why[0]}.",
            remedy="Complete or correct the steps of the sample.",
            file=FILE,
            row=line,
            column="assay_step",
            severity="quarantine",
            item=sample.person,
        )


def linear(log10: float) -> float:
    """Give a titre, or a ratio of two, from its log10: 320 again, and not 319.9999999999999."""
    return float(f"{10.0**log10:.12g}")


def _place(sample: _Sample, person: Person) -> tuple[int | None, str, str]:
    """Study day, period, and what is to be said about them."""
    day, first, date = sample.day, person.first_dose, sample.date
    if day == 0:
        return None, "unplaced", "there is no study day 0"
    if day is None and date is not None and not date.missing and person.first_day is not None:
        day = study_day(date.earliest, person.first_day)
    if day is None:
        if date is None:
            return None, "unplaced", "neither a date nor a study day"
        if date.missing:
            return None, "unplaced", f"the date {date.text} is partial"
        return None, "unplaced", "the first dose is not known to the day"
    if day != 1:
        return day, "baseline" if day < 1 else "post", ""
    taken, dosed = None if date is None else date.time, None if first is None else first.time
    if taken is None or dosed is None or (taken.tzinfo is None) != (dosed.tzinfo is None):
        return day, "baseline", "day of the first dose, taken to be before it"
    return day, "post" if taken > dosed else "baseline", ""


def _results(sample: _Sample, step: str) -> set[str]:
    return {row.result for row in sample.rows if row.step == step and row.result is not None}


def _one(sample: _Sample, step: str) -> str | None:
    found = _results(sample, step)
    return found.pop() if len(found) == 1 else None


def _status(sample: _Sample) -> tuple[str, list[str]]:
    """Positive, negative or unresolved, with the reason."""
    for step in ("screen", "confirm", "result"):
        if len(_results(sample, step)) > 1:
            return "unresolved", [f"{step} is positive and negative"]
    screen, confirm, final = (_one(sample, step) for step in ("screen", "confirm", "result"))
    titred = any(
        not math.isnan(row.titre) or (row.step == "titre" and row.result == "positive") for row in sample.rows
    )
    if screen == "negative" and (confirm == "positive" or final == "positive"):
        return "unresolved", ["negative at screening and positive after it"]
    if confirm is not None and final is not None and confirm != final:
        return "unresolved", [f"confirmation {confirm}, final result {final}"]
    verdict = confirm or final
    if verdict is None:
        if titred and screen != "negative":
            return "positive", ["no confirmation row; a titre was measured"]
        if screen == "positive":
            return "unresolved", ["positive at screening, not confirmed"]
        verdict = screen
    if verdict is None:
        return "unresolved", ["no result"]
    if verdict == "negative" and titred:
        return "unresolved", ["negative, yet a titre was measured"]
    return verdict, []


def _titre(sample: _Sample, status: str, options: AdaOptions) -> tuple[float, str | None, bool]:
    if status != "positive":
        return math.nan, None, False
    known = [row for row in sample.rows if not math.isnan(row.titre)]
    if known:
        best = max(known, key=lambda row: row.titre)  # repeated titrations: the highest
        return best.titre, best.scale, best.assumed
    if options.minimum_titre is None:
        return math.nan, None, False
    scale = next((row.scale for row in sample.rows if row.scale is not None), None)
    return math.log10(options.minimum_titre), scale, True


def _neutralizing(sample: _Sample) -> str | None:
    found = {row.neutralizing for row in sample.rows if row.neutralizing is not None}
    return "positive" if "positive" in found else "negative" if found else None


def _mark_baseline(frame: pd.DataFrame) -> pd.DataFrame:
    usable = (frame["period"] == "baseline") & frame["status"].isin(["positive", "negative"])
    last = frame[usable].groupby("participant_id").tail(1).index
    frame["is_baseline"] = frame.index.isin(last)
    return frame
