"""SAS transport files, version 5: what they can hold, and the same bytes on every run.

The format holds names of eight characters, labels of 40, texts of 200 bytes and IBM doubles; texts in
submissions are ASCII. What does not fit is refused, but for two things which are told: typographic characters
of texts that are not ids (``µ``, ``≥``, accents) are written in ASCII, and an empty text becomes blank, which
is how the format writes a missing one.

pyreadstat writes the records; it stamps the clock into four places of the headers, at fixed positions, where
the data cut-off is put instead.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyreadstat

from pdbiomarker.clinical.cdisc.dataset import (
    MAX_LABEL,
    MAX_NAME,
    MAX_TEXT,
    SAS_EPOCH,
    Dataset,
    Variable,
    sas_days,
)
from pdbiomarker.errors import Problem, Problems
from pdbiomarker.provenance import atomic_path
from pdbiomarker.tables import add_rows

__all__ = ["to_ascii", "write_xpt"]

_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,7}", re.ASCII)
#: Where the headers carry when the library and its member were made and changed (16 bytes each).
_STAMPS: Final = (144, 160, 464, 480)
_STAMP = re.compile(rb"[0-9]{2}[A-Z]{3}[0-9]{2}(:[0-9]{2}){3}")
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_LARGEST: Final = 7.237005577332262e75
_SMALLEST: Final = 5.397605346934028e-79
_ASCII: Final = str.maketrans(
    {
        "µ": "u",
        "μ": "u",
        "≥": ">=",
        "≤": "<=",
        "–": "-",
        "—": "-",
        "−": "-",
        "×": "x",
        "·": ".",
        "²": "2",
        "³": "3",
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "…": "...",
        "\u00a0": " ",
        "ß": "ss",
        "α": "alpha",
        "β": "beta",
        "γ": "gamma",
        "δ": "delta",
        "κ": "kappa",
    }
)
_FORMATS: Final = {"date": "DATE9", "datetime": "DATETIME20", "time": "TIME8"}


def to_ascii(text: str) -> str | None:
    """Write a text in ASCII: accents taken off, signs spelt; None where a character has no spelling.

    Examples
    --------
    >>> to_ascii("≥2 cells/mm², Müller"), to_ascii("患者")
    ('>=2 cells/mm2, Muller', None)
    """
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", text.translate(_ASCII)) if not unicodedata.combining(c)
    )
    return plain if plain.isascii() and plain.isprintable() else None


def write_xpt(
    dataset: Dataset, path: str | Path, *, created: dt.date, ids: Sequence[str] = ()
) -> tuple[Problem, ...]:
    """Write a dataset as SAS transport file, version 5.

    Parameters
    ----------
    dataset : Dataset
    path : path
        Written whole or not at all.
    created : date
        What the headers say: the data cut-off.
    ids : sequence of str
        Variables whose texts must stay as they are; default: those that end in ``ID``.

    Returns
    -------
    tuple of Problem
        What was told: texts that were written in ASCII.

    Raises
    ------
    InputError
        E-CDISC-010: names, labels, texts or numbers that the format cannot hold, all at once.

    Notes
    -----
    Dates are days from 1960-01-01, times seconds; -- both exact before 1960 too. A double survives as it is,
    between 5.4e-79 and 7.2e75.
    """
    problems = Problems()
    _check_names(dataset, problems)
    columns: dict[str, pd.Series] = {}
    labels: list[str | None] = []
    for variable in dataset.variables:
        values = dataset.frame[variable.name]
        is_id = variable.name in ids or (not ids and variable.name.endswith("ID"))
        if variable.kind == "text":
            columns[variable.name] = _texts(values, variable, problems, is_id=is_id)
        else:
            columns[variable.name] = _numbers(values, variable, problems)
        labels.append(_short(variable.label, f"the label of {variable.name}", MAX_LABEL, problems))
    title = _short(dataset.label, "the label of the dataset", MAX_LABEL, problems)
    problems.raise_if_any()
    frame = pd.DataFrame(columns, columns=[v.name for v in dataset.variables])
    formats = {v.name: v.format.rstrip(".") or _FORMATS.get(v.kind, "") for v in dataset.variables}
    with atomic_path(Path(path)) as temporary:
        pyreadstat.write_xport(
            frame,
            str(temporary),
            file_label=title,
            column_labels=labels,
            table_name=dataset.name,
            file_format_version=5,
            variable_format={name: text for name, text in formats.items() if text},
        )
        temporary.write_bytes(_stamped(temporary.read_bytes(), created))
    return tuple(problems.warnings)


def _stamped(data: bytes, created: dt.date) -> bytes:
    """Put the data cut-off where the headers carry the clock."""
    stamp = f"{created.day:02d}{_MONTHS[created.month - 1]}{created.year % 100:02d}:00:00:00".encode()
    out = bytearray(data)
    for place in _STAMPS:
        if not _STAMP.fullmatch(bytes(out[place : place + len(stamp)])):
            raise RuntimeError("the transport file has no time stamp where version 5 has one")
        out[place : place + len(stamp)] = stamp
    return bytes(out)


def _refuse(problems: Problems, message: str, remedy: str, column: str, value: object = None) -> None:
    problems.add("E-CDISC-010", message, remedy=remedy, column=column, value=value)


def _check_names(dataset: Dataset, problems: Problems) -> None:
    seen: set[str] = set()
    for name in [dataset.name, *(v.name for v in dataset.variables)]:
        if not _NAME.fullmatch(name):
            _refuse(
                problems,
                f"The name is not {MAX_NAME} characters or fewer of A-Z, 0-9 and '_'.",
                "Give the variable a CDISC name.",
                name,
                name,
            )
    for variable in dataset.variables:
        if variable.name in seen:
            _refuse(problems, "Two variables have the same name.", "Rename one.", variable.name)
        seen.add(variable.name)


def _short(text: str, what: str, most: int, problems: Problems) -> str:
    plain = to_ascii(text)
    if plain is None or len(plain) > most:
        _refuse(
            problems,
            f"The text of {what} is longer than {most} characters or not ASCII.",
            "Shorten it.",
            what,
            text,
        )
        return ""
    return plain


def _texts(values: pd.Series, variable: Variable, problems: Problems, *, is_id: bool) -> pd.Series:
    out: list[str] = []
    wrong: list[tuple[int, str | None, str]] = []
    spelt: list[tuple[int, str | None, str]] = []
    for row, value in enumerate(values.tolist(), start=1):
        if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
            out.append("")
            continue
        text = str(value)
        plain = text if text.isascii() and text.isprintable() else to_ascii(text)
        if plain is None or (is_id and plain != text):
            wrong.append((row, text, "The text is not ASCII, and transport files hold nothing else."))
        elif len(plain) > MAX_TEXT:
            wrong.append((row, f"{text[:40]}...", f"The text is longer than {MAX_TEXT} characters."))
        elif plain != plain.rstrip(" "):
            wrong.append((row, text, "The text ends in blanks, which a transport file loses."))
        elif plain != text:
            spelt.append((row, text, f"The text is written as {plain!r}."))
        out.append(plain or "")
    remedy = "Shorten or respell it, or write Dataset-JSON, which holds every text."
    add_rows(problems, "E-CDISC-010", wrong, remedy=remedy, file="", column=variable.name)
    add_rows(
        problems,
        "E-CDISC-010",
        spelt,
        remedy="Dataset-JSON keeps it as it is.",
        file="",
        column=variable.name,
        severity="warning",
    )
    return pd.Series(out, dtype=object)


def _numbers(values: pd.Series, variable: Variable, problems: Problems) -> pd.Series:
    if variable.kind == "number":
        numbers = values.to_numpy(dtype=float)
    elif variable.kind == "date":
        numbers = sas_days(values.tolist())
    else:
        numbers = np.array([_seconds(value) for value in values.tolist()], dtype=float)
    size = np.abs(numbers)
    outside = np.isfinite(numbers) & (numbers != 0) & ((size > _LARGEST) | (size < _SMALLEST))
    wrong: list[tuple[int, str | None, str]] = [
        (
            int(row) + 1,
            repr(float(numbers[row])),
            "The number is infinite, or outside the range of the format.",
        )
        for row in np.flatnonzero(outside | np.isinf(numbers))
    ]
    remedy = "Write it as missing with a reason, or write Dataset-JSON."
    add_rows(problems, "E-CDISC-010", wrong, remedy=remedy, file="", column=variable.name)
    return pd.Series(numbers, dtype="float64")


def _seconds(value: object) -> float:
    if isinstance(value, dt.datetime):
        return (value - dt.datetime.combine(SAS_EPOCH, dt.time())).total_seconds()
    if isinstance(value, dt.time):
        return value.hour * 3600.0 + value.minute * 60.0 + value.second + value.microsecond / 1e6
    return math.nan
