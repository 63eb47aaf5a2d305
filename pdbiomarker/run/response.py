"""Response and survival from a study folder or from sheets: tables and figures in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure

from pdbiomarker.clinical.efficacy import (
    Efficacy,
    efficacy,
    pfs_table,
    response_columns,
    swimmer_data,
)
from pdbiomarker.clinical.efficacy_rules import EfficacyRules, read_efficacy_rules, rules_of_folder
from pdbiomarker.clinical.response.assessments import day_of
from pdbiomarker.clinical.survival import kaplan_meier
from pdbiomarker.errors import Problems
from pdbiomarker.pairing import adequacy
from pdbiomarker.plot import size_waterfall, spider, survival_curve, swimmer
from pdbiomarker.plot.style import figure, render_png, style
from pdbiomarker.run.clinic import Clinic, ClinicOutcome, left_out, of_sheets, of_study, write_all
from pdbiomarker.tables import read_table

__all__ = ["efficacy_tables", "write_response"]

#: Sheets of the folder clinical/ that are looked at, where they are there.
_SHEETS: Final = ("lesions", "responses", "outcomes", "doses")
_DAYS: Final = (84.0, 168.0, 252.0, 336.0)


def write_response(
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    participants: str | Path | None = None,
    outcomes: str | Path | None = None,
    rules: str | Path | None = None,
    reader: str | None = None,
    cutoff: str | None = None,
) -> ClinicOutcome:
    """Derive response and survival and write every table and figure.

    Parameters
    ----------
    inputs : path, or several
        A study folder (``participants.csv`` and ``clinical/``), or sheets: ``lesions.csv``,
        ``responses.csv``, told apart by their columns.
    out : path
        A folder; made when missing.
    participants, outcomes : path, optional
        Sheets; `participants` is needed with sheets as inputs.
    rules : path, optional
        A YAML file: see :func:`pdbiomarker.clinical.efficacy_rules.read_efficacy_rules`. Default:
        ``clinical/rules.yaml`` of a study folder, where it has one.
    reader, cutoff : str, optional
        Stand above those of `rules`.

    Returns
    -------
    ClinicOutcome
        ``best_response.csv, timepoint_response.csv, assessments.csv, populations.csv, orr.csv, pfs.csv,
        dor.csv, os.csv, km_*.csv, km_medians.csv, km_fixed_days.csv, response_by_participant.csv, rules.csv,
        problems.csv``; with lesions ``waterfall.csv, spider.csv``; and figures as PNG. The tables are those
        of :func:`pdbiomarker.clinical.efficacy.efficacy`.

    Raises
    ------
    InputError
        E-SURV-010: a sheet is missing or is none of these; and what the derivation refuses. Nothing is
        written then.
    """
    folder = inputs if isinstance(inputs, (str, Path)) else None
    chosen = _with(rules_of_folder(folder) if rules is None else read_efficacy_rules(rules), reader, cutoff)
    limit = None if chosen.cutoff is None else chosen.cutoff.isoformat()
    given = _given(inputs, participants, outcomes, limit)
    if chosen.cutoff is None:
        chosen = dataclasses.replace(chosen, cutoff=day_of(given.cutoff))
    people = pd.DataFrame() if given.participants is None else given.participants
    made = efficacy(people, dict(given.sheets), rules=chosen)
    tables = {**efficacy_tables(made), "problems": left_out((*given.problems, *made.problems), given.aside)}
    paths = write_all(Path(out), tables, _figures(made, people, given))
    return ClinicOutcome(paths, (*given.problems, *made.problems))


def _with(rules: EfficacyRules, reader: str | None, cutoff: str | None) -> EfficacyRules:
    problems = Problems()
    changed = rules if reader is None else dataclasses.replace(rules, reader=reader)
    if cutoff is not None:
        try:
            changed = dataclasses.replace(changed, cutoff=day_of(cutoff))
        except ValueError:
            problems.add(
                "E-SHEET-012",
                "The data cut-off is not a complete ISO date.",
                remedy="Write YYYY-MM-DD.",
                column="cutoff",
                value=cutoff,
            )
    problems.raise_if_any()
    return changed


def _given(
    inputs: str | Path | Sequence[str | Path],
    participants: str | Path | None,
    outcomes: str | Path | None,
    cutoff: str | None,
) -> Clinic:
    """Read a study folder, or sheets told apart by their columns; raises what is wrong with them."""
    paths = [Path(inputs)] if isinstance(inputs, (str, Path)) else [Path(path) for path in inputs]
    if len(paths) == 1 and paths[0].is_dir():
        return of_study(paths[0], _SHEETS)
    problems = Problems()
    files: dict[str, str | Path | None] = {"participants": participants, "outcomes": outcomes}
    for path in paths:
        table = read_table(path, problems=problems)
        columns = set() if table is None else set(table.columns)
        kind = "lesions" if "lesion_id" in columns else "responses" if "response" in columns else ""
        if kind:
            files[kind] = path
        elif table is not None:
            problems.add(
                "E-SURV-010",
                "The sheet has neither lesions (lesion_id) nor responses (response).",
                remedy=f"It has: {', '.join(map(str, table.columns))}.",
                file=path.name,
            )
    if participants is None and not problems.errors:
        problems.add(
            "E-SURV-010",
            "Without participants the first doses are not known.",
            remedy="Give --participants, or a study folder.",
            file="participants.csv",
        )
    return of_sheets(files, cutoff=cutoff, problems=problems)


def _swimmer_biopsies(given: Clinic) -> pd.DataFrame | None:
    """Biopsies with their study day and whether they are adequate; only a study says so."""
    if given.study is None:
        return None
    biopsies = given.study.biopsies[["participant_id", "study_day"]]
    return biopsies.assign(adequate=adequacy(given.study)["adequate"]).reset_index(drop=True)


def efficacy_tables(made: Efficacy) -> dict[str, pd.DataFrame]:
    """Give every table by the name of its file.

    Parameters
    ----------
    made : Efficacy

    Returns
    -------
    dict of str to DataFrame
        ``best_response`` first.
    """
    tables = {
        "best_response": made.best.table,
        "timepoint_response": made.timepoints,
        "assessments": made.best.assessments,
        "populations": made.populations,
        "orr": made.rates,
        "pfs": pfs_table(made),
        "dor": made.dor.table,
        "response_by_participant": response_columns(made),
        "rules": pd.concat(
            [r.table() for r in (made.rules.primary, made.rules.sensitivity, made.rules.response)],
            ignore_index=True,
        ),
    }
    if made.os is not None:
        tables["os"] = made.os.table
    if len(made.waterfall):
        tables |= {"waterfall": made.waterfall, "spider": made.spider}
    if len(made.differences):
        tables["recorded_and_computed"] = made.differences
    medians, fixed = [], []
    for name, curve in made.curves.items():
        tables[f"km_{name}"] = curve.table
        medians.append(curve.medians.assign(curve=name))
        fixed.append(curve.at(_DAYS).assign(curve=name))
    # How long people were followed: the curve of being censored.
    longest = made.pfs.table if made.os is None else made.os.table
    seen = kaplan_meier(longest.assign(event=~longest["event"].astype(bool)))
    medians.append(seen.medians.assign(curve="follow_up (reverse Kaplan-Meier)"))
    for name, parts in (("km_medians", medians), ("km_fixed_days", fixed)):
        whole = pd.concat(parts, ignore_index=True)
        tables[name] = whole[["curve", *(column for column in whole.columns if column != "curve")]]
    return tables


def _figures(made: Efficacy, people: pd.DataFrame, given: Clinic) -> dict[str, bytes]:
    """Draw the figures as PNG."""
    bars, marks = swimmer_data(made, people, given.sheets.get("outcomes"))
    by = made.rules.by if made.rules.by in people.columns else None
    if by is not None:
        bars = bars.merge(people[["participant_id", by]], on="participant_id", how="left")
    size = (8.2, max(2.6, 1.3 + 0.24 * len(bars)))
    doses, biopsies = _dose_days(given), _swimmer_biopsies(given)
    drawn = {"swimmer": _drawn(swimmer, bars, marks, biopsies, doses=doses, hue=by, size=size)}
    if len(made.waterfall):
        drawn["waterfall"] = _drawn(size_waterfall, made.waterfall, size=(7.6, 4.0))
        drawn["spider"] = _drawn(spider, made.spider, size=(7.6, 4.2))
    names = {
        "pfs": ("Progression-free survival", "alive without progression"),
        "dor": ("Duration of response, confirmed responders", "still responding"),
        "os": ("Overall survival", "alive"),
    }
    for name, curve in made.curves.items():
        title, label = names.get(name.partition("_by_")[0], (name, "probability"))
        groups = len(curve.medians)
        size = (9.0 if groups > 1 else 7.0, 3.9 + 0.2 * max(groups, 1))
        drawn[f"km_{name}"] = _drawn(survival_curve, curve, title=title, ylabel=label, size=size)
    return drawn


def _dose_days(given: Clinic) -> pd.DataFrame | None:
    """Study days of the doses received; one that is not dated, or was not given, has none."""
    doses = given.sheets.get("doses")
    if doses is None or "study_day" not in doses:
        return None
    got = doses["study_day"].notna()
    if "status" in doses:
        got &= ~doses["status"].isin(["held", "stopped"])
    return doses.loc[got, ["participant_id", "study_day"]]


def _drawn(draw: Any, *tables: Any, size: tuple[float, float], **options: Any) -> bytes:
    with style():
        fig: Figure = figure(*size)
        draw(*tables, ax=fig.add_subplot(), **options)
        return render_png(fig)
