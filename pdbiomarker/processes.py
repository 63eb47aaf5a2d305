"""Processes beside this one: programs run by their file, and the variables that a process starts with."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["program_command", "run_program", "surrounded"]

#: Work that is divided among processes takes one thread in each.
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def program_command(program: str | Path, *words: str) -> list[str]:
    """Give the command of a Python program by its file: as a module it would import the package, a second."""
    return [sys.executable, "-P", str(program), *words]


def run_program(
    command: list[str], *, seconds: float, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, with one thread, and keep what it writes.

    Raises
    ------
    OSError
        It could not be started.
    subprocess.TimeoutExpired
        It took longer than `seconds`.
    """
    return subprocess.run(
        command,
        input=given,
        capture_output=True,
        timeout=seconds,
        check=False,
        env={**os.environ, **_ONE_THREAD},
    )


@contextlib.contextmanager
def surrounded(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these variables of the environment, for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
