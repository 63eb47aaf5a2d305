"""What a person sees while a run works: on standard error, never on standard output, and in ``run.log``.

On a terminal, one bar per step with items done, elapsed time, rate and time left; elsewhere (a pipe, a batch
job), one line per step when it ends, and of a long step one line a minute. The log gets that line, too.
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from pdbiomarker.provenance import now_utc

__all__ = ["Display", "pace_of"]

_LINE_SECONDS: Final = 60.0


def pace_of(done: int, left: int, seconds: float) -> str:
    """Give rate and time left, such as ``4.1 a minute, about 7 min left``; empty while nothing is known.

    Parameters
    ----------
    done : int
        Items done in `seconds`; those that were complete before do not count.
    left : int
        Items left.
    seconds : float
    """
    if done <= 0 or seconds <= 0:
        return ""
    rate = f"{60 * done / seconds:.3g} a minute"
    return f"{rate}, about {_duration(left * seconds / done)} left" if left > 0 else rate


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Display:
    """Shows steps as they go on, and writes them to the log once there is one.

    Parameters
    ----------
    shown : bool
        False: nothing on standard error; the log is written all the same.
    """

    def __init__(self, *, shown: bool = True) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars: Progress | None = None
        if shown and self._console.is_terminal:
            self._bars = Progress(
                SpinnerColumn(finished_text="[green]✓"),
                TextColumn("{task.description:<34}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[pace]}"),
                console=self._console,
            )
        self._shown = shown
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._first: dict[str, tuple[float, int]] = {}
        self._told: dict[str, float] = {}
        self._log: Path | None = None
        self._waiting: list[str] = []

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def log_to(self, path: Path) -> None:
        """Write what was told so far, and everything from now on, to a file."""
        self._log = path
        waiting, self._waiting = self._waiting, []
        for line in waiting:
            self._write(line)

    def begin(self, step: str, total: int | None = None) -> None:
        """Start a step of `total` items, or correct how many items it has."""
        self._started.setdefault(step, time.monotonic())
        if self._bars is not None:
            if step not in self._tasks:
                self._tasks[step] = self._bars.add_task(step, total=1 if total is None else total, pace="")
            elif total is not None:
                self._bars.update(self._tasks[step], total=total)

    def at(self, step: str, done: int, of: int) -> None:
        """Say how far a step is."""
        self.begin(step, of)
        now = time.monotonic()
        began, before = self._first.setdefault(step, (now, done))
        pace = pace_of(done - before, of - done, now - began)
        if self._bars is not None:
            self._bars.update(self._tasks[step], completed=done, total=of, pace=pace)
        if now - self._told.setdefault(step, began) >= _LINE_SECONDS and pace and done < of:
            self._told[step] = now
            line = f"{step}: {done} of {of}, {pace}"
            self._keep(line)
            if self._bars is None and self._shown:
                print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress for pipes and batch jobs

    def end(self, step: str, note: str = "") -> None:
        """End a step, with a few words on what it found."""
        self.begin(step)
        seconds = time.monotonic() - self._started[step]
        line = f"{step}: {note or 'done'} ({seconds:.1f} s)"
        self._keep(line)
        if self._bars is not None:
            task = self._tasks[step]
            total = next((t.total for t in self._bars.tasks if t.id == task), 1) or 1
            text = f"{step}: {note}" if note else step
            self._bars.update(task, description=text, completed=total, total=total)
        elif self._shown:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress for pipes and batch jobs

    def say(self, text: str) -> None:
        """Tell one thing: a quarantined item, a warning."""
        self._keep(text)
        if self._shown:
            self._console.print(text, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Write one thing to the log only."""
        self._keep(text)

    def _keep(self, line: str) -> None:
        line = f"{now_utc()} {line}"
        if self._log is None:
            self._waiting.append(line)
        else:
            self._write(line)

    def _write(self, line: str) -> None:
        if self._log is not None:
            with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8", newline="\n") as handle:
                handle.write(line + "\n")
