"""Several steps of one run in one results folder at a time, on several machines.

Each shares the lock of the folder (:class:`pdbiomarker.provenance.FolderLock`), tells of itself in
``.jobs/<host>-<process id>.json`` and ``.log``, and locks the slide or step it works on with the kernel's
lock on ``.jobs/<item>.lock``. The kernel lets go of both when a process ends, however it ends. ``.jobs`` is
removed, its logs put into ``run.log``, by whoever holds the folder alone next.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pdbiomarker.errors import FolderInUseError
from pdbiomarker.provenance import JOBS, FolderLock, now_utc, process_start, slug, write_text

__all__ = ["JobNote", "item_lock", "jobs_of", "shared_job", "sweep_jobs"]

_LOOK_AGAIN: Final = 0.1
_TIME: Final = len("2026-01-31T09:00:00Z")


class JobNote:
    """What a job tells of itself while it works.

    Parameters
    ----------
    out : Path
        The results folder.
    step, batch : str
        What it works on.
    """

    def __init__(self, out: Path, step: str, batch: str | None) -> None:
        host, pid = socket.gethostname(), os.getpid()
        stem = out / JOBS / f"{slug(host)}-{pid}"
        self.path, self.log = stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.log")
        self._facts = {"host": host, "pid": pid, "start": process_start(pid), "since": now_utc()}
        self._facts |= {"step": step, "batch": batch}
        self.tell(0, 0)

    def tell(self, done: int, of: int) -> None:
        """Say how far the job is."""
        facts = {**self._facts, "done": done, "of": of}
        write_text(self.path, json.dumps(facts, sort_keys=True, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def shared_job(out: Path, step: str, batch: str | None, *, wait: float = 0.0) -> Iterator[JobNote]:
    """Work in a results folder beside others that do so.

    Raises
    ------
    FolderInUseError
        A run holds the folder alone, and did so for `wait` seconds.
    """
    with FolderLock(out, shared=True, wait=wait):
        note = JobNote(out, step, batch)
        try:
            yield note
        finally:
            note.path.unlink(missing_ok=True)


@contextlib.contextmanager
def item_lock(out: Path, item: str, *, wait: float) -> Iterator[None]:
    """Hold one slide or step of a results folder that others share.

    Parameters
    ----------
    out : Path
    item : str
        Name of the step, such as ``slide-P01-S``.
    wait : float
        Seconds to wait for another to let go of it; infinity: as long as it takes.

    Raises
    ------
    FolderInUseError
        Another holds it.
    """
    path = out / JOBS / f"{item}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        end = time.monotonic() + wait
        while not _locked(descriptor):
            if time.monotonic() > end:
                raise FolderInUseError(
                    f"E-RUN-002 {out}: another job takes the step {item!r}. Remedy: wait until it has ended."
                )
            time.sleep(_LOOK_AGAIN)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def jobs_of(out: Path) -> list[Mapping[str, Any]]:
    """List the jobs that work in a folder; those of this host that were killed are left out."""
    found = []
    for path in sorted(p for p in (out / JOBS).glob("*.json") if p.is_file()):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            here = facts["host"] == socket.gethostname()
            alive = not here or process_start(int(facts["pid"])) == facts["start"] != ""
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if alive:
            found.append(facts)
    return found


def sweep_jobs(out: Path, log: Path) -> None:
    """Remove what jobs told of themselves, and put their logs into that of the run; hold the folder alone."""
    folder = out / JOBS
    if not folder.is_dir() or folder.is_symlink():
        return
    logs = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.log"))]
    with log.open("a", encoding="utf-8", newline="\n") as handle:
        for text in sorted(logs, key=lambda text: text[:_TIME]):  # in the order in which the jobs began
            handle.write(text if text.endswith("\n") or not text else f"{text}\n")
    end = time.monotonic() + 1.0
    while folder.is_dir():
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a network drive may show removed files for a moment
            folder.rmdir()
        if time.monotonic() > end:
            break
