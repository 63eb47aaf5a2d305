"""A bad or odd input: how it is made, what reads it, and what must come of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["error", "quarantine", "warning", "handled"]
#: Writes the input below a folder and gives what is read.
Make = Callable[[Path], Path]


@dataclasses.dataclass(frozen=True)
class At:
    """One problem that must be told.

    Attributes
    ----------
    code : str
    place : str
        File, line and column exactly as :attr:`pdbiomarker.errors.Problem.place` gives them.
    value : str
        Part of the value, or of the sentence.
    item : str
        What is quarantined.
    """

    code: str
    place: str = ""
    value: str = ""
    item: str = ""

    def __str__(self) -> str:
        where = f" `{self.place}`" if self.place else ""
        return f"{self.code}{where}"


@dataclasses.dataclass(frozen=True)
class Expect:
    """What must come of it.

    Attributes
    ----------
    outcome : str
    ats : tuple of At
        Every problem of the outcome's severity, by code: no other code may be told.
    get, want, oracle : callable, value, str
        What is taken of the result, what it must equal, and whence that is known.
    beside : tuple of str
        Codes of lesser severity that are told as well.
    """

    outcome: Outcome
    ats: tuple[At, ...] = ()
    get: Callable[[Any], Any] | None = None
    want: Any = None
    oracle: str = ""
    beside: tuple[str, ...] = ()


def refused(*ats: At, beside: tuple[str, ...] = ()) -> Expect:
    return Expect("error", ats, beside=beside)


def left_out(*ats: At, get: Any = None, want: Any = None, beside: tuple[str, ...] = ()) -> Expect:
    return Expect("quarantine", ats, get, want, beside=beside)


def told(*ats: At, get: Any = None, want: Any = None, oracle: str = "") -> Expect:
    return Expect("warning", ats, get, want, oracle)


def handled(get: Callable[[Any], Any], want: Any, oracle: str) -> Expect:
    return Expect("handled", get=get, want=want, oracle=oracle)


@dataclasses.dataclass(frozen=True)
class Case:
    """One input of the corpus.

    Attributes
    ----------
    id : str
        ``<file or format>/<what is odd>``.
    reader : str
        A key of :data:`bad_inputs.readers.READERS`.
    how : str
        How the input is made, in words.
    make : callable
    expect : Expect
    trust : str
        Number of the fault in the project's list of threats.
    waits : str
        Why the product does not do this yet; the test then expects failure.
    """

    id: str
    reader: str
    how: str
    make: Make
    expect: Expect
    trust: str = ""
    waits: str = ""
