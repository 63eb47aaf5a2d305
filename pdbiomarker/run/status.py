"""How far a results folder is, whoever works in it: a run, jobs of a workflow, or nobody.

Everything is read from what the steps leave in the folder; nothing is hashed or changed.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pdbiomarker.errors import InputError, Problems
from pdbiomarker.provenance import (
    DONE,
    JOBS,
    LOCK,
    MANIFEST,
    process_start,
    read_manifest,
    read_record,
    recorded_steps,
)
from pdbiomarker.run.folder import BASIS, LOG
from pdbiomarker.run.progress import pace_of
from pdbiomarker.run.sharing import jobs_of

__all__ = ["Status", "folder_status"]

_STEPS: Final = ("change", "decide", "clinical", "report")
#: The rate is that of the last slides, as early ones tell little of how many machines work now.
_LAST: Final = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """How far a results folder is.

    Attributes
    ----------
    slides : int
        Of the study.
    measured, quarantined, left : int
        Slides.
    per_minute : float or None
        Slides a minute, over the last fifty; None where nobody works or too few are done.
    pace : str
        The same in words, with the time left.
    steps : mapping of str to bool
        Whether each step after the slides that the folder knows of is done.
    finished : bool
        The manifest is there and lists what is there.
    items : int
        Quarantined items of a finished folder; of another one the slides.
    jobs : sequence of mapping
        Who works in it: host, pid, step, batch, done, of, since.
    log : sequence of str
        The last lines.
    """

    slides: int
    measured: int
    quarantined: int
    left: int
    per_minute: float | None
    pace: str
    steps: Mapping[str, bool]
    finished: bool
    items: int
    jobs: Sequence[Mapping[str, Any]]
    log: Sequence[str]


def folder_status(out: str | Path, *, lines: int = 5) -> Status:
    """Tell how far a results folder is.

    Parameters
    ----------
    out : str or Path
        A results folder, also while a run or a workflow works in it.
    lines : int
        How many lines of the log.

    Raises
    ------
    InputError
        E-RUN-006: `out` is not a results folder.

    Examples
    --------
    >>> folder_status("expansion-results/").left  # doctest: +SKIP
    12
    """
    root = Path(out)
    slides = _slides_of(root)
    steps = recorded_steps(root)
    records = [record for step in steps if (record := read_record(root, step)) is not None]
    ours = [record for record in records if record.step.startswith("slide-")]
    lost = sum(not record.outputs for record in ours)
    left = max(0, slides - len(ours))
    jobs = _at_work(root)
    rate, pace = _pace([root / DONE / f"{record.step}.json" for record in ours], left) if jobs else (None, "")
    finished, items = _ended(root, steps)
    return Status(
        slides=slides,
        measured=len(ours) - lost,
        quarantined=lost,
        left=left,
        per_minute=rate,
        pace=pace,
        steps={step: step in steps for step in _STEPS if step in steps or step != "clinical"},
        finished=finished and not jobs,
        items=items if finished else lost,
        jobs=jobs,
        log=_last_lines(root, lines),
    )


def _slides_of(root: Path) -> int:
    try:
        text = (root / BASIS).read_text(encoding="utf-8") if (root / BASIS).is_file() else ""
        return int(json.loads(text)["slides"])
    except (OSError, ValueError, KeyError, TypeError):
        problems = Problems()
        problems.add(
            "E-RUN-006",
            "The folder is not a results folder, or no run has begun in it.",
            remedy="Give the folder that was given to -o.",
            file=str(root),
        )
        raise InputError(problems) from None


def _at_work(root: Path) -> list[Mapping[str, Any]]:
    """Who works in the folder: jobs that share it, or a run that holds it alone."""
    jobs = jobs_of(root)
    if jobs:
        return jobs
    try:
        text = (root / LOCK).read_text(encoding="utf-8") if (root / LOCK).is_file() else ""
        owner = json.loads(text)
        here = owner["host"] == socket.gethostname()
        alive = not here or process_start(int(owner["pid"])) == owner["start"] != ""
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [owner] if alive else []


def _pace(records: Sequence[Path], left: int) -> tuple[float | None, str]:
    times = sorted(path.stat().st_mtime for path in records if path.exists())[-_LAST:]
    seconds = time.time() - times[0] if times else 0.0
    if len(times) < 2 or seconds <= 0:
        return None, ""
    return 60 * (len(times) - 1) / seconds, pace_of(len(times) - 1, left, seconds)


def _ended(root: Path, steps: Sequence[str]) -> tuple[bool, int]:
    """Whether the manifest is that of what is there, and how many items it quarantined."""
    if not (root / MANIFEST).is_file():
        return False, 0
    try:
        manifest = read_manifest(root)
    except InputError:
        return False, 0
    listed = {Path(name).stem for name in manifest.outputs if name.startswith(f"{DONE}/")}
    written = (root / MANIFEST).stat().st_mtime
    newer = [s for s in steps if (root / DONE / f"{s}.json").stat().st_mtime > written]
    return listed - {"basis"} == set(steps) and not newer, len(manifest.quarantine)


def _last_lines(root: Path, lines: int) -> list[str]:
    """The last lines of the run's log and of those of its jobs, by their time."""
    found: list[str] = []
    for path in [root / LOG, *sorted((root / JOBS).glob("*.log"))]:
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [line for line in text.splitlines()[-20 * lines :] if line[:2] == "20"]
    return sorted(found, key=lambda line: line[:20])[-lines:] if lines > 0 else []
