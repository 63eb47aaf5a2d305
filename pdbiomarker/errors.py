"""What can go wrong, and how it is told.

The exception tree::

    PdBiomarkerError               anything this package raises on purpose
    ├── InputError                 input refused before any work (exit 3); carries every problem found
    │   ├── StudyError             study.yaml, the sheets, or what they say together
    │   ├── PlanError              plan.yaml
    │   ├── FormulaError           a formula or a contrast, with its position (also a ValueError)
    │   └── AssayError             a count matrix, a panel, a matrix offered as an assay
    ├── ItemError                  one slide, library or region is quarantined, the rest goes on (exit 4)
    ├── VerificationError          a folder differs from its manifest, or its plan changed (exit 3)
    ├── ResourceError              disk, memory or time (exit 5)
    ├── FolderInUseError           another run holds the folder (exit 6)
    └── MissingExtraError          an optional dependency is not installed (exit 2)

A :class:`Problem` is one fault with its place. :class:`Problems` collects them, so that one reading of
a folder reports everything that is wrong with it, and raises once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from pdbiomarker.error_codes import CATALOGUE

__all__ = [
    "CATALOGUE",
    "AssayError",
    "FolderInUseError",
    "FormulaError",
    "InputError",
    "ItemError",
    "MissingExtraError",
    "PdBiomarkerError",
    "PlanError",
    "Problem",
    "Problems",
    "ResourceError",
    "StudyError",
    "VerificationError",
    "tame",
]

Severity = Literal["error", "quarantine", "warning"]


class PdBiomarkerError(Exception):
    """Anything this package raises on purpose. `exit_code` is the command line's exit status."""

    exit_code = 1


#: What steers a terminal, turns the direction of writing, or cannot be written to a file: names of files and
#: cells may hold it.
_WILD: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def tame(text: str, *, one_line: bool) -> str:
    r"""Give a text whose wild characters are spelt out, as ``\x1b``."""
    told = _WILD.sub(lambda found: ascii(found[0])[1:-1], text)
    return told.replace("\n", "\\n").replace("\t", "\\t") if one_line else told


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One fault, with its place.

    Attributes
    ----------
    code : str
        A key of :data:`CATALOGUE`, such as ``"E-SHEET-005"``.
    message : str
        What was found and why it is wrong, in one sentence.
    remedy : str
        What to do about it.
    file : str
        The file, relative to the study folder where possible.
    row : int or None
        The line of the file, as a text editor counts it (the header is line 1).
    column : str or None
        The column, key, gene, slide or position.
    value : str or None
        The offending value as it was typed.
    severity : {"error", "quarantine", "warning"}
        ``error`` refuses the input; ``quarantine`` leaves one item out; ``warning`` is only told.
    item : str or None
        What is quarantined: a slide, library, region or biopsy id.
    """

    code: str
    message: str
    remedy: str = ""
    file: str = ""
    row: int | None = None
    column: str | None = None
    value: str | None = None
    severity: Severity = "error"
    item: str | None = None

    def __post_init__(self) -> None:
        if self.code not in CATALOGUE:
            raise KeyError(f"no such problem code: {self.code}")
        for name in ("message", "remedy", "file", "column", "value", "item"):
            text = getattr(self, name)
            if isinstance(text, str) and not text.isprintable():
                object.__setattr__(self, name, tame(text, one_line=name == "file"))

    @property
    def place(self) -> str:
        """File, line and column, as ``biopsies.csv:4 [visit]``."""
        line = "" if self.row is None else f":{self.row}"
        column = "" if self.column is None else f" [{self.column}]"
        return f"{self.file}{line}{column}".strip()

    def __str__(self) -> str:
        value = "" if self.value is None else f" Found: {self.value!r}."
        remedy = f" Remedy: {self.remedy}" if self.remedy else ""
        place = f"{self.place}: " if self.place else ""
        return f"{self.code} {place}{self.message}{value}{remedy}"


class Problems:
    """Collects every problem of a piece of input, then raises once.

    Examples
    --------
    >>> problems = Problems()
    >>> problems.add("E-SHEET-005", "Biopsy id 'B1' stands in lines 2 and 4.", file="biopsies.csv", row=4)
    >>> len(problems.errors)
    1
    """

    def __init__(self, found: Iterable[Problem] = ()) -> None:
        self._found: list[Problem] = list(found)

    def add(  # noqa: PLR0913 -- one argument for each field of a Problem
        self,
        code: str,
        message: str,
        *,
        remedy: str = "",
        file: str | Path = "",
        row: int | None = None,
        column: str | None = None,
        value: object = None,
        severity: Severity = "error",
        item: str | None = None,
    ) -> None:
        """Add one problem; see :class:`Problem` for the fields."""
        text = None if value is None else str(value)
        self._found.append(
            Problem(code, message, remedy, str(file), row, column, text, severity, item)  # one field each
        )

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add many."""
        self._found.extend(problems)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def errors(self) -> list[Problem]:
        """Those that refuse the input."""
        return [p for p in self._found if p.severity == "error"]

    @property
    def quarantined(self) -> list[Problem]:
        """Those that leave one item out."""
        return [p for p in self._found if p.severity == "quarantine"]

    @property
    def warnings(self) -> list[Problem]:
        """Those that are only told."""
        return [p for p in self._found if p.severity == "warning"]

    def raise_if_any(self, error: type[InputError] | None = None) -> None:
        """Raise `error` (default :class:`InputError`) with all problems, if one of them is an error."""
        if self.errors:
            raise (error or InputError)(self._found)


class InputError(PdBiomarkerError):
    """Input refused before any work. `problems` holds every fault found, not only the first."""

    exit_code = 3

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        errors = [p for p in self.problems if p.severity == "error"]
        head = f"{len(errors)} problem{'s' if len(errors) != 1 else ''}"
        super().__init__("\n".join([head, *(f"  {p}" for p in errors)]))

    def __reduce__(self) -> tuple[type[InputError], tuple[list[Problem]]]:
        """Cross a process boundary with the problems intact."""
        return type(self), (self.problems,)


class StudyError(InputError):
    """The study folder: study.yaml, the sheets, or what they say together."""


class PlanError(InputError):
    """The analysis plan."""


class FormulaError(InputError, ValueError):
    """A formula or a contrast. The position is the problem's `column`."""


class AssayError(InputError):
    """A count matrix, a panel, or a matrix offered as an assay."""


class ItemError(PdBiomarkerError):
    """One slide, library or region cannot be used; `problem` says why. The rest goes on."""

    exit_code = 4

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))

    def __reduce__(self) -> tuple[type[ItemError], tuple[Problem]]:
        """Cross a process boundary with the problem intact."""
        return type(self), (self.problem,)


class VerificationError(InputError):
    """A folder differs from its manifest, or was made with another plan, study or version."""


class ResourceError(PdBiomarkerError):
    """Disk, memory or time ran out."""

    exit_code = 5


class FolderInUseError(PdBiomarkerError):
    """Another run holds the results folder."""

    exit_code = 6


class MissingExtraError(PdBiomarkerError):
    """An optional dependency is not installed."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed. Remedy: pip install 'pdbiomarker[{extra}]'")
