"""What is asked of a run, how it ended, and how to ask the same again."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pdbiomarker.errors import Problem

__all__ = ["Request", "RunOutcome", "again"]

#: How far up and down from the results folder a path is still told.
_UPS: Final = 2
_DOWNS: Final = 2

Until = Literal["assays", "change", "report"]


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a run.

    Attributes
    ----------
    command : str
        The public function, for the manifest.
    survey : str
        ``"package.module:function"`` that checks the input and describes the work.
    arguments : mapping
        Its arguments.
    out : Path
        The results folder.
    until : {"assays", "change", "report"}
        The last step.
    workers : int
        Slides at a time.
    fresh, dry_run, progress : bool
        As for :func:`pdbiomarker.run_study`.
    """

    command: str
    survey: str
    arguments: Mapping[str, Any]
    out: Path
    until: Until = "report"
    workers: int = 1
    fresh: bool = False
    dry_run: bool = False
    progress: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended.

    Attributes
    ----------
    exit_code : int
        0, or 4 when an item was quarantined.
    out : Path
        The results folder.
    made : tuple of Path
        The files to look at first, such as the report.
    problems : tuple of Problem
        Warnings and quarantined items.
    steps_made, steps_kept : tuple of str
        Steps that this run carried out, and those that it found complete.
    todo : tuple of str
        With `dry_run`: what would be done, line by line.
    """

    exit_code: int
    out: Path
    made: tuple[Path, ...]
    problems: tuple[Problem, ...]
    steps_made: tuple[str, ...] = ()
    steps_kept: tuple[str, ...] = ()
    todo: tuple[str, ...] = ()


def again(arguments: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return the arguments of a run with its paths seen from the results folder, for repeating it.

    A path is kept where it lies close by, as a study beside its results does: the way to any other would
    name folders of the user, so it is empty and has to be given again.
    """

    def seen(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [seen(item) for item in value]
        if not isinstance(value, str) or not Path(value).is_absolute():
            return value
        parts = Path(os.path.relpath(value, out.absolute())).parts
        ups = parts.count("..")
        close = ups <= _UPS and len(parts) - ups <= _DOWNS
        return {"path": "/".join(parts) if close else ""}

    return {name: seen(value) for name, value in arguments.items()}
