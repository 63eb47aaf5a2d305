"""Arguments and options that several commands have, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Against",
    "ClinicalOut",
    "Formats",
    "Fresh",
    "OutFolder",
    "ParticipantsFile",
    "PlanFile",
    "Quiet",
    "StudyFolder",
    "Workers",
    "pairs",
    "value",
    "with_sign",
]

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study folder: it holds study.yaml.")]
OutFolder = Annotated[
    Path,
    typer.Option("-o", "--out", metavar="OUT", help="The results folder: new, empty, or one to go on with."),
]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", metavar="PLAN", help="The analysis plan. Default: plan.yaml of the study."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Slides worked on at a time. Default: the cores. Results do not differ."
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Remove what an earlier run made in OUT and start anew; unchanged measured slides are kept.",
    ),
]
Formats = Annotated[
    str, typer.Option("--format", metavar="LIST", help="Of html, pdf, pptx, xlsx, with commas between.")
]
Against = Annotated[
    Path | None,
    typer.Option("--against", metavar="OLD", help="Results of an earlier cut: adds what changed since."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")]
ClinicalOut = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the tables go.")]
ParticipantsFile = Annotated[
    Path | None,
    typer.Option(metavar="TABLE", help="participant_id, first_dose_datetime, dose_mg, cohort."),
]


def with_sign(texts: list[str] | None) -> list[str] | None:
    """Refuse texts without an equals sign between two texts."""
    wrong = [text for text in texts or [] if not text.rpartition("=")[0].strip()]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} has no '=' between two texts")
    return texts


def pairs(texts: list[str] | None) -> dict[str, str]:
    """Split texts such as ``THEIRS=OURS`` at the last equals sign."""
    parts = (text.rpartition("=") for text in texts or [])
    return {key.strip(): value.strip() for key, _, value in parts}


def value(text: str) -> bool | float | str:
    """Read true, false or a number; another text stays text."""
    if text in {"true", "false"}:
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text
