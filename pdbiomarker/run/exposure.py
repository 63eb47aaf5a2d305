"""A pharmacokinetic analysis written as files: from a study folder, or from plain tables."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd

from pdbiomarker.clinical import pk
from pdbiomarker.clinical.pk.convert import common_unit
from pdbiomarker.clinical.pk.of_study import timed_doses, timed_samples
from pdbiomarker.clinical.schedule import dose_history, doses_before, schedule_summary
from pdbiomarker.errors import Problem, Problems
from pdbiomarker.plot import pk as figures
from pdbiomarker.plot.style import render_png
from pdbiomarker.run.clinic import ClinicOutcome, left_out, of_study, write_all
from pdbiomarker.study import Study
from pdbiomarker.study.clinical import SET_ASIDE, read_clinical_sheet
from pdbiomarker.tables import nearest, read_table, to_number

__all__ = ["exposure_tables", "write_exposure"]

#: Columns that tell assays of one table apart.
_GROUPS: Final = ("analyte", "specimen")
_NUMBERS: Final = ("time_h", "nominal_time_h", "amount", "duration_h", "weight_kg", "lloq")


@dataclasses.dataclass(frozen=True, slots=True)
class _Given:
    """What is analysed."""

    concentrations: pd.DataFrame
    doses: pd.DataFrame
    biopsies: pd.DataFrame | None
    dose: dict[str, float]
    tables: dict[str, pd.DataFrame]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def write_exposure(
    source: str | Path,
    out: str | Path,
    *,
    doses: str | Path | None = None,
    biopsies: str | Path | None = None,
    route: str = "infusion",
    method: str = "linear_up_log_down",
) -> ClinicOutcome:
    """Analyse concentrations without compartments and write tables and figures.

    Parameters
    ----------
    source : path
        A study folder with clinical/concentrations.csv and clinical/doses.csv; or a table of concentrations
        (participant_id, time_h or datetime, concentration; unit, lloq, nominal_time_h, analyte, specimen).
    out : path
        A folder; made when missing.
    doses : path, optional
        With a table of concentrations: participant_id, amount, unit, and time_h (duration_h, weight_kg) or
        start (end, status).
    biopsies : path, optional
        With a table of concentrations: biopsy_id, participant_id, time_h.
    route, method : str
        As in :func:`pdbiomarker.clinical.pk.nca`.

    Returns
    -------
    ClinicOutcome
        pk_parameters.csv first; pk_summary.csv, pk_parameter_summary.csv, dose_proportionality.csv,
        pk_units.csv; pk_intervals.csv where a participant has several doses; exposure_at_biopsy.csv;
        schedule.csv and schedule_summary.csv where doses have dates; exposure_left_out.csv; notes.csv, what
        was assumed; the figures as png.

    Raises
    ------
    InputError
        Everything that is wrong with the study or the tables.

    Examples
    --------
    >>> write_exposure("expansion/", "pk/")  # doctest: +SKIP
    """
    given = _of_study(Path(source)) if Path(source).is_dir() else _of_files(Path(source), doses, biopsies)
    parts = _parts(given, route, method)
    drawn: dict[str, bytes] = {}
    for (labels, samples), parameters in zip(
        _assays(given.concentrations), parts["pk_parameters"], strict=True
    ):
        drawn |= _draw(given, samples, parameters, "_".join(labels.values()))
    return ClinicOutcome(write_all(Path(out), _joined(given, parts), drawn), given.problems)


def exposure_tables(study: Study) -> tuple[dict[str, pd.DataFrame], tuple[Problem, ...]]:
    """Analyse the concentrations of a study without compartments: infusions, linear up and log down.

    Parameters
    ----------
    study : Study
        With the clinical sheets concentrations and doses.

    Returns
    -------
    dict of name to DataFrame
        The tables of :func:`write_exposure`, and ``pk_samples``: what was analysed.
    tuple of Problem
        Samples and doses that have no place in time, and so are left out.

    Raises
    ------
    InputError
        As :func:`pdbiomarker.clinical.pk.pk_tables` and :func:`pdbiomarker.clinical.pk.nca`.
    """
    given = _given(study, (), study.clinical.get(SET_ASIDE))
    parts = _parts(given, "infusion", "linear_up_log_down")
    tables = _joined(given, parts) | {"pk_samples": given.concentrations}
    return tables, given.problems


def _parts(given: _Given, route: str, method: str) -> dict[str, list[pd.DataFrame]]:
    """Every table, once for each analyte and specimen."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for labels, samples in _assays(given.concentrations):
        for name, table in _analysed(given, samples, route, method).items():
            for position, (column, label) in enumerate(labels.items()):
                table.insert(position, column, label)
            parts.setdefault(name, []).append(table)
    return parts


def _joined(given: _Given, parts: dict[str, list[pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    tables = {name: pd.concat(found, ignore_index=True) for name, found in parts.items()} | given.tables
    tables["notes"] = pd.DataFrame({"note": list(given.notes)}, dtype=object)
    return tables


def _assays(concentrations: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The rows of each analyte and specimen; their labels where the table has such columns."""
    columns = [column for column in _GROUPS if column in concentrations]
    if not columns:
        yield {}, concentrations
        return
    labels = concentrations[columns].fillna("").astype(str)
    for key, rows in labels.groupby(columns, sort=True):
        yield (
            dict(zip(columns, map(str, key), strict=True)),
            concentrations.loc[rows.index].drop(columns=columns),
        )


def _analysed(given: _Given, samples: pd.DataFrame, route: str, method: str) -> dict[str, pd.DataFrame]:
    parameters = pk.nca(samples, given.doses, route=route, method=method)
    parameters.insert(1, "dose", [given.dose.get(p, float("nan")) for p in parameters["participant_id"]])
    known = [v for v in ("cmax", "auc_last", "auc_inf") if parameters[v].notna().any()]
    tables = {
        "pk_parameters": parameters,
        "pk_summary": pk.concentration_summary(samples, given.dose),
        "pk_parameter_summary": pk.parameter_summary(parameters),
        "dose_proportionality": pk.dose_proportionality(parameters, values=known or ["cmax"]),
        "pk_units": _units(samples, given.doses),
    }
    if given.doses["participant_id"].duplicated().any():
        tables["pk_intervals"] = pk.nca_intervals(samples, given.doses, route=route, method=method)
    if given.biopsies is not None:
        tables["exposure_at_biopsy"] = pk.exposure_at(
            given.biopsies, samples, given.doses, route=route, method=method
        )
    return tables


def _unit(frame: pd.DataFrame) -> str | None:
    unit = common_unit(frame["unit"]) if "unit" in frame else None
    return None if unit is None else unit.text


def _units(samples: pd.DataFrame, doses: pd.DataFrame) -> pd.DataFrame:
    units = pk.parameter_units(_unit(samples), with_dose="unit" in doses)
    units["dose"] = _unit(doses) or ""
    return pd.DataFrame({"parameter": list(units), "unit": list(units.values())})


def _draw(given: _Given, samples: pd.DataFrame, parameters: pd.DataFrame, label: str) -> dict[str, bytes]:
    tail = re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_")
    tail = f"_{tail}" if tail else ""
    unit = _unit(given.doses) or ""
    drawn = {f"concentration_time{tail}": figures.concentration_time(samples, given.dose, dose_unit=unit)}
    levels = parameters["dose"].dropna().nunique()
    for value in ("auc_inf", "auc_last", "cmax"):
        if levels > 1 and int(parameters[value].gt(0).sum()) > 2:
            of_value = pk.parameter_units(_unit(samples))[value]
            axes = figures.dose_proportionality(parameters, value, unit=of_value, dose_unit=unit)
            drawn[f"dose_proportionality{tail}"] = axes.get_figure(root=True)  # type: ignore[assignment]
            break
    return {name: render_png(picture) for name, picture in drawn.items()}


#: Clinical sheets that are looked at.
_SHEETS: Final = ("doses", "concentrations")


def _of_study(folder: Path) -> _Given:
    clinic = of_study(folder, _SHEETS, needed=_SHEETS)
    if clinic.study is None:
        raise TypeError("a study folder gives a study")
    return _given(clinic.study, clinic.problems, clinic.aside)


def _given(study: Study, problems: tuple[Problem, ...], aside: pd.DataFrame | None) -> _Given:
    tables = pk.pk_tables(study)
    dated = study.biopsies.assign(biopsy_id=study.biopsies.index)[
        ["biopsy_id", "participant_id", "collection_date"]
    ]
    at_biopsy = doses_before(dated.reset_index(drop=True), tables.history, date="collection_date")
    told = (*problems, *_unplaced(tables.concentrations, tables.history))
    at_biopsy.insert(0, "biopsy_id", dated["biopsy_id"].to_numpy())
    return _Given(
        tables.concentrations,
        tables.doses,
        tables.biopsies,
        tables.dose,
        {
            "schedule": tables.history,
            "schedule_summary": schedule_summary(tables.history),
            "schedule_at_biopsy": at_biopsy,
            "exposure_left_out": left_out(told, aside),
        },
        tables.notes,
        told,
    )


def _unplaced(samples: pd.DataFrame, history: pd.DataFrame) -> tuple[Problem, ...]:
    """Tell which samples and doses have no place in time, and so are left out."""
    problems = Problems()
    for row in samples[samples["time_h"].isna()].to_dict("records"):
        problems.add(
            "E-CLIN-030",
            "The sample has no time from the first dose.",
            remedy="Give time_h, or a datetime with its time of day, and the time of the first dose.",
            file="concentrations.csv",
            row=row.get("line"),
            column="datetime",
            value=row.get("datetime"),
            severity="quarantine",
            item=row["participant_id"],
        )
    for row in history[history["note"] != ""].to_dict("records"):
        problems.add(
            "E-CLIN-030",
            "The dose has no whole date: it counts for nothing.",
            remedy="Give year, month and day.",
            file="doses.csv",
            column="start",
            value=row["start"],
            severity="quarantine",
            item=row["participant_id"],
        )
    return tuple(problems)


def _of_files(source: Path, doses: str | Path | None, biopsies: str | Path | None) -> _Given:
    problems = Problems()
    if doses is None:
        problems.add(
            "E-PK-004",
            "Concentrations were given without doses.",
            remedy="Give the table of doses as well, or a study folder.",
            file=source.name,
        )
        problems.raise_if_any()
    samples = _plain(source, "concentrations", ("participant_id", "concentration"), problems)
    given = _plain(Path(str(doses)), "doses", ("participant_id", "amount"), problems)
    places = (
        None
        if biopsies is None
        else _plain(Path(biopsies), "biopsies", ("biopsy_id", "participant_id", "time_h"), problems)
    )
    problems.raise_if_any()
    notes: tuple[str, ...] = ()
    tables: dict[str, pd.DataFrame] = {}
    if "start" in given:
        history = dose_history(given)
        given, notes = timed_doses(history)
        samples, more = timed_samples(samples, history)
        notes += more
        tables = {"schedule": history, "schedule_summary": schedule_summary(history)}
    told = (*problems, *(_unplaced(samples, tables["schedule"]) if tables else ()))
    tables["exposure_left_out"] = left_out(told)
    first = (
        given.sort_values("time_h", kind="stable").drop_duplicates("participant_id")
        if "time_h" in given
        else given
    )
    levels = dict(zip(first["participant_id"].map(str), first["amount"].astype(float), strict=True))
    return _Given(samples, given, places, levels, tables, notes, told)


def _plain(path: Path, name: str, needed: tuple[str, ...], problems: Problems) -> pd.DataFrame:
    """A table of samples, doses or biopsies: a clinical sheet where it has dates or units, else by hours."""
    header = read_table(path, name=path.name, problems=problems)
    if header is None:
        return pd.DataFrame()  # the problem is told
    if (name == "doses" and "start" in header) or (name == "concentrations" and "unit" in header):
        sheet = read_clinical_sheet(path, name, problems)
        return pd.DataFrame() if sheet is None else sheet
    for column in needed:
        if column not in header:
            problems.add(
                "E-SHEET-001",
                f"The column {column!r} is missing.",
                remedy=f"Add it. {nearest(column, map(str, header.columns))}",
                file=path.name,
                row=1,
                column=column,
            )
    frame = header.copy()
    for column in _NUMBERS:
        if column in frame:
            frame[column] = to_number(frame[column], file=path.name, problems=problems)
    return frame.assign(line=frame.index.to_numpy()).reset_index(drop=True)
