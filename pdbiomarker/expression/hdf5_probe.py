"""Whether an HDF5 file from elsewhere can be read to its end: tried in a process of its own first."""

from __future__ import annotations

import signal
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Final

from pdbiomarker.errors import Problem
from pdbiomarker.expression import hdf5_walk
from pdbiomarker.processes import program_command, run_program

__all__ = ["structure_problem"]

#: Seconds that the program may take, and bytes for which it gets one more.
_SECONDS: Final = 60.0
_BYTES: Final = 10e6
#: Seconds of the processor for one link, attribute or slice of 100 MB: a sound one takes some thousandths.
_STEP: Final = 3.0
_HANGS: Final = "its HDF5 library did not come to an end"
#: What the program ends itself by when a step takes too long.
_TOO_LONG: Final = frozenset({"SIGPROF", "SIGXCPU"})
#: What ends a process from outside: that tells nothing of the file.
_OUTSIDE: Final = frozenset({"SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"})
_PROGRAM: Final = Path(hdf5_walk.__file__)


def structure_problem(path: Path, name: str, code: str) -> Problem | None:
    """Say what makes a file unfit to be opened in this process; None where it can be.

    Each file is tried once in the life of the process, until it changes.

    Parameters
    ----------
    path : Path
    name : str
        What the problem calls it.
    code : str
        Of a damaged file.

    Returns
    -------
    Problem or None
        The HDF5 library loops, crashes, or is told to take more memory than there is; or it could not be
        tried.
    """
    try:
        now = path.stat()
        fault = _tried(str(path.absolute()), now.st_size, (now.st_mtime_ns, now.st_ctime_ns, now.st_ino))
    except OSError as error:
        why = error.strerror or type(error).__name__
        return Problem(
            code,
            f"The file could not be tried in a process of its own ({why}).",
            "Give the program more memory and processes, then run it again.",
            name,
        )
    if not fault:
        return None
    return Problem(code, f"The file is damaged: {fault}.", "Write it again from its source.", name)


@lru_cache(maxsize=1024)
def _tried(path: str, size: int, _state: tuple[int, int, int]) -> str:
    """Try a file of this size and state."""
    try:
        done = run_program(_command(path), seconds=_SECONDS + size / _BYTES)
    except subprocess.TimeoutExpired:
        return _HANGS
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace").strip()
    if done.returncode in {1, 2}:  # of the interpreter
        raise OSError(0, f"exit {done.returncode}")
    name = _signal(-done.returncode)
    if name in _OUTSIDE:
        raise OSError(0, name)
    return _HANGS if name in _TOO_LONG else f"its HDF5 library crashed ({name or f'exit {done.returncode}'})"


def _command(path: str) -> list[str]:
    return program_command(_PROGRAM, path, str(_STEP))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
