"""What the commands of the clinic read and write: a study folder or plain sheets, and what was left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from pdbiomarker.errors import Problem, Problems
from pdbiomarker.provenance import atomic_path
from pdbiomarker.study import Study, read_study
from pdbiomarker.study.clinical import ASIDE_COLUMNS, SET_ASIDE, read_clinical_sheet
from pdbiomarker.study.clinical_sheets import SHEETS
from pdbiomarker.study.people import BIOPSY_COLUMNS, PARTICIPANT_COLUMNS, read_biopsies, read_participants
from pdbiomarker.study.sheets import Sheet, open_sheet
from pdbiomarker.tables import order_by_ids, write_table

__all__ = ["Clinic", "ClinicOutcome", "left_out", "of_sheets", "of_study", "write_all"]

#: Columns of what a command left out: where it stands, why, and what to do.
LEFT_OUT_COLUMNS: Final = (
    "what", "file", "row", "participant_id", "column", "value", "code", "reason", "remedy", "content",
)  # fmt: skip
_WHAT: Final = {"quarantine": "left out", "warning": "told", "error": "refused"}


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Clinic:
    """The sheets that a command works on, read alike from a study folder and from plain files.

    Attributes
    ----------
    sheets : mapping of name to DataFrame
        The clinical sheets as `Study.clinical` has them; the index is the line of the file.
    participants, biopsies : DataFrame or None
        As `Study` has them, with their ids as a column.
    cutoff : str or None
        Data cut-off.
    aside : DataFrame
        What lies after it: rows of `Study.clinical["set_aside"]`.
    problems : tuple of Problem
        What reading told.
    study : Study or None
        None where plain files were read.
    """

    sheets: Mapping[str, pd.DataFrame]
    participants: pd.DataFrame | None
    biopsies: pd.DataFrame | None
    cutoff: str | None
    aside: pd.DataFrame
    problems: tuple[Problem, ...]
    study: Study | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ClinicOutcome:
    """What a command made.

    Attributes
    ----------
    made : tuple of Path
        The main table first.
    problems : tuple of Problem
        What was left out or only told.
    """

    made: tuple[Path, ...]
    problems: tuple[Problem, ...]

    @property
    def exit_code(self) -> int:
        """4 when something was left out, else 0."""
        return 4 if any(p.severity == "quarantine" for p in self.problems) else 0


def of_study(folder: Path, sheets: Sequence[str], *, needed: Sequence[str] = ()) -> Clinic:
    """Take the clinical sheets of a study folder.

    Parameters
    ----------
    folder : Path
    sheets : sequence of str
        Those that the command looks at.
    needed : sequence of str
        Sheets without which there is nothing to do.

    Raises
    ------
    InputError
        What :func:`pdbiomarker.study.read_study` refuses; E-FILE-001: a sheet that is needed is not there.
    """
    study, problems = read_study(folder), Problems()
    for name in needed:
        if name not in study.clinical:
            problems.add(
                "E-FILE-001",
                f"The study has no {name.replace('_', ' ')}.",
                remedy=f"Add clinical/{name}.csv, or name a sheet instead of the study folder.",
                file=f"clinical/{name}.csv",
            )
    problems.raise_if_any()
    files = {"participants.csv", *(f"clinical/{name}.csv" for name in sheets)}
    aside = study.clinical.get(SET_ASIDE)
    return Clinic(
        {name: _by_line(study.clinical[name]) for name in sheets if name in study.clinical},
        study.participants.reset_index(),
        study.biopsies.reset_index(),
        study.spec.data_cutoff,
        _nothing() if aside is None else aside[aside["sheet"].isin(list(sheets))],
        tuple(p for p in study.problems if p.file in files and p.code != _TOLD_ASIDE),
        study,
    )


#: Warnings of what lies after the cut-off: the rows set aside say the same, each with its content.
_TOLD_ASIDE: Final = "E-CLIN-007"


def of_sheets(files: Mapping[str, str | Path | None], *, cutoff: str | None, problems: Problems) -> Clinic:
    """Take plain files: clinical sheets, ``participants`` and ``biopsies``, by name.

    Parameters
    ----------
    files : mapping of name to path
        None: not given.
    cutoff : str or None
        Data cut-off, ISO date: what lies after it is set aside, as in a study folder.
    problems : Problems
        Everything that is wrong is added, and raised here if anything is.
    """
    told = Problems()
    paths = {name: Path(path) for name, path in files.items() if path is not None}
    people = places = None
    if "participants" in paths:
        sheet = _open(paths["participants"], PARTICIPANT_COLUMNS, told)
        people = None if sheet is None else order_by_ids(read_participants(sheet, cutoff=cutoff))
    if "biopsies" in paths:
        sheet = _open(paths["biopsies"], BIOPSY_COLUMNS, told)
        if sheet is not None:
            read = read_biopsies(sheet, visits=None, participants=people, cutoff=cutoff)
            places = order_by_ids(read, first=("participant_id", "study_day"))
    aside: list[dict[str, object]] = []
    sheets: dict[str, pd.DataFrame] = {}
    for name, path in paths.items():
        if name in SHEETS:
            found = read_clinical_sheet(path, name, told, participants=people, cutoff=cutoff, aside=aside)
            if found is not None:
                sheets[name] = _by_line(found)
    problems.extend(told)
    problems.raise_if_any()
    return Clinic(
        sheets,
        None if people is None else people.reset_index(),
        None if places is None else places.reset_index(),
        cutoff,
        pd.DataFrame(aside, columns=list(ASIDE_COLUMNS)),
        tuple(p for p in told if p.code != _TOLD_ASIDE),
    )


def _open(path: Path, required: Sequence[str], problems: Problems) -> Sheet | None:
    return open_sheet(path, file=path.name, columns={}, required=required, problems=problems)


def _by_line(sheet: pd.DataFrame) -> pd.DataFrame:
    return sheet.set_axis(pd.Index([int(line) for line in sheet["line"]], dtype="int64"), axis="index")


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=list(ASIDE_COLUMNS))


def left_out(problems: Sequence[Problem], aside: pd.DataFrame | None = None) -> pd.DataFrame:
    """List what does not count or was only told, a row each.

    Parameters
    ----------
    problems : sequence of Problem
        What reading and the analysis told.
    aside : DataFrame, optional
        Of a :class:`Clinic`.

    Returns
    -------
    DataFrame
        what (``set aside``: after the data cut-off; ``left out``; ``told``: used, and worth a look), file,
        row, participant_id, column, value, code, reason, remedy, content (the whole row, where it is set
        aside).
    """
    rows: list[dict[str, object]] = [
        {
            "what": "set aside",
            "file": f"{row['sheet']}.csv",
            "row": row["line"],
            "participant_id": row["participant_id"],
            "column": row["column"],
            "value": row["value"],
            "code": _TOLD_ASIDE,
            "reason": row["reason"],
            "remedy": "Move the data cut-off, if it belongs to this data cut.",
            "content": row["row"],
        }
        for row in ([] if aside is None else aside.to_dict("records"))
    ]
    for told in dict.fromkeys(problems):
        rows.append(
            {
                "what": _WHAT[told.severity],
                "file": told.file.removeprefix("clinical/"),
                "row": told.row,
                "participant_id": told.item or None,
                "column": told.column,
                "value": told.value,
                "code": told.code,
                "reason": told.message,
                "remedy": told.remedy,
            }
        )
    frame = pd.DataFrame(rows, columns=list(LEFT_OUT_COLUMNS), dtype=object).astype({"row": "Int64"})
    order = [*_WHAT.values(), "set aside"]
    frame["what"] = pd.Categorical(frame["what"], order, ordered=True)
    frame = frame.sort_values(["what", "file", "row", "column"], kind="stable", ignore_index=True)
    return frame.astype({"what": object})


def write_all(
    out: Path, tables: Mapping[str, pd.DataFrame], figures: Mapping[str, bytes]
) -> tuple[Path, ...]:
    """Write tables as CSV and figures as PNG into a folder, and give their paths in that order."""
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for name, table in tables.items():
        made.append(out / f"{name}.csv")
        write_table(table, made[-1])
    for name, png in figures.items():
        made.append(out / f"{name}.png")
        with atomic_path(made[-1]) as temporary:
            temporary.write_bytes(png)
    return tuple(made)
