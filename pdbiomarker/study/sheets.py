"""What every sheet of a study has in common: columns under our names, ids, text columns."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from pdbiomarker.errors import Problems, Severity
from pdbiomarker.study.ids import control_character, normal_id, skeleton
from pdbiomarker.tables import add_rows, nearest, read_table, to_typed

#: Columns that name things, in whatever sheet: text even where every value is a number.
NAMES: Final = frozenset(
    {"batch", "cohort", "core", "lesion_id", "panel", "scanner", "sex", "site", "tumor_type", "visit"}
)
#: Columns that reading adds.
RESERVED: Final = ("line", "source", "assay")
#: But this one means something in this sheet: whose libraries they are.
_OWN: Final = ("libraries.csv", "assay")

_RETYPE: Final = "Type the id again, without invisible characters."


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A sheet as text, under our column names.

    Attributes
    ----------
    frame : DataFrame of object
        Index: lines of the file.
    file : str
        Its name, for the problems.
    site_names : mapping of our column name to the site's
    problems : Problems
        Where faults are added.
    """

    frame: pd.DataFrame
    file: str
    site_names: Mapping[str, str]
    problems: Problems

    def label(self, column: str) -> str:
        """Give the name by which the file calls a column."""
        return self.site_names.get(column, column)

    def has(self, column: str) -> bool:
        """Tell whether the sheet has a column."""
        return column in self.frame

    def column(self, column: str) -> pd.Series:
        """Give a column, or one of empty cells where the sheet lacks it."""
        if column in self.frame:
            return self.frame[column]
        return pd.Series([None] * len(self.frame), index=self.frame.index, name=column, dtype=object)

    def tell(
        self,
        code: str,
        column: str,
        cells: Iterable[tuple[int, str | None, str]],
        *,
        remedy: str,
        severity: Severity = "error",
    ) -> None:
        """Report one fault of one column at many lines; see :func:`pdbiomarker.tables.add_rows`."""
        add_rows(
            self.problems,
            code,
            cells,
            remedy=remedy,
            file=self.file,
            column=self.label(column),
            severity=severity,
        )

    def header(self) -> list[str]:
        """Give the header as the file has it."""
        return [self.label(column) for column in self.frame.columns]


def open_sheet(
    path: Path, *, file: str, columns: Mapping[str, str], required: Sequence[str], problems: Problems
) -> Sheet | None:
    """Read a sheet, rename its columns and check that those required are there.

    Parameters
    ----------
    path : Path
    file : str
        What problems call it.
    columns : mapping of the site's column name to ours
    required : sequence of str
        Columns, under our names; a missing one is reported.
    problems : Problems

    Returns
    -------
    Sheet or None
        None when the file cannot be read.
    """
    frame = read_table(path, name=file, problems=problems)
    if frame is None:
        return None
    frame, site_names = _renamed(frame, columns, file, problems)
    for column in RESERVED:
        if column in frame and (file, column) != _OWN:
            site_names[f"{column}_given"] = site_names.pop(column, column)
            frame = frame.rename(columns={column: f"{column}_given"})
            problems.add(
                "E-SHEET-002",
                f"The name {column!r} is used by this package; the column is kept as '{column}_given'.",
                remedy="Rename the column.",
                file=file,
                row=1,
                column=column,
                severity="warning",
            )
    free = [name for name in map(str, frame.columns) if name not in {*required, *NAMES}]
    for column in required:
        if column not in frame:
            near = f" {nearest(column, free)}" if free else ""
            problems.add(
                "E-SHEET-001",
                f"The column {column!r} is missing.",
                remedy="Add it, or give the site's name for it under 'columns' in study.yaml." + near,
                file=file,
                row=1,
                column=column,
            )
    if frame.empty:
        problems.add(
            "E-SHEET-011",
            "The sheet has a header and no rows.",
            remedy="Give one row for each record, or remove the sheet where it is optional.",
            file=file,
            row=1,
        )
    return Sheet(frame, file, site_names, problems)


def _renamed(
    frame: pd.DataFrame, columns: Mapping[str, str], file: str, problems: Problems
) -> tuple[pd.DataFrame, dict[str, str]]:
    site_names: dict[str, str] = {}
    for theirs, ours in columns.items():
        if theirs not in frame or theirs == ours:
            continue
        if ours in frame or ours in site_names:
            other = site_names.get(ours, ours)
            problems.add(
                "E-SHEET-002",
                f"The columns {other!r} and {theirs!r} both stand for {ours!r}.",
                remedy="Correct 'columns' in study.yaml, or remove one of the columns.",
                file=file,
                row=1,
                column=theirs,
                value=ours,
            )
            continue
        site_names[ours] = theirs
    back = {theirs: ours for ours, theirs in site_names.items()}
    return frame.rename(columns=back), site_names


def read_ids(sheet: Sheet, column: str, *, required: bool = True) -> pd.Series:
    """Give a column of ids without what cannot be seen.

    Missing ids (E-SHEET-004) and control characters (E-SHEET-010) are errors; an id that was changed by
    taking off spaces or invisible characters is told (E-SHEET-009, warning).

    Returns
    -------
    Series of str or None
        Index: lines.
    """
    raw = sheet.column(column)
    if column not in sheet.frame:
        return raw
    values: list[str | None] = []
    missing: list[tuple[int, str | None, str]] = []
    changed: list[tuple[int, str | None, str]] = []
    control: list[tuple[int, str | None, str]] = []
    for line, text in zip(raw.index, raw.tolist(), strict=True):
        value = None if text is None else normal_id(text)
        if not value:
            missing.append((int(line), text, f"The {sheet.label(column)} is missing."))
            values.append(None)
            continue
        bad = control_character(value)
        if bad is not None:
            said = f"The id holds the control character U+{ord(bad):04X}."
            control.append((int(line), ascii(text), said))
        elif value != text:
            said = f"Spaces or invisible characters were left out: the id is read as {value!r}."
            changed.append((int(line), ascii(text), said))
        values.append(value)
    if required:
        sheet.tell("E-SHEET-004", column, missing, remedy="Give every row its id.")
    sheet.tell("E-SHEET-010", column, control, remedy=_RETYPE)
    if changed:
        line, shown, said = changed[0]
        more = f" ({len(changed) - 1} more like this.)" if len(changed) > 1 else ""
        sheet.tell("E-SHEET-009", column, [(line, shown, said + more)], remedy=_RETYPE, severity="warning")
    return pd.Series(values, index=raw.index, name=column, dtype=object)


def check_unique(sheet: Sheet, ids: pd.Series) -> None:
    """Refuse ids that occur twice (E-SHEET-005, or E-SHEET-016 for the same row) or look the same."""
    column = str(ids.name)
    first: dict[str, int] = {}
    shapes: dict[str, str] = {}
    twice: list[tuple[int, str | None, str]] = []
    rows_twice: list[tuple[int, str | None, str]] = []
    alike: list[tuple[int, str | None, str]] = []
    for line, value in zip(ids.index, ids.tolist(), strict=True):
        if value is None:
            continue
        if value in first:
            other = first[value]
            if sheet.frame.loc[line].equals(sheet.frame.loc[other]):
                rows_twice.append((int(line), value, f"The row is the same as that of line {other}."))
            else:
                said = f"The {sheet.label(column)} {value!r} stands in lines {other} and {line}."
                twice.append((int(line), value, said))
            continue
        first[value] = int(line)
        twin = shapes.setdefault(skeleton(value), value)
        if twin != value:
            said = (
                f"The ids {twin!r} (line {first[twin]}) and {value!r} (line {line}) differ only in case, "
                "spaces or look-alike characters."
            )
            alike.append((int(line), value, said))
    sheet.tell("E-SHEET-005", column, twice, remedy="Give every row an id of its own.")
    sheet.tell("E-SHEET-016", column, rows_twice, remedy="Remove one of the two rows.")
    sheet.tell(
        "E-SHEET-009",
        column,
        alike,
        remedy="If they are the same, write the id in one way; if not, give ids a reader can tell apart.",
    )


def check_known(sheet: Sheet, ids: pd.Series, known: Iterable[str], *, what: str) -> None:
    """Refuse ids that are not among those known (E-SHEET-006); the nearest are named."""
    options = list(known)
    lookup = set(options)
    unknown = [
        (int(line), value)
        for line, value in zip(ids.index, ids.tolist(), strict=True)
        if value is not None and value not in lookup
    ]
    for line, value in unknown[:20]:
        sheet.problems.add(
            "E-SHEET-006",
            f"The {sheet.label(str(ids.name))} {value!r} is not among the ids of {what}.",
            remedy=f"Correct the id, or add it to {what}. {nearest(value, options)}",
            file=sheet.file,
            row=line,
            column=sheet.label(str(ids.name)),
            value=value,
        )
    if len(unknown) > 20:
        line, value = unknown[20]
        said = f"The id {value!r} is not among those of {what}; {len(unknown) - 20} ids more are unknown."
        sheet.tell(
            "E-SHEET-006",
            str(ids.name),
            [(line, value, said)],
            remedy="Correct the ids above, then check again.",
        )


def read_names(sheet: Sheet, column: str, *, alike: bool = True) -> pd.Series:
    """Give a column of names (cohort, batch, visit ...): text, without what cannot be seen.

    Two names that differ only in case, spaces or look-alike characters are told (E-SHEET-009, warning) at
    the first row of the rarer one: a model takes them for two levels. Not so where `alike` is false: names
    that are held against a list need no such warning.
    """
    raw = sheet.column(column)
    values = [None if text is None else normal_id(text) or None for text in raw.tolist()]
    counts = Counter(value for value in values if value is not None)
    usual: dict[str, str] = {}
    for name, _ in counts.most_common() if alike else ():  # of equally frequent ones, the first
        usual.setdefault(skeleton(name), name)
    told: set[str] = set()
    for line, value in zip(raw.index, values, strict=True):
        if value is None:
            continue
        twin = usual.get(skeleton(value), value)
        if twin != value and value not in told:
            told.add(value)
            sheet.problems.add(
                "E-SHEET-009",
                f"The values {twin!r} and {value!r} differ only in case, spaces or look-alike characters; "
                "they are taken for two.",
                remedy="If they are the same, write them in one way.",
                file=sheet.file,
                row=int(line),
                column=sheet.label(column),
                value=value,
                severity="warning",
            )
    return pd.Series(values, index=raw.index, name=column, dtype=object)


def read_others(sheet: Sheet, done: Mapping[str, pd.Series]) -> dict[str, pd.Series]:
    """Type the remaining columns: names as text, the others numeric if every value is a number.

    Parameters
    ----------
    sheet : Sheet
    done : mapping of column to Series
        What has been read already.

    Returns
    -------
    dict of column to Series
        All columns, in the order of the sheet.
    """
    columns: dict[str, pd.Series] = {}
    for column in map(str, sheet.frame.columns):
        if column in done:
            columns[column] = done[column]
        elif column in NAMES:
            columns[column] = read_names(sheet, column)
        else:
            texts = [_stripped(cell) for cell in sheet.frame[column].tolist()]
            columns[column] = to_typed(pd.Series(texts, index=sheet.frame.index, name=column, dtype=object))
    return columns


def _stripped(cell: str | None) -> str | None:
    return None if cell is None else cell.strip() or None


def by_id(columns: Mapping[str, pd.Series], key: str) -> pd.DataFrame:
    """Make a frame from columns indexed by line: indexed by id, with the line as a column."""
    ids = columns[key]
    frame = pd.DataFrame({"line": ids.index.to_numpy(), **_unlabelled(columns, key)})
    frame = frame[[*(column for column in frame.columns if column != "line"), "line"]]
    frame.index = pd.Index(ids.tolist(), dtype=object, name=key)
    return frame


def _unlabelled(columns: Mapping[str, pd.Series], key: str) -> dict[str, pd.Series]:
    return {name: column.reset_index(drop=True) for name, column in columns.items() if name != key}
