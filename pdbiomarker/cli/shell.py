"""What every command shares: problems to standard error, an exit status, a tidy interruption."""

from __future__ import annotations

import errno
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Annotated, Final

import typer
from rich.console import Console

import pdbiomarker as pb
from pdbiomarker.audit import USER_VARIABLE
from pdbiomarker.errors import InputError, ItemError, PdBiomarkerError, Problem, ResourceError

__all__ = ["EXIT_CODES", "Command", "common", "finish", "guarded", "print_problems", "say"]

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 a fault of pdbiomarker; 2 wrong command line; 3 input refused, or a file differs "
    "from the manifest; 4 finished, but some items were quarantined (listed); 5 not enough disk, memory or "
    "time; 6 the folder is in use by another run; 130 or 143 interrupted: the same command goes on."
)
#: A command takes its arguments and options and returns an exit status.
type Command = Callable[..., int]

_INTERRUPTED: Final = 130
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
        raise typer.Exit(_status(lambda: command(*args, **kwargs)))

    guarded.__annotations__ = {**command.__annotations__, "return": None}
    return guarded


def _status(work: Callable[[], int]) -> int:
    try:
        return work()
    except InputError as error:
        print_problems(error.problems)
        code = error.exit_code
    except ItemError as error:
        print_problems([error.problem])
        code = error.exit_code
    except PdBiomarkerError as error:
        say(str(error))
        code = error.exit_code
    except typer.BadParameter:  # a wrong command line, told as such
        raise
    except KeyboardInterrupt:
        say("Interrupted: nothing is half-written. The same command goes on from there.")
        code = _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            return _defect(error)
        say(f"The disk is full: {error}. Remedy: free some space; the same command goes on from there.")
        code = ResourceError.exit_code
    except Exception as error:  # a defect of ours: short for the user, whole with --debug
        code = _defect(error)
    return code


def _defect(error: Exception) -> int:
    if _HANDLED["debug"]:
        traceback.print_exception(error)
    first = str(error).partition("\n")[0]
    say(f"A fault of pdbiomarker: {type(error).__name__}: {first}. Show where: pdbiomarker --debug ...")
    return 1


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
