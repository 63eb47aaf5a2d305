"""The sheets of ``clinical/``, checked by the table of :mod:`pdbiomarker.study.clinical_sheets`.

What a date column ``<date>`` becomes: ``<date>``, ISO text as typed; ``<date>_imputed``, None for a whole
date, else what is lacking (``day`` or ``month``); ``<date>_typed``, datetime64, NaT where the date is
partial: a missing day is never made up. ``study_day`` is the day of the sheet's own date,
``<date>_study_day`` that of another (day 1 is the day of the first dose; there is no day 0).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from pdbiomarker.errors import Problems
from pdbiomarker.study.clinical_reading import Reading
from pdbiomarker.study.clinical_sheets import SHEETS
from pdbiomarker.study.places import leads_outside
from pdbiomarker.study.sheets import Sheet, open_sheet
from pdbiomarker.tables import nearest, order_by_texts, read_table

__all__ = [
    "ASIDE_COLUMNS",
    "FOLDER",
    "RULES_FILE",
    "SET_ASIDE",
    "ClinicalTables",
    "read_clinical",
    "read_clinical_sheet",
]

#: The folder beside study.yaml.
FOLDER: Final = "clinical"
#: The table of what lies after the data cut-off: a name of `Study.clinical`, and a file of the folder.
SET_ASIDE: Final = "set_aside"
#: Rules of response and survival, beside the sheets: read where they are applied.
RULES_FILE: Final = "rules.yaml"
#: Its columns: where each thing stood, why it is aside, and the whole row as it was typed.
ASIDE_COLUMNS: Final = ("sheet", "line", "participant_id", "column", "value", "reason", "row")


@dataclasses.dataclass(frozen=True, slots=True)
class ClinicalTables:
    """What ``clinical/`` holds.

    Attributes
    ----------
    tables : mapping of name to DataFrame
        One for each sheet; and ``set_aside`` where something lies after the data cut-off.
    sheets : mapping of file to Sheet
        As text, for checks across sheets.
    """

    tables: Mapping[str, pd.DataFrame]
    sheets: Mapping[str, Sheet]


def read_clinical(
    folder: Path,
    *,
    columns: Mapping[str, str],
    participants: pd.DataFrame | None,
    cutoff: str | None,
    problems: Problems,
) -> ClinicalTables:
    """Read and check every clinical sheet of a study folder.

    Parameters
    ----------
    folder : Path
        The study folder; without a folder ``clinical/`` there is nothing to read.
    columns : mapping of the site's column name to ours
    participants : DataFrame or None
        As from `read_participants`; None: neither ids nor study days are checked.
    cutoff : str or None
        Data cut-off, ISO date: rows and cells after it are set aside, with a row of their own and a warning.
    problems : Problems
        Every fault is added.

    Returns
    -------
    ClinicalTables
    """
    place = folder / FOLDER
    tables: dict[str, pd.DataFrame] = {}
    sheets: dict[str, Sheet] = {}
    if leads_outside(folder, FOLDER):
        problems.add(
            "E-FILE-006",
            "The folder leads outside the study folder.",
            remedy="Put the sheets into the study folder.",
            file=FOLDER,
        )
        return ClinicalTables({}, {})
    if not place.is_dir():
        return ClinicalTables({}, {})
    aside: list[dict[str, object]] = []
    for path in sorted(place.iterdir()):
        name = f"{FOLDER}/{path.name}"
        if path.name.startswith(".") or path.name in {f"{SET_ASIDE}.csv", RULES_FILE}:
            if leads_outside(folder, name):
                problems.add(
                    "E-FILE-006", "The path leads outside the study folder.", remedy="Copy it.", file=name
                )
            continue
        if path.suffix != ".csv" or path.stem not in SHEETS:
            _tell_unknown(path, name, problems)
            continue
        if leads_outside(folder, name):
            problems.add(
                "E-FILE-006", "The path leads outside the study folder.", remedy="Copy it.", file=name
            )
            continue
        rules = SHEETS[path.stem]
        required = ("participant_id", *rules.needed)
        sheet = open_sheet(path, file=name, columns=columns, required=required, problems=problems)
        if sheet is not None:
            sheets[name] = sheet
            tables[path.stem] = Reading(sheet, path.stem, rules, cutoff, aside).table(participants)
    before = _set_aside_before(place / f"{SET_ASIDE}.csv", problems)
    if aside or len(before):
        tables[SET_ASIDE] = pd.concat([before, pd.DataFrame(aside, columns=list(ASIDE_COLUMNS))])
    ordered = {name: order_by_texts(table).reset_index(drop=True) for name, table in tables.items()}
    return ClinicalTables(ordered, sheets)


def read_clinical_sheet(
    path: Path,
    name: str,
    problems: Problems,
    *,
    participants: pd.DataFrame | None = None,
    cutoff: str | None = None,
    aside: list[dict[str, object]] | None = None,
) -> pd.DataFrame | None:
    """Read one clinical sheet by itself, without a study folder around it.

    Parameters
    ----------
    path : Path
    name : str
        A key of :data:`pdbiomarker.study.clinical_sheets.SHEETS`.
    problems : Problems
        Every fault is added.
    participants, cutoff
        As in :func:`read_clinical`.
    aside : list, optional
        What lies after the cut-off is added, as rows of the table `set_aside`.
    """
    rules = SHEETS[name]
    required = ("participant_id", *rules.needed)
    sheet = open_sheet(path, file=path.name, columns={}, required=required, problems=problems)
    if sheet is None:
        return None
    read = Reading(sheet, name, rules, cutoff, [] if aside is None else aside).table(participants)
    return order_by_texts(read).reset_index(drop=True)


def _tell_unknown(path: Path, name: str, problems: Problems) -> None:
    near = nearest(path.stem, SHEETS)
    problems.add(
        "E-CLIN-001",
        "The file is not one of the clinical sheets, and is not read.",
        remedy=f"Name it after what it holds, as CSV. {near}",
        file=name,
        severity="warning",
    )


def _set_aside_before(path: Path, problems: Problems) -> pd.DataFrame:
    """What an earlier reading had set aside, as `Study.write` left it."""
    if not path.is_file():
        return pd.DataFrame(columns=list(ASIDE_COLUMNS), dtype=object)
    frame = read_table(path, name=f"{FOLDER}/{path.name}", problems=problems)
    if frame is None:
        return pd.DataFrame(columns=list(ASIDE_COLUMNS), dtype=object)
    frame = frame.reindex(columns=list(ASIDE_COLUMNS)).reset_index(drop=True)
    lines = pd.to_numeric(frame["line"], errors="coerce").fillna(0).astype(int)
    return frame.assign(line=lines.astype(object))
