"""Response and survival from a study folder or from sheets: tables and figures in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure

from pdbiomarker.clinical.columns import read_dates
from pdbiomarker.clinical.efficacy import (
    Efficacy,
    efficacy,
    pfs_table,
    response_columns,
    swimmer_data,
)
from pdbiomarker.clinical.efficacy_rules import EfficacyRules, read_efficacy_rules
from pdbiomarker.clinical.people import first_dose_days
from pdbiomarker.clinical.response.assessments import day_of
from pdbiomarker.clinical.response.lesions import study_day
from pdbiomarker.clinical.survival import kaplan_meier
from pdbiomarker.errors import Problem, Problems
from pdbiomarker.pairing import adequacy
from pdbiomarker.plot import size_waterfall, spider, survival_curve, swimmer
from pdbiomarker.plot.style import figure, render_png, style
from pdbiomarker.provenance import atomic_path
from pdbiomarker.study import read_study
from pdbiomarker.tables import read_table, write_table

__all__ = ["ResponseOutcome", "efficacy_tables", "write_response"]

#: Sheets of the folder clinical/ that are read, where they are there.
_SHEETS: Final = ("lesions", "responses", "outcomes", "doses")
_DAYS: Final = (84.0, 168.0, 252.0, 336.0)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class _Given:
    people: pd.DataFrame
    sheets: dict[str, pd.DataFrame]
    biopsies: pd.DataFrame | None = None
    cutoff: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ResponseOutcome:
    """What was made.

    Attributes
    ----------
    made : tuple of Path
        ``best_response.csv`` first.
    problems : tuple of Problem
        Warnings.
    """

    made: tuple[Path, ...]
    problems: tuple[Problem, ...]


def write_response(
    inputs: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    participants: str | Path | None = None,
    outcomes: str | Path | None = None,
    rules: str | Path | None = None,
    reader: str | None = None,
    cutoff: str | None = None,
) -> ResponseOutcome:
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
        A YAML file: see :func:`pdbiomarker.clinical.efficacy_rules.read_efficacy_rules`.
    reader, cutoff : str, optional
        Stand above those of `rules`.

    Returns
    -------
    ResponseOutcome
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
    problems = Problems()
    given = _given(inputs, participants, outcomes, problems)
    chosen = EfficacyRules() if rules is None else read_efficacy_rules(rules)
    if chosen.cutoff is None:
        chosen = dataclasses.replace(chosen, cutoff=day_of(given.cutoff))
    chosen = _with(chosen, reader, cutoff)
    made = efficacy(given.people, given.sheets, rules=chosen)
    told = (*problems, *made.problems)
    tables, drawn = efficacy_tables(made, problems=told), _figures(made, given)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in tables.items():
        paths.append(folder / f"{name}.csv")
        write_table(table, paths[-1])
    for name, png in drawn.items():
        paths.append(folder / f"{name}.png")
        with atomic_path(paths[-1]) as temporary:
            temporary.write_bytes(png)
    return ResponseOutcome(tuple(paths), told)


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
    problems: Problems,
) -> _Given:
    """Read a study folder, or sheets told apart by their columns; raises what is wrong with them."""
    paths = [Path(inputs)] if isinstance(inputs, (str, Path)) else [Path(path) for path in inputs]
    given = _Given(pd.DataFrame(), {})
    for path in paths:
        if path.is_dir():
            given = _study(path, problems)
            continue
        table = read_table(path, problems=problems)
        columns = set() if table is None else set(table.columns)
        kind = "lesions" if "lesion_id" in columns else "responses" if "response" in columns else ""
        if table is not None and kind:
            given.sheets[kind] = table
        elif table is not None:
            problems.add(
                "E-SURV-010",
                "The sheet has neither lesions (lesion_id) nor responses (response).",
                remedy=f"It has: {', '.join(map(str, table.columns))}.",
                file=path.name,
            )
    people = None if participants is None else read_table(participants, problems=problems)
    ends = None if outcomes is None else read_table(outcomes, problems=problems)
    if ends is not None:
        given.sheets["outcomes"] = ends
    given = given if people is None else dataclasses.replace(given, people=people)
    if given.people.empty and not problems.errors:
        problems.add(
            "E-SURV-010",
            "Without participants the first doses are not known.",
            remedy="Give --participants, or a study folder.",
            file="participants.csv",
        )
    problems.raise_if_any()
    return given


def _study(folder: Path, problems: Problems) -> _Given:
    """Read a study folder and those of its clinical sheets that are needed here."""
    study = read_study(folder)
    people = study.participants.reset_index()
    found = {name: folder / "clinical" / f"{name}.csv" for name in _SHEETS}
    sheets = {name: read_table(path, problems=problems) for name, path in found.items() if path.exists()}
    known = {name: table for name, table in sheets.items() if table is not None}
    biopsies = study.biopsies[["participant_id", "study_day"]].assign(adequate=adequacy(study)["adequate"])
    return _Given(people, known, biopsies.reset_index(drop=True), study.spec.data_cutoff)


def efficacy_tables(made: Efficacy, *, problems: Sequence[Problem] = ()) -> dict[str, pd.DataFrame]:
    """Give every table by the name of its file.

    Parameters
    ----------
    made : Efficacy
    problems : sequence of Problem
        Default: those of `made`.

    Returns
    -------
    dict of str to DataFrame
        ``best_response`` first.
    """
    rows = [dataclasses.asdict(problem) for problem in (problems or made.problems)]
    tables = {
        "best_response": made.best.table,
        "timepoint_response": made.timepoints,
        "assessments": made.best.assessments,
        "populations": made.populations,
        "orr": made.rates,
        "pfs": pfs_table(made),
        "dor": made.dor.table,
        "response_by_participant": response_columns(made),
        "rules": pd.concat([made.rules.primary.table(), made.rules.sensitivity.table()], ignore_index=True),
        "problems": pd.DataFrame(rows, columns=[field.name for field in dataclasses.fields(Problem)]),
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


def _figures(made: Efficacy, given: _Given) -> dict[str, bytes]:
    """Draw the figures as PNG."""
    people = given.people
    bars, marks = swimmer_data(made, people, given.sheets.get("outcomes"))
    by = made.rules.by if made.rules.by in people.columns else None
    if by is not None:
        bars = bars.merge(people[["participant_id", by]], on="participant_id", how="left")
    size = (8.2, max(2.6, 1.3 + 0.24 * len(bars)))
    doses = _dose_days(given)
    drawn = {"swimmer": _drawn(swimmer, bars, marks, given.biopsies, doses=doses, hue=by, size=size)}
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


def _dose_days(given: _Given) -> pd.DataFrame | None:
    """Study days of the doses; a dose that was not given has none."""
    doses = given.sheets.get("doses")
    if doses is None or "start" not in doses.columns:
        return None
    problems = Problems()
    starts = first_dose_days(given.people, problems)
    spans = read_dates(doses, "start", file="doses.csv", problems=problems)
    problems.raise_if_any()
    held = doses["status"].fillna("").astype(str) if "status" in doses.columns else [""] * len(doses)
    rows = [
        (person, study_day(span.earliest, starts.get(str(person))))
        for person, span, status in zip(doses["participant_id"], spans, held, strict=True)
        if span is not None and status not in {"held", "stopped"}
    ]
    return pd.DataFrame(rows, columns=["participant_id", "study_day"])


def _drawn(draw: Any, *tables: Any, size: tuple[float, float], **options: Any) -> bytes:
    with style():
        fig: Figure = figure(*size)
        draw(*tables, ax=fig.add_subplot(), **options)
        return render_png(fig)
