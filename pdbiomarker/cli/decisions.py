"""What the changes mean: decision rules, the plan and its lock, and how many pairs a trial needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import pdbiomarker as pb
from pdbiomarker.cli.options import PlanFile, StudyFolder, with_sign
from pdbiomarker.cli.shell import print_problems
from pdbiomarker.errors import InputError

__all__ = ["decide", "plan_check", "plan_lock", "plan_show", "power"]


def decide(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="A results folder.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the tables go.")],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="A preset or a .yaml file; may be repeated. Default: the presets, but dejardin_2024 and "
            "rubinstein_2010_strict.",
        ),
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(metavar="ASSAY:FEATURE", help="May be repeated. Default: the plan's primary family."),
    ] = None,
    locked: Annotated[
        bool | None,
        typer.Option("--locked/--not-locked", help="Declare whether the plan was locked before unblinding."),
    ] = None,
    noise: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Noise to borrow. Default: the package's.")
    ] = None,
    binds: Annotated[
        str | None,
        typer.Option(
            "--drug-binds",
            metavar="ANTIGENS",
            help="What the drug binds, such as PD-L1; 'none' where it binds no stained antigen.",
        ),
    ] = None,
) -> int:
    """Apply decision rules to a results folder: per participant, per dose level, for the cohort.

    Leaves in DIR decisions_cohort.csv, decisions_dose_levels.csv, decisions_participants.csv,
    decisions_operating.csv (how often each rule errs), noise.csv, noise_components.csv, responders.csv,
    responder_rates.csv, dose_trend.csv, honesty_checks.csv and more, and prints the path of the first.
    Without --locked no verdict is above "consider".
    """
    made = pb.decide_results(
        results,
        out,
        rules=rule or (),
        features=feature or (),
        declared=pb.decide.Declared(plan_locked=locked, drug_binds=_antigens(binds)),
        noise=noise,
    )
    typer.echo(str(made[0]))
    return 0


def _antigens(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(name for name in text.replace(",", " ").split() if name.lower() != "none")


def plan_lock(
    study: StudyFolder,
    *,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who locks it.")] = "",
    date: Annotated[
        str | None, typer.Option(metavar="DATE", help="Day of the lock, YYYY-MM-DD. Default: today (UTC).")
    ] = None,
    unblinded: Annotated[
        str | None, typer.Option(metavar="DATE", help="Day of unblinding, where it is known already.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE", help="A decision rule to lock: a preset or .yaml file; may be repeated."
        ),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why a locked plan is locked again.")] = "",
    plan: PlanFile = None,
) -> int:
    """Write STUDY/plan.lock.yaml: the plan, visits and adequacy, rules, date, data cut-off, sealed by a hash.

    Each lock adds an entry: lock before the first look, and once more for each further look that the plan
    declares. A change of the plan after that needs --reason. Prints the path of the lock.
    """
    made = pb.lock_plan(
        study, by=by, date=date, unblinded=unblinded, rules=rule or (), reason=reason, plan=plan
    )
    typer.echo(str(made))
    return 0


def plan_check(study: StudyFolder, *, plan: PlanFile = None) -> int:
    """Hold the plan against its lock, key by key; exit 3 when it deviates or was never locked.

    The sentence on standard output says whether it was locked before unblinding; deviations and undeclared
    looks go to standard error.
    """
    status = pb.check_plan(study, plan=plan)
    problems = status.problems()
    print_problems(problems)
    typer.echo(status.said)
    return InputError.exit_code if problems else 0


def plan_show(study: StudyFolder, *, plan: PlanFile = None) -> int:
    """Print the plan in full, defaults included, with its hash and the history of its locks."""
    typer.echo(pb.show_plan(study, plan=plan), nl=False)
    return 0


def _with_share(texts: list[str] | None) -> list[str] | None:
    for text in with_sign(texts) or []:
        value = text.rpartition("=")[2]
        if not value.strip().replace(".", "", 1).isdigit():
            raise typer.BadParameter(f"{value!r} is no share between 0 and 1")
    return texts


def power(
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the tables go.")],
    fold: Annotated[float, typer.Option(metavar="RATIO", help="True geometric mean ratio to find.")] = 2.0,
    sigma: Annotated[float, typer.Option(metavar="LOG2", help="Noise of one biopsy (SD, log2).")] = 0.7,
    sd_response: Annotated[
        float, typer.Option(metavar="LOG2", help="SD of true log2 changes between participants.")
    ] = 0.5,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=P",
            callback=_with_share,
            help="A stage to a pair and the share that passes it; may be repeated. Names that start with "
            "'baseline' lose the first biopsy. Default: baseline adequate=.87, second taken=.8, second "
            "adequate=.84.",
        ),
    ] = None,
    features: Annotated[int, typer.Option(min=1, help="Primary features.")] = 1,
    sims: Annotated[int, typer.Option(min=0, help="Simulated trials; 0: none.")] = 200,
) -> int:
    """Say how many pairs a trial needs for 80 % power, and how many to enrol for them.

    Leaves in DIR enrolment.csv (pairs, and participants to enrol so that they are there with 90 % assurance),
    pairs.csv (a table over fold changes and standard deviations) and simulated.csv (trials of that size taken
    through the same pipeline as a real one, with lost biopsies, noise and Holm's method). Prints the first.
    """
    stages = _shares(stage) if stage else pb.PowerRequest().stages
    request = pb.PowerRequest(fold, sigma, sd_response, stages=stages, features=features, n_sims=sims)
    typer.echo(str(pb.plan_power(request, out)[0]))
    return 0


def _shares(texts: list[str]) -> dict[str, float]:
    return {name.strip(): float(value) for name, _, value in (text.rpartition("=") for text in texts)}
