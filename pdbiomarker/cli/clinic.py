"""The trial around the biopsies: exposure, response, antibodies, safety, escalation."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import pdbiomarker as pb
from pdbiomarker.cli.options import ClinicalOut, ParticipantsFile, pairs, value, with_sign
from pdbiomarker.cli.shell import print_problems

if TYPE_CHECKING:
    from pdbiomarker.run.clinic import ClinicOutcome

__all__ = ["ada", "escalation", "exposure", "reconcile", "response", "safety"]


class Route(StrEnum):
    """Routes of a dose."""

    infusion = "infusion"
    bolus = "bolus"
    oral = "oral"


class AreaMethod(StrEnum):
    """Rules for areas under the curve."""

    linear_up_log_down = "linear_up_log_down"
    linear = "linear"


def exposure(
    source: Annotated[
        Path, typer.Argument(metavar="STUDY|CONCENTRATIONS", help="A study folder, or a table of samples.")
    ],
    doses: Annotated[
        Path | None, typer.Argument(metavar="[DOSES]", help="With a table of samples: that of the doses.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where tables and figures go.")],
    biopsies: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="biopsy_id, participant_id, time_h; a study has its own."),
    ] = None,
    route: Annotated[Route, typer.Option(help="How the dose was given.")] = Route.infusion,
    method: Annotated[AreaMethod, typer.Option(help="How areas are summed.")] = AreaMethod.linear_up_log_down,
) -> int:
    """Analyse concentrations without compartments: parameters, summaries, exposure at each biopsy.

    CONCENTRATIONS has participant_id, time_h (or datetime), concentration (number, '<0.5' or 'BLQ'), unit;
    DOSES participant_id, time_h and duration_h (or start and end), amount, unit. Leaves in DIR
    pk_parameters.csv, pk_summary.csv, pk_parameter_summary.csv, dose_proportionality.csv, pk_units.csv,
    pk_intervals.csv (several doses), exposure_at_biopsy.csv, schedule*.csv (dated doses), notes.csv and
    figures; prints the path of the first.
    """
    outcome = pb.write_exposure(
        source, out, doses=doses, biopsies=biopsies, route=route.value, method=method.value
    )
    return _finish(outcome)


def response(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="STUDY|SHEET...", help="A study folder, or lesions.csv, responses.csv."),
    ],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where tables and figures go.")],
    participants: Annotated[
        Path | None, typer.Option(metavar="SHEET", help="participants.csv, with sheets as inputs.")
    ] = None,
    outcomes: Annotated[
        Path | None, typer.Option(metavar="SHEET", help="outcomes.csv: deaths, new therapies, contacts.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(metavar="YAML", help="Rules for response, events and censoring.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose assessments count, where there are several.")
    ] = None,
    cutoff: Annotated[str | None, typer.Option(metavar="DATE", help="The data cut-off, YYYY-MM-DD.")] = None,
) -> int:
    """Derive RECIST response, ORR, duration of response and survival.

    Leaves in DIR best_response.csv, timepoint_response.csv, assessments.csv, populations.csv, orr.csv,
    pfs.csv (primary and sensitivity side by side), dor.csv, os.csv, km_*.csv, response_by_participant.csv,
    rules.csv, problems.csv, and the figures waterfall, spider, swimmer and km_* as PNG. Prints the path of
    the first.
    """
    outcome = pb.write_response(
        inputs,
        out,
        participants=participants,
        outcomes=outcomes,
        rules=rules,
        reader=reader,
        cutoff=cutoff,
    )
    return _finish(outcome)


def ada(
    source: Annotated[
        Path, typer.Argument(metavar="STUDY|ADA.csv", help="A study folder, or a table of antibody samples.")
    ],
    *,
    out: ClinicalOut,
    participants: ParticipantsFile = None,
    biopsies: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="biopsy_id, participant_id, study_day or collection_date."),
    ] = None,
    drug_tolerance: Annotated[
        float | None, typer.Option(metavar="CONC", help="Negative with more drug than this is inconclusive.")
    ] = None,
    drug_unit: Annotated[str, typer.Option(metavar="UNIT", help="Of the drug tolerance: ug/mL.")] = "",
    minimum_titre: Annotated[
        float | None, typer.Option(metavar="TITRE", help="Linear titre of positives that have none.")
    ] = None,
) -> int:
    """Judge anti-drug antibodies: samples, participants, incidence, status at each biopsy.

    Leaves in DIR ada_incidence.csv (with denominators), ada_participants.csv, ada_samples.csv, ada_flow.csv,
    ada_biopsies.csv, ada_left_out.csv and ada_titres.png, and prints the path of the first.
    """
    options = pb.clinical.ada.AdaOptions(
        drug_tolerance=drug_tolerance,
        drug_tolerance_unit=drug_unit,
        minimum_titre=minimum_titre,
    )
    outcome = pb.write_ada(source, out, participants=participants, biopsies=biopsies, options=options)
    return _finish(outcome)


def safety(  # noqa: PLR0913 -- one for each option of the command
    source: Annotated[
        Path, typer.Argument(metavar="STUDY|EVENTS.csv", help="A study folder, or a table of adverse events.")
    ],
    *,
    out: ClinicalOut,
    participants: ParticipantsFile = None,
    doses: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="participant_id, start, amount, planned_amount.")
    ] = None,
    outcomes: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="participant_id, last_contact_date, death_date.")
    ] = None,
    cutoff: Annotated[str | None, typer.Option(metavar="DATE", help="Data cut-off, YYYY-MM-DD.")] = None,
    window: Annotated[int, typer.Option(metavar="DAYS", help="Window for dose-limiting toxicities.")] = 28,
    least_dose: Annotated[
        float, typer.Option(metavar="PCT", help="Least share of the planned dose to be evaluable.")
    ] = 75.0,
    planned_doses: Annotated[
        int | None, typer.Option(metavar="N", help="Doses that the protocol plans within the window.")
    ] = None,
) -> int:
    """Count adverse events by kind, term and maximum grade, and dose-limiting toxicities, by dose level.

    Leaves in DIR ae_by_kind.csv, ae_by_term.csv, ae_max_grades.csv, ae_events.csv, dlt_by_dose.csv,
    dlt_participants.csv, escalation_path.csv, safety_left_out.csv, ae_grades.png and escalation_path.png, and
    prints the path of the first.
    """
    outcome = pb.write_safety(
        source,
        out,
        tables={"participants": participants, "doses": doses, "outcomes": outcomes},
        options=pb.clinical.safety.SafetyOptions(
            dlt_window_days=window, least_dose_pct=least_dose, planned_doses=planned_doses, cutoff=cutoff
        ),
    )
    return _finish(outcome)


def escalation(
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY]", help="A study folder; else give --outcomes.")
    ] = None,
    *,
    design: Annotated[str, typer.Option(metavar="NAME", help="3+3, boin, mtpi or mtpi2.")] = "boin",
    outcomes: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Such as '1NNN 2NTN': T toxicity, N none.")
    ] = None,
    doses: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Dose levels of the protocol.")
    ] = None,
    target: Annotated[float, typer.Option(metavar="P", help="Toxicity aimed at.")] = 0.30,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Of the design: strict_mode=false. Repeat.", callback=with_sign
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Also write tables and figures.")
    ] = None,
) -> int:
    """Say where a dose escalation stands: next dose, maximum tolerated dose so far, decision table.

    Prints them. With -o, leaves in DIR mtd.csv, decision_table.csv, escalation_path.csv (of a study),
    escalation_path.png and decision_table.png.
    """
    options = {name: value(text) for name, text in pairs(option).items()}
    found = pb.escalate(design, outcomes, doses, study=study, target=target, options=options, out=out)
    typer.echo(found.summary())
    return 0


def _finish(outcome: ClinicOutcome) -> int:
    """Tell what was left out, and print the path of the main table."""
    print_problems(outcome.problems)
    typer.echo(str(outcome.made[0]))
    return outcome.exit_code


def reconcile(
    ours: Annotated[
        list[Path], typer.Argument(metavar="OURS...", help="Folders that exposure, response or ada left.")
    ],
    *,
    theirs: Annotated[
        Path, typer.Option(metavar="STUDY|FILE", help="Where import cdisc left parameters.csv.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the tables go.")],
    tolerance: Annotated[
        float, typer.Option(min=0, help="Numbers agree within this fraction of theirs.")
    ] = 1e-6,
) -> int:
    """Hold what was computed against the ADaM parameters of a sponsor, value by value.

    Leaves in DIR reconciliation_summary.csv (how many agree) and reconciliation.csv (every value with its
    verdict and reason), and prints their paths.
    """
    for path in pb.reconcile_tables(ours, theirs, out, tolerance=tolerance):
        typer.echo(str(path))
    return 0
