"""What every command shares: problems to standard error, an exit status, a tidy interruption.

A command with ``--json`` prints one JSON object on standard output whatever happens, with the same exit
status: docs/json.md has its keys.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console

import pdbiomarker as pb
from pdbiomarker.audit import USER_VARIABLE
from pdbiomarker.errors import InputError, ItemError, PdBiomarkerError, Problem, ResourceError

__all__ = [
    "EXIT_CODES",
    "Command",
    "common",
    "finish",
    "guarded",
    "print_json",
    "print_problems",
    "say",
]

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 a fault of pdbiomarker; 2 wrong command line; 3 input refused, or a file differs "
    "from the manifest; 4 finished, but some items were quarantined (listed); 5 not enough disk, memory or "
    "time; 6 the folder is in use by another run; 130 or 143 interrupted: the same command goes on."
)
#: A command takes its arguments and options and returns an exit status.
type Command = Callable[..., int]

_INTERRUPTED: Final = 130
#: Of what ``--json`` prints: raised when a key goes or changes its meaning, not when one is added.
_JSON_SCHEMA: Final = 1
_HANDLED: Final = {"debug": False}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(pb.__version__)
        raise typer.Exit


def common(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a fault.")] = False,
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            metavar="NAME",
            help="Who, for the audit log of the results folder. Default: PDBIOMARKER_USER, else nobody.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Take the options that come before the name of a command."""
    del version
    _HANDLED["debug"] = debug
    if user is not None:
        os.environ[USER_VARIABLE] = user


def guarded[**P](command: Callable[P, int]) -> Callable[P, None]:
    """Turn what a command returns or raises into messages on standard error and an exit status."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except typer.BadParameter:  # a wrong command line, told as such
            raise
        except (Exception, KeyboardInterrupt) as error:
            failure = _failure(error)
            code = failure.code
            if kwargs.get("as_json"):
                name = command.__name__.rstrip("_")
                print_json(name, code, failure.problems, {"message": failure.message})
            else:
                print_problems(failure.problems)
                if failure.message:
                    say(failure.message)
        raise typer.Exit(code)

    guarded.__annotations__ = {**command.__annotations__, "return": None}
    return guarded


@dataclasses.dataclass(frozen=True, slots=True)
class _Failure:
    """What ended a command: its exit status, and what is told of it."""

    code: int
    message: str = ""
    problems: Sequence[Problem] = ()


def _failure(error: Exception | KeyboardInterrupt) -> _Failure:
    match error:
        case InputError():
            return _Failure(error.exit_code, problems=error.problems)
        case ItemError():
            return _Failure(error.exit_code, problems=[error.problem])
        case PdBiomarkerError():
            return _Failure(error.exit_code, str(error))
        case KeyboardInterrupt():
            return _Failure(
                _INTERRUPTED, "Interrupted: nothing is half-written. The same command goes on from there."
            )
        case BrokenPipeError():  # whoever read our output has gone: there is nobody to tell
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _Failure(1)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            remedy = "Remedy: free some space; the same command goes on from there."
            return _Failure(ResourceError.exit_code, f"The disk is full: {error}. {remedy}")
        case _:  # a defect of ours: short for the user, whole with --debug
            return _Failure(1, _defect(error))


def _defect(error: Exception) -> str:
    if _HANDLED["debug"]:
        traceback.print_exception(error)
    first = str(error).partition("\n")[0]
    return f"A fault of pdbiomarker: {type(error).__name__}: {first}. Show where: pdbiomarker --debug ..."


def print_json(command: str, code: int, problems: Iterable[Problem], facts: dict[str, Any]) -> None:
    """Print the one JSON object of a command with ``--json`` to standard output."""
    told = [dataclasses.asdict(problem) for problem in problems]
    content = {"schema": _JSON_SCHEMA, "command": command, "exit_code": code, **facts, "problems": told}
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def say(text: str) -> None:
    """Print a message to standard error."""
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def print_problems(problems: Iterable[Problem]) -> None:
    """Print problems to standard error, one a line."""
    for problem in problems:
        say(f"{problem.severity}: {problem}")


def finish(outcome: pb.RunOutcome, *, quiet: bool) -> int:
    """Print what a run made, or would do, and give its exit status."""
    if quiet:
        print_problems(p for p in outcome.problems if p.severity == "quarantine")
    for line in outcome.todo or outcome.made:
        typer.echo(str(line))
    return outcome.exit_code
