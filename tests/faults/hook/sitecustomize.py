"""Watches, and at a chosen moment kills, the processes of a run from outside the product.

Put on PYTHONPATH by :mod:`fault_kills`; Python imports it in every process that it starts, so in the run,
in the server that starts its jobs, and in the jobs. Each change of the results folder (a file opened for
writing, renamed, removed, a folder made) is an event; it is announced by the interpreter *before* it happens.
With FAULT_KILL_AT the event of that number (of those on paths that begin with FAULT_KILL_BELOW) ends
processes by SIGKILL; with FAULT_FILL_BEFORE the first event
of that process on a path of that beginning fills the disk.
"""

from __future__ import annotations

import os
import signal
import sys

_FOLDER = os.environ.get("FAULT_FOLDER", "")
_EVENTS = os.environ.get("FAULT_EVENTS", "")
_AT = int(os.environ.get("FAULT_KILL_AT", "0"))
_BEGIN = os.environ.get("FAULT_KILL_BELOW", "")
_WHO = os.environ.get("FAULT_KILL_WHO", "group")
_FILL_WHO, _, _FILL_PATH = os.environ.get("FAULT_FILL_BEFORE", "").partition("|")
_WATCHED = frozenset({"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"})


def _parent(pid: int) -> int:
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    try:
        return int(os.read(descriptor, 4096).rpartition(b")")[2].split()[1])
    finally:
        os.close(descriptor)


def _who() -> str:
    process = sys.modules.get("multiprocessing.process")
    return "lead" if process is None else str(process.current_process().name)


def _fill() -> None:
    """Leave no room on the disk of the results folder."""
    disk = _FOLDER.rstrip("/").rpartition("/")[0]
    descriptor = os.open(f"{disk}/filler", os.O_WRONLY | os.O_CREAT)
    size = 1 << 20
    while size:
        try:
            os.write(descriptor, bytes(size))
        except OSError:
            size //= 2
    os.close(descriptor)


def _kill(who: str) -> None:
    if _WHO == "group":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    elif _WHO == "leader":
        os.kill(os.getpgrp(), signal.SIGKILL)  # Snakemake: the step that it started goes on
    elif _WHO == "lead" and who.startswith("pdbiomarker"):
        os.kill(_parent(os.getppid()), signal.SIGKILL)  # the server stands between a job and the run
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _WATCHED:
        return
    path = arguments[1] if event == "os.rename" else arguments[0]
    if not isinstance(path, str | os.PathLike):
        return
    path = os.fspath(path)
    if not isinstance(path, str) or not path.startswith(_FOLDER):
        return
    flags = arguments[2] if event == "open" else os.O_WRONLY
    if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return
    who = _who()
    descriptor = os.open(_EVENTS, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{who}\t{event}\t{path[len(_FOLDER) :]}\n".encode("utf-8", "replace"))
    number = -1
    if _AT and path[len(_FOLDER) :].startswith(_BEGIN):
        seen = os.pread(descriptor, 1 << 24, 0).splitlines()
        number = sum(line.split(b"\t")[2].startswith(_BEGIN.encode()) for line in seen)
    os.close(descriptor)
    if number == _AT:
        _kill(who)
    if who == _FILL_WHO and path[len(_FOLDER) :].startswith(_FILL_PATH):
        _fill()


if _FOLDER and _EVENTS:
    sys.addaudithook(_watch)
