"""Dataset-JSON version 1.1: one dataset as JSON, values by row, with the type and label of every column.

The standard is CDISC's *Dataset-JSON v1.1*. Dates and times are ISO 8601 texts, a missing value is ``null``;
an empty text is not missing.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from pdbiomarker.clinical.cdisc.dataset import Dataset, Variable, dataset_of, from_sas_numbers
from pdbiomarker.errors import Problems
from pdbiomarker.provenance import write_text
from pdbiomarker.tables import add_rows, parse_date

__all__ = ["read_dataset_json", "write_dataset_json"]

_VERSION: Final = "1.1.0"
_NUMBERS: Final = frozenset({"integer", "decimal", "float", "double"})
_TEXTS: Final = frozenset({"string", "URI"})
_DATES: Final = frozenset({"date", "datetime", "time"})
_KNOWN: Final = _NUMBERS | _TEXTS | _DATES | {"boolean"}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object with two keys of one name: which of them counts would be a guess."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def read_dataset_json(text: str, *, file: str, problems: Problems) -> Dataset | None:
    """Read a Dataset-JSON document.

    Parameters
    ----------
    text : str
        The content of the file.
    file : str
        What problems call it.
    problems : Problems
        E-CDISC-001: not JSON; E-CDISC-002: what breaks the standard, with column and row.

    Returns
    -------
    Dataset or None
        None when anything was refused.
    """
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        problems.add(
            "E-CDISC-001",
            f"The file is not JSON that can be read ({error}).",
            remedy="Check that the file is complete; export it again.",
            file=file,
        )
        return None
    before = len(problems.errors)
    if not isinstance(document, dict):
        _refuse(problems, file, "The document is not an object.")
        return None
    columns, rows = _parts(document, file, problems)
    if columns is None or rows is None or len(problems.errors) > before:
        return None
    cells = _cells(columns, rows, file, problems)
    if len(problems.errors) > before:
        return None
    formats = {c["name"]: str(c.get("displayFormat") or "") for c in columns}
    frame = from_sas_numbers(pd.DataFrame(cells, columns=[c["name"] for c in columns]), formats)
    return dataset_of(
        str(document.get("name", "")),
        frame,
        label=str(document.get("label") or ""),
        labels={c["name"]: str(c.get("label") or "") for c in columns},
        formats=formats,
        file=file,
    )


def _refuse(
    problems: Problems, file: str, message: str, column: str | None = None, value: object = None
) -> None:
    problems.add(
        "E-CDISC-002",
        message,
        remedy="Export the dataset again as Dataset-JSON 1.1.",
        file=file,
        column=column,
        value=value,
    )


def _parts(
    document: Mapping[str, Any], file: str, problems: Problems
) -> tuple[list[dict[str, Any]] | None, list[list[Any]] | None]:
    """Give columns and rows, checked against each other."""
    version = str(document.get("datasetJSONVersion", ""))
    if not version.startswith("1.1"):
        told = f"version {version!r}" if version else "no datasetJSONVersion"
        _refuse(problems, file, f"The document has {told}; version 1.1 is read.", "datasetJSONVersion")
    for key in ("itemGroupOID", "name", "columns", "records"):
        if key not in document:
            _refuse(problems, file, f"The attribute {key!r} is missing.", key)
    columns, rows = document.get("columns"), document.get("rows")
    if not isinstance(columns, list) or not all(isinstance(c, dict) for c in columns):
        _refuse(problems, file, "The attribute 'columns' is not a list of objects.", "columns")
        return None, None
    if rows is None:
        rows = []
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        _refuse(problems, file, "The attribute 'rows' is not a list of lists.", "rows")
        return None, None
    _check_columns(columns, file, problems)
    wrong = [
        (place, None, f"The row has {len(row)} values, there are {len(columns)} columns.")
        for place, row in enumerate(rows, start=1)
        if len(row) != len(columns)
    ]
    remedy = "Every row needs one value for each column; null where it is missing."
    add_rows(problems, "E-CDISC-002", wrong, remedy=remedy, file=file, column="rows")
    records = document.get("records")
    if "records" in document and records != len(rows):
        _refuse(
            problems,
            file,
            f"The document says {records} records and holds {len(rows)}: it may be cut short.",
            "records",
            records,
        )
    return columns, rows


def _check_columns(columns: Sequence[Mapping[str, Any]], file: str, problems: Problems) -> None:
    seen: set[str] = set()
    for column in columns:
        name = column.get("name")
        if not isinstance(name, str) or not name:
            _refuse(problems, file, "A column has no name.", "columns")
            continue
        if name in seen:
            _refuse(problems, file, "Two columns have the same name.", name, name)
        seen.add(name)
        if column.get("dataType") not in _KNOWN:
            _refuse(problems, file, "The dataType of the column is unknown.", name, column.get("dataType"))


def _cells(
    columns: Sequence[Mapping[str, Any]], rows: Sequence[Sequence[Any]], file: str, problems: Problems
) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for place, column in enumerate(columns):
        values = [row[place] for row in rows]
        kind, name = column["dataType"], column["name"]
        wrong: list[tuple[int, str | None, str]] = []
        read: list[Any] = []
        for row, value in enumerate(values, start=1):
            good, cell = _value(value, kind, column.get("targetDataType"))
            if not good:
                wrong.append((row, str(value), f"The value is not of the column's type, {kind}."))
            read.append(cell)
        remedy = "Give every value in the type that its column declares."
        add_rows(problems, "E-CDISC-002", wrong, remedy=remedy, file=file, column=name)
        numeric = kind in _NUMBERS
        cells[name] = (
            np.array([math.nan if v is None else v for v in read], dtype=float)
            if numeric
            else (pd.Series(read, dtype=object))
        )
    return cells


def _value(value: Any, kind: str, target: object) -> tuple[bool, Any]:
    """Tell whether a value has the type of its column, and give it."""
    if value is None:
        return True, None
    if kind in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return False, None
        try:
            number = float(value)  # the standard writes decimals as texts
        except (ValueError, OverflowError):
            return False, None
        good = math.isfinite(number) and (kind != "integer" or number.is_integer())
        return good, number if good else None
    if kind == "boolean":
        return isinstance(value, bool), ("Y" if value else "N") if isinstance(value, bool) else None
    if not isinstance(value, str):
        return False, None
    if kind not in _DATES:
        return True, value
    # Without a target type the variable is a text, such as --DTC, and may be a partial date.
    return _moment(value, kind) if target == "integer" else (True, value)


def _moment(value: str, kind: str) -> tuple[bool, Any]:
    if kind == "time":
        try:
            return True, dt.time.fromisoformat(value)
        except ValueError:
            return False, None
    moment = parse_date(value)
    if moment is None:
        return False, None
    if kind == "datetime" and not isinstance(moment, dt.datetime):
        moment = dt.datetime.combine(moment, dt.time())
    return True, moment


def write_dataset_json(
    dataset: Dataset, path: str | Path, *, created: dt.date, study: str = "", keys: Sequence[str] = ()
) -> Path:
    """Write a dataset as Dataset-JSON 1.1, the same bytes on every run.

    Parameters
    ----------
    dataset : Dataset
    path : path
        Written whole or not at all.
    created : date
        Of the document: the data cut-off, not the clock.
    study : str
        The study's OID.
    keys : sequence of str
        Variables that sort the records, for `keySequence`.

    Returns
    -------
    Path
    """
    columns = [_column(dataset, variable, keys) for variable in dataset.variables]
    values = [_json_values(dataset.frame[v.name], v) for v in dataset.variables]
    document = {
        "datasetJSONCreationDateTime": f"{created.isoformat()}T00:00:00",
        "datasetJSONVersion": _VERSION,
        "fileOID": f"{study or 'STUDY'}.{dataset.name}",
        "studyOID": study or "STUDY",
        "sourceSystem": {"name": "pdbiomarker", "version": "1"},
        "itemGroupOID": f"IG.{dataset.name}",
        "records": len(dataset),
        "name": dataset.name,
        "label": dataset.label,
        "columns": columns,
    }
    head = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).removesuffix("\n}")
    rows = zip(*values, strict=True) if values else iter(())
    lines = [json.dumps(list(row), ensure_ascii=False, allow_nan=False) for row in rows]
    target = Path(path)
    write_text(target, f'{head},\n "rows": [\n' + ",\n".join(lines) + "\n ]\n}\n")
    return target


def _column(dataset: Dataset, variable: Variable, keys: Sequence[str]) -> dict[str, Any]:
    column: dict[str, Any] = {
        "itemOID": f"IT.{dataset.name}.{variable.name}",
        "name": variable.name,
        "label": variable.label or variable.name,
        "dataType": {"text": "string", "number": "double"}.get(variable.kind, variable.kind),
    }
    if variable.kind in _DATES:
        column["targetDataType"] = "integer"
        column["displayFormat"] = variable.format or {"date": "DATE9.", "datetime": "DATETIME20."}.get(
            variable.kind, "TIME8."
        )
    elif variable.format:
        column["displayFormat"] = variable.format
    if variable.kind == "text":
        column["length"] = max(variable.length or 1, 1)
    if variable.name in keys:
        column["keySequence"] = list(keys).index(variable.name) + 1
    return column


def _json_values(column: pd.Series, variable: Variable) -> list[Any]:
    if variable.kind == "number":
        return [None if math.isnan(v) else v for v in column.to_numpy(dtype=float).tolist()]
    if variable.kind == "text":
        return [None if v is None or v is pd.NA else str(v) for v in column.tolist()]
    return [None if v is None or pd.isna(v) else v.isoformat() for v in column.tolist()]
