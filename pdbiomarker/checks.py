"""Checking one file by itself, without the study around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pdbiomarker.errors import InputError, Problems
from pdbiomarker.formula import parse
from pdbiomarker.plan import Plan, undeclared_events
from pdbiomarker.study.clinical import read_clinical_sheet
from pdbiomarker.study.clinical_sheets import SHEETS as CLINICAL_SHEETS
from pdbiomarker.study.folder import check_study
from pdbiomarker.study.items import LIBRARY_COLUMNS, SLIDE_COLUMNS, read_libraries, read_slides
from pdbiomarker.study.people import BIOPSY_COLUMNS, PARTICIPANT_COLUMNS, read_biopsies, read_participants
from pdbiomarker.study.sheets import Sheet, open_sheet
from pdbiomarker.study.spec import read_spec
from pdbiomarker.tables import decode_text, nearest

_LONGEST_FORMULA: Final = 100_000


def check_file(path: str | Path, as_: str) -> Problems:
    """Check one file, or a study folder, and give everything that is wrong with it.

    Parameters
    ----------
    path : path
        The file; for ``study`` the folder or its study.yaml; for ``formula`` a file that holds one, or the
        formula itself.
    as_ : str
        What it is checked as: ``study``, ``plan``, ``participants``, ``biopsies``, ``libraries``, ``slides``,
        ``formula``, or a clinical sheet by its name. What a sheet says about other sheets is checked only
        with ``study``.

    Returns
    -------
    Problems
        Empty when nothing is wrong.

    Raises
    ------
    ValueError
        There is no such kind.
    """
    if as_ not in _CHECKS:
        raise ValueError(f"as_ must be one of {', '.join(_CHECKS)}; got {as_!r}. {nearest(as_, _CHECKS)}")
    problems = Problems()
    try:
        _CHECKS[as_](path, problems)
    except InputError as error:
        problems.extend(error.problems)
    return problems


def _study(source: str | Path, problems: Problems) -> None:
    path = Path(source)
    if path.is_file():
        read_spec(path, problems)
        return
    study = check_study(path, problems)
    plan = path / "plan.yaml"
    if study is not None and plan.exists():
        problems.extend(undeclared_events(study, Plan.read(plan, study).intercurrent))
    elif plan.exists():
        Plan.read(plan)


def _plan(source: str | Path, _problems: Problems) -> None:
    Plan.read(source)


def _open(source: str | Path, required: tuple[str, ...], problems: Problems) -> Sheet | None:
    path = Path(source)
    return open_sheet(path, file=path.name, columns={}, required=required, problems=problems)


def _participants(source: str | Path, problems: Problems) -> None:
    sheet = _open(source, PARTICIPANT_COLUMNS, problems)
    if sheet is not None:
        read_participants(sheet, cutoff=None)


def _biopsies(source: str | Path, problems: Problems) -> None:
    sheet = _open(source, BIOPSY_COLUMNS, problems)
    if sheet is not None:
        read_biopsies(sheet, visits=None, participants=None, cutoff=None)


def _libraries(source: str | Path, problems: Problems) -> None:
    sheet = _open(source, LIBRARY_COLUMNS, problems)
    if sheet is not None:
        read_libraries(sheet, biopsies=None)


def _slides(source: str | Path, problems: Problems) -> None:
    sheet = _open(source, SLIDE_COLUMNS, problems)
    if sheet is not None:
        read_slides(sheet, folder=Path(source).parent, assays=(), biopsies=None)


def _clinical(name: str) -> Callable[[str | Path, Problems], None]:
    def check(source: str | Path, problems: Problems) -> None:
        read_clinical_sheet(Path(source), name, problems)

    return check


def _formula(source: str | Path, problems: Problems) -> None:
    text = str(source)
    if _is_file(source):
        path = Path(source)
        with path.open("rb") as stream:
            data = stream.read(_LONGEST_FORMULA)
        read = decode_text(data, problems, file=path.name, remedy="Save it as UTF-8.")
        if read is None:
            return
        text = read.strip()
    elif not text.lstrip().startswith("~"):
        problems.add(
            "E-FILE-001",
            "There is no such file, and a formula starts with '~'.",
            remedy="Give a file that holds a formula, or a formula such as '~ visit + (1|participant)'.",
            value=text[:80],
        )
        return
    parse(text)


def _is_file(source: str | Path) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):
        return False


_CHECKS: Final[Mapping[str, Callable[[str | Path, Problems], None]]] = {
    "study": _study,
    "plan": _plan,
    "participants": _participants,
    "biopsies": _biopsies,
    "libraries": _libraries,
    "slides": _slides,
    "formula": _formula,
    **{name: _clinical(name) for name in CLINICAL_SHEETS},
}
