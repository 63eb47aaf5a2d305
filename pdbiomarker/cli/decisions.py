"""What the changes mean: decision rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import pdbiomarker as pb

__all__ = ["decide"]


def decide(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="A results folder.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the tables go.")],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE", help="A preset or a .yaml file; may be repeated. Default: every preset."
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
) -> int:
    """Apply decision rules to a results folder: per participant, per dose level, for the cohort.

    Leaves in DIR decisions_cohort.csv, decisions_dose_levels.csv, decisions_participants.csv,
    decisions_operating.csv (how often each rule errs), noise.csv, noise_components.csv, responders.csv and
    honesty_checks.csv, and prints the path of the first. Without --locked no verdict is above "consider".
    """
    made = pb.decide_results(
        results,
        out,
        rules=rule or (),
        features=feature or (),
        declared=pb.decide.Declared(plan_locked=locked),
        noise=noise,
    )
    typer.echo(str(made[0]))
    return 0
