"""Antibodies, safety and dose escalation as files: from a study folder or from plain tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.pyplot import close

from pdbiomarker.clinical.ada import AdaOptions, classify, incidence, read_samples, sample_flow, status_at
from pdbiomarker.clinical.escalation import (
    DESIGNS,
    EscalationOptions,
    Selection,
    decision_table,
    next_dose,
    select_mtd,
)
from pdbiomarker.clinical.escalation.options import design_name
from pdbiomarker.clinical.safety import (
    EscalationPath,
    SafetyData,
    SafetyOptions,
    by_kind,
    by_term,
    dlt_evaluable,
    dlt_table,
    max_grades,
    outcomes_of,
    read_events,
)
from pdbiomarker.errors import Problems
from pdbiomarker.plot import ada_titres, adverse_events
from pdbiomarker.plot import decision_table as draw_table
from pdbiomarker.plot import escalation_path as draw_path
from pdbiomarker.plot.style import render_png
from pdbiomarker.run.clinic import Clinic, ClinicOutcome, left_out, of_sheets, of_study, write_all

__all__ = ["Escalation", "escalate", "write_ada", "write_safety"]

#: Clinical sheets that are looked at, by the one that is needed.
_SHEETS: Final[Mapping[str, tuple[str, ...]]] = {
    "ada": ("ada",),
    "adverse_events": ("adverse_events", "doses", "outcomes"),
}


@dataclasses.dataclass(frozen=True)
class Escalation:
    """Where an escalation stands.

    Attributes
    ----------
    design : str
        Key of the design.
    outcomes : str
    dose : int or None
        Next dose level, or the recommended one when the trial stops.
    go_on : bool
    selection : Selection
        The maximum tolerated dose so far.
    table : DataFrame
        The decision table.
    path : EscalationPath or None
        From a study: its participants.
    made : tuple of Path
    """

    design: str
    outcomes: str
    dose: int | None
    go_on: bool
    selection: Selection
    table: pd.DataFrame
    path: EscalationPath | None = None
    made: tuple[Path, ...] = ()

    def summary(self) -> str:
        """Say it in words, with the counts by dose level and the decision table as text."""
        if self.go_on:
            said = f"Next dose level: {self.dose}."
        elif self.dose is None:
            said = "Stop: no dose level is safe."
        else:
            said = f"Stop: dose level {self.dose} is recommended."
        counts = self.selection.table.drop(columns=["interval_low", "interval_high"])
        lines = [
            f"Design {DESIGNS[self.design]}; outcomes: {self.outcomes or 'none yet'}",
            said,
            self.selection.note,
            "",
            counts.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.3f}"),
            "",
            "Decisions at the current dose (rows: with a DLT; columns: evaluable; "
            "E escalate, S stay, D de-escalate, DU and never come back; DU above):",
            _grid(self.table),
        ]
        return "\n".join(lines)


def _grid(table: pd.DataFrame) -> str:
    letters = {"escalate": "E", "stay": "S", "de-escalate": "D", "eliminate": "DU"}
    numbers = sorted(set(table["n_treated"]))
    cells = {(n, y): letters[d] for n, y, d in table.itertuples(index=False)}
    rows = [" ".join(["    ", *(f"{n:>3}" for n in numbers)])]
    top = max((y for (_, y), letter in cells.items() if letter != "DU"), default=0) + 1
    for y in range(top + 1):
        rows.append(" ".join([f"{y:>4}", *(f"{cells.get((n, y), ''):>3}" for n in numbers)]).rstrip())
    return "\n".join(rows)


def _read(
    source: str | Path, main: str, tables: Mapping[str, str | Path | None], *, cutoff: str | None
) -> Clinic:
    """Read the sheets of a study folder, or one sheet and those named beside it."""
    path, problems = Path(source), Problems()
    if path.is_dir():
        return of_study(path, _SHEETS[main], needed=[main])
    found = of_sheets({main: path, **tables}, cutoff=cutoff, problems=problems)
    if found.participants is None and main != "ada":
        problems.add(
            "E-SHEET-001",
            "The participants are not given: safety needs their first doses and dose levels.",
            remedy="Add --participants FILE, or name a study folder.",
            file=path.name,
        )
    problems.raise_if_any()
    return found


def _drawn(**axes: Axes) -> dict[str, bytes]:
    """Figures as PNG."""
    pictures = {}
    for name, one in axes.items():
        figure = one.get_figure(root=True)
        if figure is not None:
            pictures[name] = render_png(figure)
            close(figure)
    return pictures


def write_ada(
    source: str | Path,
    out: str | Path,
    *,
    participants: str | Path | None = None,
    biopsies: str | Path | None = None,
    options: AdaOptions | None = None,
) -> ClinicOutcome:
    """Write the antibody tables of a study folder, or of one table.

    Parameters
    ----------
    source : path
        A study folder with clinical/ada.csv, or such a table.
    out : path
        A folder; made when missing.
    participants, biopsies : path, optional
        Tables beside a plain table; a study folder has its own.
    options : AdaOptions, optional

    Returns
    -------
    ClinicOutcome
        ada_incidence.csv first, then ada_participants, ada_samples, ada_flow, ada_biopsies (with biopsies),
        ada_left_out and ada_titres.png.

    Raises
    ------
    InputError
        As :func:`pdbiomarker.clinical.ada.read_samples`.
    """
    options = options or AdaOptions()
    tables_beside = {"participants": participants, "biopsies": biopsies}
    given = _read(source, "ada", tables_beside, cutoff=options.cutoff)
    if options.cutoff is None:
        options = dataclasses.replace(options, cutoff=given.cutoff)
    people = given.participants
    samples = read_samples(given.sheets["ada"], people, options=options)
    status = classify(samples, options=options)
    tables = {
        "ada_incidence": incidence(status, by_dose=bool(status["dose_mg"].notna().any())),
        "ada_participants": status,
        "ada_samples": samples.table,
        "ada_flow": sample_flow(samples),
    }
    if given.biopsies is not None:
        tables["ada_biopsies"] = status_at(samples, given.biopsies, people)
    tables["ada_left_out"] = left_out((*given.problems, *samples.problems), given.aside)
    made = write_all(Path(out), tables, _drawn(ada_titres=ada_titres(samples, status)))
    return ClinicOutcome(made, (*given.problems, *samples.problems))


def write_safety(
    source: str | Path,
    out: str | Path,
    *,
    tables: Mapping[str, str | Path | None] | None = None,
    options: SafetyOptions | None = None,
) -> ClinicOutcome:
    """Write the safety tables of a study folder, or of plain tables.

    Parameters
    ----------
    source : path
        A study folder with clinical/adverse_events.csv, or such a table.
    out : path
        A folder; made when missing.
    tables : mapping, optional
        Beside a plain table: ``participants`` (needed), ``doses``, ``outcomes`` -> path.
    options : SafetyOptions, optional
        Without a cut-off in it, that of the study.

    Returns
    -------
    ClinicOutcome
        ae_by_kind.csv first, then ae_by_term, ae_max_grades, ae_events, dlt_by_dose, dlt_participants,
        safety_left_out, escalation_path where participants have dose levels, and the figures ae_grades.png
        and escalation_path.png.

    Raises
    ------
    InputError
        As :func:`pdbiomarker.clinical.safety.read_events`.
    """
    given = _read(source, "adverse_events", tables or {}, cutoff=None if options is None else options.cutoff)
    data, evaluable = _judged(given, options)
    by_dose = dlt_table(evaluable)
    made = {
        "ae_by_kind": by_kind(data),
        "ae_by_term": by_term(data),
        "ae_max_grades": max_grades(data),
        "ae_events": data.events,
        "dlt_by_dose": by_dose,
        "dlt_participants": evaluable,
        "safety_left_out": left_out((*given.problems, *data.problems), given.aside),
    }
    figures = {"ae_grades": adverse_events(data, dlt=by_dose)}
    if evaluable["dose_mg"].notna().any():
        path = outcomes_of(evaluable)
        made["escalation_path"] = path.table
        figures["escalation_path"] = draw_path(path)
    paths = write_all(Path(out), made, _drawn(**figures))
    return ClinicOutcome(paths, (*given.problems, *data.problems))


def _judged(given: Clinic, options: SafetyOptions | None) -> tuple[SafetyData, pd.DataFrame]:
    """Events, and who can be judged for dose-limiting toxicities."""
    people = pd.DataFrame() if given.participants is None else given.participants
    data = read_events(
        given.sheets["adverse_events"], people, given.sheets.get("doses"), options=_cut(options, given.cutoff)
    )
    return data, dlt_evaluable(data, given.sheets.get("outcomes"))


def escalate(
    design: str,
    outcomes: str | None = None,
    n_doses: int | None = None,
    *,
    study: str | Path | None = None,
    target: float = 0.30,
    options: Mapping[str, object] | EscalationOptions | None = None,
    out: str | Path | None = None,
) -> Escalation:
    """Say where an escalation stands: next dose, maximum tolerated dose so far, decision table.

    Parameters
    ----------
    design : {"3+3", "boin", "mtpi", "mtpi2"}
    outcomes : str, optional
        Such as ``"1NNN 2NTN"``; not with `study`.
    n_doses : int, optional
        Dose levels; default with `study`: those that participants were assigned to.
    study : path, optional
        A study folder with clinical/adverse_events.csv.
    target, options
        As in :func:`pdbiomarker.clinical.escalation.next_dose`.
    out : path, optional
        A folder for the tables and figures.

    Returns
    -------
    Escalation
        With `out`: mtd.csv, decision_table.csv, escalation_path.csv (with `study`), escalation_path.png and
        decision_table.png.

    Raises
    ------
    InputError
        E-DOSE; and with `study` what :func:`pdbiomarker.clinical.safety.read_events` refuses.
    """
    key, path, problems = design_name(design), None, Problems()
    if (outcomes is None) == (study is None):
        problems.add(
            "E-DOSE-005",
            "An escalation is read either from a study folder or from an outcome string.",
            remedy="Give one of the two, such as --outcomes '1NNN 2NTN'.",
            column="outcomes",
        )
    problems.raise_if_any()
    if study is not None:
        path = _path_of(study)
        outcomes, n_doses = path.outcomes, max(n_doses or 0, len(path.doses))
    text = outcomes or ""
    if n_doses is None:
        problems.add(
            "E-DOSE-003",
            "The number of dose levels is not given.",
            remedy="Give the number of dose levels of the protocol, such as --doses 5.",
            column="n_doses",
        )
    problems.raise_if_any()
    levels = n_doses or 1
    dose, go_on = next_dose(key, text, levels, target=target, options=options)
    selection = select_mtd(key, text, levels, target=target, options=options)
    largest = int(selection.table["n_treated"].max()) if len(selection.table) else 0
    table = decision_table(key, target=target, max_n=max(18, largest), options=options)
    found = Escalation(key, text, dose, go_on, selection, table, path)
    if out is None:
        return found
    return dataclasses.replace(found, made=_write_escalation(found, levels, target, Path(out)))


def _path_of(study: str | Path) -> EscalationPath:
    return outcomes_of(_judged(_read(study, "adverse_events", {}, cutoff=None), None)[1])


def _cut(options: SafetyOptions | None, cutoff: str | None) -> SafetyOptions:
    chosen = options or SafetyOptions()
    return chosen if chosen.cutoff is not None else dataclasses.replace(chosen, cutoff=cutoff)


def _write_escalation(found: Escalation, n_doses: int, target: float, out: Path) -> tuple[Path, ...]:
    tables = {"mtd": found.selection.table, "decision_table": found.table}
    if found.path is not None:
        tables["escalation_path"] = found.path.table
    last = found.outcomes.split()[-1] if found.outcomes else ""
    at = None
    if last:
        row = found.selection.table.iloc[int(last.rstrip("NT")) - 1]
        at = (int(row["n_treated"]), int(row["n_dlt"]))
    aim = "" if found.design == "3+3" else f", target {100 * target:g} %"
    figures = {
        "escalation_path": draw_path(
            found.path or found.outcomes, n_doses=n_doses, recommended=(found.dose, found.go_on)
        ),
        "decision_table": draw_table(found.table, title=f"{DESIGNS[found.design]}{aim}", at=at),
    }
    return write_all(out, tables, _drawn(**figures))
