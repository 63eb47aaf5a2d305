"""The trial around the biopsies, computed in one go from the clinical sheets of a study, part by part.

::

    schedule   doses                    what was given, and what had been given at each biopsy
    exposure   doses, concentrations    pharmacokinetics, exposure at each biopsy
    response   lesions or responses     best response, rates, survival
    ada        ada                      antibodies, and status at each biopsy
    safety     adverse_events           events, dose-limiting toxicities

A part that cannot be made is told, with what is wrong, and the others are made all the same. No table holds a
calendar date: dates become study days.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd

from pdbiomarker.change import PDResult, clinical_join
from pdbiomarker.clinical.ada import AdaOptions, classify, incidence, read_samples, sample_flow, status_at
from pdbiomarker.clinical.efficacy import efficacy, swimmer_data
from pdbiomarker.clinical.efficacy_rules import EfficacyRules, rules_of_folder
from pdbiomarker.clinical.safety import (
    SafetyOptions,
    by_kind,
    by_term,
    dlt_evaluable,
    dlt_table,
    max_grades,
    read_events,
)
from pdbiomarker.clinical.schedule import dose_history, doses_before, schedule_summary
from pdbiomarker.errors import InputError, Problem, Problems
from pdbiomarker.pairing import adequacy
from pdbiomarker.report.privacy import clean
from pdbiomarker.run.exposure import exposure_tables
from pdbiomarker.run.response import efficacy_tables
from pdbiomarker.study import Study
from pdbiomarker.study.people import study_day
from pdbiomarker.tables import order_by_texts, parse_date

__all__ = ["ClinicalOutcome", "clinical_tables", "with_clinical"]

Tables = dict[str, pd.DataFrame]

#: Tables of a part that stay in its own command: :func:`pdbiomarker.write_exposure` and its like.
_LEFT_OUT: Final = frozenset(
    {
        *(
            "timepoint_response",
            "assessments",
            "populations",
            "problems",
            "notes",
            "schedule",
            "pk_intervals",
        ),
        "exposure_left_out",
    }
)
#: Names that are clear beside those of other parts.
_RENAMED: Final = {"rules": "response_rules", "exposure_at_biopsy": "exposure"}
_NO_DATES: Final = frozenset({"date_imputed"})
_DATED: Final = ("date", "first_dose", "last_dose", "start", "end", "window_end", "datetime")
_PRIVATE: Final = ("interruptions", "line")


@dataclasses.dataclass(frozen=True, eq=False)
class ClinicalOutcome:
    """The tables of the trial around the biopsies.

    Attributes
    ----------
    tables : mapping of name to DataFrame
        By part, those that its sheets allow:

        - `schedule_summary`; `exposure`: one row per biopsy (and analyte), doses before it, area,
          concentration and trough; `pk_parameters`, `pk_parameter_summary`, `pk_summary`, `pk_units`,
          `pk_samples`, `dose_proportionality`;
        - `best_response`, `orr`, `pfs`, `dor`, `os`, `km_<curve>`, `km_medians`, `km_fixed_days`,
          `waterfall`, `spider`, `response_by_participant`, `response_rules`, `swimmer` and `timeline` (study
          days of doses, biopsies, responses, death);
        - `ada_incidence`, `ada_participants`, `ada_samples`, `ada_flow`, `ada_biopsies`;
        - `ae_by_kind`, `ae_by_term`, `ae_max_grades`, `dlt_by_dose`, `dlt_participants`.
    problems : tuple of Problem
        Warnings; and E-CLIN-040, quarantined, for each part that could not be made.
    """

    tables: Mapping[str, pd.DataFrame]
    problems: tuple[Problem, ...]


def clinical_tables(study: Study, *, rules: EfficacyRules | None = None) -> ClinicalOutcome:
    """Compute exposure, response, survival, antibodies and safety from the clinical sheets of a study.

    Parameters
    ----------
    study : Study
    rules : EfficacyRules, optional
        Of response and survival; default: those of ``clinical/rules.yaml`` of the study folder, else RECIST
        1.1 and the primary censoring rules; cut off at the study's data cut-off where they name no other.

    Returns
    -------
    ClinicalOutcome
        Without clinical sheets: no table.

    Examples
    --------
    >>> clinical = clinical_tables(pb.read_study("expansion/"))  # doctest: +SKIP
    >>> clinical.tables["exposure"]  # doctest: +SKIP
    """
    ordered = _in_order(study)
    sheets = set(ordered.clinical)
    parts: list[tuple[str, bool, Callable[[Study, Problems], Tables]]] = [
        ("exposure", {"doses", "concentrations"} <= sheets, _exposure),
        ("schedule", "doses" in sheets, _schedule),
        ("response", bool({"lesions", "responses"} & sheets), lambda s, p: _response(s, p, rules)),
        ("ada", "ada" in sheets, _antibodies),
        ("safety", "adverse_events" in sheets, _safety),
    ]
    tables: Tables = {}
    problems = Problems()
    for name, wanted, make in parts:
        if not wanted:
            continue
        told = Problems()
        try:
            made = make(ordered, told)
        except InputError as error:
            problems.extend(_lost(name, error))
            continue
        problems.extend(told)
        tables |= made if name != "schedule" else _beside_exposure(made, tables)
    tables = _with_timeline(tables, ordered)
    days = _first_doses(ordered)
    shared = {name: _shareable(table, days) for name, table in sorted(tables.items())}
    return ClinicalOutcome(MappingProxyType(shared), tuple(dict.fromkeys(map(_cleaned, problems))))


def _with_timeline(tables: Tables, study: Study) -> Tables:
    """All that happened on a study day, in one table: doses, biopsies, responses, death."""
    doses, marks = tables.pop("_doses", None), tables.pop("_marks", None)
    if not tables:
        return tables
    judged = adequacy(study)["adequate"]
    taken = study.biopsies[["participant_id", "study_day"]].assign(
        kind=["biopsy, adequate" if fine else "biopsy, inadequate" for fine in judged],
        detail=study.biopsies.index,
    )
    if not study.spec.adequacy:
        taken["kind"] = "biopsy"
    rows = pd.concat([t for t in (doses, taken, marks) if t is not None], ignore_index=True)
    rows["study_day"] = pd.array([pd.NA if pd.isna(d) else int(d) for d in rows["study_day"]], dtype="Int64")
    rows["detail"] = rows["detail"].fillna("").astype(object)
    keys = ["participant_id", "study_day", "kind", "detail"]
    return {**tables, "timeline": rows.sort_values(keys, kind="stable", ignore_index=True)}


def with_clinical(result: PDResult, outcome: ClinicalOutcome) -> PDResult:
    """Give a result that holds the clinical tables, and ``joined`` beside them.

    Parameters
    ----------
    result : PDResult
    outcome : ClinicalOutcome
        As from :func:`clinical_tables`.
    """
    joined = clinical_join(result, tables=outcome.tables)
    return dataclasses.replace(result, clinical=MappingProxyType({**outcome.tables, "joined": joined}))


def _lost(name: str, error: InputError) -> list[Problem]:
    """What is told of a part that could not be made: that, and every fault, of which none ends the run."""
    faults = [p for p in error.problems if p.severity == "error"]
    first = faults[0]
    more = f" There are {len(faults)} such faults, listed as warnings." if len(faults) > 1 else ""
    lost = Problem(
        "E-CLIN-040",
        f"The part {name!r} of the clinical tables could not be made ({first.code}): {first.message}{more}",
        first.remedy,
        first.file,
        first.row,
        first.column,
        first.value,
        severity="quarantine",
        item=name,
    )
    rest = [dataclasses.replace(p, severity="warning", item=name) for p in error.problems]
    return [lost, *(rest if len(faults) > 1 else [p for p in rest if p.code != first.code])]


def _in_order(study: Study) -> Study:
    """The study with each clinical sheet in an order of its own, whatever that of its rows.

    The lines become the index: what is wrong is told with them.
    """
    sorted_sheets = {}
    for name, frame in sorted(study.clinical.items()):
        ordered = order_by_texts(frame)
        if "line" in ordered:
            ordered = ordered.set_axis(ordered["line"].astype(int), axis="index").rename_axis(None)
        sorted_sheets[name] = ordered
    return dataclasses.replace(study, clinical=MappingProxyType(sorted_sheets))


# --- parts ---------------------------------------------------------------------------------------------


def _exposure(study: Study, told: Problems) -> Tables:
    tables, left = exposure_tables(study)
    told.extend(left)
    by_day = not (study.biopsies["hours_from_first_dose"] > 0).any()  # of those on treatment
    for note in tables["notes"]["note"]:
        if by_day and note.split(maxsplit=1)[1].startswith("biopsies"):
            continue  # days are all that the study has: nothing was lost that could be given for a few
        told.add("E-CLIN-044", f"Times: {note}.", remedy="Give times of day.", severity="warning")
    found = tables["exposure_at_biopsy"]
    labels = [c for c in ("analyte", "specimen") if c in found]
    kinds = found[labels].drop_duplicates() if labels else found.iloc[:1]
    if len(kinds) > 1:
        first = ", ".join(str(v) for v in kinds.iloc[0])
        told.add(
            "E-CLIN-041",
            f"{len(kinds)} analytes or specimens: {first} is joined to the biopsies.",
            remedy="Leave the others out of the sheet, or use the table of exposure itself.",
            file="clinical/concentrations.csv",
            severity="warning",
        )
    samples = tables["pk_samples"]
    kept = ["participant_id", "analyte", "specimen", "time_h", "nominal_time_h", "concentration", "blq"]
    kept = [c for c in (*kept, "lloq", "unit") if c in samples]
    tables["pk_samples"] = samples[kept].sort_values(
        ["participant_id", "time_h"], kind="stable", ignore_index=True
    )
    return _kept({k: v for k, v in tables.items() if not k.startswith("schedule")})


def _schedule(study: Study, told: Problems) -> Tables:
    del told
    history = dose_history(study.clinical["doses"], study.participants)
    dated = study.biopsies.assign(biopsy_id=study.biopsies.index)
    dated = dated[["biopsy_id", "participant_id", "collection_date"]].reset_index(drop=True)
    before = doses_before(dated, history, date="collection_date")
    before.insert(0, "biopsy_id", dated["biopsy_id"])
    received = history[history["received"]]
    doses = received[["participant_id", "study_day"]].assign(kind="dose", detail=received["status"])
    return {"schedule_summary": schedule_summary(history), "exposure": before, "_doses": doses}


def _beside_exposure(made: Tables, tables: Tables) -> Tables:
    """What had been given at each biopsy, beside the concentrations where they are known."""
    before = made.pop("exposure")
    names = {"cumulative_mg": "cumulative_dose_mg", "flag": "schedule_flag"}
    columns = ["biopsy_id", "participant_id", "n_doses", "cumulative_mg", "days_since_last_dose", "cycle"]
    before = before[[*columns, "interrupted_before", "flag"]].rename(columns=names)
    if "exposure" in tables:
        known = _unclear(tables["exposure"], before).drop(columns=["n_doses", "participant_id"])
        before = known.merge(before, on="biopsy_id", how="left")
        front = [*(c for c in ("analyte", "specimen") if c in known), "biopsy_id", "participant_id"]
        before = before[[*front, *(c for c in before if c not in front)]]
    else:
        before["hours_since_last_dose"] = 24 * before["days_since_last_dose"].astype(float)
    before["n_doses"] = before["n_doses"].astype("Int64")
    return {**made, "exposure": before}


def _unclear(exposure: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Take away what a dose on the day of the biopsy, before or after it, leaves open."""
    told = exposure["biopsy_id"].map(dict(zip(before["biopsy_id"], before["n_doses"], strict=True)))
    placed = exposure["n_doses"].astype(float)
    unclear = placed.notna() & told.notna() & (placed != told.astype(float))
    out = exposure.copy()
    out.loc[unclear, ["hours_since_last_dose", "concentration", "last_trough", "last_trough_time_h"]] = np.nan
    out.loc[unclear, "concentration_is"] = "dose on the day of the biopsy"
    return out


def _response(study: Study, told: Problems, rules: EfficacyRules | None) -> Tables:
    people = study.participants.reset_index()
    chosen = rules or rules_of_folder(study.path)
    cutoff = parse_date(study.spec.data_cutoff) if study.spec.data_cutoff else None
    if chosen.cutoff is None and cutoff is not None:
        chosen = dataclasses.replace(chosen, cutoff=cutoff)
    made = efficacy(people, study.clinical, rules=chosen)
    told.extend(made.problems)
    bars, marks = swimmer_data(made, people, study.clinical.get("outcomes"))
    levels = study.participants["dose_mg"] if "dose_mg" in study.participants else pd.Series(dtype=float)
    bars["dose_mg"] = bars["participant_id"].map(levels.to_dict()).astype(float)
    return {**_kept(efficacy_tables(made)), "swimmer": bars, "_marks": marks}


def _antibodies(study: Study, told: Problems) -> Tables:
    options = AdaOptions(cutoff=study.spec.data_cutoff)
    samples = read_samples(study.clinical["ada"], study.participants, options=options)
    told.extend(samples.problems)
    status = classify(samples, options=options)
    return {
        "ada_incidence": incidence(status, by_dose=bool(status["dose_mg"].notna().any())),
        "ada_participants": status,
        "ada_samples": samples.table,
        "ada_flow": sample_flow(samples),
        "ada_biopsies": status_at(samples, study.biopsies, study.participants),
    }


def _safety(study: Study, told: Problems) -> Tables:
    options = SafetyOptions(cutoff=study.spec.data_cutoff)
    given = study.clinical
    data = read_events(given["adverse_events"], study.participants, given.get("doses"), options=options)
    told.extend(data.problems)
    evaluable = dlt_evaluable(data, given.get("outcomes"))
    return {
        "ae_by_kind": by_kind(data),
        "ae_by_term": by_term(data),
        "ae_max_grades": max_grades(data),
        "dlt_by_dose": dlt_table(evaluable),
        "dlt_participants": evaluable,
    }


def _kept(tables: Tables) -> Tables:
    return {_RENAMED.get(name, name): table for name, table in tables.items() if name not in _LEFT_OUT}


# --- without dates -------------------------------------------------------------------------------------


def _first_doses(study: Study) -> dict[str, dt.date]:
    given = study.participants.get("first_dose_datetime", pd.Series(dtype=object))
    read = {str(p): parse_date(text) for p, text in given.items() if isinstance(text, str)}
    return {person: date for person, date in read.items() if date is not None}


def _shareable(table: pd.DataFrame, first: Mapping[str, dt.date]) -> pd.DataFrame:
    """A table whose dates are study days, and whose texts name no date; rows in an order of their own."""
    out: dict[str, pd.Series] = {}
    for name in map(str, table.columns):
        column = table[name]
        if name in _PRIVATE or name.endswith("date_latest") or pd.api.types.is_datetime64_any_dtype(column):
            continue
        dated = (name in _DATED or name.endswith("_date")) and name not in _NO_DATES
        if not dated:
            texts = str(column.dtype) in {"object", "str"} and not name.endswith("_id")
            out[name] = column.map(lambda v: clean(v) if isinstance(v, str) else v) if texts else column
            continue
        day = "study_day" if name == "date" else f"{name.removesuffix('_date')}_day"
        if day not in table and "participant_id" in table:
            days = [
                _day(text, first.get(str(p))) for text, p in zip(column, table["participant_id"], strict=True)
            ]
            out[day] = pd.Series(days, index=table.index, dtype="Int64")
    return pd.DataFrame(out).reset_index(drop=True)


def _day(text: object, first: dt.date | None) -> int | None:
    date = parse_date(text) if isinstance(text, str) else None
    return None if date is None or first is None else study_day(date, first)


def _cleaned(problem: Problem) -> Problem:
    value = clean(problem.value) if isinstance(problem.value, str) else problem.value
    return dataclasses.replace(
        problem, message=clean(problem.message), remedy=clean(problem.remedy), value=value
    )
